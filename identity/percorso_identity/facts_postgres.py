"""The SQL of facts: each function is one statement. All but the questions run under the lock."""

from collections.abc import Sequence
from typing import Any

from percorso_identity.evidence import State
from percorso_shared.bus.port import Connection


async def add_fact(connection: Connection, workspace: int, fact: bytes, op: str, a: bytes, b: bytes | None, author: str,
                   reason: str, now_ms: int) -> bool:
    """False: it was there already."""
    added = await connection.fetchval(
        """INSERT INTO identity.fact (workspace_id, fact_id, op, a, b, author, reason, at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, to_timestamp($8::bigint::float8 / 1000))
           ON CONFLICT DO NOTHING RETURNING true""", workspace, fact, op, a, b, author, reason, now_ms)
    return added is not None


async def revoke_fact(connection: Connection, workspace: int, fact: bytes, author: str,
                      now_ms: int) -> tuple[bytes, Any, bytes, bytes | None] | None:
    """(id, op, a, b) of the fact revoked; None: there is none that stands."""
    row = await connection.fetchrow(
        """UPDATE identity.fact SET revoked_at = to_timestamp($4::bigint::float8 / 1000), revoked_by = $3
           WHERE workspace_id = $1 AND fact_id = $2 AND revoked_at IS NULL RETURNING fact_id, op, a, b""",
        workspace, fact, author, now_ms)
    return None if row is None else (row[0], row[1], row[2], row[3])


async def fact_exists(connection: Connection, workspace: int, fact: bytes) -> bool:
    found = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM identity.fact WHERE workspace_id = $1 AND fact_id = $2)", workspace, fact)
    return bool(found)


async def atoms_of_link(connection: Connection, workspace: int, link: bytes) -> list[bytes]:
    """Empty: there is no such link."""
    found = await connection.fetchval(
        "SELECT atoms FROM identity.link WHERE workspace_id = $1 AND link_id = $2", workspace, link)
    return list(found or ())


async def identifier_of(connection: Connection, workspace: int, atom: bytes) -> tuple[str, str] | None:
    """(type, value); None: no touchpoint has named it yet."""
    row = await connection.fetchrow(
        "SELECT type, value FROM identity.atom WHERE workspace_id = $1 AND atom_id = $2", workspace, atom)
    return None if row is None else (row[0], row[1])


async def hubs_beside(connection: Connection, workspace: int, atom: bytes) -> list[bytes]:
    """The hubs that share a link with `atom`."""
    rows = await connection.fetch(
        """SELECT DISTINCT p.atom_id
           FROM identity.membership m
           JOIN identity.link l ON l.workspace_id = $1 AND l.link_id = m.link_id
           CROSS JOIN LATERAL unnest(l.atoms) AS n (atom_id)
           JOIN identity.pointer p ON p.workspace_id = $1 AND p.atom_id = n.atom_id
           WHERE m.workspace_id = $1 AND m.atom_id = $2 AND p.state BETWEEN $3 AND $4""",
        workspace, atom, int(State.HUB), int(State.CROWD_HUB))
    return [row[0] for row in rows]


async def mark_replay(connection: Connection, workspace: int, atoms: Sequence[bytes]) -> None:
    """Whoever reads these atoms next asks for facts."""
    await connection.execute(
        """UPDATE identity.pointer SET replay = true
           WHERE workspace_id = $1 AND atom_id = ANY($2::uuid[]) AND NOT replay""", workspace, atoms)


async def mark_unseen(connection: Connection, workspace: int, atom: bytes, state: State) -> None:
    """The state of an atom that no touchpoint has named yet."""
    await connection.execute(
        "UPDATE identity.pointer SET state = $3 WHERE workspace_id = $1 AND atom_id = $2", workspace, atom, int(state))


async def mark_ignored(connection: Connection, workspace: int, link: bytes) -> None:
    """As the standing facts say."""
    await connection.execute(
        """UPDATE identity.link SET ignored = EXISTS (
               SELECT FROM identity.fact
               WHERE workspace_id = $1 AND a = $2 AND op = 'ignore' AND revoked_at IS NULL)
           WHERE workspace_id = $1 AND link_id = $2""", workspace, link)

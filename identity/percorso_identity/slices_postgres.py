"""The SQL of slices: logins as evidence, slices as what follows. Each function is one statement."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from percorso_identity.slices import Slice
from percorso_shared.bus.port import Connection


class Chunk(NamedTuple):
    """When a link was used and when it logged out, as one unit of work saw it (ms)."""

    link: bytes
    chunk: bytes
    """Smallest event id of those touchpoints."""
    logins: Sequence[int]
    logouts: Sequence[int]


async def add_logins(connection: Connection, workspace: int, chunks: Sequence[Chunk]) -> None:
    """Ascending by link."""
    await connection.execute(
        """INSERT INTO identity.login (workspace_id, link_id, chunk, logins, logouts)
           SELECT $1, link, chunk,
                  ARRAY(SELECT to_timestamp(t::float8 / 1000) FROM unnest(string_to_array(ins, ',')) t),
                  ARRAY(SELECT to_timestamp(t::float8 / 1000) FROM unnest(string_to_array(outs, ',')) t)
           FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[]) AS n (link, chunk, ins, outs)""",
        workspace, [chunk.link for chunk in chunks], [chunk.chunk for chunk in chunks],
        [",".join(map(str, chunk.logins)) for chunk in chunks], [",".join(map(str, chunk.logouts)) for chunk in chunks])


class Claim(NamedTuple):
    """A link of a weak atom, with its use."""

    weak: bytes
    home: bytes | None
    profile: bytes | None
    type: str | None
    """Of the home."""
    logins: Sequence[int]
    logouts: Sequence[int]


async def claims_of(connection: Connection, workspace: int, atoms: Sequence[bytes],
                    singles: Sequence[bytes]) -> list[Claim]:
    """Every use of every link of the weak `atoms`; `singles[i]` is the id of the link that holds atoms[i] alone."""
    rows = await connection.fetch(
        """SELECT f.atom_id, l.home, p.profile_id, p.type,
                  ARRAY(SELECT (extract(epoch FROM t) * 1000)::bigint FROM unnest(u.logins) t),
                  ARRAY(SELECT (extract(epoch FROM t) * 1000)::bigint FROM unnest(u.logouts) t)
           FROM (SELECT m.atom_id, m.link_id FROM identity.membership m
                 WHERE m.workspace_id = $1 AND m.atom_id = ANY($2::uuid[])
                 UNION ALL SELECT * FROM unnest($2::uuid[], $3::uuid[])) AS f
           CROSS JOIN LATERAL (SELECT * FROM identity.link l WHERE l.workspace_id = $1 AND l.link_id = f.link_id
                                                                   AND NOT l.ignored LIMIT 1) l
           LEFT JOIN LATERAL (SELECT * FROM identity.pointer p
                              WHERE p.workspace_id = $1 AND p.atom_id = l.home LIMIT 1) p ON true
           CROSS JOIN LATERAL (SELECT * FROM identity.login u
                               WHERE u.workspace_id = $1 AND u.link_id = f.link_id OFFSET 0) u""",
        workspace, atoms, singles)
    return [Claim(*row) for row in rows]


async def slices_of(connection: Connection, workspace: int, atoms: Iterable[bytes]) -> dict[bytes, list[Slice]]:
    """The slices of those of `atoms` that have any, in order."""
    rows = await connection.fetch(
        """SELECT atom_id, CASE WHEN since = '-infinity' THEN NULL ELSE (extract(epoch FROM since) * 1000)::bigint END,
                  owner
           FROM identity.slice WHERE workspace_id = $1 AND atom_id = ANY($2::uuid[]) ORDER BY atom_id, since""",
        workspace, list(atoms))
    found: dict[bytes, list[Slice]] = defaultdict(list)
    for atom, since, owner in rows:
        found[atom].append(Slice(since, owner))
    return dict(found)


async def drop_slices(connection: Connection, workspace: int, atoms: Sequence[bytes]) -> None:
    await connection.execute(
        "DELETE FROM identity.slice WHERE workspace_id = $1 AND atom_id = ANY($2::uuid[])", workspace, atoms)


async def add_slices(connection: Connection, workspace: int, slices: Sequence[tuple[bytes, Slice]]) -> None:
    await connection.execute(
        """INSERT INTO identity.slice (workspace_id, atom_id, since, owner)
           SELECT $1, atom, coalesce(to_timestamp(since::float8 / 1000), '-infinity'), owner
           FROM unnest($2::uuid[], $3::bigint[], $4::uuid[]) AS n (atom, since, owner)""",
        workspace, [atom for atom, _ in slices], [one.since for _, one in slices], [one.owner for _, one in slices])


async def advance_epoch(connection: Connection, workspace: int) -> None:
    """What processes remember of links is out of date from here on. Under the lock."""
    await connection.execute(
        """INSERT INTO identity.epoch AS e (workspace_id, epoch) VALUES ($1, 1)
           ON CONFLICT (workspace_id) DO UPDATE SET epoch = e.epoch + 1""", workspace)


async def ask_for_recut(connection: Connection, workspace: int, atoms: Sequence[bytes]) -> None:
    """Ascending. Once every transaction that runs beside this one has ended, their slices are cut again."""
    await connection.execute(
        """INSERT INTO identity.recut (workspace_id, atom_id) SELECT $1, unnest($2::uuid[]) ON CONFLICT DO NOTHING""",
        workspace, atoms)


async def due_recuts(connection: Connection, workspace: int, most: int) -> list[bytes]:
    """Takes up to `most` of those that are due."""
    rows = await connection.fetch(
        """DELETE FROM identity.recut WHERE (workspace_id, atom_id, seen_by) IN (
               SELECT workspace_id, atom_id, seen_by FROM identity.recut
               WHERE workspace_id = $1 AND seen_by < pg_snapshot_xmin(pg_current_snapshot())
               ORDER BY atom_id, seen_by LIMIT $2 FOR UPDATE SKIP LOCKED) AND workspace_id = $1
           RETURNING atom_id""", workspace, most)
    return sorted({row[0] for row in rows})


async def workspaces_with_recuts(connection: Connection) -> list[int]:
    """Crosses workspaces: the one question that a tick asks for all of them."""
    rows = await connection.fetch("SELECT DISTINCT workspace_id FROM identity.recut ORDER BY workspace_id")
    return [row[0] for row in rows]

"""Where identity keeps personal data: identifiers in clear text, and who was joined with whom."""

from collections.abc import Mapping, Sequence
from typing import Any

from percorso_identity import postgres
from percorso_identity.settle import settle
from percorso_shared.clock import SystemClock
from percorso_shared.stores import Store, Subject


async def _export(connection: Any, subject: Subject) -> Sequence[Mapping[str, Any]]:
    rows = await connection.fetch(
        """SELECT type, value, state,
                  to_char(first_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS first_seen
           FROM identity.atoms WHERE workspace_id = $1 AND atom_id = ANY($2::uuid[]) ORDER BY type, value""",
        subject.workspace, list(subject.atoms))
    return [dict(row) for row in rows]


async def _erase(connection: Any, subject: Subject) -> int:
    """The person's identifiers, links, logins, slices, and what the journal and operators said of them. Links of other
    people that name one of the identifiers keep its hash only; those people are resolved again without it."""
    workspace, atoms = subject.workspace, sorted(subject.atoms)
    policy, _ = await postgres.begin(connection, workspace)
    await postgres.lock(connection, workspace)
    links = [row["link_id"] for row in await connection.fetch(_OWN, workspace, atoms, sorted(subject.links))]
    beside = await connection.fetch(_BESIDE, workspace, atoms, links)
    erased = 0
    for ids, statements in ((atoms, _ERASE_BY_ATOM), (links, _ERASE_BY_LINK)):
        for statement in statements:
            done = await connection.execute(statement, workspace, ids)
            erased += int(done.rpartition(" ")[2])
    if beside:
        await settle(connection, workspace, policy, [row["atom_id"] for row in beside], cause="fact",
                     now_ms=SystemClock().now_ms())
    return erased


_OWN = """
SELECT link_id FROM identity.link
WHERE workspace_id = $1 AND link_id = ANY($3::uuid[]) AND home = ANY($2::uuid[]) ORDER BY link_id
"""

_BESIDE = """
SELECT DISTINCT n.atom_id
FROM identity.membership m
JOIN identity.link l ON l.workspace_id = $1 AND l.link_id = m.link_id
CROSS JOIN LATERAL unnest(l.atoms) AS n (atom_id)
WHERE m.workspace_id = $1 AND m.atom_id = ANY($2::uuid[]) AND m.link_id <> ALL($3::uuid[])
  AND n.atom_id <> ALL($2::uuid[])
"""

_ERASE_BY_ATOM = tuple(f"DELETE FROM identity.{table} WHERE workspace_id = $1 AND ({named})" for table, named in (
    ("slice", "atom_id = ANY($2::uuid[]) OR owner = ANY($2::uuid[])"),
    ("refusal", "a = ANY($2::uuid[]) OR b = ANY($2::uuid[])"),
    ("journal", "before = ANY($2::uuid[]) OR after = ANY($2::uuid[])"),
    ("fact", "a = ANY($2::uuid[]) OR b = ANY($2::uuid[])"),
    ("recut", "atom_id = ANY($2::uuid[])"),
    ("membership", "atom_id = ANY($2::uuid[])"),
    ("pointer", "atom_id = ANY($2::uuid[])"),
    ("atom", "atom_id = ANY($2::uuid[])"),
))

_ERASE_BY_LINK = tuple(f"DELETE FROM identity.{table} WHERE workspace_id = $1 AND {column} = ANY($2::uuid[])"
                       for table, column in (("login", "link_id"), ("fact", "a"), ("membership", "link_id"),
                                             ("link", "link_id")))

STORES: Sequence[Store] = (Store(
    "identifiers",
    ("identity.atom", "identity.pointer", "identity.link", "identity.membership", "identity.login", "identity.slice",
     "identity.fact", "identity.refusal", "identity.journal"),
    _export, _erase),)

WITHOUT_PERSONAL_DATA: Mapping[str, str] = {
    "identity.dedup": "hashes of message ids and of sets of identifiers, dropped after eight days (imports: kept)",
    "identity.policy": "rules",
    "identity.epoch": "one number per workspace",
    "identity.recut": "hashes on their way, for seconds",
}

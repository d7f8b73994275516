"""What identity knows of one person: identifiers, links, and the subject of an export or erasure."""

from typing import Any

from percorso_services.profile_api.parameters import iso
from percorso_shared.history import spans_of
from percorso_shared.stores import Subject

_IDENTIFIERS = """
SELECT a.atom_id, a.type, a.value, a.state, a.first_seen
FROM identity.pointers p JOIN identity.atoms a ON a.workspace_id = $1 AND a.atom_id = p.atom_id
WHERE p.workspace_id = $1 AND p.profile_id = $2
ORDER BY a.atom_id <> $2, a.first_seen, a.type, a.value
"""

_LINKS = """
SELECT l.link_id, l.home, a.type, a.value
FROM identity.links l
CROSS JOIN LATERAL unnest(l.atoms) AS m (atom_id)
JOIN identity.atoms a ON a.workspace_id = $1 AND a.atom_id = m.atom_id
WHERE l.workspace_id = $1 AND l.link_id = ANY($2::uuid[])
ORDER BY l.link_id, a.type, a.value
"""


async def identifiers(connection: Any, workspace: int, profile: bytes) -> list[dict[str, Any]]:
    """The strongest, whose id is the profile's, first; the others as they came."""
    rows = await connection.fetch(_IDENTIFIERS, workspace, profile)
    return [{"type": row["type"], "value": row["value"], "state": row["state"], "first_seen": iso(row["first_seen"])}
            for row in rows]


async def links(connection: Any, workspace: int, profile: bytes) -> list[dict[str, Any]]:
    """Which identifiers came together; of a shared device, for which time the touchpoints are this person's."""
    spans = await spans_of(connection, workspace, [profile])
    members: dict[bytes, list[dict[str, str]]] = {}
    for row in await connection.fetch(_LINKS, workspace, sorted({span.link for span in spans})):
        members.setdefault(row["link_id"], []).append({"type": row["type"], "value": row["value"]})
    return [{"id": span.link.hex(), "identifiers": members.get(span.link, [])}
            | ({"from": iso(span.since), "to": iso(span.until)} if span.slice else {})
            for span in sorted(spans, key=lambda span: (span.link, iso(span.since) or ""))]


async def subject_of(connection: Any, workspace: int, profile: bytes) -> Subject:
    rows = await connection.fetch(_IDENTIFIERS, workspace, profile)
    spans = await spans_of(connection, workspace, [profile])
    atoms = tuple(sorted(row["atom_id"] for row in rows))
    return Subject(
        workspace=workspace, profiles=atoms, atoms=atoms,
        links=tuple(sorted({span.link for span in spans if span.slice is None})),
        identifiers=tuple((row["type"], row["value"]) for row in rows),
        shared=tuple(span for span in spans if span.slice is not None))

"""The event history, read by whoever needs a person's past: one port, so that its storage can change.

History is stored by link; which links are a person's is asked of identity at the time of reading. So what was done
before a merge belongs to the merged person at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from percorso_shared import clock
from percorso_shared.ids import link_id

_ATOMS = "SELECT atom_id, profile_id FROM identity.pointers WHERE workspace_id = $1 AND profile_id = ANY($2::uuid[])"

_LINKS = """
SELECT l.link_id, l.home, l.atoms
FROM (SELECT unnest($3::uuid[]) AS link_id
      UNION SELECT m.link_id FROM identity.memberships m WHERE m.workspace_id = $1 AND m.atom_id = ANY($2::uuid[])) k
JOIN identity.links l ON l.workspace_id = $1 AND l.link_id = k.link_id
WHERE l.home = ANY($2::uuid[])
"""

_SLICES = """
SELECT atom_id, nullif(since, '-infinity') AS since, nullif(until, 'infinity') AS until, owner
FROM identity.slices WHERE workspace_id = $1 AND atom_id = ANY($2::uuid[])
"""

_SCAN = """
SELECT k.person, e.link_id, e.event_id, e.event_time, e.received_at, e.folded_at, e.source, e.type, e.name,
       e.canonical_name, e.touchpoint::text AS touchpoint
FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::timestamptz[]) AS k (link, person, since, until)
CROSS JOIN LATERAL (
    SELECT * FROM profile.events e
    WHERE e.workspace_id = $1 AND e.link_id = k.link AND ($6::text[] IS NULL OR e.canonical_name = ANY($6))
      AND e.event_time >= greatest(k.since, $7::timestamptz) AND e.event_time < least(k.until, $8::timestamptz)
      AND (e.event_time, e.event_id) < (coalesce($10::timestamptz, 'infinity'), $11::uuid)
    ORDER BY e.event_time DESC, e.event_id DESC LIMIT $9
) e
ORDER BY e.event_time DESC, e.event_id DESC LIMIT $9
"""

_PEOPLE = """
SELECT p.profile_id
FROM unnest($2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS k (link, at, place)
LEFT JOIN LATERAL (
    SELECT home FROM identity.links l WHERE l.workspace_id = $1 AND l.link_id = k.link LIMIT 1) l ON true
LEFT JOIN LATERAL (
    SELECT owner, true AS shared FROM identity.slices s
    WHERE s.workspace_id = $1 AND s.atom_id = l.home AND s.since <= k.at AND k.at < s.until LIMIT 1) s ON true
LEFT JOIN LATERAL (
    SELECT profile_id FROM identity.pointers p
    WHERE p.workspace_id = $1 AND p.atom_id = CASE WHEN s.shared THEN s.owner ELSE l.home END LIMIT 1) p ON true
ORDER BY k.place
"""

_MIN, _MAX = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """A link whose touchpoints are a person's, always or (a shared device) for a while."""

    link: bytes
    person: bytes
    slice: bytes | None = None
    """The owner atom of the slice; None: the link is the person's through its home."""
    since: datetime | None = None
    until: datetime | None = None
    """Half-open, by event time; None: unbounded."""


@dataclass(frozen=True, slots=True)
class PastTouchpoint:
    """One touchpoint of somebody's past."""

    person: bytes
    """Present profile id."""
    link_id: bytes
    event_id: bytes
    event_time: int
    """ms since 1970."""
    received_at: int
    folded_at: int
    """When it became part of the profile."""
    source: str
    type: str
    name: str
    canonical_name: str
    touchpoint: bytes
    """The `Accepted` record as JSON."""


async def spans_of(connection: Any, workspace: int, persons: Iterable[bytes]) -> list[Span]:
    """The links of these people (present profile ids) by the present pointers and slices."""
    pointers = await connection.fetch(_ATOMS, workspace, sorted(set(persons)))
    person_of = {row["atom_id"]: row["profile_id"] for row in pointers}
    if not person_of:
        return []
    links = await links_at(connection, workspace, person_of)
    slices = await connection.fetch(_SLICES, workspace, sorted({atom for link in links for atom in link["atoms"]}))
    sliced = {row["atom_id"] for row in slices}
    spans = [Span(link["link_id"], person_of[link["home"]]) for link in links if link["home"] not in sliced]
    mine = [row for row in slices if row["owner"] in person_of]
    if mine:
        shared = await links_at(connection, workspace, {row["atom_id"] for row in mine})
        spans += [Span(link["link_id"], person_of[row["owner"]], row["owner"], row["since"], row["until"])
                  for row in mine for link in shared if link["home"] == row["atom_id"]]
    return spans


async def people_of_links(connection: Any, workspace: int, touches: Sequence[tuple[bytes | None, datetime]],
                          ) -> list[bytes | None]:
    """(link, event time) -> whose touchpoint that is at present, in the given order. None: nobody's."""
    rows = await connection.fetch(
        _PEOPLE, workspace, [link for link, _ in touches], [at for _, at in touches]) if touches else ()
    return [row["profile_id"] for row in rows]


async def links_at(connection: Any, workspace: int, homes: Iterable[bytes]) -> Any:
    """Links at home with one of these atoms. The link of a single atom has the id that its atom says."""
    ordered = sorted(homes)
    return await connection.fetch(_LINKS, workspace, ordered, [link_id(workspace, (atom,)) for atom in ordered])


async def scan(connection: Any, workspace: int, persons: Sequence[bytes], names: Sequence[str] | None = None,
               from_ms: int | None = None, to_ms: int | None = None, *, before: tuple[int, bytes] | None = None,
               limit: int | None = None) -> list[PastTouchpoint]:
    """What these people did, oldest first, by event time in the half-open interval [from_ms, to_ms).

    `persons` are present profile ids, `names` canonical names (None: all). `limit` keeps the newest so many
    of all; `before` = (event time, event id) of the oldest of a page leads to the next one.
    """
    spans = await spans_of(connection, workspace, persons)
    if not spans:
        return []
    since, until = (None if ms is None else clock.to_datetime(ms) for ms in (from_ms, to_ms))
    rows = await connection.fetch(
        _SCAN, workspace, [span.link for span in spans], [span.person for span in spans],
        [span.since or _MIN for span in spans], [span.until or _MAX for span in spans],
        None if names is None else list(names), since, until, limit,
        clock.to_datetime(before[0]) if before else None, before[1] if before else None)
    return [PastTouchpoint(
        person=row["person"], link_id=row["link_id"], event_id=row["event_id"],
        event_time=clock.to_ms(row["event_time"]), received_at=clock.to_ms(row["received_at"]),
        folded_at=clock.to_ms(row["folded_at"]), source=row["source"], type=row["type"], name=row["name"],
        canonical_name=row["canonical_name"], touchpoint=row["touchpoint"].encode()) for row in reversed(rows)]

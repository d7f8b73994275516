"""The event history, read by whoever needs a person's past: one port, so that its storage can change.

History is stored by link; which links are a person's is asked of identity at the time of reading. So what was done
before a merge belongs to the merged person at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from percorso_shared import clock


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
    source: str
    type: str
    name: str
    canonical_name: str
    touchpoint: bytes
    """The `Accepted` record as JSON."""


_LINKS = """
links AS (
    SELECT l.workspace_id, l.link_id, p.profile_id
    FROM identity.pointers p
    JOIN identity.links l ON l.workspace_id = p.workspace_id AND l.home = p.atom_id
    WHERE p.workspace_id = $1 AND p.profile_id = ANY($2::uuid[])
)
"""

_SCAN = f"""
WITH {_LINKS}
SELECT l.profile_id, e.link_id, e.event_id, e.event_time, e.received_at, e.source, e.type, e.name, e.canonical_name,
       e.touchpoint::text AS touchpoint
FROM links l
CROSS JOIN LATERAL (
    SELECT * FROM profile.events e
    WHERE e.workspace_id = $1 AND e.link_id = l.link_id
      AND ($3::text[] IS NULL OR e.canonical_name = ANY($3))
      AND ($4::timestamptz IS NULL OR e.event_time >= $4) AND ($5::timestamptz IS NULL OR e.event_time < $5)
    ORDER BY e.event_time DESC, e.event_id DESC LIMIT $6
) e
ORDER BY e.event_time DESC, e.event_id DESC LIMIT $6
"""


async def scan(connection: Any, workspace: int, persons: Sequence[bytes], names: Sequence[str] | None = None,
               from_ms: int | None = None, to_ms: int | None = None, *, limit: int | None = None,
               ) -> list[PastTouchpoint]:
    """What these people did, oldest first, by event time in the half-open interval [from_ms, to_ms).

    `persons` are present profile ids, `names` canonical names (None: all), `limit` keeps the newest so many of all.
    """
    since, until = (None if ms is None else clock.to_datetime(ms) for ms in (from_ms, to_ms))
    rows = await connection.fetch(
        _SCAN, workspace, list(persons), None if names is None else list(names), since, until, limit)
    return [PastTouchpoint(
        person=row["profile_id"], link_id=row["link_id"], event_id=row["event_id"],
        event_time=clock.to_ms(row["event_time"]), received_at=clock.to_ms(row["received_at"]), source=row["source"],
        type=row["type"], name=row["name"], canonical_name=row["canonical_name"],
        touchpoint=row["touchpoint"].encode()) for row in reversed(rows)]

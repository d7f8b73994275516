"""Touchpoints as lists show them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from percorso_shared.clock import to_ms
from percorso_shared.control import WORKSPACE
from percorso_shared.names import canonical_name

LOOKED_THROUGH = 2_000
"""A filter looks through this many of the newest, so that its cost does not grow with the history."""

OWNER = """
LEFT JOIN identity.links l ON l.workspace_id = $1 AND l.link_id = e.link_id
LEFT JOIN LATERAL (
    SELECT s.owner FROM identity.slices s WHERE s.workspace_id = $1 AND s.atom_id = l.home
    AND s.since <= e.event_time AND e.event_time < s.until) s ON true
LEFT JOIN identity.pointers p ON p.workspace_id = $1 AND p.atom_id = coalesce(s.owner, l.home)
LEFT JOIN identity.atoms a ON a.workspace_id = $1 AND a.atom_id = p.profile_id
"""
"""Whose the touchpoint `e` is, now."""

_NEWEST = f"""
WITH newest AS MATERIALIZED (
    SELECT received_at, event_id, link_id, event_time, source, type, name, canonical_name FROM profile.events
    WHERE workspace_id = $1 ORDER BY received_at DESC, event_id DESC LIMIT $4),
chosen AS MATERIALIZED (
    SELECT * FROM newest WHERE ($2 = '' OR source = $2) AND ($3 = '' OR canonical_name = $3)
    ORDER BY received_at DESC, event_id DESC LIMIT $5)
SELECT e.received_at, e.event_id, e.event_time, e.source, e.type, e.name, full_.touchpoint, p.profile_id,
       a.type AS person_type, a.value AS person_value
FROM chosen e
CROSS JOIN LATERAL (
    SELECT f.touchpoint FROM profile.events f
    WHERE f.workspace_id = $1 AND f.received_at = e.received_at AND f.event_id = e.event_id
    AND f.event_time = e.event_time LIMIT 1) full_
{OWNER}
ORDER BY e.received_at DESC, e.event_id DESC
"""

_ONE = f"""
SELECT e.received_at, e.event_id, e.event_time, e.source, e.type, e.name, e.touchpoint, p.profile_id,
       a.type AS person_type, a.value AS person_value
FROM profile.events e {OWNER}
WHERE e.workspace_id = $1 AND e.received_at = $2 AND e.event_id = $3 LIMIT 1
"""


@dataclass(frozen=True)
class Touchpoint:
    event_id: str
    """32 hex digits."""
    received_at: datetime
    event_time: datetime
    source: str
    type: str
    name: str
    about: str
    """What it says, in a few words."""
    person: Mapping[str, str] | None
    """`{"type", "value"}` of the strongest identifier; None: of nobody."""
    body: Mapping[str, Any]
    """The accepted record."""

    @property
    def key(self) -> str:
        """Finds it again, also among millions: received at, and id."""
        return f"{to_ms(self.received_at)}-{self.event_id}"


async def newest_touchpoints(connection: Any, source: str = "", name: str = "", limit: int = 50) -> list[Touchpoint]:
    """Newest first. An empty filter lets everything through; a filter sees the newest 2,000 only."""
    rows = await connection.fetch(_NEWEST, WORKSPACE, source, canonical_name(name) if name else "",
                                  LOOKED_THROUGH if source or name else limit, limit)
    return [as_touchpoint(row) for row in rows]


async def one_touchpoint(connection: Any, received_at: datetime, event_id: bytes) -> Touchpoint | None:
    row = await connection.fetchrow(_ONE, WORKSPACE, received_at, event_id)
    return as_touchpoint(row) if row else None


async def source_names(connection: Any) -> list[str]:
    rows = await connection.fetch("SELECT name FROM ingest.sources WHERE workspace_id = $1 ORDER BY name", WORKSPACE)
    return [row["name"] for row in rows]


def as_touchpoint(row: Any) -> Touchpoint:
    body = msgspec.json.decode(row["touchpoint"])
    person = {"type": row["person_type"], "value": row["person_value"]} if row["person_type"] else None
    return Touchpoint(row["event_id"].hex(), row["received_at"], row["event_time"], row["source"], row["type"],
                      row["name"], about(body), person, body)


def about(body: Mapping[str, Any]) -> str:
    """A page's path, a message's journey and step, else the first properties or traits that are short:
    `form: registration · field: email`."""
    properties = body.get("properties") or {}
    if str(body.get("name")).startswith(("email_", "onsite_")) and "journey" in properties:
        return f"{properties['journey']} · {properties.get('step', '')}"
    if body.get("type") in ("page", "screen"):
        return str(properties.get("path") or properties.get("title") or properties.get("name") or "")[:120]
    said = properties or body.get("traits") or {}
    parts = [f"{name}: {_short(value)}" for name, value in said.items()
             if isinstance(value, str | int | float | bool) and value != ""]
    return " · ".join(parts[:3])[:120]


def _short(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"

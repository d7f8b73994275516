"""Who was here lately."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from percorso_services.console.reads.touchpoints import OWNER
from percorso_shared.control import WORKSPACE

_RECENT = f"""
SELECT DISTINCT ON (p.profile_id) p.profile_id, a.type, a.value, e.event_time, e.name, d.traits->>'name' AS called
FROM (SELECT link_id, event_time, name, received_at FROM profile.events
      WHERE workspace_id = $1 AND link_id IS NOT NULL AND source <> 'percorso'
      ORDER BY received_at DESC, event_id DESC LIMIT $2) e
{OWNER}
LEFT JOIN profile.people d ON d.workspace_id = $1 AND d.profile_id = p.profile_id
WHERE a.value IS NOT NULL
ORDER BY p.profile_id, e.received_at DESC
"""


@dataclass(frozen=True)
class RecentPerson:
    type: str
    value: str
    called: str | None
    last: str
    at: datetime


async def recent_people(connection: Any, among: int = 500, limit: int = 30) -> list[RecentPerson]:
    """Whose touchpoints are among the newest `among`, the latest first. What we did ourselves (mails) is left out."""
    rows = await connection.fetch(_RECENT, WORKSPACE, among)
    found = [RecentPerson(row["type"], row["value"], row["called"], row["name"], row["event_time"]) for row in rows]
    return sorted(found, key=lambda person: person.at, reverse=True)[:limit]

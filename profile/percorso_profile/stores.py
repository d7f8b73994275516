"""Where this context keeps personal data."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from percorso_shared.stores import Erase, Store, Subject

_MINE = """
WITH mine AS (
    SELECT k.link, NULL::uuid AS slice, '-infinity'::timestamptz AS since, 'infinity'::timestamptz AS until
    FROM unnest($2::uuid[]) AS k (link)
    UNION ALL
    SELECT k.link, k.slice, coalesce(k.since, '-infinity'), coalesce(k.until, 'infinity')
    FROM unnest($3::uuid[], $4::uuid[], $5::timestamptz[], $6::timestamptz[]) AS k (link, slice, since, until))
"""
"""What of a link is the person's: of a shared device an interval, and the state under its slice."""

_EVENTS = f"""{_MINE}
SELECT e.touchpoint FROM mine m JOIN profile.event e
  ON e.workspace_id = $1 AND e.link_id = m.link AND e.event_time >= m.since AND e.event_time < m.until
ORDER BY e.event_time, e.event_id
"""
_ERASE_EVENTS = f"""{_MINE}
DELETE FROM profile.event e USING mine m
WHERE e.workspace_id = $1 AND e.link_id = m.link AND e.event_time >= m.since AND e.event_time < m.until
"""

_STATES = f"""{_MINE}
SELECT DISTINCT s.link_id, s.slice, s.state FROM mine m JOIN profile.link_state s
  ON s.workspace_id = $1 AND s.link_id = m.link AND (m.slice IS NULL OR s.slice = m.slice)
ORDER BY s.link_id, s.slice
"""
_ERASE_STATES = f"""{_MINE}
DELETE FROM profile.link_state s USING mine m
WHERE s.workspace_id = $1 AND s.link_id = m.link AND (m.slice IS NULL OR s.slice = m.slice)
"""

_COUNTERS = f"""{_MINE}
SELECT DISTINCT c.link_id, c.slice, c.canonical_name, c.touchpoints, c.first_seen, c.last_seen
FROM mine m JOIN profile.counter c
  ON c.workspace_id = $1 AND c.link_id = m.link AND (m.slice IS NULL OR c.slice = m.slice)
ORDER BY c.link_id, c.slice, c.canonical_name
"""
_ERASE_COUNTERS = f"""{_MINE}
DELETE FROM profile.counter c USING mine m
WHERE c.workspace_id = $1 AND c.link_id = m.link AND (m.slice IS NULL OR c.slice = m.slice)
"""

_PROFILES = """
SELECT profile_id, version, traits, consent, account FROM profile.profile
WHERE workspace_id = $1 AND profile_id = ANY($2::uuid[]) ORDER BY profile_id
"""
_ERASE_PROFILES = "DELETE FROM profile.profile WHERE workspace_id = $1 AND profile_id = ANY($2::uuid[])"


def _mine(subject: Subject) -> list[Any]:
    shared = subject.shared
    return [subject.workspace, sorted(subject.links), [span.link for span in shared], [span.slice for span in shared],
            [span.since for span in shared], [span.until for span in shared]]


def _erase_by(statement: str) -> Erase:
    async def erase(connection: Any, subject: Subject) -> int:
        return _rows_removed(await connection.execute(statement, *_mine(subject)))

    return erase


def _rows_removed(status: str) -> int:
    return int(status.rsplit(" ", 1)[1])


async def _export_events(connection: Any, subject: Subject) -> Sequence[Mapping[str, Any]]:
    return [msgspec.json.decode(row["touchpoint"]) for row in await connection.fetch(_EVENTS, *_mine(subject))]


async def _export_states(connection: Any, subject: Subject) -> Sequence[Mapping[str, Any]]:
    return [{"link": row["link_id"].hex(), "slice": row["slice"].hex(), "state": msgspec.json.decode(row["state"])}
            for row in await connection.fetch(_STATES, *_mine(subject))]


async def _export_counters(connection: Any, subject: Subject) -> Sequence[Mapping[str, Any]]:
    return [{"link": row["link_id"].hex(), "name": row["canonical_name"], "touchpoints": row["touchpoints"],
             "first_seen": row["first_seen"].isoformat(), "last_seen": row["last_seen"].isoformat()}
            for row in await connection.fetch(_COUNTERS, *_mine(subject))]


async def _export_profiles(connection: Any, subject: Subject) -> Sequence[Mapping[str, Any]]:
    rows = await connection.fetch(_PROFILES, subject.workspace, sorted(subject.profiles))
    return [{"profile": row["profile_id"].hex(), "version": row["version"], "account": row["account"],
             "traits": msgspec.json.decode(row["traits"]), "consent": msgspec.json.decode(row["consent"])}
            for row in rows]


async def _erase_profiles(connection: Any, subject: Subject) -> int:
    return _rows_removed(await connection.execute(_ERASE_PROFILES, subject.workspace, sorted(subject.profiles)))


STORES: Sequence[Store] = (
    Store("events", ("profile.event",), _export_events, _erase_by(_ERASE_EVENTS)),
    Store("link_states", ("profile.link_state",), _export_states, _erase_by(_ERASE_STATES)),
    Store("counters", ("profile.counter",), _export_counters, _erase_by(_ERASE_COUNTERS)),
    Store("profiles", ("profile.profile",), _export_profiles, _erase_profiles),
)
WITHOUT_PERSONAL_DATA: Mapping[str, str] = {
    "profile.account": "companies and households: what group calls said of the account, not of a person",
}

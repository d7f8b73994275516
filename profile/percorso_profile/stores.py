"""Where this context keeps personal data."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from percorso_shared.stores import Store, Subject

_EVENTS = """
SELECT touchpoint FROM profile.event WHERE workspace_id = $1 AND link_id = ANY($2::uuid[]) ORDER BY event_time, event_id
"""
_ERASE_EVENTS = "DELETE FROM profile.event WHERE workspace_id = $1 AND link_id = ANY($2::uuid[])"

_STATES = """
SELECT link_id, slice, state FROM profile.link_state WHERE workspace_id = $1 AND link_id = ANY($2::uuid[])
ORDER BY link_id, slice
"""
_ERASE_STATES = "DELETE FROM profile.link_state WHERE workspace_id = $1 AND link_id = ANY($2::uuid[])"

_COUNTERS = """
SELECT link_id, canonical_name, touchpoints, first_seen, last_seen FROM profile.counter
WHERE workspace_id = $1 AND link_id = ANY($2::uuid[]) ORDER BY link_id, canonical_name
"""
_ERASE_COUNTERS = "DELETE FROM profile.counter WHERE workspace_id = $1 AND link_id = ANY($2::uuid[])"

_PROFILES = """
SELECT profile_id, version, traits, consent, account FROM profile.profile
WHERE workspace_id = $1 AND profile_id = ANY($2::uuid[]) ORDER BY profile_id
"""
_ERASE_PROFILES = "DELETE FROM profile.profile WHERE workspace_id = $1 AND profile_id = ANY($2::uuid[])"


def _rows_removed(status: str) -> int:
    return int(status.rsplit(" ", 1)[1])


async def _export_events(connection: Any, subject: Subject) -> Sequence[Mapping[str, Any]]:
    rows = await connection.fetch(_EVENTS, subject.workspace, sorted(subject.links))
    return [msgspec.json.decode(row["touchpoint"]) for row in rows]


async def _erase_events(connection: Any, subject: Subject) -> int:
    return _rows_removed(await connection.execute(_ERASE_EVENTS, subject.workspace, sorted(subject.links)))


async def _export_states(connection: Any, subject: Subject) -> Sequence[Mapping[str, Any]]:
    rows = await connection.fetch(_STATES, subject.workspace, sorted(subject.links))
    return [{"link": row["link_id"].hex(), "slice": row["slice"].hex(), "state": msgspec.json.decode(row["state"])}
            for row in rows]


async def _erase_states(connection: Any, subject: Subject) -> int:
    return _rows_removed(await connection.execute(_ERASE_STATES, subject.workspace, sorted(subject.links)))


async def _export_counters(connection: Any, subject: Subject) -> Sequence[Mapping[str, Any]]:
    rows = await connection.fetch(_COUNTERS, subject.workspace, sorted(subject.links))
    return [{"link": row["link_id"].hex(), "name": row["canonical_name"], "touchpoints": row["touchpoints"],
             "first_seen": row["first_seen"].isoformat(), "last_seen": row["last_seen"].isoformat()} for row in rows]


async def _erase_counters(connection: Any, subject: Subject) -> int:
    return _rows_removed(await connection.execute(_ERASE_COUNTERS, subject.workspace, sorted(subject.links)))


async def _export_profiles(connection: Any, subject: Subject) -> Sequence[Mapping[str, Any]]:
    rows = await connection.fetch(_PROFILES, subject.workspace, sorted(subject.profiles))
    return [{"profile": row["profile_id"].hex(), "version": row["version"], "account": row["account"],
             "traits": msgspec.json.decode(row["traits"]), "consent": msgspec.json.decode(row["consent"])}
            for row in rows]


async def _erase_profiles(connection: Any, subject: Subject) -> int:
    return _rows_removed(await connection.execute(_ERASE_PROFILES, subject.workspace, sorted(subject.profiles)))


STORES: Sequence[Store] = (
    Store("events", ("profile.event",), _export_events, _erase_events),
    Store("link_states", ("profile.link_state",), _export_states, _erase_states),
    Store("counters", ("profile.counter",), _export_counters, _erase_counters),
    Store("profiles", ("profile.profile",), _export_profiles, _erase_profiles),
)
WITHOUT_PERSONAL_DATA: Mapping[str, str] = {
    "profile.account": "companies and households: what group calls said of the account, not of a person",
}

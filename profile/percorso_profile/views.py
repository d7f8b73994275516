"""Read-only queries on what we know of people. Nothing here locks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from percorso_profile.fold import LinkState, Profile, Seen, State, decode, fold
from percorso_profile.postgres import NO_SLICE
from percorso_shared.clock import to_ms
from percorso_shared.history import spans_of

_LINK_STATES = """
SELECT s.link_id, s.slice, s.state
FROM unnest($2::uuid[], $3::uuid[]) AS k (link, slice)
JOIN profile.link_state s ON s.workspace_id = $1 AND s.link_id = k.link AND s.slice = k.slice
"""

_COUNTERS = """
SELECT c.link_id, c.slice, c.canonical_name, c.touchpoints, c.first_seen, c.last_seen
FROM unnest($2::uuid[], $3::uuid[]) AS k (link, slice)
JOIN profile.counter c ON c.workspace_id = $1 AND c.link_id = k.link AND c.slice = k.slice
"""

_EVENT = "event_id, link_id, event_time, received_at, folded_at, touchpoint"

_NEWEST = f"""
SELECT {_EVENT} FROM profile.event
WHERE workspace_id = $1 AND ($2::text IS NULL OR source = $2) AND ($3::text IS NULL OR canonical_name = $3)
  AND received_at >= coalesce($4::timestamptz, '-infinity') AND received_at < coalesce($5::timestamptz, 'infinity')
  AND (received_at, event_id) < (coalesce($6::timestamptz, 'infinity'), $7::uuid)
ORDER BY received_at DESC, event_id DESC LIMIT $8
"""

_PLACES = """
SELECT event_id, link_id, event_time FROM identity.touchpoints WHERE workspace_id = $1 AND event_id = ANY($2::uuid[])
"""

_AT_PLACES = f"""
SELECT {_EVENT} FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[]) AS k (event, link, at)
CROSS JOIN LATERAL (
    SELECT {_EVENT} FROM profile.event e
    WHERE e.workspace_id = $1 AND e.event_time = k.at AND e.event_id = k.event
      AND (e.link_id = k.link OR (k.link IS NULL AND e.link_id IS NULL)) LIMIT 1) e
ORDER BY received_at DESC, event_id DESC
"""

_ELSEWHERE = f"""
SELECT {_EVENT} FROM profile.event
WHERE workspace_id = $1 AND event_id = ANY($2::uuid[]) AND received_at < now() - interval '7 days'
ORDER BY received_at DESC, event_id DESC
"""

_ACCOUNT = "SELECT version, traits FROM profile.account WHERE workspace_id = $1 AND account_id = $2 AND version > 0"

_VERSION = "SELECT version FROM profile.profile WHERE workspace_id = $1 AND profile_id = $2"


class Event(NamedTuple):
    """One touchpoint of the history."""

    event_id: bytes
    link_id: bytes | None
    event_time: datetime
    received_at: datetime
    folded_at: datetime
    touchpoint: str
    """The `Accepted` record as JSON."""


class Account(NamedTuple):
    """What group calls said of an account."""

    version: int
    traits: msgspec.Raw


async def profile_of(connection: Any, workspace: int, profile: bytes) -> Profile:
    """The fold over the links that are this person's by the present pointers; an empty one for somebody of whom there
    is no touchpoint."""
    spans = await spans_of(connection, workspace, [profile])
    keys = sorted({(span.link, span.slice or NO_SLICE) for span in spans})
    if not keys:
        return fold(())
    links, slices = zip(*keys, strict=True)
    states: dict[tuple[bytes, bytes], State] = {}
    counters: dict[tuple[bytes, bytes], dict[str, Seen]] = {}
    for row in await connection.fetch(_LINK_STATES, workspace, links, slices):
        states[row["link_id"], row["slice"]] = decode(row["state"])
    for row in await connection.fetch(_COUNTERS, workspace, links, slices):
        counters.setdefault((row["link_id"], row["slice"]), {})[row["canonical_name"]] = Seen(
            row["touchpoints"], to_ms(row["first_seen"]), to_ms(row["last_seen"]))
    return fold(LinkState(states.get(key, State()), counters.get(key, {})) for key in keys)


async def version_of(connection: Any, workspace: int, profile: bytes) -> int:
    """0: there is no document (yet)."""
    return await connection.fetchval(_VERSION, workspace, profile) or 0


async def account(connection: Any, workspace: int, account_id: str) -> Account | None:
    row = await connection.fetchrow(_ACCOUNT, workspace, account_id)
    return Account(row["version"], msgspec.Raw(row["traits"].encode())) if row else None


async def newest_events(connection: Any, workspace: int, *, source: str | None, canonical_name: str | None,
                        since: datetime | None, until: datetime | None, before: tuple[datetime, bytes] | None,
                        limit: int) -> list[Event]:
    """By receipt, newest first, in [since, until); `before` = (received_at, event id) of the last of a page."""
    rows = await connection.fetch(
        _NEWEST, workspace, source, canonical_name, since, until, before[0] if before else None,
        before[1] if before else None, limit)
    return [Event(*row) for row in rows]


async def events_by_id(connection: Any, workspace: int, events: Sequence[bytes]) -> list[Event]:
    """Newest first. De-duplication knows where a touchpoint of the last eight days stands; an older one is searched
    for."""
    places = await connection.fetch(_PLACES, workspace, list(events))
    if places:
        rows = await connection.fetch(_AT_PLACES, workspace, [row["event_id"] for row in places],
                                      [row["link_id"] for row in places], [row["event_time"] for row in places])
    else:
        rows = await connection.fetch(_ELSEWHERE, workspace, list(events))
    return [Event(*row) for row in rows]

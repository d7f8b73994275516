"""Touchpoints as the query API shows them, and the list of the newest."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from percorso_profile import views
from percorso_services.profile_api import shapes
from percorso_services.profile_api.access import Reader
from percorso_services.profile_api.answer import page
from percorso_services.profile_api.parameters import (
    Cursor,
    From,
    Limit,
    Text,
    To,
    instant,
    iso,
    iso_ms,
    make_cursor,
    read_cursor,
)
from percorso_shared.history import PastTouchpoint, people_of_links
from percorso_shared.ids import EventId, event_id
from percorso_shared.names import canonical_name
from percorso_shared.topics import ACCEPTED_DECODER, Accepted

router = APIRouter(tags=["events"])

_SOURCES = """
SELECT name FROM ingest.sources WHERE workspace_id = $1
UNION SELECT DISTINCT source FROM bus.accounting WHERE workspace_id = $1
"""


def event_of(touchpoint: Accepted, *, profile: bytes | None, life: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": touchpoint.event_id, "message_id": touchpoint.message_id, "source": touchpoint.source,
        "type": touchpoint.type, "name": touchpoint.name, "profile": profile.hex() if profile else None,
        "timestamp": iso_ms(touchpoint.timestamp), "original_timestamp": touchpoint.original_timestamp,
        "received_at": iso_ms(touchpoint.received_at), "account": touchpoint.account,
        "identifiers": [{"type": type_, "value": value} for type_, value in touchpoint.identifiers],
        "properties": touchpoint.properties, "context": touchpoint.context, "traits": touchpoint.traits,
        "set_once": touchpoint.set_once, "add": touchpoint.add, "flags": touchpoint.flags, "life": life}


def past_event(past: PastTouchpoint) -> dict[str, Any]:
    return event_of(ACCEPTED_DECODER.decode(past.touchpoint), profile=past.person,
                    life=_life(iso_ms(past.received_at), iso_ms(past.folded_at)))


def _life(received_at: str | None, folded_at: str | None) -> list[dict[str, Any]]:
    """The stages that left their mark with the touchpoint."""
    return [{"stage": "ingest_api", "at": received_at}, {"stage": "profile_worker", "at": folded_at}]


@router.get("/v1/events", response_model=shapes.Page[shapes.Event])
async def list_events(request: Request, grant: Reader, message_id: Text = None, source: Text = None, name: Text = None,
                      since: From = None, to: To = None, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Touchpoints that are part of their profiles, newest receipt first. With `message_id`: that one, of `source` or of
    whatever source sent it. `name` in any spelling: `Order Completed` is `order_completed`."""
    begin, end, before = instant("from", since), instant("to", to), read_cursor("events", cursor)
    async with request.app.state.pool.acquire() as connection:
        if message_id is not None:
            events = [event for event in await views.events_by_id(
                connection, grant.workspace, await _ids_of(connection, grant.workspace, source, message_id))
                if (begin is None or event.received_at >= begin) and (end is None or event.received_at < end)]
            more = False
        else:
            events = await views.newest_events(
                connection, grant.workspace, source=source, canonical_name=canonical_name(name) if name else None,
                since=begin, until=end, before=before, limit=limit + 1)
            more, events = len(events) > limit, events[:limit]
        people = await people_of_links(
            connection, grant.workspace, [(event.link_id, event.event_time) for event in events])
    shown = [
        event_of(ACCEPTED_DECODER.decode(event.touchpoint), profile=person,
                 life=_life(iso(event.received_at), iso(event.folded_at)))
        for event, person in zip(events, people, strict=True)]
    return page(shown, make_cursor("events", events[-1].received_at, events[-1].event_id) if more else None)


async def _ids_of(connection: Any, workspace: int, source: str | None, message_id: str) -> list[EventId]:
    """An event id is the hash of source and message id, so without a source each one is tried."""
    sources = [source] if source is not None else [row["name"] for row in await connection.fetch(_SOURCES, workspace)]
    return [event_id(workspace, name, message_id) for name in sources]


@router.get("/v1/sources", tags=["sources"], response_model=shapes.Page[shapes.Source])
async def list_sources(request: Request, grant: Reader) -> Response:
    """Who sends touchpoints. Write keys are not shown: `percorso keys`."""
    rows = await request.app.state.pool.fetch(
        "SELECT name, kind, enabled, aliases, created_at FROM ingest.sources WHERE workspace_id = $1 ORDER BY name",
        grant.workspace)
    return page([{"name": row["name"], "kind": row["kind"], "enabled": row["enabled"], "aliases": row["aliases"],
                  "created_at": iso(row["created_at"])} for row in rows], None)

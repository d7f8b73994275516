"""GET /v1/profiles: one person, folded at the moment of asking from the states of the links that are theirs."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from percorso_profile import views
from percorso_profile.fold import Profile, Said, State
from percorso_services.profile_api import people, shapes
from percorso_services.profile_api.access import Administrator, Reader
from percorso_services.profile_api.address import find_profile
from percorso_services.profile_api.answer import answer, page
from percorso_services.profile_api.events import past_event
from percorso_services.profile_api.journeys import runs_of_person, sends_of_person, sorted_page
from percorso_services.profile_api.parameters import (
    Cursor,
    From,
    Limit,
    Text,
    To,
    instant,
    iso_ms,
    make_cursor,
    read_cursor,
)
from percorso_services.profile_api.problems import BadRequest, NotFound
from percorso_services.profile_api.receipt import After, wait_until_folded
from percorso_shared.clock import to_datetime, to_ms
from percorso_shared.history import scan
from percorso_shared.names import canonical_name
from percorso_shared.stores import erase_person, export_person

router = APIRouter(tags=["profiles"])

DEFAULT_SECTIONS = ("traits", "identifiers", "account")
NEWEST = 50
"""Events, messages and runs inside a profile; their own addresses give pages of all."""

Include = Annotated[str | None, Query(
    max_length=200, description="sections, with commas: traits, provenance, identifiers, events, links, account, "
                                "messages, journeys; by default traits, identifiers and account")]


class _Asked:
    """One person, and what has been read of them so far."""

    def __init__(self, connection: Any, workspace: int, profile_id: bytes, profile: Profile) -> None:
        self.connection, self.workspace, self.profile_id, self.profile = connection, workspace, profile_id, profile


async def _traits(asked: _Asked) -> dict[str, Any]:
    return {"traits": asked.profile.traits, "sets": asked.profile.sets, "consent": asked.profile.consent}


async def _provenance(asked: _Asked) -> dict[str, Any]:
    return {"provenance": provenance_of(asked.profile.state)}


async def _identifiers(asked: _Asked) -> dict[str, Any]:
    return {"identifiers": await people.identifiers(asked.connection, asked.workspace, asked.profile_id)}


async def _events(asked: _Asked) -> dict[str, Any]:
    past = await scan(asked.connection, asked.workspace, [asked.profile_id], limit=NEWEST)
    return {"events": [past_event(touchpoint) for touchpoint in reversed(past)]}


async def _links(asked: _Asked) -> dict[str, Any]:
    return {"links": await people.links(asked.connection, asked.workspace, asked.profile_id)}


async def _account(asked: _Asked) -> dict[str, Any]:
    account = asked.profile.account
    found = await views.account(asked.connection, asked.workspace, account) if account is not None else None
    return {"account": None if account is None else {
        "id": account, "version": found.version if found else 0, "traits": found.traits if found else {}}}


async def _messages(asked: _Asked) -> dict[str, Any]:
    found = await sends_of_person(asked.connection, asked.workspace, asked.profile_id, None, NEWEST)
    return {"messages": [item for item, _ in found]}


async def _journeys(asked: _Asked) -> dict[str, Any]:
    found = await runs_of_person(asked.connection, asked.workspace, asked.profile_id, None, NEWEST)
    return {"journeys": [item for item, _ in found]}


SECTIONS: Mapping[str, Callable[[_Asked], Awaitable[dict[str, Any]]]] = {
    "traits": _traits, "provenance": _provenance, "identifiers": _identifiers, "events": _events, "links": _links,
    "account": _account, "messages": _messages, "journeys": _journeys}


def provenance_of(state: State) -> dict[str, Any]:
    """Trait -> where its value comes from, and what lost against it (newest first; of a first writer: oldest first)."""

    def told(said: Said) -> dict[str, Any]:
        return {"value": said.value, "source": said.source, "event": said.event, "at": iso_ms(said.at)}

    shown: dict[str, Any] = {}
    for name in sorted({*state.set, *state.once}):
        kept = [*((said, "set") for said in state.set.get(name, ())),
                *((said, "set_once") for said in state.once.get(name, ()))]
        (winner, how), *losers = kept
        shown[name] = told(winner) | {"by": how, "lost": [told(said) | {"by": by} for said, by in losers]}
    for name, elements in sorted(state.add.items()):
        shown.setdefault(name, {"by": "add", "elements": [told(said) for said in elements]})
    for purpose, (word, *before) in sorted(state.consent.items()):
        shown[f"consent.{purpose}"] = told(word) | {"by": "consent", "lost": [told(said) for said in before]}
    return shown


async def _ask(connection: Any, workspace: int, address: str) -> _Asked:
    profile_id = await find_profile(connection, workspace, address)
    return _Asked(connection, workspace, profile_id, await views.profile_of(connection, workspace, profile_id))


@router.get("/v1/profiles/{address}", response_model=shapes.Profile)
async def get_profile(request: Request, grant: Reader, address: str, include: Include = None, after: After = None,
                      ) -> Response:
    """By any identifier (`email:ada@example.com`), by profile id, or by user id. An old id of a merged profile leads to
    the present one."""
    wanted = [name.strip() for name in include.split(",") if name.strip()] if include else DEFAULT_SECTIONS
    for name in wanted:
        if name not in SECTIONS:
            raise BadRequest(f"include: {name!r} is none of {', '.join(SECTIONS)}")
    await wait_until_folded(request, after)
    async with request.app.state.pool.acquire() as connection:
        asked = await _ask(connection, grant.workspace, address)
        profile = asked.profile
        answered: dict[str, Any] = {
            "id": asked.profile_id.hex(),
            "version": await views.version_of(connection, grant.workspace, asked.profile_id),
            "counters": {"touchpoints": profile.touchpoints, "by_name": profile.by_name},
            "first_seen": iso_ms(profile.first_seen), "last_seen": iso_ms(profile.last_seen)}
        for name in SECTIONS:
            if name in wanted:
                answered |= await SECTIONS[name](asked)
    return answer(answered)


@router.get("/v1/profiles/{address}/events", response_model=shapes.Page[shapes.Event])
async def get_events(request: Request, grant: Reader, address: str, name: Text = None, since: From = None,
                     to: To = None, limit: Limit = 100, cursor: Cursor = None, after: After = None) -> Response:
    """Everything this person did, newest event time first."""
    begin, end, before = instant("from", since), instant("to", to), read_cursor("person", cursor)
    await wait_until_folded(request, after)
    async with request.app.state.pool.acquire() as connection:
        profile_id = await find_profile(connection, grant.workspace, address)
        past = await scan(
            connection, grant.workspace, [profile_id], [canonical_name(name)] if name else None,
            to_ms(begin) if begin else None, to_ms(end) if end else None,
            before=(to_ms(before[0]), before[1]) if before else None, limit=limit + 1)
    newest = past[::-1][:limit]
    last = newest[-1] if len(past) > limit else None
    return page([past_event(touchpoint) for touchpoint in newest],
                make_cursor("person", to_datetime(last.event_time), last.event_id) if last else None)


@router.get("/v1/profiles/{address}/messages", response_model=shapes.Page[shapes.Send])
async def get_messages(request: Request, grant: Reader, address: str, limit: Limit = 100, cursor: Cursor = None,
                       after: After = None) -> Response:
    """What was sent to this person, or planned, or not sent and why: newest first."""
    before = read_cursor("messages", cursor)
    await wait_until_folded(request, after)
    async with request.app.state.pool.acquire() as connection:
        profile_id = await find_profile(connection, grant.workspace, address)
        found = await sends_of_person(connection, grant.workspace, profile_id, before, limit + 1)
    return sorted_page(found, "messages", limit)


@router.get("/v1/profiles/{address}/journeys", response_model=shapes.Page[shapes.Run])
async def get_journeys(request: Request, grant: Reader, address: str, limit: Limit = 100, cursor: Cursor = None,
                       after: After = None) -> Response:
    """This person's runs through journeys, newest entry first."""
    before = read_cursor("journeys", cursor)
    await wait_until_folded(request, after)
    async with request.app.state.pool.acquire() as connection:
        profile_id = await find_profile(connection, grant.workspace, address)
        found = await runs_of_person(connection, grant.workspace, profile_id, before, limit + 1)
    return sorted_page(found, "journeys", limit)


@router.get("/v1/profiles/{address}/export", response_model=dict[str, list[shapes.Object]])
async def export_profile(request: Request, grant: Administrator, address: str) -> Response:
    """Everything that is kept of this person, store by store."""
    async with request.app.state.pool.acquire() as connection, connection.transaction(
            isolation="repeatable_read", readonly=True):
        subject = await people.subject_of(
            connection, grant.workspace, await find_profile(connection, grant.workspace, address))
        return answer(await export_person(connection, subject))


@router.get("/v1/profiles/{address}/{section}", response_model=shapes.Section)
async def get_section(request: Request, grant: Reader, address: str, section: str, after: After = None) -> Response:
    """One section of a profile: traits (with sets and consent), provenance, identifiers, links or account."""
    if section not in SECTIONS:
        raise NotFound(f"a profile has no section {section!r}")
    await wait_until_folded(request, after)
    async with request.app.state.pool.acquire() as connection:
        return answer(await SECTIONS[section](await _ask(connection, grant.workspace, address)))


@router.delete("/v1/profiles/{address}", response_model=shapes.Erased)
async def erase_profile(request: Request, grant: Administrator, address: str) -> Response:
    """Erases this person from every store. Records on the bus and backups expire by retention."""
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        profile_id = await find_profile(connection, grant.workspace, address)
        erased = await erase_person(connection, await people.subject_of(connection, grant.workspace, profile_id))
    return answer({"id": profile_id.hex(), "erased": erased,
                   "bus_days": request.app.state.settings.retention_bus_days})



"""Why a journey did, or did not do, something for one person: the trace, gate by gate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from percorso_orchestrator.calendar import local
from percorso_orchestrator.catalogue import Catalogue, Current, read_catalogue
from percorso_orchestrator.definition import EntryByEvent
from percorso_orchestrator.entering import consider_entry
from percorso_orchestrator.load import event_from, load_worlds, priors
from percorso_orchestrator.model import Event
from percorso_orchestrator.world import Unreadable, World, key_of
from percorso_shared import history
from percorso_shared.clock import to_ms

LOOKED_AT = 20
"""The newest touchpoints that could have been entries."""


@dataclass(frozen=True, slots=True)
class Line:
    """One decision. `at` in ms since 1970."""

    at: int
    kind: str
    step: str | None
    reason: str | None
    detail: Mapping[str, Any]
    event_id: str | None


@dataclass(frozen=True, slots=True)
class RunStory:
    """One run, from entry to where it stands."""

    run_id: str
    version: int
    key: str
    state: str
    ended_reason: str | None
    ended_as: str | None
    entered_at: int
    ended_at: int | None
    step: str | None
    due_at: int | None
    goal_at: int | None
    trace: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Considered:
    """A touchpoint that could have been an entry, and what is to be said of it now."""

    event_id: str
    name: str
    at: int
    says: str


@dataclass(frozen=True, slots=True)
class Why:
    """The answer; everything in it is JSON-ready (`msgspec.to_builtins`)."""

    journey: str
    version: int
    state: str
    profile: str
    zone: str
    summary: str
    runs: tuple[RunStory, ...]
    not_entered: tuple[Line, ...]
    considered: tuple[Considered, ...]


_RUNS = """
SELECT DISTINCT r.run_id, r.version, r.key, r.state, r.ended_reason, r.ended_as, r.entered_at, r.ended_at, r.step,
       r.due_at, r.goal_at
FROM identity.pointers p
JOIN orchestrator.run r ON r.workspace_id = $1 AND r.atom = p.atom_id
WHERE p.workspace_id = $1 AND p.profile_id = $2 AND r.journey = $3
ORDER BY r.entered_at DESC, r.run_id LIMIT 50
"""

_TRACE = """
SELECT run_id, at, kind, step, reason, detail::text AS detail, event_id
FROM orchestrator.decision WHERE workspace_id = $1 AND run_id = ANY($2::uuid[]) ORDER BY decision_id
"""

_NOT_ENTERED = """
SELECT d.at, d.kind, d.step, d.reason, d.detail::text AS detail, d.event_id
FROM identity.pointers p
JOIN orchestrator.decision d ON d.workspace_id = $1 AND d.person = p.atom_id AND d.journey = $3 AND d.run_id IS NULL
WHERE p.workspace_id = $1 AND p.profile_id = $2 ORDER BY d.decision_id DESC LIMIT 20
"""


async def why_answer(connection: Any, workspace: int, profile: bytes, journey: str, now_ms: int) -> Why | None:
    """None if there is no such journey. `profile` is a present profile id."""
    catalogue = await read_catalogue(connection, workspace, 0)
    row = await connection.fetchrow(
        "SELECT version, state FROM orchestrator.journey WHERE workspace_id = $1 AND name = $2 AND state <> 'replaced'",
        workspace, journey)
    if row is None:
        return None
    runs = await connection.fetch(_RUNS, workspace, profile, journey)
    traces: dict[bytes, list[Line]] = {}
    for line in await connection.fetch(_TRACE, workspace, [run["run_id"] for run in runs]):
        traces.setdefault(line["run_id"], []).append(_line(line))
    stories = tuple(RunStory(
        run["run_id"].hex(), run["version"], run["key"], run["state"], run["ended_reason"], run["ended_as"],
        to_ms(run["entered_at"]), _ms(run["ended_at"]), run["step"], _ms(run["due_at"]), _ms(run["goal_at"]),
        tuple(traces.get(run["run_id"], ()))) for run in runs)
    refused = tuple(_line(line) for line in await connection.fetch(_NOT_ENTERED, workspace, profile, journey))
    version = row["version"]
    world, considered = await _consider(connection, catalogue, profile.hex(), journey, version, now_ms)
    zone = world.zone if world else "UTC"
    return Why(journey, version, row["state"], profile.hex(), zone,
               _summary(row["state"], stories, refused, considered, zone), stories, refused, considered)


def _ms(instant: Any) -> int | None:
    return None if instant is None else to_ms(instant)


def _line(row: Any) -> Line:
    return Line(to_ms(row["at"]), row["kind"], row["step"], row["reason"], msgspec.json.decode(row["detail"]),
                row["event_id"].hex() if row["event_id"] else None)


async def _consider(connection: Any, catalogue: Catalogue, person: str, journey: str, version: int,
                    now_ms: int) -> tuple[World | None, tuple[Considered, ...]]:
    """The person's newest touchpoints with the name of the entry, judged again."""
    definition = catalogue.versions[journey, version]
    entry = definition.entry
    versions = frozenset({(journey, version)})
    names = catalogue.history_names(versions)
    worlds = await load_worlds(connection, catalogue, {person}, versions, now_ms, now_ms)
    world = worlds.get(person)
    if world is None or not isinstance(entry, EntryByEvent):
        return world, ()
    past = await history.scan(connection, catalogue.workspace, [bytes.fromhex(person)], sorted(names | {entry.event}))
    events = [event_from(item.touchpoint) for item in past]
    world.history, world.history_from, world.history_names = events, None, None
    current = next((found for found in catalogue.entries.get(entry.event, ()) if found.definition.name == journey),
                   None)
    entered = {row["entry_event"].hex() for row in await connection.fetch(
        "SELECT r.entry_event FROM identity.pointers p JOIN orchestrator.run r ON r.workspace_id = $1 "
        "AND r.atom = p.atom_id WHERE p.workspace_id = $1 AND p.profile_id = $2 AND r.journey = $3 "
        "AND r.entry_event IS NOT NULL", catalogue.workspace, bytes.fromhex(person), journey)}
    newest = [event for event in events if event.canonical == entry.event][-LOOKED_AT:]
    return world, tuple([Considered(event.id, event.name, event.time, await _says(
        connection, catalogue, current, event, world, entered)) for event in reversed(newest)])


async def _says(connection: Any, catalogue: Catalogue, current: Current | None, event: Event, world: World,
                entered: set[str]) -> str:
    if event.id in entered:
        return "entered"
    if current is None:
        return "the journey is paused"
    key = key_of(current.definition, event, world)
    place = (world.person, current.definition.name, key[0] if key else "")
    try:
        earlier = (await priors(connection, catalogue.workspace, {place})).get(place, [])
        found = consider_entry(current.definition, event, earlier, world, published_at=current.published_at)
    except Unreadable as error:
        return f"could not be judged: {error}"
    if found.errors:
        return f"the condition fails: {found.errors[0]}"
    if found.enters:
        return "would enter now; it had not, when it came"
    entry = current.definition.entry
    where = entry.where.text if isinstance(entry, EntryByEvent) and entry.where else ""
    return found.refused or f"does not fit: {where or 'a message of another journey'}"


def _summary(state: str, runs: Sequence[RunStory], refused: Sequence[Line], considered: Sequence[Considered],
             zone: str) -> str:
    if runs:
        run = runs[0]
        if run.state == "active":
            until = f" until {_clock(run.due_at, zone)}" if run.due_at is not None else ""
            held = next((line for line in reversed(run.trace) if line.step == run.step), None)
            why = f" ({held.kind}{': ' + held.reason if held.reason else ''})" if held else ""
            return f"under way: in step {run.step}{why}{until}"
        how = f"exit {run.ended_as}" if run.ended_reason == "exit" else run.ended_reason
        return f"entered {len(runs)} time{'s' if len(runs) > 1 else ''}; the latest run ended: {how}"
    if state == "paused":
        return "never entered; the journey is paused"
    if refused:
        return f"never entered: {refused[0].reason}"
    if considered:
        return f"never entered: {considered[0].says}"
    return "never entered: there is no touchpoint with the name of the entry"


def _clock(instant: int | None, zone: str) -> str:
    if instant is None:
        return ""
    try:
        return f"{local(instant, zone):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return "for ever"


def tell(why: Why) -> Iterator[str]:
    """As text, on the person's wall clock."""
    yield f"{why.journey} (version {why.version}, {why.state}) for {why.profile}, clock of {why.zone}"
    yield why.summary
    for run in why.runs:
        key = f" key {run.key}" if run.key else ""
        yield ""
        yield f"run {run.run_id}{key}, version {run.version}: {run.state}" + (
            f", {run.ended_reason}" if run.ended_reason else "") + (f" {run.ended_as}" if run.ended_as else "")
        for line in run.trace:
            yield from _tell_line(line, why.zone)
    if why.not_entered:
        yield ""
        yield "not entered:"
        for line in why.not_entered:
            yield f"  {_clock(line.at, why.zone)}  {line.reason}"
    if not why.runs and why.considered:
        yield ""
        yield "touchpoints that could have been the entry:"
        for item in why.considered:
            yield f"  {_clock(item.at, why.zone)}  {item.name}: {item.says}"


def _tell_line(line: Line, zone: str) -> Iterator[str]:
    until = line.detail.get("until")
    reason = f": {line.reason}" if line.reason else ""
    ends = f" until {_clock(until, zone)}" if isinstance(until, int) else ""
    yield f"  {_clock(line.at, zone)}  {line.step or '':<14} {line.kind}{reason}{ends}"
    for gate in line.detail.get("gates", ()):
        more = f" ({gate['why']})" if gate.get("why") else ""
        yield f"      {gate['gate']:<18} {gate['says']}{more}"

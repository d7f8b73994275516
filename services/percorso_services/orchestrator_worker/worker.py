"""Touchpoints that are part of their profile move journeys. Every other touchpoint passes by at the cost of a look at
its name."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from percorso_orchestrator.catalogue import Catalogue, Catalogues, Current
from percorso_orchestrator.hold_table import HoldTable
from percorso_orchestrator.holds import hold_changes
from percorso_orchestrator.load import (
    event_from,
    listening,
    living_runs_of,
    lock_people,
    pointers,
    priors,
    runs_by_id,
)
from percorso_orchestrator.model import Event
from percorso_orchestrator.unit import JourneyWork, candidates, follow_pointers
from percorso_orchestrator.world import World, key_of
from percorso_services.orchestrator_worker.due import DueWork
from percorso_shared.bus.port import Batch, Bus, PoisonRecord, Stage, Stop, Tx
from percorso_shared.names import canonical_name
from percorso_shared.topics import FOLDED, SCHEMA

STAGE = "orchestrator_worker"


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Brief(msgspec.Struct, frozen=True):
    """Just enough of a `Folded` record to see whether a journey is concerned."""

    schema: int
    workspace: int
    kind: str
    home: str | None = None
    touchpoint: _Named = _Named()


class _Moves(msgspec.Struct, frozen=True):
    moves: list[tuple[str, str, str]]


class _Whole(msgspec.Struct, frozen=True):
    touchpoint: msgspec.Raw


_BRIEF = msgspec.json.Decoder(_Brief)
_MOVES = msgspec.json.Decoder(_Moves)
_WHOLE = msgspec.json.Decoder(_Whole)


@dataclass(frozen=True, slots=True)
class _Concerned:
    """A touchpoint that some journey may listen to."""

    home: str
    event: Event
    entries: tuple[Current, ...]


class OrchestratorWorker:
    """The handler and the tick of the stage."""

    def __init__(self, bus: Bus) -> None:
        self._catalogues = Catalogues()
        self.due = DueWork(bus, self._catalogues, STAGE)

    def stage(self) -> Stage:
        return Stage(STAGE, (FOLDED,), self.handle, self.due.tick)

    async def handle(self, batch: Batch, tx: Tx) -> None:
        briefs = _decode(batch)
        for workspace in sorted({brief.workspace for brief in briefs}):
            catalogue = await self._catalogues.current(tx.connection, workspace)
            if not catalogue.versions and not catalogue.hold_names:
                continue
            moves: dict[str, str] = {}
            concerned: list[_Concerned] = []
            heard = catalogue.heard
            for index, brief in enumerate(briefs):
                if brief.workspace != workspace:
                    continue
                if brief.kind == "touchpoint":
                    if brief.home is not None and canonical_name(brief.touchpoint.name) in heard:
                        concerned.append(_concerned(batch, index, brief.home, catalogue))
                elif brief.kind == "moved":
                    for atom, before, _ in _MOVES.decode(batch.records[index].value).moves:
                        moves.setdefault(atom, before)
            if concerned or moves:
                await self._work(tx, catalogue, concerned, moves)

    async def _work(self, tx: Tx, catalogue: Catalogue, concerned: Sequence[_Concerned],
                    moves: dict[str, str]) -> None:
        connection, workspace = tx.connection, catalogue.workspace
        atoms = {item.home for item in concerned} | moves.keys()
        people = await _lock(connection, workspace, atoms, set(moves.values()))
        known = [(people[item.home], item) for item in concerned if item.home in people]
        work = JourneyWork(connection, catalogue, tx.now_ms)
        moved_people = {people[atom] for atom in moves if atom in people} | set(moves.values())
        if moves:
            await follow_pointers(connection, workspace, moves, tx.now_ms)
            work.add_runs(await living_runs_of(connection, workspace, moved_people))
        ids = await listening(connection, workspace, {(person, item.event.canonical) for person, item in known})
        places = {(person, current.definition.name, key) for person, item in known for current in item.entries
                  if (key := _key(current, item.event)) is not None}
        if places:
            work.priors = await priors(connection, workspace, places)
            ids |= {prior.run_id for found in work.priors.values() for prior in found if prior.active}
        if ids:
            work.add_runs(await runs_by_id(connection, workspace, ids))
        holding = [pair for pair in known if pair[1].event.canonical in catalogue.hold_names]
        entering = [current for _, item in known for current in item.entries]
        if not work.runs and not entering and not holding:
            return
        interested = {person for person, item in known if item.entries} | {person for person, _ in holding} | {
            run.person for run in work.runs.values()}
        await work.read_worlds(interested, entering,
                               min((item.event.time for _, item in known), default=tx.now_ms))
        await work.reconcile(moved_people | work.people_that_moved)
        table = HoldTable(connection, workspace, work.worlds)
        if holding:
            await table.read((change.name, change.key) for person, item in holding
                             for change in hold_changes(catalogue.policies, item.event, work.worlds[person]))
        _play(work, table, [pair for pair in known if pair[0] in work.worlds])
        await work.write()
        await table.write(tx.now_ms)
        self.due.woken(tx, work)


def _play(work: JourneyWork, table: HoldTable, known: Sequence[tuple[str, _Concerned]]) -> None:
    """In the order of arrival: profile update (done by the profile worker; holds open here), exits, waits and resets,
    hold releases, entries."""
    for person, item in known:
        work.worlds[person].unseen.add(item.event.id)
    for person, item in known:
        event, world = item.event, work.worlds[person]
        world.unseen.discard(event.id)
        world.known_until = event.received
        changes = list(hold_changes(work.catalogue.policies, event, world)) \
            if event.canonical in work.catalogue.hold_names else []
        for change in changes:
            if change.what == "opens":
                table.apply(change, person, item.home, work.now_ms)
        work.hear(person, event)
        for change in changes:
            if change.what == "closes":
                table.apply(change, person, item.home, work.now_ms)
        work.let_in(person, item.home, event, item.entries)


def _decode(batch: Batch) -> list[_Brief]:
    briefs: list[_Brief] = []
    for record in batch.records:
        try:
            brief = _BRIEF.decode(record.value)
        except msgspec.DecodeError as error:
            raise PoisonRecord(record.position, "record_unreadable", str(error)) from error
        if not SCHEMA - 1 <= brief.schema <= SCHEMA:
            raise Stop(f"a record of {batch.topic} has schema {brief.schema}, this version reads {SCHEMA}")
        briefs.append(brief)
    return briefs


def _concerned(batch: Batch, index: int, home: str, catalogue: Catalogue) -> _Concerned:
    record = batch.records[index]
    try:
        event = event_from(_WHOLE.decode(record.value).touchpoint)
    except msgspec.DecodeError as error:
        raise PoisonRecord(record.position, "touchpoint_unreadable", str(error)) from error
    return _Concerned(home, event, candidates(catalogue, event))


def _key(current: Current, event: Event) -> str | None:
    """A key reads the touchpoint alone (`validate` sees to it)."""
    found = key_of(current.definition, event, World(person=""))
    return None if found is None else found[0]


async def _lock(connection: Any, workspace: int, atoms: Collection[str], more: set[str]) -> dict[str, str]:
    """atom -> person, read again once the people's rows are locked."""
    people = await pointers(connection, workspace, atoms)
    locked = set(people.values()) | more
    await lock_people(connection, workspace, locked)
    present = await pointers(connection, workspace, atoms)
    late = set(present.values()) - locked
    if late:
        await lock_people(connection, workspace, late)
    return present

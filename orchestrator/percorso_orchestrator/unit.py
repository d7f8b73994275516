"""One unit of work on some people of one workspace: what was read, what the interpreter made of it, what to write."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from percorso_orchestrator.catalogue import Catalogue, Current
from percorso_orchestrator.causes import Cause, Happened, Outcome
from percorso_orchestrator.definition import EntryByEvent
from percorso_orchestrator.entering import Entry, Prior, consider_entry
from percorso_orchestrator.interpret import advance, end_run, enter, resume, suspend
from percorso_orchestrator.load import StoredRun, as_bytes, living_runs_of, load_worlds, pointers
from percorso_orchestrator.model import Decision, Event, Run, Sending
from percorso_orchestrator.save import Changes, save
from percorso_orchestrator.world import World
from percorso_shared.clock import to_datetime


class JourneyWork:
    """The people's rows are locked by the caller. Runs are kept in entry order."""

    def __init__(self, connection: Any, catalogue: Catalogue, now_ms: int) -> None:
        self.connection, self.catalogue, self.now_ms = connection, catalogue, now_ms
        self.runs: dict[str, Run] = {}
        self.worlds: dict[str, World] = {}
        self.priors: dict[tuple[str, str, str], list[Prior]] = {}
        self.changes = Changes()
        self._before: dict[str, Run] = {}
        self._moved: set[str] = set()
        self._of_person: dict[str, list[str]] = {}

    # --- reading -------------------------------------------------------------------------------------------------

    def add_runs(self, stored: Iterable[StoredRun]) -> None:
        """Runs as they were read; one of a version that is not published is an error of ours."""
        for found in stored:
            run = found.run
            if run.run_id in self.runs:
                continue
            self.runs[run.run_id] = run
            self._before[run.run_id] = run
            if found.stored_person != run.person:
                self._moved.add(run.run_id)
                self.changes.runs[run.run_id] = run

    @property
    def people_that_moved(self) -> set[str]:
        """People who have runs that are stored under another person."""
        return {self.runs[run_id].person for run_id in self._moved}

    async def read_worlds(self, people: Collection[str], entering: Iterable[Current], earliest: int) -> None:
        """What is known of them, with the history that their runs may look at from `earliest` or the first entry on."""
        if self.people_that_moved:
            self.add_runs(await living_runs_of(self.connection, self.catalogue.workspace, self.people_that_moved))
        self._of_person = {}
        for run in sorted(self.runs.values(), key=lambda run: run.order):
            self._of_person.setdefault(run.person, []).append(run.run_id)
        versions = frozenset((run.journey, run.version) for run in self.runs.values()) | frozenset(
            (current.definition.name, current.version) for current in entering)
        earliest = min([earliest, *(run.entered_at for run in self.runs.values())])
        everybody = set(people) | {run.person for run in self.runs.values()}
        self.worlds = await load_worlds(self.connection, self.catalogue, everybody, versions, earliest, self.now_ms)
        for world in self.worlds.values():
            world.known_until = self.now_ms
        if any(self.catalogue.versions[version].has_split for version in versions):
            await self._read_exposures()

    async def _read_exposures(self) -> None:
        rows = await self.connection.fetch(
            "SELECT e.journey, e.step, e.atom, e.arm, p.profile_id FROM identity.pointers p "
            "JOIN orchestrator.exposure e ON e.workspace_id = $1 AND e.atom = p.atom_id "
            "WHERE p.workspace_id = $1 AND p.profile_id = ANY($2::uuid[])",
            self.catalogue.workspace, as_bytes(sorted(self.worlds)))
        for row in rows:
            self.worlds[row["profile_id"].hex()].exposures[row["journey"], row["step"], row["atom"].hex()] = row["arm"]

    # --- working -------------------------------------------------------------------------------------------------

    def advance(self, run_id: str, cause: Cause) -> None:
        run = self.runs[run_id]
        self._take(advance(self.catalogue.versions[run.journey, run.version], self.catalogue.policies, run, cause,
                           self.worlds[run.person], self.now_ms))

    def _take(self, outcome: Outcome) -> None:
        run = outcome.run
        if run.run_id not in self.runs:
            self._of_person.setdefault(run.person, []).append(run.run_id)
        self.runs[run.run_id] = run
        if outcome.decisions or outcome.sends or outcome.cancelled or run != self._before.get(run.run_id):
            self.changes.add(outcome)

    def hear(self, person: str, event: Event) -> None:
        """One touchpoint against the person's runs, in entry order."""
        for run_id in list(self._of_person.get(person, ())):
            run = self.runs[run_id]
            if run.state == "active" or (run.state == "ended" and run.goal_open):
                self.advance(run_id, Happened(event))

    def let_in(self, person: str, atom: str, event: Event, currents: Iterable[Current]) -> None:
        """Entries, the last thing that a touchpoint does."""
        world = self.worlds[person]
        for current in currents:
            definition = current.definition
            entry = consider_entry(definition, event, None, world, published_at=current.published_at)
            if entry.enters:
                place = (person, definition.name, entry.key)
                entry = consider_entry(definition, event, self._priors(place), world,
                                       published_at=current.published_at)
            self._refused(current, person, event, entry)
            if not entry.enters:
                continue
            if entry.restarts is not None and entry.restarts in self.runs:
                old = self.runs[entry.restarts]
                self._take(end_run(self.catalogue.versions[old.journey, old.version], self.catalogue.policies, old,
                                   "restarted", event.time, world, self.now_ms, event.id))
            self._take(enter(definition, self.catalogue.policies, event, entry, world, self.now_ms,
                             workspace=self.catalogue.workspace, version=current.version, atom=atom))

    def _priors(self, place: tuple[str, str, str]) -> list[Prior]:
        """Earlier runs of a key, as this unit of work has left them."""
        person, journey, key = place
        found = {prior.run_id: prior for prior in self.priors.get(place, ())}
        for run_id in self._of_person.get(person, ()):
            run = self.runs[run_id]
            if (run.journey, run.key) == (journey, key):
                found[run_id] = Prior(run_id, run.entered_at, run.state == "active")
        return sorted(found.values(), key=lambda prior: (prior.entered_at, prior.run_id))

    def _refused(self, current: Current, person: str, event: Event, entry: Entry) -> None:
        """Counted; in the trace of the person only where a person would ask why (an import of last year's touchpoints
        would fill it)."""
        name, version = current.definition.name, current.version
        for _ in entry.errors:
            self.changes.count(name, version, "error:condition")
        if entry.errors:
            self._note(name, version, person, event, "error", entry.errors[0])
        if entry.refused is None:
            return
        self.changes.count(name, version, f"refused:{entry.refused}")
        if entry.refused not in ("imported", "before publish", "received too late", "older than backdated"):
            self._note(name, version, person, event, "not entered", entry.refused)

    def _note(self, name: str, version: int, person: str, event: Event, kind: Any, reason: str) -> None:
        self.changes.decisions.append((name, version, None, person, Decision(
            event.time, kind, reason=reason, event_id=event.id)))

    # --- people that merged or split -----------------------------------------------------------------------------

    async def reconcile(self, people: Collection[str]) -> None:
        """Runs follow their entry touchpoint's person: of two with the same (journey, key) the older goes on, the newer
        is suspended; a suspended one resumes when its person is another one again. Every living run of these people
        has been read."""
        living = [self.runs[run_id] for person in sorted(people) for run_id in self._of_person.get(person, ())
                  if self.runs[run_id].state != "ended"]
        if not living:
            return
        older = await self._person_of_runs({run.merged_into for run in living if run.merged_into})
        groups: dict[tuple[str, str, str], list[Run]] = {}
        for run in living:
            stays = run.state == "suspended" and older.get(run.merged_into or "", run.person) == run.person
            if not stays:
                groups.setdefault((run.person, run.journey, run.key), []).append(run)
        for group in groups.values():
            group.sort(key=lambda run: run.order)
            first, *others = group
            if first.state == "suspended":
                self._resume(first)
            for other in others:
                self._suspend(other, first.run_id)

    async def _person_of_runs(self, ids: set[str]) -> dict[str, str]:
        if not ids:
            return {}
        rows = await self.connection.fetch(
            "SELECT run_id, atom, person FROM orchestrator.run WHERE workspace_id = $1 AND run_id = ANY($2::uuid[])",
            self.catalogue.workspace, as_bytes(sorted(ids)))
        present = await pointers(self.connection, self.catalogue.workspace, {row["atom"].hex() for row in rows})
        return {row["run_id"].hex(): present.get(row["atom"].hex(), row["person"].hex()) for row in rows}

    def _suspend(self, run: Run, into: str) -> None:
        if run.state == "suspended":
            self.runs[run.run_id] = self.changes.runs[run.run_id] = replace(run, merged_into=into)
            return
        if isinstance(run.parked, Sending):
            self.changes.parked.add(run.parked.send_id)
        self._take(suspend(self.catalogue.versions[run.journey, run.version], self.catalogue.policies, run, self.now_ms,
                           self.worlds[run.person], into))

    def _resume(self, run: Run) -> None:
        self._take(resume(self.catalogue.versions[run.journey, run.version], self.catalogue.policies, run, self.now_ms,
                          self.worlds[run.person]))
        resumed = self.runs[run.run_id]
        if isinstance(resumed.parked, Sending):
            self.changes.released.add(resumed.parked.send_id)

    # --- writing -------------------------------------------------------------------------------------------------

    async def write(self) -> None:
        """Everything, in the caller's transaction."""
        if self._moved:
            await self.connection.execute(
                "UPDATE orchestrator.run SET state = 'suspended' WHERE workspace_id = $1 AND run_id = ANY($2::uuid[]) "
                "AND state = 'active'", self.catalogue.workspace, as_bytes(sorted(self._moved)))
        await save(self.connection, self.catalogue, self.changes, self._before, self.now_ms)


def candidates(catalogue: Catalogue, event: Event) -> tuple[Current, ...]:
    """Journeys that a touchpoint may enter, as far as the touchpoint alone says."""
    return tuple(current for current in catalogue.entries.get(event.canonical, ())
                 if _may_enter(current, event))


_ALONE = World(person="")


def _may_enter(current: Current, event: Event) -> bool:
    entry = current.definition.entry
    assert isinstance(entry, EntryByEvent)
    where = entry.where
    if where is None or where.calls or any(path.partition(".")[0] not in ("event", "context") for path in where.reads):
        return True
    return consider_entry(current.definition, event, None, _ALONE, published_at=current.published_at) != Entry(False)


async def follow_pointers(connection: Any, workspace: int, moves: Mapping[str, str], now_ms: int) -> None:
    """What is kept of the past follows its person too: ended runs and sends (they count for caps by their atom)."""
    atoms = as_bytes(sorted(moves))
    await connection.execute(
        "UPDATE orchestrator.run r SET person = p.profile_id, updated_at = $3 FROM identity.pointers p "
        "WHERE r.workspace_id = $1 AND r.atom = ANY($2::uuid[]) AND r.state = 'ended' AND p.workspace_id = $1 "
        "AND p.atom_id = r.atom AND p.profile_id <> r.person", workspace, atoms, to_datetime(now_ms))
    await connection.execute(
        "UPDATE orchestrator.send s SET person = p.profile_id FROM identity.pointers p "
        "WHERE s.workspace_id = $1 AND s.atom = ANY($2::uuid[]) AND p.workspace_id = $1 "
        "AND p.atom_id = s.atom AND p.profile_id <> s.person", workspace, atoms)

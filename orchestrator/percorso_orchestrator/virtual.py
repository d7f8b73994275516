"""Journeys on a virtual clock: the production interpreter, with people, history and ledger in memory.

Sends settle at once. Absence is judged when the clock passes deadline + lateness, as in production.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from percorso_orchestrator.calendar import add, choose_zone
from percorso_orchestrator.causes import Due, Happened, Judge, Outcome, Settled
from percorso_orchestrator.definition import Definition, Policies
from percorso_orchestrator.entering import Prior, consider_entry
from percorso_orchestrator.expressions import Expression
from percorso_orchestrator.gates import OpenHold
from percorso_orchestrator.holds import hold_changes
from percorso_orchestrator.interpret import advance, end_run, enter
from percorso_orchestrator.model import Decision, Event, Json, Run, SendChange, Sending, Waiting
from percorso_orchestrator.world import World, answers, fits, variables
from percorso_shared.names import canonical_name


@dataclass(slots=True)
class Person:
    """Somebody on the virtual clock."""

    id: str
    traits: dict[str, Json] = field(default_factory=dict)
    consent: dict[str, bool] = field(default_factory=dict)
    account: str | None = None
    account_traits: dict[str, Json] = field(default_factory=dict)
    history: list[Event] = field(default_factory=list)

    @property
    def zone(self) -> str:
        return choose_zone(self.traits.get("timezone"), self.traits.get("tz"), self.account_traits.get("timezone"))


@dataclass(slots=True)
class _Hold:
    name: str
    key: str
    person: str
    account: str | None
    covers_account: bool
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Sent:
    """A ledger row on the virtual clock."""

    person: str
    journey: str
    run_id: str
    change: SendChange
    at: int


@dataclass(frozen=True, slots=True)
class Traced:
    """A decision, and whose."""

    person: str
    journey: str
    run_id: str
    decision: Decision


@dataclass(slots=True)
class VirtualClock:
    """Several journeys and people. Feed it with `arrive` in the order of arrival; `run_to` lets time pass."""

    journeys: Sequence[tuple[Definition, int | None]]
    """With the instant of publishing; None = always published."""
    policies: Policies
    people: dict[str, Person]
    lateness: int = 0
    workspace: int = 1
    now: int = 0
    runs: dict[str, Run] = field(default_factory=dict)
    """In the order of their beginning."""
    rows: dict[str, SendChange] = field(default_factory=dict)
    """The ledger's newest state: send id -> row."""
    sent: list[Sent] = field(default_factory=list)
    skipped: list[Sent] = field(default_factory=list)
    trace: list[Traced] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    card_gone: dict[str, int] = field(default_factory=dict)
    """run id -> instant of an exit event after the run had finished."""
    _holds: dict[tuple[str, str], _Hold] = field(default_factory=dict)
    _settling: list[str] = field(default_factory=list)
    _exposures: dict[tuple[str, str, str], str] = field(default_factory=dict)

    # --- time ----------------------------------------------------------------------------------------------------

    def run_to(self, instant: int) -> None:
        """Fires everything that is due up to and at `instant`."""
        while (due := self._next_due()) is not None and due <= instant:
            self.now = max(self.now, due)
            self._fire()
        self.now = max(self.now, instant)

    def _wake_of(self, run: Run) -> int | None:
        match run.parked:
            case Waiting(deadline=deadline, retry=retry) if deadline is not None:
                return deadline if retry else deadline + self.lateness
            case Sending(send_id=send_id, held=True):
                return self.rows[send_id].not_before
        return None

    def _active(self) -> list[Run]:
        return sorted((run for run in self.runs.values() if run.state == "active"), key=lambda run: run.order)

    def _next_due(self) -> int | None:
        wakes = [wake for run in self._active() if (wake := self._wake_of(run)) is not None]
        return min(wakes, default=None)

    def _fire(self) -> None:
        """Everything due by now: held sends first (the longer held before), then timers, each in entry order."""
        due = [(run, wake) for run in self._active() if (wake := self._wake_of(run)) is not None and wake <= self.now]
        held = [(run, wake) for run, wake in due if isinstance(run.parked, Sending)]
        held.sort(key=lambda pair: (pair[1], pair[0].parked.wanted_at))  # type: ignore[union-attr]  # Sending, see above
        for run, wake in held:
            assert isinstance(run.parked, Sending)
            self._advance(run.run_id, Judge(run.parked.send_id, wake))
        timers = [(run, wake) for run, wake in due if isinstance(run.parked, Waiting)]
        timers.sort(key=lambda pair: pair[1])
        for run, _ in timers:
            self._advance(run.run_id, Due(run.generation))
        self._settle()

    # --- touchpoints ---------------------------------------------------------------------------------------------

    def arrive(self, *arrivals: tuple[str, Event]) -> None:
        """(who, event) of one instant, worked through before anything is sent; what is due before that instant, or at
        it, comes first."""
        for who, event in arrivals:
            self.run_to(event.received)
            self._receive(who, event)
        self._settle()
        self.run_to(self.now)

    def _receive(self, who: str, event: Event) -> None:
        person = self.people[who]
        self._update_profile(person, event)
        released = self._update_holds(person, event)
        for run in sorted((run for run in self.runs.values() if run.person == who), key=lambda run: run.order):
            if run.state == "active" or run.goal_open:
                self._advance(run.run_id, Happened(event))
            if run.state == "ended" and run.ended_reason == "finished" and run.run_id not in self.card_gone:
                definition = self._definition(run.journey)
                if any(fits(definition, exit_, run, event, self.world(person), []) for exit_ in definition.exits):
                    self.card_gone[run.run_id] = event.time
        for name, key in released:
            self._release(name, key, event.time)
        for definition, published_at in self.journeys:
            self._enter(definition, published_at, person, event)

    def _update_profile(self, person: Person, event: Event) -> None:
        purpose = event.properties.get("purpose")
        if event.canonical in ("consent_given", "consent_withdrawn") and isinstance(purpose, str):
            person.consent[purpose] = event.canonical == "consent_given"
        if event.canonical in ("identified", "identify"):
            traits = event.properties.get("traits")
            person.traits.update(traits if isinstance(traits, dict) else {})
        person.history.append(event)
        person.history.sort(key=lambda known: (known.time, known.id))

    def _update_holds(self, person: Person, event: Event) -> list[tuple[str, str]]:
        """Opens holds at once; returns those that close."""
        closing: list[tuple[str, str]] = []
        for change in hold_changes(self.policies, event, self.world(person)):
            place = (change.name, change.key)
            if change.what == "closes":
                closing.append(place)
                continue
            there = self._holds.get(place)
            if there is None or (there.expires_at is not None and there.expires_at <= self.now):
                self._holds[place] = _Hold(change.name, change.key, person.id, person.account, change.covers_account,
                                           change.expires_at)
        return closing

    def _release(self, name: str, key: str, at: int) -> None:
        hold = self._holds.pop((name, key), None)
        if hold is None:
            return
        held = [run for run in self._active() if isinstance(run.parked, Sending) and run.parked.gate == "hold"
                and self._covers(hold, self.people[run.person])]
        held.sort(key=lambda run: run.parked.wanted_at)  # type: ignore[union-attr]  # Sending, see above
        for run in held:
            assert isinstance(run.parked, Sending)
            self._advance(run.run_id, Judge(run.parked.send_id, at))

    def _covers(self, hold: _Hold, person: Person) -> bool:
        return hold.person == person.id or (
            hold.covers_account and hold.account is not None and hold.account == person.account)

    def _enter(self, definition: Definition, published_at: int | None, person: Person, event: Event) -> None:
        world = self.world(person)
        entry = consider_entry(definition, event, None, world, published_at=published_at)
        if entry.enters:
            priors = [Prior(run.run_id, run.entered_at, run.state == "active") for run in self.runs.values()
                      if (run.person, run.journey, run.key) == (person.id, definition.name, entry.key)]
            entry = consider_entry(definition, event, priors, world, published_at=published_at)
        if entry.refused:
            self._count(f"refused:{entry.refused}")
        if not entry.enters:
            return
        if entry.restarts:
            old = self.runs[entry.restarts]
            self._write(end_run(definition, self.policies, old, "restarted", event.time, world, self.now, event.id))
        self._write(enter(definition, self.policies, event, entry, world, self.now, workspace=self.workspace,
                          version=1, atom=person.id))

    # --- one step of one run -------------------------------------------------------------------------------------

    def world(self, person: Person) -> World:
        cap_sends: dict[str, list[int]] = {}
        for sent in self.sent:
            if sent.person == person.id and sent.change.cap_group is not None:
                cap_sends.setdefault(sent.change.cap_group, []).append(sent.change.due_at)
        for send_id in self._settling:
            row, run = self.rows[send_id], self._run_of(send_id)
            if run is not None and run.person == person.id and row.cap_group is not None:
                cap_sends.setdefault(row.cap_group, []).append(row.due_at)
        return World(
            person=person.id, traits=person.traits, consent=person.consent, account=person.account,
            account_traits=person.account_traits, zone=person.zone, history=person.history,
            holds=[OpenHold(hold.name, hold.key, hold.expires_at) for hold in self._holds.values()
                   if self._covers(hold, person)],
            cap_sends=cap_sends, exposures=self._exposures)

    def _run_of(self, send_id: str) -> Run | None:
        return next((run for run in self.runs.values()
                     if isinstance(run.parked, Sending) and run.parked.send_id == send_id), None)

    def _definition(self, name: str) -> Definition:
        return next(definition for definition, _ in self.journeys if definition.name == name)

    def _advance(self, run_id: str, cause: Happened | Due | Judge | Settled) -> None:
        run = self.runs[run_id]
        self._write(advance(self._definition(run.journey), self.policies, run, cause,
                            self.world(self.people[run.person]), self.now))

    def _write(self, outcome: Outcome) -> None:
        run = outcome.run
        self.runs[run.run_id] = run
        for decision in outcome.decisions:
            self.trace.append(Traced(run.person, run.journey, run.run_id, decision))
        for name, n in (outcome.counts or {}).items():
            self._count(name, n)
        for change in outcome.sends:
            self.rows[change.send_id] = change
            if change.state == "skipped":
                self.skipped.append(Sent(run.person, run.journey, run.run_id, change, change.due_at))
            elif change.state == "planned":
                self._settling.append(change.send_id)
        for send_id in outcome.cancelled:
            if send_id in self.rows:
                self.rows[send_id] = replace(self.rows[send_id], state="skipped", reason="run ended")

    def _settle(self) -> None:
        """What is planned is sent at once, in the order of planning."""
        while self._settling:
            send_id = self._settling.pop(0)
            run, change = self._run_of(send_id), self.rows[send_id]
            if run is None or change.state != "planned":
                continue
            self.sent.append(Sent(run.person, run.journey, run.run_id, change, change.due_at))
            self._advance(run.run_id, Settled(send_id, change.step, "sent", change.due_at))

    def _count(self, name: str, n: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + n

    # --- the operator's card -------------------------------------------------------------------------------------

    def card(self, who: str, journey: str) -> Mapping[str, Json] | None:
        """What an operator sees now of the person's newest run that has a card."""
        definition = self._definition(journey)
        card = definition.card
        if card is None:
            return None
        person = self.people[who]
        for run in reversed([run for run in self.runs.values() if (run.person, run.journey) == (who, journey)]):
            if run.state == "ended":
                assert run.ended_at is not None
                if run.ended_reason != "finished" or run.run_id in self.card_gone or card.keep is None or \
                        self.now >= add(run.ended_at, card.keep, person.zone):
                    continue
            elif run.state != "active":
                continue
            return {name: self._show(definition, expression, run, person) for name, expression in card.show.items()}
        return None

    def _show(self, definition: Definition, expression: Expression, run: Run, person: Person) -> Json:
        world = self.world(person)
        return expression.evaluate(person=person.traits, account=person.account_traits, run=variables(run),
                                   functions=answers(definition, expression, run, world, self.now, True)).value


def make_event(event_id: str, name: str, time: int, received: int, properties: Mapping[str, Json]) -> Event:
    """A touchpoint on the virtual clock."""
    return Event(event_id, name, canonical_name(name), time, received, dict(properties))

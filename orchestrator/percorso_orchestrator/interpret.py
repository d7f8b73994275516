"""The interpreter: what a run does next. Pure: no input, no output, time is an argument. Production, tests and preview
use this one.

`enter` starts a run, `advance` moves it by a cause. Both return the run's new state, what to write into the ledger and
the trace. A run is parked in a wait or at an outward step whenever they return, or it has ended.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from percorso_orchestrator.calendar import add, next_allowed
from percorso_orchestrator.causes import Cause, Due, Happened, Judge, Outcome, Settled
from percorso_orchestrator.definition import (
    Branch,
    Definition,
    End,
    EventMatch,
    Notify,
    Outward,
    Policies,
    Policy,
    Repeat,
    SetTraits,
    Split,
    Wait,
)
from percorso_orchestrator.entering import Entry
from percorso_orchestrator.expressions import Expression
from percorso_orchestrator.gates import RETRY_MS, Verdict, judge
from percorso_orchestrator.model import (
    Decision,
    DecisionKind,
    EndedReason,
    Event,
    Json,
    Kept,
    Run,
    SendChange,
    Sending,
    Waiting,
    run_id_of,
    send_id_of,
)
from percorso_orchestrator.render import Rendered, render
from percorso_orchestrator.world import World, answers, event_variables, fits, is_of_run, variables

# --- entering and going on ------------------------------------------------------------------------------------------


def enter(definition: Definition, policies: Policies, event: Event, entry: Entry, world: World, now: int, *,
          workspace: int, version: int, atom: str) -> Outcome:
    """The new run, gone on to where it first waits."""
    at = event.time
    goal_until = None
    if definition.goal and definition.goal.within:
        goal_until = add(at, definition.goal.within, world.zone)
    run = Run(
        run_id=run_id_of(workspace, definition.name, event.id), journey=definition.name, version=version,
        person=world.person, person_at_entry=world.person, atom=atom, key=entry.key, key_value=entry.key_value,
        entered_at=at, entry_event=event.id, entry=dict(event.properties), at=at, goal_until=goal_until,
        goal_open=definition.goal is not None,
        keep={name: Kept(at, event.id, dict(event.properties))
              for name, kept in definition.keep.items() if kept == event.canonical})
    walk = _Walk(definition, policies, run, world, now)
    walk.event = event
    walk.decide("entered", at, detail={"key": entry.key} if entry.key else {}, event_id=event.id)
    walk.count("entered")
    heard = definition.names_while_active()
    if heard:
        for known in world.known(heard, at):
            if known.id != event.id:
                walk.hear_always(known)
    if walk.run.state == "active":
        walk.go(definition.first, at, by_event=True)
    return walk.outcome()


def advance(definition: Definition, policies: Policies, run: Run, cause: Cause, world: World, now: int) -> Outcome:
    """`now` is the real (or virtual) clock; raises Unreadable when a condition on a touchpoint cannot be judged."""
    walk = _Walk(definition, policies, run, world, now)
    match cause:
        case Happened(event):
            walk.happened(event)
        case Due(generation):
            walk.due(generation)
        case Judge(send_id, at):
            walk.judge_again(send_id, at)
        case Settled():
            walk.settled(cause)
    return walk.outcome()


def end_run(definition: Definition, policies: Policies, run: Run, reason: EndedReason, at: int, world: World,
            now: int, event_id: str | None = None) -> Outcome:
    """Ends a run from outside: restarted by a new entry, removed."""
    walk = _Walk(definition, policies, run, world, now)
    if run.state == "active":
        walk.end(reason, at, None, event_id)
    return walk.outcome()


def suspend(definition: Definition, policies: Policies, run: Run, at: int, world: World, into: str) -> Outcome:
    """Two profiles merged and an older run has the same key: this one counts as ended `merged` and keeps its state."""
    walk = _Walk(definition, policies, run, world, at)
    walk.run = replace(run, state="suspended", ended_reason="merged", ended_at=at, merged_into=into,
                       generation=run.generation + 1)
    walk.decide("merged", at, reason="the older run goes on", detail={"into": into})
    walk.count("ended:merged")
    return walk.outcome()


def resume(definition: Definition, policies: Policies, run: Run, at: int, world: World) -> Outcome:
    """Its entry touchpoint's person is another one again: it goes on where it stood, unless an exit came meanwhile."""
    walk = _Walk(definition, policies, run, world, at)
    since = run.ended_at if run.ended_at is not None else run.entered_at
    walk.run = replace(run, state="active", ended_reason=None, ended_at=None, merged_into=None,
                       generation=run.generation + 1)
    walk.decide("resumed", at)
    walk.count("resumed:merged")
    heard = definition.names_while_active() | definition.names_of_step(run.step)
    for known in world.known(heard, since) if heard else ():
        walk.happened(known)
    return walk.outcome()


def choose_arm(journey: str, step: Split, who: str) -> str:
    """The same arm on replay, in preview and after a restart."""
    place = int(sha256(f"{journey}/{step.id}/{who}".encode()).hexdigest(), 16) % 100
    for arm, percent in step.parts:
        if place < percent:
            return arm
        place -= percent
    raise AssertionError("the parts of a split sum to 100")


def policy_of(definition: Definition, policies: Policies, step: Outward) -> Policy | None:
    """The step's own, else the journey's; no policy named = no gates. None if there is none of that name."""
    name = step.policy or definition.policy
    return Policy("") if name is None else policies.policies.get(name)


class _Walk:
    """One call of the interpreter: the run as it stands, and what has been decided so far."""

    def __init__(self, definition: Definition, policies: Policies, run: Run, world: World, now: int) -> None:
        self.definition, self.policies, self.run, self.world, self.now = definition, policies, run, world, now
        self.event: Event | None = None
        self.sends: dict[str, SendChange] = {}
        self.decisions: list[Decision] = []
        self.counts: Counter[str] = Counter()
        self.cancelled: list[str] = []
        self.exposures: list[tuple[str, str]] = []

    def outcome(self) -> Outcome:
        return Outcome(self.run, tuple(self.sends.values()), tuple(self.decisions), dict(self.counts),
                       tuple(self.cancelled), tuple(self.exposures))

    def decide(self, kind: DecisionKind, at: int, *, reason: str | None = None, step: str | None = None,
               detail: Mapping[str, Json] | None = None, event_id: str | None = None) -> None:
        self.decisions.append(Decision(at, kind, step, self.run.visit if step else 0, reason, detail or {}, event_id))

    def count(self, name: str) -> None:
        self.counts[name] += 1

    def errors(self, found: Sequence[str], at: int, what: str, event_id: str | None = None) -> None:
        """Evaluation errors make a condition false, are counted and stand in the trace."""
        for error in found:
            self.count("error:condition")
            self.decide("error", at, reason=error, step=self.run.step, detail={"in": what}, event_id=event_id)

    # --- touchpoints ---------------------------------------------------------------------------------------------

    def happened(self, event: Event) -> None:
        if event.id == self.run.entry_event or event.id in self.run.used:
            return
        self.event = event
        self.hear_always(event)
        if self.run.state == "active" and isinstance(self.run.parked, Waiting) and not self.run.parked.retry:
            self.hear_in_wait(event)

    def hear_always(self, event: Event) -> None:
        """Goal, keep, exits: whatever step the run is in."""
        run, definition = self.run, self.definition
        if event.time < run.entered_at or run.state == "suspended":
            return
        goal = definition.goal
        if goal and run.goal_open and event.canonical == goal.on.event:
            if run.goal_until is not None and event.time >= run.goal_until:
                self.run = run = replace(run, goal_open=run.goal_until > self.now)
            elif self.fits(goal.on, event, "goal"):
                self.reach_goal(event, goal.value)
                run = self.run
        if run.state != "active":
            return
        kept = {name for name, kept in definition.keep.items() if kept == event.canonical}
        if kept and is_of_run(definition, run, event, self.world):
            fresh = Kept(event.time, event.id, dict(event.properties))
            self.run = run = replace(run, keep={**run.keep, **{
                name: fresh for name in kept
                if name not in run.keep or (run.keep[name].time, run.keep[name].id) <= (event.time, event.id)}})
        for exit_ in definition.exits:
            if event.canonical == exit_.event and self.fits(exit_, event, "exit"):
                if run.judged_until is not None and event.time < run.judged_until:
                    self.decide("late", event.time, step=run.step, event_id=event.id,
                                reason="arrived after the deadline had been judged; what was done stands")
                self.run = replace(run, used=(*run.used, event.id))
                self.end("exit", event.time, exit_.as_, event.id)
                return

    def reach_goal(self, event: Event, value: Expression | None) -> None:
        number: float | None = None
        if value is not None:
            found = value.evaluate(event=event_variables(event), context=event.context, person=self.world.traits,
                                   account=self.world.account_traits, run=variables(self.run)).value
            number = float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
        self.run = replace(self.run, goal_open=False, goal_at=event.time, goal_value=number)
        self.count("goal")
        self.decide("goal", event.time, event_id=event.id, detail={} if number is None else {"value": number})

    def fits(self, match: EventMatch, event: Event, what: str) -> bool:
        errors: list[str] = []
        fitting = fits(self.definition, match, self.run, event, self.world, errors)
        self.errors(errors, event.time, what, event.id)
        return fitting

    def hear_in_wait(self, event: Event) -> None:
        """One touchpoint against the wait that the run is parked in."""
        step_id, waiting = self.run.step, self.run.parked
        assert step_id is not None
        assert isinstance(waiting, Waiting)
        node = self.definition.step(step_id)
        step = node.step
        assert isinstance(step, Wait)
        bound = self.bound(step, waiting.since)
        if waiting.deadline is not None and event.time >= waiting.deadline:
            return
        if bound is None or event.time >= bound:
            for index, until in enumerate(step.until):
                if self.fits(until.on, event, "until"):
                    self.fulfil(step_id, node.ways[index], until.on.as_, event, waiting)
                    return
        if event.time >= waiting.since and any(self.fits(reset, event, "reset_on") for reset in step.reset_on):
            self.reset(step, step_id, event, waiting)

    def fulfil(self, step_id: str, way: str | None, as_: str, event: Event, waiting: Waiting) -> None:
        at = max(event.time, waiting.since)
        self.event = event
        self.run = replace(self.run, used=(*self.run.used, event.id))
        self.decide("event", at, step=step_id, reason=as_, event_id=event.id)
        self.go(way, at, by_event=True)

    def reset(self, step: Wait, step_id: str, event: Event, waiting: Waiting) -> None:
        """A reset never shortens a wait: of late ones the latest event time counts."""
        deadline = self.deadline(step, event.time)
        self.run = replace(self.run, used=(*self.run.used, event.id))
        if deadline is None or waiting.deadline is None or deadline <= waiting.deadline:
            return
        self.park(replace(waiting, base=event.time, deadline=deadline), step_id)
        self.decide("reset", event.time, step=step_id, detail={"until": deadline}, event_id=event.id)

    def bound(self, step: Wait, since: int) -> int | None:
        match step.since:
            case "step":
                return since
            case "entry":
                return self.run.entered_at
            case _:
                return None

    # --- timers and the ledger -----------------------------------------------------------------------------------

    def due(self, generation: int) -> None:
        run, waiting = self.run, self.run.parked
        if run.state != "active" or generation != run.generation or not isinstance(waiting, Waiting):
            return
        if waiting.deadline is None:
            return
        assert run.step is not None
        if waiting.retry:
            self.go(run.step, waiting.base, by_event=run.by_event, again=True)
            return
        node = self.definition.step(run.step)
        judged = waiting.deadline if run.judged_until is None else max(run.judged_until, waiting.deadline)
        self.run = replace(run, judged_until=judged)
        self.decide("deadline", waiting.deadline, step=run.step)
        self.go(node.ways[-1], waiting.deadline, by_event=False)

    def judge_again(self, send_id: str, at: int) -> None:
        sending = self.run.parked
        if self.run.state != "active" or not isinstance(sending, Sending) or sending.send_id != send_id:
            return
        assert self.run.step is not None
        node = self.definition.step(self.run.step)
        assert isinstance(node.step, Outward)
        at = max(at, sending.due_at)
        if self.outward(node.step, at, sending):
            self.go(node.next, at, by_event=self.run.by_event)

    def settled(self, cause: Settled) -> None:
        run, sending, step, at = self.run, self.run.parked, cause.step, cause.at
        awaited = isinstance(sending, Sending) and sending.send_id == cause.send_id
        if not awaited and run.state != "ended":
            return
        kind: DecisionKind = "sent" if cause.state == "sent" else "unknown" if cause.state == "unknown" else (
            "skipped" if cause.state == "skipped" else "failed")
        self.decide(kind, at, step=step, reason=cause.reason)
        self.count(f"{kind}:{step}")
        self.run = replace(run, parked=None)
        if cause.state in ("sent", "unknown"):
            self.run = replace(self.run, sent={**run.sent, step: (*run.sent.get(step, ()), at)})
        if run.state == "active":
            self.go(self.definition.step(step).next, at, by_event=run.by_event)

    # --- walking -------------------------------------------------------------------------------------------------

    def go(self, step_id: str | None, at: int, *, by_event: bool, again: bool = False) -> None:
        """Takes steps from `step_id` on, as of `at`, until the run parks or ends. `again`: this step is a retry and
        no new visit."""
        while self.run.state == "active":
            if step_id is None:
                self.end("finished", at, None, None)
                return
            node = self.definition.step(step_id)
            if not again:
                visit = self.run.visits.get(step_id, 0) + 1
                self.run = replace(self.run, step=step_id, visit=visit, visits={**self.run.visits, step_id: visit},
                                   parked=None, at=at, by_event=by_event)
            again = False
            match node.step:
                case Wait() as wait:
                    self.wait(wait, node.ways, at)
                    return
                case Outward() as outward:
                    if not self.outward(outward, at, None):
                        return
                    step_id = node.next
                case Branch() as branch:
                    chosen = self.branch(branch, at)
                    if chosen is None:
                        self.retry(at, "the state could not be read")
                        return
                    step_id = node.next if chosen < 0 else node.ways[chosen]
                case Split() as split:
                    step_id = node.ways[self.split(split, at)]
                case Repeat() as repeat:
                    step_id = self.repeat(repeat, node.ways[0], node.next)
                case End():
                    step_id = None
                case SetTraits() | Notify() as other:
                    raise NotImplementedError(f"{type(other).__name__} is refused before a run can meet it")

    def park(self, parked: Waiting | Sending, step_id: str) -> None:
        self.run = replace(self.run, step=step_id, parked=parked, generation=self.run.generation + 1)

    def retry(self, at: int, reason: str) -> None:
        """What could not be read is tried again, as of the same instant."""
        step = self.run.step
        assert step is not None
        self.park(Waiting(since=at, base=at, deadline=self.now + RETRY_MS, retry=True), step)
        self.decide("retry", at, step=step, reason=reason)

    def deadline(self, step: Wait, base: int) -> int | None:
        """`for` from `base`, then the first allowed `at` and `days` at or after it."""
        if step.for_ is None and step.at is None and not step.days:
            return None
        due = add(base, step.for_, self.world.zone) if step.for_ else base
        if step.at is None and not step.days:
            return due
        return next_allowed(due, step.at, step.days, self.world.zone)

    def wait(self, step: Wait, ways: Sequence[str | None], at: int) -> None:
        """Parks, then looks whether the event is already there."""
        waiting = Waiting(since=at, base=at, deadline=self.deadline(step, at))
        self.park(waiting, step.id)
        self.decide("waiting", at, step=step.id, detail={} if waiting.deadline is None else {"until": waiting.deadline})
        names = self.definition.names_of_step(step.id)
        if not names:
            return
        bound = self.bound(step, at)
        for event in self.world.known(names, bound):
            if event.id in self.run.used or event.id == self.run.entry_event:
                continue
            visit = self.run.visit
            self.hear_in_wait(event)
            if self.run.step != step.id or self.run.visit != visit or not isinstance(self.run.parked, Waiting):
                return

    def branch(self, step: Branch, at: int) -> int | None:
        """The arm to take, -1 if none fits, None if the state could not be read."""
        for index, arm in enumerate(step.arms):
            if arm.when is None:
                found = True
            else:
                evaluation = self.evaluate(arm.when, at)
                if evaluation.unreadable:
                    return None
                if evaluation.error:
                    self.errors([evaluation.error], at, "when")
                found = evaluation.value is True
            if found:
                self.decide("branch", at, step=step.id, detail={"arm": index},
                            reason="else" if arm.when is None else arm.when.text)
                return index
        self.decide("branch", at, step=step.id, reason="no arm fits")
        return -1

    def split(self, step: Split, at: int) -> int:
        arm = self.run.arms.get(step.id) or self.world.exposures.get((self.run.journey, step.id, self.run.atom))
        names = [name for name, _ in step.parts]
        if arm not in names:
            who = self.run.person_at_entry
            if step.by == "account" and self.world.account:
                who = self.world.account
            arm = choose_arm(self.run.journey, step, who)
            self.world.exposures[self.run.journey, step.id, self.run.atom] = arm
            self.exposures.append((step.id, arm))
        assert arm is not None
        self.run = replace(self.run, arms={**self.run.arms, step.id: arm})
        self.decide("split", at, step=step.id, reason=arm)
        return names.index(arm)

    def repeat(self, step: Repeat, body: str | None, after: str | None) -> str | None:
        done = self.run.repeats.get(step.id, 0)
        if done < step.max and body != step.id:
            self.run = replace(self.run, repeats={**self.run.repeats, step.id: done + 1})
            return body
        self.run = replace(self.run, repeats={**self.run.repeats, step.id: 0})
        return after

    def evaluate(self, expression: Expression, at: int) -> Any:
        """An expression of a step: `event` is what made the run act, if a touchpoint did."""
        return expression.evaluate(
            event=event_variables(self.event), context=self.event.context if self.event else None,
            person=self.world.traits, account=self.world.account_traits, run=variables(self.run),
            functions=answers(self.definition, expression, self.run, self.world, at, self.run.by_event))

    # --- outward steps -------------------------------------------------------------------------------------------

    def outward(self, step: Outward, at: int, held: Sending | None) -> bool:
        """Judges the gates and plans, holds or skips. True = the run goes on at once (skipped)."""
        run = self.run
        send_id = held.send_id if held else send_id_of(run.run_id, step.id, run.visit, step.channel)
        wanted_at = held.wanted_at if held else at
        now = max(self.now, at)
        policy = policy_of(self.definition, self.policies, step)
        rendered = self.render(step, at)
        if policy is None or rendered is None:
            why = "there is no such policy" if policy is None else "the state could not be read"
            self.hold(step, send_id, wanted_at, at, held, "", None, {}, "", None,
                      Verdict("retry", None, now + RETRY_MS, ()), why)
            return False
        template, address, payload = rendered.template, rendered.address, rendered.payload
        facts = self.world.facts(policy, step.channel, address, run.journey, wanted_at)
        verdict = judge(policy, facts, now)
        group = policy.cap.group if policy.cap else None
        if verdict.outcome in ("hold", "retry"):
            self.hold(step, send_id, wanted_at, at, held, policy.name, group, payload, address, template, verdict,
                      verdict.gate)
            return False
        planned = verdict.outcome == "send"
        reason = self.reason(verdict)
        self.sends[send_id] = SendChange(
            send_id, step.id, run.visit, step.channel, address, template, policy.name, group, payload, at, wanted_at,
            None, verdict.gate, "planned" if planned else "skipped", reason, held is None)
        detail: dict[str, Json] = {"gates": verdict.trace, "send": send_id}
        if planned:
            if payload.get("with"):
                detail["with"] = payload["with"]
            self.park(Sending(send_id, wanted_at, at, held=False), step.id)
            if group is not None:
                self.world.cap_sends.setdefault(group, []).append(at)
            self.decide("planned", at, step=step.id, detail=detail)
            return False
        self.run = replace(self.run, parked=None)
        self.decide("skipped", at, step=step.id, reason=reason, detail=detail)
        self.count(f"skipped:{step.id}")
        return True

    @staticmethod
    def reason(verdict: Verdict) -> str | None:
        """The gate's word in the trace and in `skipped:` of tests."""
        words = {"channel reachable": "unreachable", "run active": "run ended"}
        return None if verdict.gate is None else words.get(verdict.gate, verdict.gate)

    def hold(self, step: Outward, send_id: str, wanted_at: int, at: int, held: Sending | None, policy: str,
             group: str | None, payload: Mapping[str, Json], address: str, template: str | None, verdict: Verdict,
             reason: str | None) -> None:
        run = self.run
        self.sends[send_id] = SendChange(
            send_id, step.id, run.visit, step.channel, address, template, policy, group, payload, at, wanted_at,
            verdict.until, verdict.gate, "held", reason, held is None)
        self.park(Sending(send_id, wanted_at, at, held=True, gate=verdict.gate), step.id)
        why = next((answer.why for answer in verdict.answers if answer.gate == verdict.gate and answer.why), None)
        detail: dict[str, Json] = {"gates": verdict.trace, "send": send_id}
        if verdict.until is not None:
            detail["until"] = verdict.until
        if why:
            detail["why"] = why
        self.decide("held" if verdict.outcome == "hold" else "retry", at, step=step.id, reason=reason, detail=detail)

    def render(self, step: Outward, at: int) -> Rendered | None:
        """None = the state could not be read."""
        found = render(step, self.run, self.event, lambda expression: self.evaluate(expression, at), at, self.world)
        if found is not None:
            self.errors(found.errors, at, "with")
        return found

    # --- ending --------------------------------------------------------------------------------------------------

    def end(self, reason: EndedReason, at: int, as_: str | None, event_id: str | None) -> None:
        run = self.run
        if isinstance(run.parked, Sending):
            self.cancel(run.parked)
        kind: DecisionKind = "exit" if reason == "exit" else "restarted" if reason == "restarted" else "finished"
        self.decide(kind, at, reason=as_, step=run.step, event_id=event_id)
        self.count(f"ended:{reason}")
        self.run = replace(run, state="ended", ended_reason=reason, ended_as=as_, ended_at=at, parked=None, at=at,
                           generation=run.generation + 1)

    def cancel(self, sending: Sending) -> None:
        """What is planned, held or claimed is not sent any more (the epoch moves on); what is being sent is."""
        planned = self.sends.get(sending.send_id)
        if planned is not None:
            self.sends[sending.send_id] = replace(planned, state="skipped", reason="run ended", gate="run active")
        if planned is None or not planned.first:
            self.cancelled.append(sending.send_id)

"""May we? The gates before every outward step, in the page's order, as a pure function.

Judged by the orchestrator when a step is due and after every hold, and by delivery when it claims a row and before each
retry. The first gate that stops a step is the reason in the trace. What cannot be read is never "continue".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from percorso_orchestrator.calendar import add, quiet_until
from percorso_orchestrator.definition import Policy
from percorso_orchestrator.model import Gate

GATES: tuple[Gate, ...] = ("run active", "consent", "stale", "hold", "quiet hours", "cap", "channel reachable")
CLAIM_GATES: frozenset[Gate] = frozenset({"run active", "consent", "stale", "hold", "quiet hours"})
"""What delivery judges again; a slot of the cap is taken by the planned row itself."""

RETRY_MS = 60_000
"""When what could not be read is tried again."""

Unreadable = Literal["unreadable"]


@dataclass(frozen=True, slots=True)
class OpenHold:
    """Something that holds a person's messages back, such as an open ticket."""

    name: str
    key: str
    expires_at: int | None
    """None = only its closing event ends it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the gates are judged by. None = could not be read."""

    run_active: bool | None
    paused: bool
    """The journey is paused: its steps wait."""
    consent: bool | None
    """For the policy's purpose; False where the person never agreed. Ignored where the policy names no purpose."""
    zone: str
    """Of the person's wall clock."""
    wanted_at: int
    """When the step was due first."""
    holds: Sequence[OpenHold] | None
    """Open ones that cover the person, of whatever name."""
    cap_sends: Sequence[int] | None
    """Instants of the sends of the cap's group that count against it (planned, on their way, sent or unknown)."""
    reachable: bool | None
    """Whether the channel has an address for the person that takes messages."""
    reachable_configured: bool = True
    """False = nobody can say; the gate answers `not configured` and lets pass."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one gate said."""

    gate: Gate
    says: Literal["passes", "not configured", "holds", "stops", "unreadable"]
    until: int | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`send`; `hold` until an instant, or until its gate opens (None); `skip` for good; `retry` at `until`, because
    something could not be read. `gate` is the one that stopped it."""

    outcome: Literal["send", "hold", "skip", "retry"]
    gate: Gate | None
    until: int | None
    answers: tuple[Answer, ...]

    @property
    def trace(self) -> list[dict[str, str | int | None]]:
        """Gate by gate, for the decision's detail."""
        return [{"gate": answer.gate, "says": answer.says}
                | ({"until": answer.until} if answer.until is not None else {})
                | ({"why": answer.why} if answer.why else {}) for answer in self.answers]


def judge(policy: Policy, facts: Facts, now: int, gates: Sequence[Gate] | frozenset[Gate] = GATES) -> Verdict:
    """`now` is the real clock: an instant at or after the one as which the step acts."""
    answers: list[Answer] = []
    for gate in GATES:
        if gate not in gates:
            continue
        answer = _answer(gate, policy, facts, now)
        answers.append(answer)
        if answer.says == "holds":
            return Verdict("hold", gate, answer.until, tuple(answers))
        if answer.says == "stops":
            return Verdict("skip", gate, None, tuple(answers))
        if answer.says == "unreadable":
            return Verdict("retry", gate, now + RETRY_MS, tuple(answers))
    return Verdict("send", None, None, tuple(answers))


def _answer(gate: Gate, policy: Policy, facts: Facts, now: int) -> Answer:
    match gate:
        case "run active":
            if facts.run_active is None:
                return Answer(gate, "unreadable")
            if not facts.run_active:
                return Answer(gate, "stops")
            return Answer(gate, "holds", why="paused") if facts.paused else Answer(gate, "passes")
        case "consent":
            if policy.consent is None:
                return Answer(gate, "not configured")
            if facts.consent is None:
                return Answer(gate, "unreadable")
            return Answer(gate, "passes" if facts.consent else "stops", why=policy.consent)
        case "stale":
            if policy.stale_after is None:
                return Answer(gate, "not configured")
            late = now > add(facts.wanted_at, policy.stale_after, facts.zone)
            return Answer(gate, "stops" if late else "passes")
        case "hold":
            return _hold(policy, facts, now)
        case "quiet hours":
            if policy.quiet is None:
                return Answer(gate, "not configured")
            until = quiet_until(now, policy.quiet.start, policy.quiet.end, facts.zone)
            return Answer(gate, "passes") if until is None else Answer(gate, "holds", until)
        case "cap":
            return _cap(policy, facts, now)
        case _:
            if not facts.reachable_configured:
                return Answer(gate, "not configured")
            if facts.reachable is None:
                return Answer(gate, "unreadable")
            return Answer(gate, "passes" if facts.reachable else "stops")


def _hold(policy: Policy, facts: Facts, now: int) -> Answer:
    if not policy.hold_while:
        return Answer("hold", "not configured")
    if facts.holds is None:
        return Answer("hold", "unreadable")
    open_ = [hold for hold in facts.holds
             if hold.name in policy.hold_while and (hold.expires_at is None or hold.expires_at > now)]
    if not open_:
        return Answer("hold", "passes")
    ends = [hold.expires_at for hold in open_]
    until = None if None in ends else max(end for end in ends if end is not None)
    return Answer("hold", "holds", until, ", ".join(sorted({hold.name for hold in open_})))


def _cap(policy: Policy, facts: Facts, now: int) -> Answer:
    if policy.cap is None:
        return Answer("cap", "not configured")
    if facts.cap_sends is None:
        return Answer("cap", "unreadable")
    frees = sorted(add(sent, policy.cap.per, facts.zone) for sent in facts.cap_sends)
    taken = [free for free in frees if free > now]
    if len(taken) < policy.cap.max:
        return Answer("cap", "passes")
    if policy.cap.when_full == "skip":
        return Answer("cap", "stops", why=policy.cap.group)
    return Answer("cap", "holds", taken[len(taken) - policy.cap.max], policy.cap.group)

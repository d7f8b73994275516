"""A journey as it is written: the whole format of `journeys.md` as values.

Expressions are compiled while the file is read, so that an error in one names its line and column. Event names are
canonical (`percorso_shared.names`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from percorso_orchestrator.calendar import TimeOfDay
from percorso_orchestrator.durations import Duration
from percorso_orchestrator.expressions import Expression
from percorso_orchestrator.model import Channel
from percorso_orchestrator.read_yaml import Located, Place

Since = Literal["step", "entry", "ever"]
Reentry = Literal["never", "when_ended", "cooldown", "restart"]


@dataclass(frozen=True, slots=True)
class Reenter:
    rule: Reentry
    cooldown: Duration | None = None


@dataclass(frozen=True, slots=True)
class EntryByEvent:
    event: str
    where: Expression | None
    key: Expression | None
    reentry: Reenter
    any_run: bool
    place: Place


@dataclass(frozen=True, slots=True)
class PatternPart:
    event: str
    where: Expression | None
    times: int
    absent: bool
    """True = `not:` this event must not come between the first counted event and the last."""


@dataclass(frozen=True, slots=True)
class EntryByPattern:
    pattern: tuple[PatternPart, ...]
    within: Duration | None
    where: Expression | None
    key: Expression | None
    reentry: Reenter
    place: Place


@dataclass(frozen=True, slots=True)
class EntryByAudience:
    audience: str
    on: Literal["enter", "leave"]
    where: Expression | None
    reentry: Reenter
    place: Place


@dataclass(frozen=True, slots=True)
class EntryByScore:
    name: str
    reaches: float
    rearm_below: float
    where: Expression | None
    reentry: Reenter
    place: Place


@dataclass(frozen=True, slots=True)
class EntryBySchedule:
    cron: str
    audience: str
    reentry: Reenter
    place: Place


Entry = EntryByEvent | EntryByPattern | EntryByAudience | EntryByScore | EntryBySchedule


@dataclass(frozen=True, slots=True)
class EventMatch:
    """`{event, match, where}`: which touchpoints of the person fit."""

    event: str
    match: tuple[str, ...]
    """Properties that must equal those of the entry touchpoint."""
    where: Expression | None
    any_run: bool
    as_: str
    """`as`, else the event's name as written."""
    place: Place


@dataclass(frozen=True, slots=True)
class Goal:
    on: EventMatch
    within: Duration | None
    value: Expression | None


@dataclass(frozen=True, slots=True)
class Card:
    for_: tuple[str, ...]
    keep: Duration | None
    title: Expression | None
    show: Mapping[str, Expression]
    place: Place


@dataclass(frozen=True, slots=True)
class Until:
    on: EventMatch
    then: tuple["Step", ...]


@dataclass(frozen=True, slots=True)
class Wait:
    id: str
    for_: Duration | None
    until: tuple[Until, ...]
    since: Since
    reset_on: tuple[EventMatch, ...]
    timeout: tuple["Step", ...]
    at: TimeOfDay | None
    days: frozenset[int]
    date: Expression | None
    place: Place


@dataclass(frozen=True, slots=True)
class Outward:
    """A step that reaches somebody: e-mail, webhook, on-site message, task."""

    id: str
    channel: Channel
    policy: str | None
    template: Expression | None
    with_: Mapping[str, Expression]
    to: Expression | None
    """Webhook: destination name or address. Task: a team. On-site: the slot."""
    text: Expression | None
    owner: Expression | None
    due: Duration | None
    show: Literal["now", "next_page"]
    expires: Duration | None
    place: Place


@dataclass(frozen=True, slots=True)
class Arm:
    when: Expression | None
    """None = else."""
    steps: tuple["Step", ...]


@dataclass(frozen=True, slots=True)
class Branch:
    id: str
    arms: tuple[Arm, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Split:
    id: str
    by: Literal["person", "account"]
    parts: tuple[tuple[str, int], ...]
    winner: Any
    arms: Mapping[str, tuple["Step", ...]]
    place: Place


@dataclass(frozen=True, slots=True)
class Repeat:
    id: str
    max: int
    steps: tuple["Step", ...]
    place: Place


@dataclass(frozen=True, slots=True)
class SetTraits:
    id: str
    traits: Mapping[str, Expression]
    place: Place


@dataclass(frozen=True, slots=True)
class Notify:
    id: str
    to: Expression | None
    text: Expression | None
    place: Place


@dataclass(frozen=True, slots=True)
class End:
    id: str
    place: Place


Step = Wait | Outward | Branch | Split | Repeat | SetTraits | Notify | End


@dataclass(frozen=True, slots=True)
class Node:
    """A step in the flat program. `ways` lead into its nested steps: of a wait one per `until`, then the timeout; of a
    branch or split one per arm; of a repeat its body. `next` is what follows; None = the run is finished."""

    step: Step
    next: str | None
    ways: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Quiet:
    start: TimeOfDay
    end: TimeOfDay


@dataclass(frozen=True, slots=True)
class Cap:
    group: str
    max: int
    per: Duration
    when_full: Literal["hold", "skip"]


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    consent: str | None = None
    hold_while: tuple[str, ...] = ()
    quiet: Quiet | None = None
    cap: Cap | None = None
    stale_after: Duration | None = None


@dataclass(frozen=True, slots=True)
class HoldRule:
    """An event opens it for a person, another closes it by the same key."""

    name: str
    open_event: str
    open_where: Expression | None
    open_key: Expression | None
    close_event: str
    close_where: Expression | None
    close_key: Expression | None
    covers: frozenset[str]
    max: Duration | None


@dataclass(frozen=True, slots=True)
class Policies:
    """The contents of one `_policies.yaml`."""

    text: str
    policies: Mapping[str, Policy] = field(default_factory=dict)
    holds: Mapping[str, HoldRule] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A construct of the format that this version reads but does not run."""

    what: str
    place: Place
    in_tests: bool = False
    """True = `journey test` does not run it either."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One journey file, read and compiled."""

    name: str
    text: str
    policy: str | None
    entry: Entry
    exits: tuple[EventMatch, ...]
    goal: Goal | None
    keep: Mapping[str, str]
    """name -> event."""
    card: Card | None
    excludes: tuple[str, ...]
    steps: tuple[Step, ...]
    program: Mapping[str, Node]
    first: str | None
    lateness: Duration | None
    backdated: Duration | None
    causes: tuple[str, ...]
    migrate: Mapping[str, str]
    tests: tuple[Located, ...]
    unsupported: tuple[Unsupported, ...]
    place_of_policy: Place | None = None

    def step(self, step_id: str) -> Node:
        return self.program[step_id]

    @property
    def has_split(self) -> bool:
        return any(isinstance(node.step, Split) for node in self.program.values())

    def names_while_active(self) -> frozenset[str]:
        """Events that every active run of this journey listens to."""
        names = {exit_.event for exit_ in self.exits} | set(self.keep.values())
        if self.goal:
            names.add(self.goal.on.event)
        return frozenset(names)

    def names_of_step(self, step_id: str | None) -> frozenset[str]:
        """Events that a run parked in this step listens to besides."""
        if step_id is None or step_id not in self.program:
            return frozenset()
        step = self.program[step_id].step
        if not isinstance(step, Wait):
            return frozenset()
        return frozenset({until.on.event for until in step.until} | {reset.event for reset in step.reset_on})

    def names_heard(self) -> frozenset[str]:
        """Every event that may move a run of this journey."""
        names = set(self.names_while_active())
        for step_id in self.program:
            names |= self.names_of_step(step_id)
        return frozenset(names)

    def expressions(self) -> tuple[Expression, ...]:
        """Every expression in it, in no particular order."""
        found: list[Expression] = []
        _collect((self.entry, self.exits, self.goal, self.card, self.steps), found)
        return tuple(found)


def _collect(value: Any, found: list[Expression]) -> None:
    if isinstance(value, Expression):
        found.append(value)
    elif isinstance(value, tuple | list | frozenset):
        for item in value:
            _collect(item, found)
    elif isinstance(value, Mapping):
        _collect(tuple(value.values()), found)
    elif hasattr(value, "__dataclass_fields__"):
        _collect(tuple(getattr(value, name) for name in value.__dataclass_fields__), found)


def flatten(steps: tuple[Step, ...], after: str | None = None) -> dict[str, Node]:
    """The flat program: a run goes on after a nested `then`, `timeout`, branch, arm or body."""
    program: dict[str, Node] = {}
    for index, step in enumerate(steps):
        following = steps[index + 1].id if index + 1 < len(steps) else after
        nested: list[tuple[Step, ...]]
        inner_after = following
        match step:
            case Wait():
                nested = [until.then for until in step.until] + [step.timeout]
            case Branch():
                nested = [arm.steps for arm in step.arms]
            case Split():
                nested = [step.arms[arm] for arm, _ in step.parts]
            case Repeat():
                nested = [step.steps]
                inner_after = step.id
            case _:
                nested = []
        ways = tuple(inner[0].id if inner else inner_after for inner in nested)
        program[step.id] = Node(step, following, ways)
        for inner in nested:
            program.update(flatten(inner, inner_after))
    return program

"""The words of the orchestrator: runs, touchpoints as a journey sees them, what a step decided.

Instants are milliseconds since 1970 (UTC). Ids are 32 hex digits here; PostgreSQL and the ledger keep their 16 bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

Json = Any
"""What a JSON value decodes to."""

RunState = Literal["active", "suspended", "ended"]
EndedReason = Literal["finished", "exit", "restarted", "merged", "removed"]
SendState = Literal["planned", "held", "claimed", "sending", "sent", "failed", "skipped", "unknown"]
Channel = Literal["email", "webhook", "onsite", "task"]
Gate = Literal["run active", "consent", "stale", "hold", "quiet hours", "cap", "channel reachable"]
DecisionKind = Literal[
    "entered", "not entered", "waiting", "reset", "deadline", "event", "branch", "split", "planned", "held", "skipped",
    "sent", "failed", "unknown", "exit", "finished", "restarted", "goal", "merged", "resumed", "late", "error",
    "retry", "set", "hold opened", "hold closed"]

SETTLED: frozenset[SendState] = frozenset({"sent", "failed", "skipped", "unknown"})
OPEN: frozenset[SendState] = frozenset({"planned", "claimed", "sending"})


@dataclass(frozen=True, slots=True)
class Event:
    """A touchpoint as a journey sees it."""

    id: str
    name: str
    """As sent; conditions and journeys compare `canonical`."""
    canonical: str
    time: int
    received: int
    properties: Mapping[str, Json] = field(default_factory=dict)
    context: Mapping[str, Json] = field(default_factory=dict)
    imported: bool = False

    @property
    def is_about_message(self) -> bool:
        return self.canonical.startswith(("email_", "onsite_"))


@dataclass(frozen=True, slots=True)
class Waiting:
    """Parked in a wait (or a retry of a step that could not be judged)."""

    since: int
    """Events from here on count (`since: step`)."""
    base: int
    """The deadline counts from here: the step's entry, or the newest reset."""
    deadline: int | None
    """None = waits for an event only."""
    retry: bool = False
    """The step itself is taken again at `deadline`, on the real clock: its state could not be read."""


@dataclass(frozen=True, slots=True)
class Sending:
    """Parked at an outward step until the ledger settles it."""

    send_id: str
    wanted_at: int
    """When it was due first."""
    due_at: int
    """As which instant it acts."""
    held: bool
    """The gates hold it now."""
    gate: str | None = None


Parked = Waiting | Sending


@dataclass(frozen=True, slots=True)
class Kept:
    """The newest event of a name that a run keeps."""

    time: int
    id: str
    properties: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Run:
    """One person's pass through one version of a journey. Everything that the interpreter needs to go on is here."""

    run_id: str
    journey: str
    version: int
    person: str
    """Present profile."""
    person_at_entry: str
    atom: str
    """Home atom of the entry touchpoint; the run follows its profile."""
    key: str
    """'' where the journey has none."""
    key_value: Json
    entered_at: int
    entry_event: str
    entry: Mapping[str, Json]
    """Properties of the entry touchpoint."""
    state: RunState = "active"
    ended_reason: EndedReason | None = None
    ended_as: str | None = None
    ended_at: int | None = None
    merged_into: str | None = None
    """The older run that goes on in its place while it is suspended by a merge."""
    step: str | None = None
    visit: int = 0
    visits: Mapping[str, int] = field(default_factory=dict)
    generation: int = 0
    parked: Parked | None = None
    at: int = 0
    """The instant as which the run acted last."""
    by_event: bool = True
    """Whether a touchpoint made it act then: touchpoints of that very instant are then known, else not yet."""
    judged_until: int | None = None
    """The latest deadline that was judged as absence: what is older and arrives now is late."""
    used: tuple[str, ...] = ()
    """Touchpoints that have moved this run; none moves it twice."""
    keep: Mapping[str, Kept] = field(default_factory=dict)
    sent: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """step -> instants of its sends."""
    arms: Mapping[str, str] = field(default_factory=dict)
    repeats: Mapping[str, int] = field(default_factory=dict)
    goal_until: int | None = None
    """Conversion is measured until then (half-open)."""
    goal_open: bool = False
    goal_at: int | None = None
    goal_value: float | None = None

    @property
    def order(self) -> tuple[int, str, str]:
        """Entry order: what of two runs comes first at one instant."""
        return self.entered_at, self.entry_event, self.run_id


@dataclass(frozen=True, slots=True)
class SendChange:
    """A ledger row to insert or, if it is there as `held`, to change."""

    send_id: str
    step: str
    visit: int
    channel: Channel
    address: str
    template: str | None
    policy: str
    cap_group: str | None
    payload: Mapping[str, Json]
    due_at: int
    wanted_at: int
    not_before: int | None
    """Of a held one: judge again then; None = when its gate opens."""
    gate: str | None
    state: Literal["planned", "held", "skipped"]
    reason: str | None
    first: bool
    """True = a new row."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of the trace."""

    at: int
    kind: DecisionKind
    step: str | None = None
    visit: int = 0
    reason: str | None = None
    detail: Mapping[str, Json] = field(default_factory=dict)
    event_id: str | None = None


def _hash(kind: bytes, *parts: str) -> str:
    return blake2b("\x1f".join(parts).encode(), digest_size=16, person=kind).hexdigest()


def run_id_of(workspace: int, journey: str, entry_event: str) -> str:
    """The same touchpoint makes the same run, however often it is delivered."""
    return _hash(b"run", str(workspace), journey, entry_event)


def send_id_of(run_id: str, step: str, visit: int, channel: Channel) -> str:
    return _hash(b"send", run_id, step, str(visit), channel)

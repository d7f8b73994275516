"""What moves a run, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from percorso_orchestrator.model import Decision, Event, Run, SendChange, SendState


@dataclass(frozen=True, slots=True)
class Happened:
    """The person did something."""

    event: Event


@dataclass(frozen=True, slots=True)
class Due:
    """The run's timer fell due. Of an older generation it is a no-op."""

    generation: int


@dataclass(frozen=True, slots=True)
class Judge:
    """A held send is judged again, acting as of `at`."""

    send_id: str
    at: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The ledger settled a send of `step`; the run goes on as of `at`. If it has ended meanwhile, that is noted."""

    send_id: str
    step: str
    state: SendState
    at: int
    reason: str | None = None


Cause = Happened | Due | Judge | Settled


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run, and what to write."""

    run: Run
    sends: tuple[SendChange, ...] = ()
    decisions: tuple[Decision, ...] = ()
    counts: Mapping[str, int] | None = None
    """Counted besides: `error:condition` ..."""
    cancelled: tuple[str, ...] = ()
    """Open sends of a run that ended: not to be sent any more."""
    exposures: tuple[tuple[str, str], ...] = ()
    """(step, arm) of splits met for the first time."""

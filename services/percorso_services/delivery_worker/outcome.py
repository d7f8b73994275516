"""What became of one try to send something."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sent:
    """The other side has it."""

    response: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The other side will never take it."""

    reason: str
    response: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """Not taken now."""

    response: str
    began: bool
    """The attempt is counted already (the row was `sending`), or there was none."""
    server_down: bool = False
    """It has nothing to do with this send: no other will get through either."""
    asked_ms: int | None = None
    """The pause that the other side asked for."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The other side may or may not have it."""

    reason: str


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The row belongs to somebody else; nothing was sent."""


Outcome = Sent | Refused | Later | Unknown | LeaseLost

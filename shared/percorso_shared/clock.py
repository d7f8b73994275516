"""Time is an argument. Instants on the bus are integers: milliseconds since 1970 in UTC."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Clock(Protocol):
    """Anything that knows the present instant."""

    def now_ms(self) -> int: ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class FrozenClock:
    """A clock that moves only when told: for tests and for journeys on a virtual clock."""

    def __init__(self, now_ms: int) -> None:
        self.instant = now_ms

    def now_ms(self) -> int:
        return self.instant

    def advance(self, milliseconds: int) -> None:
        self.instant += milliseconds


def to_datetime(ms: int) -> datetime:
    """Milliseconds since 1970 as an aware datetime in UTC."""
    return _EPOCH + ms * _MILLISECOND


def to_ms(instant: datetime) -> int:
    """An aware datetime as milliseconds since 1970 (rounded down)."""
    return (instant - _EPOCH) // _MILLISECOND

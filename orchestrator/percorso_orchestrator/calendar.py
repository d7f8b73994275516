"""When: calendar days and times of day on a person's wall clock.

Instants are milliseconds since 1970 (UTC). A local time that does not exist becomes the first instant that exists
after the gap; one that exists twice is the first.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from percorso_orchestrator.durations import Duration

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, order=True)
class TimeOfDay:
    """A time on the wall, to the minute."""

    hour: int
    minute: int

    def __str__(self) -> str:
        return f"{self.hour:02d}:{self.minute:02d}"


def parse_time_of_day(text: str) -> TimeOfDay:
    """`21:00` -> TimeOfDay(21, 0). Raises ValueError."""
    hour, colon, minute = text.strip().partition(":")
    if colon and hour.isdigit() and len(hour) <= 2 and minute.isdigit() and len(minute) == 2 \
            and int(hour) < 24 and int(minute) < 60:
        return TimeOfDay(int(hour), int(minute))
    raise ValueError(f"{text!r} is not a time of day such as 08:00")


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo | None:
    """None for a name that no zone has: people's zones come from outside."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def choose_zone(*names: object) -> str:
    """The first that is a zone's name (person, account, workspace); UTC when none is."""
    for name in names:
        if isinstance(name, str) and name and zone_named(name):
            return name
    return "UTC"


def _zone(name: str) -> ZoneInfo:
    return zone_named(name) or ZoneInfo("UTC")


def local(instant: int, zone: str) -> datetime:
    """What the wall clock shows, with its zone."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant)).astimezone(_zone(zone))


def _to_ms(moment: datetime) -> int:
    return (moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def instant_of(wall: datetime, zone: str) -> int:
    """The instant of a naive wall-clock time in a zone."""
    info = _zone(zone)
    aware = wall.replace(tzinfo=info, fold=0)
    instant = _to_ms(aware)
    if local(instant, zone).replace(tzinfo=None) == wall:
        return instant
    # A gap. With fold=0 the offset before it applies, with fold=1 the one after: the change lies between them.
    before, after = _to_ms(aware.replace(fold=1)), instant
    low, high = before, after
    old = local(before - 1, zone).utcoffset()
    while low < high:
        middle = (low + high) // 2
        if local(middle, zone).utcoffset() == old:
            low = middle + 1
        else:
            high = middle
    return low


def add(instant: int, duration: Duration, zone: str) -> int:
    """`instant` + `duration`: elapsed time for s, m, h; the same time of day some days later for d, w."""
    if not duration.is_calendar:
        return instant + duration.milliseconds
    return _shift_days(instant, duration.days, zone)


def subtract(instant: int, duration: Duration, zone: str) -> int:
    """The start of a window of `duration` that ends at `instant`."""
    if not duration.is_calendar:
        return instant - duration.milliseconds
    return _shift_days(instant, -duration.days, zone)


def _shift_days(instant: int, days: int, zone: str) -> int:
    if not days:
        return instant
    return instant_of(local(instant, zone).replace(tzinfo=None, fold=0) + timedelta(days=days), zone)


def next_allowed(instant: int, at: TimeOfDay | None, days: Collection[int], zone: str) -> int:
    """The first allowed instant at or after `instant`: at that time of day, on those weekdays (0 = Monday; none = any).

    Without `at` an instant on an allowed day stays as it is, another moves to the beginning of the next allowed day.
    """
    start = local(instant, zone)
    for ahead in range(9):
        day = start.date() + timedelta(days=ahead)
        if days and day.weekday() not in days:
            continue
        if at is None:
            return instant if ahead == 0 else _at(day, TimeOfDay(0, 0), zone)
        candidate = _at(day, at, zone)
        if candidate >= instant:
            return candidate
    raise AssertionError("one of nine days in a row is every weekday")


def _at(day: date, when: TimeOfDay, zone: str) -> int:
    return instant_of(datetime.combine(day, time(when.hour, when.minute)), zone)


def quiet_until(instant: int, start: TimeOfDay, end: TimeOfDay, zone: str) -> int | None:
    """The end of the quiet hours that `instant` lies in, or None. They are half-open, may wrap midnight, and are empty
    when both ends are equal."""
    if start == end:
        return None
    wall = local(instant, zone)
    for back in (1, 0):
        day = wall.date() - timedelta(days=back)
        begins = _at(day, start, zone)
        ends = _at(day if end > start else day + timedelta(days=1), end, zone)
        if begins <= instant < ends:
            return ends
    return None

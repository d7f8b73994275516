"""Wall clocks: calendar days, quiet hours and allowed times in Europe/Rome, over both changes of daylight saving.

In 2026 the clock goes from 02:00 to 03:00 on 29 March and from 03:00 back to 02:00 on 25 October.
"""

from datetime import UTC, datetime

import pytest

from percorso_orchestrator.calendar import (
    add,
    choose_zone,
    instant_of,
    local,
    next_allowed,
    parse_time_of_day,
    quiet_until,
    subtract,
)
from percorso_orchestrator.durations import parse_duration

ROME = "Europe/Rome"


def ms(text: str) -> int:
    """An ISO time with its offset."""
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)


def shown(instant: int) -> str:
    return local(instant, ROME).isoformat()


@pytest.mark.parametrize(("start", "duration", "end"), [
    ("2026-03-28T12:00+01:00", "1d", "2026-03-29T12:00+02:00"),
    ("2026-03-28T12:00+01:00", "24h", "2026-03-29T13:00+02:00"),
    ("2026-03-28T02:30+01:00", "1d", "2026-03-29T03:00+02:00"),
    ("2026-03-28T02:00+01:00", "1d", "2026-03-29T03:00+02:00"),
    ("2026-03-28T03:00+01:00", "1d", "2026-03-29T03:00+02:00"),
    ("2026-03-22T02:30+01:00", "1w", "2026-03-29T03:00+02:00"),
    ("2026-03-29T03:30+02:00", "1d", "2026-03-30T03:30+02:00"),
    ("2026-03-29T00:30+01:00", "2h", "2026-03-29T03:30+02:00"),
    ("2026-10-24T02:30+02:00", "1d", "2026-10-25T02:30+02:00"),
    ("2026-10-24T12:00+02:00", "1d", "2026-10-25T12:00+01:00"),
    ("2026-10-24T12:00+02:00", "24h", "2026-10-25T11:00+01:00"),
    ("2026-10-25T02:30+02:00", "1d", "2026-10-26T02:30+01:00"),
    ("2026-10-25T02:30+01:00", "1d", "2026-10-26T02:30+01:00"),
    ("2026-10-25T02:30+02:00", "1h", "2026-10-25T02:30+01:00"),
    ("2026-10-25T02:30+01:00", "0d", "2026-10-25T02:30+01:00"),
])
def test_calendar_days_keep_the_time_of_day_and_elapsed_time_does_not(start, duration, end):
    assert shown(add(ms(start), parse_duration(duration), ROME)) == shown(ms(end))


@pytest.mark.parametrize(("wall", "instant"), [
    ("2026-03-29T01:59", "2026-03-29T01:59+01:00"),
    ("2026-03-29T02:00", "2026-03-29T03:00+02:00"),
    ("2026-03-29T02:30", "2026-03-29T03:00+02:00"),
    ("2026-03-29T03:00", "2026-03-29T03:00+02:00"),
    ("2026-10-25T02:00", "2026-10-25T02:00+02:00"),
    ("2026-10-25T02:59", "2026-10-25T02:59+02:00"),
    ("2026-10-25T03:00", "2026-10-25T03:00+01:00"),
])
def test_a_time_in_the_gap_is_the_first_that_exists_and_a_doubled_one_is_the_first(wall, instant):
    assert shown(instant_of(datetime.fromisoformat(wall), ROME)) == shown(ms(instant))


@pytest.mark.parametrize(("now", "hours", "until"), [
    ("2026-03-02T20:59+01:00", "21:00-08:00", None),
    ("2026-03-02T21:00+01:00", "21:00-08:00", "2026-03-03T08:00+01:00"),
    ("2026-03-03T00:00+01:00", "21:00-08:00", "2026-03-03T08:00+01:00"),
    ("2026-03-03T07:59+01:00", "21:00-08:00", "2026-03-03T08:00+01:00"),
    ("2026-03-03T08:00+01:00", "21:00-08:00", None),
    ("2026-03-02T13:00+01:00", "12:00-14:00", "2026-03-02T14:00+01:00"),
    ("2026-03-02T14:00+01:00", "12:00-14:00", None),
    ("2026-03-02T14:00+01:00", "09:00-09:00", None),
    ("2026-03-28T22:00+01:00", "21:00-08:00", "2026-03-29T08:00+02:00"),
    ("2026-03-29T01:30+01:00", "21:00-02:30", "2026-03-29T03:00+02:00"),
    ("2026-03-29T03:00+02:00", "21:00-02:30", None),
    ("2026-03-29T03:15+02:00", "02:30-04:00", "2026-03-29T04:00+02:00"),
    ("2026-10-24T22:00+02:00", "21:00-08:00", "2026-10-25T08:00+01:00"),
    ("2026-10-25T02:15+02:00", "21:00-02:30", "2026-10-25T02:30+02:00"),
    ("2026-10-25T02:15+01:00", "21:00-02:30", None),
    ("2026-10-25T02:30+01:00", "02:30-04:00", "2026-10-25T04:00+01:00"),
])
def test_quiet_hours_are_half_open_and_wrap_midnight_and_both_changes(now, hours, until):
    start, _, end = hours.partition("-")
    found = quiet_until(ms(now), parse_time_of_day(start), parse_time_of_day(end), ROME)
    assert (found and shown(found)) == (until and shown(ms(until)))


@pytest.mark.parametrize(("due", "at", "days", "allowed"), [
    ("2026-03-02T08:00+01:00", "09:00", (), "2026-03-02T09:00+01:00"),
    ("2026-03-02T09:00+01:00", "09:00", (), "2026-03-02T09:00+01:00"),
    ("2026-03-02T09:01+01:00", "09:00", (), "2026-03-03T09:00+01:00"),
    ("2026-03-06T18:00+01:00", "09:00", (0, 1, 2, 3, 4), "2026-03-09T09:00+01:00"),
    ("2026-03-06T18:00+01:00", None, (4,), "2026-03-06T18:00+01:00"),
    ("2026-03-07T18:00+01:00", None, (4,), "2026-03-13T00:00+01:00"),
    ("2026-03-09T09:01+01:00", "09:00", (0,), "2026-03-16T09:00+01:00"),
    ("2026-03-29T00:00+01:00", "02:30", (), "2026-03-29T03:00+02:00"),
    ("2026-10-25T00:00+02:00", "02:30", (), "2026-10-25T02:30+02:00"),
    ("2026-10-25T02:15+01:00", "02:30", (), "2026-10-26T02:30+01:00"),
])
def test_at_and_days_give_the_first_allowed_instant_at_or_after(due, at, days, allowed):
    found = next_allowed(ms(due), at and parse_time_of_day(at), days, ROME)
    assert shown(found) == shown(ms(allowed))


def test_a_window_of_days_begins_at_the_same_time_of_day():
    assert shown(subtract(ms("2026-03-30T12:00+02:00"), parse_duration("2d"), ROME)) == "2026-03-28T12:00:00+01:00"


def test_the_zone_is_the_first_that_is_one():
    assert choose_zone(None, "Nowhere/Town", 3, "Europe/Rome") == "Europe/Rome"
    assert choose_zone("../etc/passwd", "") == "UTC"


@pytest.mark.parametrize("text", ["", "2", "h", "2 hours", "-1h", "1.5h", "2H", "9999999d"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)

"""When it happened."""

from typing import Any

import pytest

from percorso_ingest.instants import correct, read_instant

NOON = 1_795_305_600_000
"""2026-11-22T00:00:00Z."""


@pytest.mark.parametrize("text", [
    "2026-11-22T00:00:00.000Z", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00", "2026-11-22", "20261122T000000Z",
    "2026-11-22T01:00:00+01:00", "2026-11-22 00:00:00.000000+00:00", "2026-11-21T19:30:00-04:30", NOON, NOON // 1000,
    float(NOON), str(NOON), str(NOON // 1000)])
def test_many_spellings_are_one_instant(text: Any) -> None:
    assert read_instant(text) == NOON


def test_microseconds_are_rounded() -> None:
    assert read_instant("2026-11-22T00:00:00.000622+00:00") == NOON + 1


@pytest.mark.parametrize("text", [
    "2015-2-02T00:30:08.276Z", "2024-02-30T00:00:00Z", "yesterday", "", None, [], {}, True, 10**18, -1, 0, 1e300,
    float("inf"), float("nan"), "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00Z",
    "2026-11-22T00:00:00Z" + "0" * 5_000, "1" * 5_000, "٢٠٢٦-11-22"])
def test_what_is_no_instant_is_none(text: Any) -> None:
    assert read_instant(text) is None


@pytest.mark.parametrize(("original", "sent", "received", "expected"), [
    (NOON, NOON + 500, NOON + 700, (NOON + 200, None)),
    (NOON, None, NOON + 700, (NOON, None)),
    (NOON - 3_600_000, NOON - 3_600_000 + 5, NOON, (NOON - 5, None)),
    (NOON + 9_000, NOON, NOON + 10, (NOON + 10, "timestamp_clamped")),
    (NOON + 9_000, None, NOON + 10, (NOON + 10, "timestamp_clamped")),
    (None, NOON, NOON + 10, (NOON + 10, "timestamp_unreadable")),
    (946_684_800_000, NOON + 10**12, NOON, (NOON, "timestamp_unreadable")),
])
def test_the_senders_clock_cancels_out(original: Any, sent: Any, received: int, expected: Any) -> None:
    assert correct(original, sent, received) == expected

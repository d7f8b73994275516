"""When it happened: reading what senders call a time, and correcting for their clocks."""

from datetime import UTC, datetime
from typing import Any

EARLIEST_MS = 946_684_800_000
"""2000-01-01: a sender whose clock says less has lost it."""
LATEST_MS = 4_102_444_800_000
"""2100-01-01."""

UNREADABLE = "timestamp_unreadable"
CLAMPED = "timestamp_clamped"


def read_instant(value: Any) -> int | None:
    """Milliseconds since 1970, or None if it is no instant between 2000 and 2100. Understood: ISO 8601 (without a zone:
    UTC), and numbers that can only be seconds or milliseconds since 1970."""
    if type(value) is str:
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            return _read_digits(value)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        # A year next to 1 or 9999 leaves the calendar when its zone is taken off.
        try:
            ms = int(instant.timestamp() * 1000 + 0.5)
        except (OverflowError, ValueError):
            return None
    elif type(value) is int or type(value) is float:
        return _read_number(value)
    else:
        return None
    return ms if EARLIEST_MS <= ms < LATEST_MS else None


def _read_digits(text: str) -> int | None:
    return _read_number(int(text)) if len(text) in (10, 13) and text.isascii() and text.isdigit() else None


def _read_number(value: float) -> int | None:
    if EARLIEST_MS <= value < LATEST_MS:
        return int(value)
    if EARLIEST_MS <= value * 1000 < LATEST_MS:
        return int(value * 1000)
    return None


def correct(original: int | None, sent: int | None, received: int) -> tuple[int, str | None]:
    """Event time by our clock, and a flag. `timestamp = received - (sent - original)`: what the sender's clock is off
    by cancels out. Without the instant of sending the original stands; without an original it is now; the future is
    now."""
    if original is None:
        return received, UNREADABLE
    instant = original if sent is None else received - (sent - original)
    if instant > received:
        return received, CLAMPED
    if instant < EARLIEST_MS:
        return received, UNREADABLE
    return instant, None

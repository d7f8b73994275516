"""When something that did not get through is tried again."""

from dataclasses import dataclass

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Patience:
    """Pauses double from `first_ms` to `longest_ms`; after `give_up_ms` it has failed."""

    first_ms: int
    longest_ms: int
    give_up_ms: int


EMAIL = Patience(first_ms=30_000, longest_ms=HOUR_MS // 2, give_up_ms=72 * HOUR_MS)
WEBHOOK = Patience(first_ms=5_000, longest_ms=HOUR_MS, give_up_ms=24 * HOUR_MS)
SERVER_DOWN = Patience(first_ms=1_000, longest_ms=60_000, give_up_ms=72 * HOUR_MS)
"""A mail server that takes no connection: nothing of it is the fault of a single mail."""


def next_try(patience: Patience, attempt: int, began_ms: int, now_ms: int, chance: float,
             asked_ms: int | None = None) -> int | None:
    """The instant of the next try after attempt number `attempt` (from 1), or None: give up. `began_ms` is when the
    send was due; `chance` in [0, 1) spreads the tries over a quarter of the pause; `asked_ms` is a pause that the other
    side asked for (not taken longer than the longest)."""
    if now_ms - began_ms >= patience.give_up_ms:
        return None
    pause = min(patience.first_ms * 2 ** min(attempt - 1, 30), patience.longest_ms)
    if asked_ms is not None:
        pause = max(pause, min(asked_ms, patience.longest_ms))
    return now_ms + int(pause * (1 + chance / 4))

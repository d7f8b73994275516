"""The monthly partitions of the event history: made ahead by the worker's clock, on demand by what arrives."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from percorso_shared.clock import to_datetime, to_ms

OLDEST_YEAR = 2000
"""Everything before is in one partition, made by the migration."""

_LOCK = 0x5045_5250
_DAY_MS = 86_400_000

_EXISTING = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'profile.event'::regclass
"""


class Month(NamedTuple):
    """A calendar month in UTC."""

    year: int
    month: int

    @property
    def table(self) -> str:
        return f"event_{self.year:04}_{self.month:02}"

    @property
    def first(self) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def next(self) -> "Month":
        return Month(self.year + 1, 1) if self.month == 12 else Month(self.year, self.month + 1)


@lru_cache(maxsize=4096)
def _month_of_day(day: int) -> Month:
    instant = to_datetime(day * _DAY_MS)
    return Month(instant.year, instant.month)


def months_of(instants_ms: Iterable[int]) -> set[Month]:
    """The months that need a partition of their own."""
    return {month for day in {ms // _DAY_MS for ms in instants_ms}
            if (month := _month_of_day(day)).year >= OLDEST_YEAR}


def months_ahead(now_ms: int, count: int = 3) -> set[Month]:
    """The month of `now_ms` and the ones after it."""
    month = _month_of_day(now_ms // _DAY_MS)
    months = {month}
    while len(months) < count:
        month = month.next
        months.add(month)
    return months


def bounds_ms(month: Month) -> tuple[int, int]:
    """Half-open."""
    return to_ms(month.first), to_ms(month.next.first)


async def ensure_months(connection: Any, months: Iterable[Month]) -> None:
    """Makes the missing partitions, in the caller's transaction: forget what you know if that rolls back.

    A partition is made beside the history and attached, which does not lock out those who read or append.
    """
    wanted = sorted(set(months))
    if not wanted:
        return
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    existing = {row["relname"] for row in await connection.fetch(_EXISTING)}
    for month in wanted:
        if month.table not in existing:
            await connection.execute(f"""
                CREATE TABLE profile.{month.table} (LIKE profile.event INCLUDING ALL);
                ALTER TABLE profile.event ATTACH PARTITION profile.{month.table}
                    FOR VALUES FROM ('{month.first.isoformat()}') TO ('{month.next.first.isoformat()}');
            """)

"""The daily partitions of the de-duplication table: made ahead by the worker's clock, on demand by what arrives,
dropped when a message id need not be remembered any longer."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from percorso_shared.bus.port import Connection

_LOCK = 0x5045_5249
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_EXISTING = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'identity.dedup'::regclass AND c.relname ~ '^dedup_[0-9]{8}$'
"""


def days_ahead(now_ms: int, count: int = 3) -> range:
    """The day of `now_ms` and the ones after it, as days since 1970."""
    today = now_ms // 86_400_000
    return range(today, today + count)


def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")


def _table(day: int) -> str:
    return f"dedup_{_date(day).replace('-', '')}"


async def ensure_days(connection: Connection, days: Iterable[int]) -> None:
    """Makes the missing partitions, in the caller's transaction: forget what you know if that rolls back. A partition
    is made beside the table and attached, which does not lock out those who read or add. Day 0 is always there."""
    wanted = sorted({day for day in days if day > 0})
    if not wanted:
        return
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    existing = {row["relname"] for row in await connection.fetch(_EXISTING)}
    for day in wanted:
        if _table(day) not in existing:
            await connection.execute(f"""
                CREATE TABLE identity.{_table(day)} (LIKE identity.dedup INCLUDING ALL);
                ALTER TABLE identity.dedup ATTACH PARTITION identity.{_table(day)}
                    FOR VALUES FROM ('{_date(day)}') TO ('{_date(day + 1)}');
            """)


async def drop_days_before(connection: Connection, day: int) -> list[str]:
    """Drops the partitions of days before `day`, in the caller's transaction; gives up at once when one is being read
    (asyncpg.LockNotAvailableError: try again later). Imports stay."""
    await connection.execute("SET LOCAL lock_timeout = '200ms'")
    rows = await connection.fetch(_EXISTING)
    old = sorted(row["relname"] for row in rows if row["relname"] < _table(day))
    for table in old:
        await connection.execute(f"DROP TABLE identity.{table}")
    return old

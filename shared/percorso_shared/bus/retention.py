"""Space comes back by emptying whole tables, never by deleting rows."""

from typing import Any

import asyncpg

from percorso_shared.bus.append import SEGMENTS, period_ms, segment_at

OUTBOX_SEGMENTS = 3
OUTBOX_PERIOD_MS = 60_000

_LOCK = 0x5045_5254
"""One process at a time."""

_YOUNG = "SELECT 1 FROM bus.{table} WHERE at > $1 LIMIT 1"
_FULL = "SELECT 1 FROM bus.{table} LIMIT 1"
_UNREAD = """
SELECT 1 FROM bus.position p JOIN LATERAL (
    SELECT first + count AS end FROM bus.{table} l WHERE l.topic = p.topic AND l.partition = p.partition
    ORDER BY first DESC LIMIT 1) last ON true WHERE last.end > p.next LIMIT 1
"""
_UNSENT = """
SELECT 1 FROM bus.position p JOIN LATERAL (
    SELECT unit FROM bus.{table} o WHERE o.grp = p.grp AND o.topic = p.topic AND o.partition = p.partition
    ORDER BY unit DESC LIMIT 1) last ON true WHERE last.unit > p.sent LIMIT 1
"""


def outbox_segment_at(now_ms: int) -> int:
    return now_ms // OUTBOX_PERIOD_MS % OUTBOX_SEGMENTS


async def empty_log_segments(connection: Any, now_ms: int, retention_days: int) -> list[str]:
    """Empties the tables that are older than the retention, unless a registered group has not read them."""
    present = segment_at(now_ms, retention_days)
    emptied = []
    for segment in range(SEGMENTS):
        if segment != present and await _empty(connection, f"log_{segment}", _UNREAD,
                                               young=now_ms - 2 * period_ms(retention_days)):
            emptied.append(f"log_{segment}")
    return emptied


async def empty_outbox_segments(connection: Any, now_ms: int) -> list[str]:
    """Empties the tables of which everything is on Kafka."""
    present = outbox_segment_at(now_ms)
    emptied = []
    for segment in range(OUTBOX_SEGMENTS):
        if segment != present and await _empty(connection, f"outbox_{segment}", _UNSENT, young=None):
            emptied.append(f"outbox_{segment}")
    return emptied


async def _empty(connection: Any, table: str, needed: str, *, young: int | None) -> bool:
    """TRUNCATE under a lock that is asked for once, briefly; whether it may is looked at under that lock, for a late
    transaction may still have written there."""
    if not await connection.fetchval(_FULL.format(table=table)):
        return False
    if young is not None and await connection.fetchval(_YOUNG.format(table=table), young):
        return False
    if await connection.fetchval(needed.format(table=table)):
        return False
    try:
        async with connection.transaction():
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK):
                return False
            await connection.execute("SET LOCAL lock_timeout = '100ms'")
            await connection.execute(f"LOCK TABLE bus.{table} IN ACCESS EXCLUSIVE MODE")
            if young is not None and await connection.fetchval(_YOUNG.format(table=table), young):
                return False
            if await connection.fetchval(needed.format(table=table)):
                return False
            await connection.execute(f"TRUNCATE bus.{table}")
    except asyncpg.LockNotAvailableError:
        return False
    return True

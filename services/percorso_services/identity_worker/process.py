"""The process `identity_worker`: finds out whose touchpoints are, and keeps the days of the de-duplication table."""

import asyncio
import contextlib

from percorso_identity.batch import DAY_MS, LOOK_BACK_DAYS
from percorso_identity.partitions import days_ahead, drop_days_before, ensure_days
from percorso_services.identity_worker.worker import IdentityWorker
from percorso_shared.process import Context
from percorso_shared.wait_for_database import LOST

ROUND_SECONDS = 3600.0


async def run(context: Context) -> None:
    await _make_days(context)
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(_keep_days(context))
        try:
            await context.bus.run(IdentityWorker().stage())
        finally:
            keeping.cancel()


async def _make_days(context: Context) -> None:
    async with context.pool.acquire() as connection, connection.transaction():
        await ensure_days(connection, days_ahead(context.clock.now_ms()))


async def _drop_days(context: Context) -> None:
    async with context.pool.acquire() as connection, connection.transaction():
        await drop_days_before(connection, context.clock.now_ms() // DAY_MS - LOOK_BACK_DAYS - 1)


async def _keep_days(context: Context) -> None:
    """What fails because the database is away or a day is being read is done in the next round."""
    while not context.stop.is_set():
        with contextlib.suppress(*LOST):
            await _make_days(context)
            await _drop_days(context)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(context.stop.wait(), ROUND_SECONDS)

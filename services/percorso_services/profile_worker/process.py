"""The process `profile_worker`: folds resolved touchpoints into profiles, and keeps partitions ready ahead of time."""

import asyncio
import contextlib

from percorso_profile.partitions import ensure_months, months_ahead
from percorso_services.profile_worker.worker import ProfileWorker
from percorso_shared.process import Context
from percorso_shared.wait_for_database import LOST

AHEAD_SECONDS = 6 * 3600.0


async def run(context: Context) -> None:
    await _make_months(context)
    async with asyncio.TaskGroup() as group:
        ahead = group.create_task(_keep_months_ahead(context))
        try:
            await context.bus.run(ProfileWorker().stage())
        finally:
            ahead.cancel()


async def _make_months(context: Context) -> None:
    async with context.pool.acquire() as connection, connection.transaction():
        await ensure_months(connection, months_ahead(context.clock.now_ms()))


async def _keep_months_ahead(context: Context) -> None:
    """A database that is away for a moment is met again by the next round; on demand the handler makes them too."""
    while not context.stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(context.stop.wait(), AHEAD_SECONDS)
        if not context.stop.is_set():
            with contextlib.suppress(*LOST):
                await _make_months(context)

"""The process `orchestrator_worker`: moves runs of journeys, fires timers, and checks every minute that nothing is
stuck."""

import asyncio
import contextlib

import structlog
from prometheus_client import Gauge

from percorso_orchestrator.check_runs import check_runs
from percorso_orchestrator.first_journeys import publish_first
from percorso_services.orchestrator_worker.worker import OrchestratorWorker
from percorso_shared.control import WORKSPACE
from percorso_shared.process import Context
from percorso_shared.wait_for_database import LOST

CHECK_SECONDS = 60.0


async def run(context: Context) -> None:
    await publish_first(context.pool, WORKSPACE, context.settings.journeys_path, context.clock.now_ms())
    async with asyncio.TaskGroup() as group:
        checking = group.create_task(_check(context))
        try:
            await context.bus.run(OrchestratorWorker(context.bus).stage())
        finally:
            checking.cancel()


async def _check(context: Context) -> None:
    """A database that is away for a moment is met again by the next round."""
    active = Gauge("percorso_journey_runs_active", "Runs that are under way", registry=context.metrics)
    stuck = Gauge("percorso_journey_runs_stuck", "Active runs that nothing will move", registry=context.metrics)
    unbalanced = Gauge("percorso_journey_runs_unbalanced", "Runs entered that are neither active nor ended",
                       registry=context.metrics)
    log = structlog.get_logger("percorso.journeys")
    while not context.stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(context.stop.wait(), CHECK_SECONDS)
        if context.stop.is_set():
            return
        with contextlib.suppress(*LOST):
            async with context.pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
                found = await check_runs(connection, WORKSPACE)
            active.set(found.active)
            stuck.set(found.stuck)
            unbalanced.set(sum(abs(n) for n in found.unbalanced.values()))
            if found.stuck or found.unbalanced:
                log.warning("runs of journeys do not add up", stuck=found.stuck, unbalanced=found.unbalanced)

"""Units of work that no record caused: due timers, settled sends."""

import asyncio
import time
from contextlib import suppress

import structlog

from percorso_shared.bus.errors import LostPartition, describe, is_transient
from percorso_shared.bus.lane import Workshop
from percorso_shared.bus.membership import claim_tick
from percorso_shared.bus.place import Place
from percorso_shared.bus.unit_of_work import UnitOfWork, run_callbacks
from percorso_shared.database import is_open


class Ticks:
    """Calls the stage's tick every `tick_seconds`, and at once while it says that there may be more. One at a time
    per process; several processes may tick at once, each writing under a place of its own."""

    def __init__(self, shop: Workshop, instance: str, stop: asyncio.Event) -> None:
        self._shop = shop
        self._instance = instance
        self._stop = stop
        self.place: Place | None = None
        self._name = f"{shop.stage.name}/tick"
        self._log = structlog.get_logger("percorso.bus").bind(stage=shop.stage.name)

    async def run(self) -> None:
        """Until `stop`. Raises whatever is wrong with a tick: no record can be set aside for it."""
        attempt = 0
        while not self._stop.is_set():
            more = False
            try:
                more = await self._once()
            except LostPartition:
                self.place = None
            except Exception as error:
                if not is_transient(error):
                    raise
                attempt += 1
                await self._wait_out(error, attempt)
                continue
            if attempt:
                self._shop.trouble.clear(self._name)
                self._log.info("ticks again", attempts=attempt)
                attempt = 0
            if not more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), self._shop.stage.tick_seconds)

    async def _once(self) -> bool:
        shop = self._shop
        assert shop.stage.tick is not None
        began = time.perf_counter()
        async with shop.connections.lend() as connection:
            if self.place is None:
                place = await claim_tick(connection, shop.stage.name, self._instance)
                await shop.outlet.taken_over(connection, place)
                self.place = place
            place = self.place
            place.busy = True
            transaction = connection.transaction()
            await transaction.start()
            try:
                tx = UnitOfWork(connection, shop.clock.now_ms(), place, shop.outlet, primary=False, partition=None)
                more = await shop.stage.tick(tx)
                written = await tx.commit_outputs()
            except BaseException:
                if is_open(connection):
                    with suppress(Exception):
                        await transaction.rollback()
                raise
            finally:
                place.busy = False
            try:
                await transaction.commit()
            except BaseException:
                self.place = None  # whether it came through, the place is read again from the table
                raise
        place.out = written.out
        run_callbacks(written)
        seconds = time.perf_counter() - began
        if seconds > 1:
            self._log.warning("a tick took too long", seconds=round(seconds, 2))
        await shop.outlet.committed(place, written.outputs, written.token)
        return more

    async def _wait_out(self, error: BaseException, attempt: int) -> None:
        reason = describe(error)
        self._shop.metrics.retries.labels(self._shop.stage.name).inc()
        if attempt > 2:
            self._shop.trouble.set(self._name, f"waiting: {reason}")
        pause = min(5.0, 0.05 * 2 ** min(attempt, 10))
        self._log.warning("tick will be tried again", error=reason, attempt=attempt, pause_s=round(pause, 2))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), pause)

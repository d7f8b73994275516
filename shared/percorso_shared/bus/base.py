"""What both buses have in common."""

import asyncio
import os
import secrets
import socket
import zlib
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from percorso_shared.bus import stream_clock
from percorso_shared.bus.connections import Connections
from percorso_shared.bus.errors import describe, is_transient
from percorso_shared.bus.lane import Trouble, Workshop
from percorso_shared.bus.layout import SMALL
from percorso_shared.bus.metrics import BusMetrics
from percorso_shared.bus.port import Stage
from percorso_shared.bus.runner import StageRun, StageSource
from percorso_shared.bus.session import Session
from percorso_shared.bus.unit_of_work import Outlet
from percorso_shared.clock import Clock
from percorso_shared.settings import Settings
from percorso_shared.wait_for_database import LOST

RECLAIM_S = 20.0
HOLD_S = 10

_HOLD = f"""
INSERT INTO bus.hold (name, mark, until) VALUES ($1, $2, clock_timestamp() + interval '{HOLD_S} seconds')
ON CONFLICT (name) DO UPDATE SET mark = excluded.mark, until = excluded.until
"""


AT_ONCE = 4
"""Units of work under way in one process. One thread serves them all: more of them do not get more done, but each holds
its locks for longer (15 at once on 2 busy cores: 0.8 s for 200 records)."""


class BaseBus(ABC):
    """Names, partitions, session, working connections and background duties."""

    def __init__(self, settings: Settings, pool: Any, *, name: str, stop: asyncio.Event, clock: Clock,
                 metrics: CollectorRegistry, partitions: int) -> None:
        self._settings = settings
        self._pool = pool
        self._stop = stop
        self._clock = clock
        self._metrics = BusMetrics(metrics)
        self.partitions = partitions
        self.ingest_partitions = max(1, partitions - 1)
        self.own_partition = partitions - 1
        self.trouble: dict[str, str] = {}
        self.instance = f"{name}@{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._session = Session(pool, self.heard, self.connected)
        self._connections = Connections(pool, max(1, min(AT_ONCE, pool.get_max_size() - 4)))
        self._duties: list[asyncio.Task[None]] = []
        self._reclaiming = False

    def begin(self, duty: Coroutine[Any, Any, None]) -> None:
        self._duties.append(asyncio.create_task(duty))

    @abstractmethod
    def source(self) -> StageSource:
        """A reader for one stage."""

    @abstractmethod
    def outlet(self) -> Outlet: ...

    def heard(self, payload: str) -> None:  # noqa: B027  # most adapters have nothing to hear
        """A notification of another process."""

    def connected(self) -> None:  # noqa: B027  # the same
        """The session is there (again): notifications may have been missed."""

    def partition_for(self, key: bytes) -> int:
        return zlib.crc32(key) % self.ingest_partitions

    def partitions_of(self, topic: str) -> int:
        return 1 if topic in SMALL else self.partitions

    async def run(self, stage: Stage) -> None:
        if not self._reclaiming:
            self._reclaiming = True
            self.begin(self._reclaim())
        source = self.source()
        shop = Workshop(stage, source, self.outlet(), self._connections, self._clock, self._metrics,
                        Trouble(self.trouble))
        await StageRun(shop, source, self._session, self.instance, self._stop,
                       by_heartbeat=self._settings.embedded_bus).run()

    async def stream_clock_ms(self, stage: str) -> int | None:
        async with self._pool.acquire() as connection:
            return await stream_clock.stream_clock_ms(connection, stage, self.partitions)

    async def hold_clock(self, name: str, received_at: int | None) -> None:
        if received_at is None:
            await self._pool.execute("DELETE FROM bus.hold WHERE name = $1", name)
        else:
            await self._pool.execute(_HOLD, name, received_at)

    @abstractmethod
    async def reclaim(self) -> None:
        """Gives back the space of what nobody needs any more."""

    async def _reclaim(self) -> None:
        while True:
            await asyncio.sleep(RECLAIM_S * (0.75 + secrets.randbelow(50) / 100))
            try:
                await self.reclaim()
            except Exception as error:
                if not is_transient(error):
                    raise
                structlog.get_logger("percorso.bus").info("could not reclaim space now", error=describe(error))

    async def close(self) -> None:
        for duty in self._duties:
            duty.cancel()
            with suppress(asyncio.CancelledError):
                await duty
        with suppress(*LOST):
            await self._connections.close()
            await self._session.close()


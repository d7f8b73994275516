"""Workers on either bus, for tests that must hold on both."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from percorso_shared.bus.open import open_bus
from percorso_shared.bus.port import Batch, Stage
from percorso_shared.clock import Clock, SystemClock
from percorso_shared.database import open_pool
from percorso_shared.settings import Settings


def touchpoint(number: int, *, received_at: int = 1_772_409_600_000, source: str = "shop") -> bytes:
    """Enough of an accepted touchpoint for the bus: what it carries is nobody's business here."""
    return msgspec.json.encode({"schema": 1, "workspace": 1, "source": source, "n": number, "received_at": received_at})


def number_of(value: bytes) -> int:
    found: int = msgspec.json.decode(value)["n"]
    return found


@dataclass
class Worker:
    """A process's bus, as far as a test needs one."""

    bus: Any
    pool: Any
    stop: asyncio.Event
    registry: CollectorRegistry
    running: list[asyncio.Task[None]] = field(default_factory=list)

    def run(self, stage: Stage) -> asyncio.Task[None]:
        task = asyncio.create_task(self.bus.run(stage))
        self.running.append(task)
        return task

    async def end(self) -> None:
        """As on SIGTERM. Raises what a stage ended with, unless the test has looked at it."""
        self.stop.set()
        for task in self.running:
            with suppress(asyncio.CancelledError):
                await task
        self.running.clear()
        await self.bus.close()
        self.pool.terminate()

    async def vanish(self) -> None:
        """As on `kill -9`: no goodbye, connections cut."""
        self.pool.terminate()
        for task in self.running:
            task.cancel()
        for task in self.running:
            with suppress(asyncio.CancelledError, Exception):
                await task
        self.running.clear()
        with suppress(Exception):
            await asyncio.wait_for(self.bus.close(), 5)


@dataclass
class World:
    """One bus, one database, any number of workers."""

    settings: Settings
    url: str
    pool: Any
    workers: list[Worker] = field(default_factory=list)

    @property
    def kafka(self) -> bool:
        return not self.settings.embedded_bus

    async def worker(self, *, clock: Clock | None = None, size: int = 10) -> Worker:
        pool = await open_pool(self.url, name="worker", min_size=1, max_size=size)
        stop, registry = asyncio.Event(), CollectorRegistry()
        bus = await open_bus(self.settings, pool, name="worker", stop=stop, clock=clock or SystemClock(),
                             metrics=registry)
        self.workers.append(Worker(bus, pool, stop, registry))
        return self.workers[-1]

    async def position(self, stage: str, topic: str, partition: int) -> int:
        found = await self.pool.fetchval(
            "SELECT next FROM bus.position WHERE grp = $1 AND topic = $2 AND partition = $3", stage, topic, partition)
        return found or 0

    async def reached(self, stage: str, topic: str, partition: int, position: int) -> None:
        """Waits until the stage has worked on everything before `position`."""
        async def stands_there() -> bool:
            return await self.position(stage, topic, partition) >= position
        await eventually(stands_there)


async def eventually(condition: Callable[[], Awaitable[Any]] | Callable[[], Any], seconds: float = 20) -> Any:
    """The first true value of the condition, or a failure that shows the last one."""
    value: Any = None
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                value = condition()
                if isinstance(value, Awaitable):
                    value = await value
                if value:
                    return value
                await asyncio.sleep(0.01)
    raise AssertionError(f"not so within {seconds} s; last value: {value!r}")


@dataclass
class Seen:
    """A handler that only writes down what it was given."""

    records: list[tuple[str, int, int, bytes]] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)

    async def handle(self, batch: Batch, tx: Any) -> None:
        kept = [(batch.topic, batch.partition, record.position, record.value) for record in batch.records]
        tx.after_commit(lambda: self.records.extend(kept))
        tx.after_commit(lambda: self.batches.append(batch))

    def numbers(self, partition: int | None = None) -> list[int]:
        return [number_of(value) for _, of, _, value in self.records if partition is None or of == partition]

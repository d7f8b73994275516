"""What the bus itself costs: publishing, and a stage that only passes on, in batches of 1,000, on a throwaway database.

    .venv/bin/python benchmarks/bus_micro.py [--records 100000] [--kafka] [--profile]

Microseconds of CPU per touchpoint, split by process. The stage reads `touchpoints.accepted`, writes each record to
`touchpoints.resolved` and a second stage reads that: two units of work per touchpoint, without any work in them.
"""

import argparse
import asyncio
import cProfile
import os
import pstats
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import psutil
from prometheus_client import CollectorRegistry

from percorso_shared import topics
from percorso_shared.bus.open import open_bus
from percorso_shared.bus.port import Batch, Stage, Tx
from percorso_shared.clock import SystemClock
from percorso_shared.database import open_pool
from percorso_shared.embedded_postgres import EmbeddedPostgres
from percorso_shared.migrate import migrate
from percorso_shared.settings import Settings

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))


def body(number: int) -> bytes:
    """An ordinary touchpoint of 560 bytes."""
    return msgspec.json.encode({
        "schema": 1, "workspace": 1, "source": "shop", "trust": "browser", "event_id": os.urandom(16).hex(),
        "message_id": os.urandom(16).hex(), "type": "track", "name": "Product Viewed",
        "timestamp": 1_772_409_600_000 + number, "received_at": 1_772_409_600_000 + number,
        "identifiers": [["anonymous_id", os.urandom(16).hex()], ["user_id", f"u{number % 10_000}"]],
        "properties": {"sku": f"a{number % 1000}", "price": 12.5, "currency": "EUR"},
        "context": {"ip": "192.0.2.4", "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
                    "page": {"url": f"https://shop.example/p/{number}"}}})


Others = dict[str, Callable[[], list[psutil.Process]]]


class Meter:
    """CPU of this process and of other processes with all their children."""

    def __init__(self, others: Others) -> None:
        self._others = others
        self._kept: dict[str, dict[int, float]] = {name: {} for name in others}
        self._start = self._now()

    def _now(self) -> dict[str, float]:
        own = os.times()
        found = {"python": own.user + own.system}
        for name, processes in self._others.items():
            for process in processes():
                try:
                    times = process.cpu_times()
                except psutil.Error:
                    continue
                self._kept[name][process.pid] = times.user + times.system
            found[name] = sum(self._kept[name].values())
        return found

    def since(self, records: int, seconds: float) -> str:
        now = self._now()
        parts = [f"{name} {(now[name] - self._start[name]) * 1e6 / records:6.2f}" for name in now]
        self._start = now
        return f"{records / seconds:9,.0f}/s   CPU us each: " + "   ".join(parts)


async def measure(settings: Settings, meter_others: Others, records: int) -> None:
    pool = await open_pool(settings.database_url, name="bench", min_size=1, max_size=12)
    async with pool.acquire() as connection:
        await migrate(connection)
    stop = asyncio.Event()
    bus: Any = await open_bus(settings, pool, name="bench", stop=stop, clock=SystemClock(), metrics=CollectorRegistry())
    meter = Meter(meter_others)
    for size, callers in ((100, 10), (1000, 2)):
        values = [body(n) for n in range(size)]
        meter.since(1, 1)
        began = time.perf_counter()

        async def caller(share: int, values: list[bytes] = values, size: int = size) -> None:
            for _ in range(share):
                spread: dict[int, list[bytes]] = {}
                for value in values:
                    spread.setdefault(bus.partition_for(value[80:120]), []).append(value)
                await bus.publish(topics.ACCEPTED, spread)
        await asyncio.gather(*(caller(records // size // callers) for _ in range(callers)))
        print(f"publish, batches of {size:4}   {meter.since(records, time.perf_counter() - began)}")  # noqa: T201
    done = [0, 0]
    finished = asyncio.Event()
    total = 2 * (records // 1000 * 1000)

    async def pass_on(batch: Batch, tx: Tx) -> None:
        for record in batch.records:
            tx.publish(topics.RESOLVED, record.value, origin=(batch.partition, record.position))
        done[0] += len(batch.records)
        if done[0] >= total:
            finished.set()

    async def read(batch: Batch, tx: Tx) -> None:
        done[1] += len(batch.records)
        if done[1] >= total:
            finished.set()

    meter.since(1, 1)
    for title, stage in (("fetch, pass on, commit", Stage("identity_worker", (topics.ACCEPTED,), pass_on)),
                         ("fetch, commit", Stage("profile_worker", (topics.RESOLVED,), read))):
        finished.clear()
        began = time.perf_counter()
        running = asyncio.create_task(bus.run(stage))
        await finished.wait()
        print(f"{title:24}   {meter.since(total, time.perf_counter() - began)}")  # noqa: T201
        if running.done():
            running.result()
    stop.set()
    await asyncio.sleep(0.5)
    await bus.close()
    await pool.close()


async def run(options: argparse.Namespace) -> None:
    with TemporaryDirectory() as name:
        async with EmbeddedPostgres(Path(name)) as server:
            def postgres() -> list[psutil.Process]:
                return [process for process in psutil.process_iter(["name"]) if process.info["name"] == "postgres"
                        and str(Path(name)) in " ".join(_ancestry(process))]
            settings = Settings(database_url=server.url, partitions=4)
            await measure(settings, {"postgres": postgres}, options.records)
            if options.kafka:
                from kafka_broker import any_broker
                broker = any_broker(Path(name) / "kafka")
                broker.start()
                try:
                    async with EmbeddedPostgres(Path(name) / "second") as second:
                        settings = Settings(database_url=second.url, partitions=4, kafka_bootstrap=broker.bootstrap)
                        await measure(settings, {"postgres": postgres,
                                                 "broker": lambda: [psutil.Process(broker.pid)]}, options.records)
                finally:
                    broker.stop()


def _ancestry(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() + [part for parent in process.parents()[:2] for part in parent.cmdline()]
    except psutil.Error:
        return []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--kafka", action="store_true")
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    if chosen.profile:
        profile = cProfile.Profile()
        profile.runcall(asyncio.run, run(chosen))
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
    else:
        asyncio.run(run(chosen))

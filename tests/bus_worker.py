"""A worker in a process of its own, to be frozen and killed: `python bus_worker.py '{"url": ..., "name": ...}'`.

It writes each touchpoint's number into the table `state` under its own name, and passes it on to the resolved topic.
"""

import asyncio
import json
import signal
import sys
from typing import Any

from prometheus_client import CollectorRegistry

from percorso_shared import topics
from percorso_shared.bus.open import open_bus
from percorso_shared.bus.port import Batch, Stage, Tx
from percorso_shared.clock import SystemClock
from percorso_shared.database import open_pool
from percorso_shared.settings import Settings

STATE = "CREATE TABLE state (partition int, n int, worker text)"


async def work(task: dict[str, Any]) -> None:
    """Until SIGTERM."""
    settings = Settings(database_url=task["url"], kafka_bootstrap=task["bootstrap"], kafka_prefix=task["prefix"],
                        partitions=task["partitions"])
    pool = await open_pool(task["url"], name=task["name"], min_size=1, max_size=10)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    bus = await open_bus(settings, pool, name=task["name"], stop=stop, clock=SystemClock(), metrics=CollectorRegistry())

    async def handle(batch: Batch, tx: Tx) -> None:
        numbers = [json.loads(record.value)["n"] for record in batch.records]
        await tx.connection.execute(
            "INSERT INTO state SELECT $1, n, $3 FROM unnest($2::int[]) n", batch.partition, numbers, task["name"])
        await asyncio.sleep(task["pause_s"])
        for record in batch.records:
            tx.publish(topics.RESOLVED, record.value, origin=(batch.partition, record.position))

    await bus.run(Stage("identity_worker", (topics.ACCEPTED,), handle, max_records=task["max_records"]))
    await bus.close()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(work(json.loads(sys.argv[1])))

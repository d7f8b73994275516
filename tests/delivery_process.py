"""The real delivery worker in a process of its own, without the rest of Percorso: `python delivery_process.py URL`.

It reads its settings as every process does, opens the embedded bus on the database URL, prints `{"ready": true}` and
works until SIGTERM. The parent may stop it at a named point (PERCORSO_TEST_PAUSE_AT) and kill it there.
"""

import asyncio
import json
import signal
import sys

from prometheus_client import CollectorRegistry

from percorso_services.delivery_worker.process import run
from percorso_shared.bus.open import open_bus
from percorso_shared.clock import SystemClock
from percorso_shared.database import open_pool
from percorso_shared.process import Context
from percorso_shared.settings import read_settings


async def main(url: str) -> None:
    settings = read_settings(database_url=url)
    stop, clock, metrics = asyncio.Event(), SystemClock(), CollectorRegistry()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pool = await open_pool(url, name="delivery_worker")
    bus = await open_bus(settings, pool, name="delivery_worker", stop=stop, clock=clock, metrics=metrics)
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201 the parent reads it
    await run(Context(settings=settings, pool=pool, bus=bus, clock=clock, stop=stop, metrics=metrics))
    await bus.close()
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""/readyz follows the facts: what is lost is said with its reason, what is back is ready again."""

import asyncio
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry

from percorso_services.health import watch_broker, watch_database
from percorso_shared.bus.port import Bus
from percorso_shared.clock import SystemClock
from percorso_shared.process import Context
from percorso_shared.settings import Settings


def context_with(pool: Any) -> Context:
    bus: Bus = None  # type: ignore[assignment]  # health asks the broker itself
    return Context(settings=Settings(), pool=pool, bus=bus, clock=SystemClock(), stop=asyncio.Event(),
                   metrics=CollectorRegistry())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_lost_connection_to_the_database_is_a_reason_until_it_is_back(pool: Any, database_url: str) -> None:
    context = context_with(pool)
    watching = asyncio.create_task(watch_database(context, database_url, every=0.2))
    async with asyncio.timeout(20):
        while not await pool.fetchval(  # noqa: ASYNC110
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'health' "
                "AND datname = current_database()"):
            await asyncio.sleep(0.01)
    await until(lambda: "no connection to the database" in context.ready.get("database", ""))
    await until(lambda: not context.ready)
    context.stop.set()
    await watching


async def test_a_broker_that_is_gone_is_a_reason_until_it_is_back(pool: Any) -> None:
    context = context_with(pool)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    watching = asyncio.create_task(watch_broker(context, f"127.0.0.1:1,127.0.0.1:{port}", every=0.05))
    await until(lambda: "bus" in context.ready)
    assert context.ready["bus"] == f"no connection to Kafka at 127.0.0.1:1,127.0.0.1:{port}: connection refused"
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
    await until(lambda: not context.ready)
    context.stop.set()
    await watching
    server.close()

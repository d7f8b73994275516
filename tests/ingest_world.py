"""A public port on the real embedded bus, with sources made for the test, asked through ASGI or a real socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from prometheus_client import CollectorRegistry

from percorso_services.ingest_api import process
from percorso_services.ingest_api.parts import Parts
from percorso_shared.bus.codec import unpack
from percorso_shared.bus.open import open_bus
from percorso_shared.bus.port import Bus
from percorso_shared.clock import Clock, FrozenClock
from percorso_shared.process import Context
from percorso_shared.settings import Settings
from percorso_shared.topics import ACCEPTED

NOW = 1_795_320_000_000
"""2026-11-22T04:00:00Z: after the captures of `tests/data/sdk-captures`."""
KEY = "WK_TEST"
SERVER_KEY = "WK_SERVER"
BASIC = {"authorization": "Basic V0tfVEVTVDo="}


@dataclass
class World:
    context: Context
    client: httpx.AsyncClient
    parts: Parts
    pool: Any

    @property
    def bus(self) -> Bus:
        return self.context.bus

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        """JSON unless the body is bytes; with the key of the browser source unless headers are given."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self.client.post(path, content=content, headers=BASIC if headers is None else headers)

    async def accepted(self) -> list[dict[str, Any]]:
        """What is on the bus, in the order of each partition."""
        return await self.records(ACCEPTED)

    async def records(self, topic: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(value) for value in await self.values(topic)]

    async def values(self, topic: str) -> list[bytes]:
        """As `records`, the bytes as they were published."""
        rows = await self.pool.fetch("SELECT body FROM bus.log WHERE topic = $1 ORDER BY partition, first", topic)
        return [value for row in rows for value in unpack(row["body"])]

    async def quarantine(self, n: int) -> list[Any]:
        """The quarantine's rows, as soon as there are `n`."""
        async with asyncio.timeout(10):
            while True:
                rows: list[Any] = await self.pool.fetch(
                    "SELECT * FROM ingest.quarantine WHERE workspace_id = 1 ORDER BY id")
                if len(rows) >= n:
                    return rows
                await asyncio.sleep(0.01)


async def make_sources(pool: Any, sources: Sequence[tuple[str, str, str]] = (
        ("website", "browser", KEY), ("backend", "server", SERVER_KEY)), limits: str = "{}") -> None:
    await pool.executemany(
        "INSERT INTO ingest.source (workspace_id, name, kind, write_key, limits) VALUES (1, $1, $2, $3, $4)",
        [(*source, limits) for source in sources])


@contextlib.asynccontextmanager
async def ingest_world(pool: Any, *, clock: Clock | None = None, running: bool = True,
                       **settings: Any) -> AsyncIterator[World]:
    """`running=False`: nothing reads the refusals, the sources are as `make_sources` made them."""
    stop, metrics = asyncio.Event(), CollectorRegistry()
    configured, clock = Settings(spool="off", **settings), clock or FrozenClock(NOW)
    bus = await open_bus(configured, pool, name="ingest_api", stop=stop, clock=clock, metrics=metrics)
    context = Context(settings=configured, pool=pool, bus=bus, clock=clock, stop=stop, metrics=metrics)
    app = process.public_app(context)
    parts = process._parts_of(context)
    work = asyncio.create_task(process.run(context)) if running else None
    if running:
        await asyncio.wait_for(parts.sources.known.wait(), 10)
    else:
        from percorso_ingest.postgres import read_sources
        parts.sources.replace(await read_sources(pool))
    transport = httpx.ASGITransport(app=app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://ingest.test") as client:
            yield World(context, client, parts, pool)
    finally:
        stop.set()
        if work is not None:
            await asyncio.wait_for(work, 10)
        process._parts.pop(id(context), None)
        await bus.close()

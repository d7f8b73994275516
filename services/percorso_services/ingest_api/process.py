"""ingest_api: the public port, and the quarantine of what it and others refused."""

import asyncio

import structlog

from percorso_ingest.postgres import expire_unreadable, workspaces_with_quarantine
from percorso_ingest.quarantine import handler
from percorso_services.ingest_api.parts import Parts
from percorso_shared.bus.port import Stage
from percorso_shared.clock import to_datetime
from percorso_shared.process import ASGIApp, Context
from percorso_shared.topics import REFUSED
from percorso_shared.wait_for_database import LOST

NAME = "ingest_api"
_DAY_MS = 86_400_000
_SLICE = 500
_parts: dict[int, Parts] = {}
"""By the identity of the context, between `public_app` and the end of `run`."""


def public_app(context: Context) -> ASGIApp:
    """Answers 503 until `run` has read the sources."""
    context.ready[NAME] = "the sources are being read"
    return _parts_of(context).app


async def run(context: Context) -> None:
    """Until `context.stop`: follows the sources, counts, writes the quarantine and lets it expire."""
    parts = _parts_of(context)
    if context.settings.spool != "off":
        structlog.get_logger().warning("no spool on disk in this version: while the bus is down the answer is 503")
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(parts.sources.follow(context.pool, context.stop), name="sources")
            tasks.create_task(_say_when_ready(context, parts), name="ready")
            tasks.create_task(
                parts.counters.flush_each_second(context.pool, context.clock, context.stop), name="accounting")
            tasks.create_task(context.bus.run(Stage(
                NAME, (REFUSED,), handler(context.settings.quarantine_max_bytes))), name="quarantine")
            tasks.create_task(_expire_each_hour(context), name="expiry")
    finally:
        _parts.pop(id(context), None)


def _parts_of(context: Context) -> Parts:
    if id(context) not in _parts:
        _parts[id(context)] = Parts(context)
    return _parts[id(context)]


async def _say_when_ready(context: Context, parts: Parts) -> None:
    known, stop = asyncio.create_task(parts.sources.known.wait()), asyncio.create_task(context.stop.wait())
    try:
        await asyncio.wait((known, stop), return_when=asyncio.FIRST_COMPLETED)
    finally:
        known.cancel()
        stop.cancel()
    context.ready.pop(NAME, None)


async def _expire_each_hour(context: Context) -> None:
    """In slices, each a short transaction of its own."""
    while not context.stop.is_set():
        try:
            await expire(context)
        except LOST as error:
            structlog.get_logger().warning("the quarantine cannot expire now", reason=type(error).__name__)
        try:
            await asyncio.wait_for(context.stop.wait(), 3_600)
        except TimeoutError:
            continue


async def expire(context: Context) -> int:
    """Deletes unreadable originals that are older than the setting says; returns how many."""
    before = to_datetime(context.clock.now_ms() - context.settings.retention_quarantine_days * _DAY_MS)
    gone = 0
    async with context.pool.acquire() as connection:
        for workspace in await workspaces_with_quarantine(connection):
            while True:
                n = await expire_unreadable(connection, workspace, before, _SLICE)
                gone += n
                if n < _SLICE:
                    break
    return gone

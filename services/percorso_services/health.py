"""What the host itself serves on the private port: /healthz (alive), /readyz (can work), /metrics (Prometheus)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import asyncpg
import msgspec
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from percorso_shared.database import terminate
from percorso_shared.process import ASGIApp, Context, Message, Scope
from percorso_shared.wait_for_database import LOST, place_of, stopped_within, why

PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


def health_app(context: Context) -> ASGIApp:
    """/readyz answers 503 with every reason while a process, the database or the bus cannot work."""

    async def app(scope: Scope, receive: Callable[[], Awaitable[Message]],
                  send: Callable[[Message], Awaitable[None]]) -> None:
        status, content_type, body = 200, "application/json", b'{"alive":true}'
        if scope["path"] == "/readyz":
            reasons = {**context.bus.trouble, **context.ready}
            status = 503 if reasons else 200
            body = msgspec.json.encode({"ready": not reasons, "reasons": reasons})
        elif scope["path"] == "/metrics":
            content_type, body = CONTENT_TYPE_LATEST, generate_latest(context.metrics)
        await respond(send, status, content_type, body)

    return app


async def respond(send: Callable[[Message], Awaitable[None]], status: int, content_type: str, body: bytes) -> None:
    """One whole answer."""
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store")]})
    await send({"type": "http.response.body", "body": body})


async def watch_database(context: Context, url: str, *, every: float = 1.0) -> None:
    """Keeps `context.ready["database"]` true to the facts, on a connection of its own, until the process stops. Losing
    the database and having it back are lines in the log."""
    log, connection, attempt = structlog.get_logger(), None, 0
    try:
        while not context.stop.is_set():
            try:
                if connection is None:
                    connection = await asyncpg.connect(url, timeout=5, server_settings={"application_name": "health"})
                await connection.fetchval("SELECT 1", timeout=5)
            except LOST as error:
                attempt += 1
                reason = f"no connection to the database at {place_of(url)}: {why(error)}"
                log.warning(f"{reason} (attempt {attempt})")
                context.ready["database"] = reason
                if connection is not None:
                    terminate(connection)
                    connection = None
            else:
                if context.ready.pop("database", None) is not None:
                    log.info("the database is back")
                attempt = 0
            await stopped_within(context.stop, every * min(max(attempt, 1), 5))
    finally:
        if connection is not None:
            with contextlib.suppress(*LOST):
                await connection.close(timeout=2)


async def watch_broker(context: Context, bootstrap: str, *, every: float = 2.0) -> None:
    """Keeps `context.ready["bus"]` true to the facts: whether any of the brokers takes a connection. Losing them and
    having one back are lines in the log."""
    log, attempt = structlog.get_logger(), 0
    while not context.stop.is_set():
        reason = await _no_broker(bootstrap)
        if reason is not None:
            attempt += 1
            context.ready["bus"] = f"no connection to Kafka at {bootstrap}: {reason}"
            log.warning(f"{context.ready['bus']} (attempt {attempt})")
        elif context.ready.pop("bus", None) is not None:
            attempt = 0
            log.info("Kafka is back")
        await stopped_within(context.stop, every)


async def _no_broker(bootstrap: str) -> str | None:
    """None: one of them can be reached; else why the last cannot."""
    reason = "no address"
    for place in bootstrap.split(","):
        host, _, port = place.strip().rpartition(":")
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host.strip("[]"), int(port)), 5)
        except (OSError, TimeoutError, ValueError) as error:
            reason = why(error)
            continue
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return None
    return reason

"""The process `delivery_worker`: the ledger -> the outside world -> touchpoints about it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from percorso_orchestrator.delivery_ledger import PLANNED_CHANNEL, expire
from percorso_services.delivery_worker.channels.email import Smtp, server_of
from percorso_services.delivery_worker.channels.reachable_address import allowed_places
from percorso_services.delivery_worker.channels.webhook import WebhookSender
from percorso_services.delivery_worker.ear import Ear
from percorso_services.delivery_worker.email_lane import EmailLane
from percorso_services.delivery_worker.metrics import Metrics
from percorso_services.delivery_worker.published import Published
from percorso_services.delivery_worker.telling import tell
from percorso_services.delivery_worker.webhook_lane import WebhookLane
from percorso_shared.bus.errors import describe, is_transient
from percorso_shared.clock import to_datetime
from percorso_shared.process import Context

WORKSPACE = 1
POLL_S = 0.5
EXPIRE_S = 2.0


async def run(context: Context) -> None:
    """Until the context stops; then what was begun is finished."""
    settings, pool, clock = context.settings, context.pool, context.clock
    metrics, published = Metrics(context.metrics), Published(WORKSPACE)
    smtp = Smtp(server_of(settings.smtp_url)) if settings.smtp_url else None
    emails = EmailLane(pool, WORKSPACE, clock, published, metrics, smtp, mail_from=settings.mail_from,
                       public_url=settings.public_address)
    webhooks = WebhookLane(pool, WORKSPACE, clock, published, metrics,
                           WebhookSender(allowed_places(settings.webhook_allow)))
    planned, settled = asyncio.Event(), asyncio.Event()
    ear = Ear(pool, PLANNED_CHANNEL, planned)

    async def send_emails() -> bool:
        more = await emails.once()
        settled.set()
        return more

    async def send_webhooks() -> bool:
        more = await webhooks.once()
        settled.set()
        return more

    async def expire_leases() -> bool:
        async with pool.acquire() as connection:
            found = await expire(connection, WORKSPACE, to_datetime(clock.now_ms()))
        for key, count in found.items():
            metrics.expired.labels(*key.split(":")).inc(count)
            structlog.get_logger("percorso.delivery").warning("leases ended before the send was settled",
                                                              what=key, sends=count)
        if found:
            planned.set()
        return False

    async def tell_what_we_did() -> bool:
        return await tell(pool, context.bus, WORKSPACE, clock)

    async def listen() -> bool:
        await ear.listen()
        return False

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_keep_doing("e-mails", send_emails, context.stop, POLL_S, planned))
            group.create_task(_keep_doing("webhooks", send_webhooks, context.stop, POLL_S, planned, webhooks.freed))
            group.create_task(_keep_doing("leases", expire_leases, context.stop, EXPIRE_S))
            group.create_task(_keep_doing("touchpoints", tell_what_we_did, context.stop, POLL_S, settled))
            group.create_task(_keep_doing("wake-ups", listen, context.stop, POLL_S))
        await webhooks.drain()
        await tell(pool, context.bus, WORKSPACE, clock)
    finally:
        await ear.close()
        await emails.close()
        await webhooks.close()


async def _keep_doing(what: str, step: Callable[[], Awaitable[bool]], stop: asyncio.Event, pause: float,
                      *wake: asyncio.Event) -> None:
    """`step` again and again: at once while it says that there is more, else after a wake-up or the pause. A database
    or bus that is away is waited for, visibly; anything else ends the process with its reason."""
    log, attempt = structlog.get_logger("percorso.delivery"), 0
    while not stop.is_set():
        try:
            more = await step()
        except BaseException as error:
            cause = _only_transient(error)
            if cause is None:
                raise
            attempt += 1
            wait = min(5.0, 0.1 * 2 ** min(attempt, 10))
            log.warning(f"{what} will be tried again", error=describe(cause), attempt=attempt, pause_s=round(wait, 1))
            await _any_of(wait, stop)
            continue
        if attempt:
            log.info(f"{what} work again", attempts=attempt)
            attempt = 0
        if not more:
            await _any_of(pause, stop, *wake)
            for event in wake:
                event.clear()


def _only_transient(error: BaseException) -> BaseException | None:
    """The error if it passes by itself (of a group: if all do), else None."""
    if isinstance(error, BaseExceptionGroup):
        inner = [_only_transient(part) for part in error.exceptions]
        return inner[0] if all(part is not None for part in inner) else None
    return error if isinstance(error, Exception) and is_transient(error) else None


async def _any_of(seconds: float, *events: asyncio.Event) -> None:
    waiting: list[asyncio.Task[Any]] = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*waiting, return_exceptions=True)

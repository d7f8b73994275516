"""Webhooks: a few at a time per destination, so that a dead one slows nobody."""

import asyncio
import random
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import Any

from percorso_orchestrator.delivery_ledger import begin, give_back, settle
from percorso_orchestrator.destinations import find_destination
from percorso_services.delivery_worker.all_done import raise_all
from percorso_services.delivery_worker.channels.webhook import WebhookSender, body_of
from percorso_services.delivery_worker.claiming import Ready, claim_and_judge
from percorso_services.delivery_worker.metrics import Metrics
from percorso_services.delivery_worker.outcome import Later, LeaseLost, Outcome, Refused, Sent, Unknown
from percorso_services.delivery_worker.published import Published
from percorso_services.delivery_worker.retry import WEBHOOK, next_try
from percorso_shared.clock import Clock, to_datetime, to_ms
from percorso_shared.crash_points import reach

PER_DESTINATION = 4
AT_ONCE = 64
SENDING_LEASE = timedelta(seconds=60)
"""Longer than a destination may take to answer."""


class WebhookLane:
    """Claims rows of destinations that have a place free; each row is a task of its own."""

    def __init__(self, pool: Any, workspace: int, clock: Clock, published: Published, metrics: Metrics,
                 sender: WebhookSender) -> None:
        self._pool, self._workspace, self._clock = pool, workspace, clock
        self._published, self._metrics, self._sender = published, metrics, sender
        self._busy: Counter[str] = Counter()
        """Rows under way by destination."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.freed = asyncio.Event()
        """Set whenever a row is done."""

    async def once(self) -> bool:
        """Claims what there is room for and starts it. Raises what went wrong with an earlier row."""
        self.freed.clear()
        self._reap()
        free = AT_ONCE - len(self._tasks)
        if free <= 0:
            return False
        full = [address for address, count in self._busy.items() if count > 0]
        claim = await claim_and_judge(self._pool, self._workspace, "webhook", self._clock, self._published,
                                      limit=free, per_address=PER_DESTINATION, but_not=full)
        for stopped in claim.stopped:
            self._metrics.stopped.labels("webhook", stopped.gate).inc()
        for item in claim.ready:
            self._busy[item.address] += 1
            task = asyncio.create_task(self._send(item))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, item.address))
        return bool(claim.ready or claim.stopped)

    async def drain(self) -> None:
        """Until everything under way is settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)
            self._reap()

    def _done(self, address: str, _: "asyncio.Task[None]") -> None:
        self._busy[address] -= 1
        if self._busy[address] <= 0:
            del self._busy[address]
        self.freed.set()

    def _reap(self) -> None:
        finished = {task for task in self._tasks if task.done()}
        self._tasks -= finished
        raise_all([error for task in finished if (error := task.exception()) is not None])

    async def _send(self, item: Ready) -> None:
        row = item.row
        async with self._pool.acquire() as connection:
            destination = await find_destination(connection, self._workspace, row.address,
                                                 to_datetime(self._clock.now_ms()))
        if destination is None:
            await self._settle(item, Refused(f"there is no destination {row.address!r}"))
            return

        async def begun() -> bool:
            now = to_datetime(self._clock.now_ms())
            async with self._pool.acquire() as connection:
                return await begin(connection, self._workspace, row, now, now + SENDING_LEASE, row.address, None)

        await self._settle(item, await self._sender.post(
            destination.url, destination.secret, row.idempotency_key, body_of(row), begun))

    async def _settle(self, item: Ready, outcome: Outcome) -> None:
        row, now_ms = item.row, self._clock.now_ms()
        now = to_datetime(now_ms)
        reach("delivery.before_settle")
        async with self._pool.acquire() as connection, connection.transaction():
            match outcome:
                case Sent(response):
                    await settle(connection, self._workspace, row, now, "sent", response=response)
                    state = "sent"
                case Refused(reason, response):
                    await settle(connection, self._workspace, row, now, "failed", reason=reason, response=response)
                    state = "failed"
                case Later():
                    state = await self._later(connection, item, outcome, now_ms)
                case LeaseLost() | Unknown():
                    return
        reach("delivery.settled")
        if state == "planned":
            self._metrics.later.labels("webhook").inc()
        else:
            self._metrics.settled.labels("webhook", state).inc()

    async def _later(self, connection: Any, item: Ready, outcome: Later, now_ms: int) -> str:
        row, attempt = item.row, item.row.attempts + 1
        again = next_try(WEBHOOK, attempt, to_ms(row.due_at), now_ms, random.random(), outcome.asked_ms)
        said = f"try {attempt}: {outcome.response}"
        if again is None:
            await settle(connection, self._workspace, row, to_datetime(now_ms), "failed",
                         reason=f"given up after 24 h: {outcome.response}", response=said)
            return "failed"
        await give_back(connection, self._workspace, row, to_datetime(now_ms), to_datetime(again), said,
                        tried=not outcome.began)
        return "planned"

    async def close(self) -> None:
        await self._sender.close()

"""How many were accepted and refused, per source: on /metrics at once, in the accounting every second."""

import asyncio
from collections import Counter as Tally
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from percorso_ingest.source import Source
from percorso_shared.accounting import account
from percorso_shared.clock import Clock
from percorso_shared.wait_for_database import LOST

STAGE = "ingest_api"


class Counters:
    """Numbers for people; a crash may lose the last second of them, and no touchpoint depends on them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._touchpoints = Counter(
            "percorso_ingest_touchpoints", "Touchpoints by source and outcome", ["source", "outcome"],
            registry=registry)
        self._refusals = Counter(
            "percorso_ingest_refusals", "Refusals by source and reason", ["source", "reason"], registry=registry)
        self._requests = Counter("percorso_ingest_requests", "Requests by status", ["status"], registry=registry)
        self._bytes = Counter("percorso_ingest_body_bytes", "Bytes of bodies received", registry=registry)
        self.in_flight = Gauge(
            "percorso_ingest_in_flight_bytes", "Bytes of requests not answered yet", registry=registry)
        self._waiting: Tally[tuple[int, str, str]] = Tally()
        self._statuses: dict[int, Any] = {}

    def count(self, source: Source, accepted: int, reasons: list[str]) -> None:
        """After the records are durable."""
        if accepted:
            self._touchpoints.labels(source.name, "accepted").inc(accepted)
            self._waiting[source.workspace, source.name, "accepted"] += accepted
        if reasons:
            self._touchpoints.labels(source.name, "refused").inc(len(reasons))
            self._waiting[source.workspace, source.name, "refused"] += len(reasons)
            for reason in reasons:
                self._refusals.labels(source.name, reason).inc()

    def answered(self, status: int, size: int) -> None:
        counter = self._statuses.get(status)
        if counter is None:
            counter = self._statuses[status] = self._requests.labels(str(status))
        counter.inc()
        self._bytes.inc(size)

    async def flush_each_second(self, pool: Any, clock: Clock, stop: asyncio.Event) -> None:
        """Until `stop`, and once more then. What cannot be written now is written later."""
        lost = False
        while True:
            stopping = stop.is_set()
            try:
                await self.flush(pool, clock)
                lost = False
            except LOST as error:
                if not lost:
                    structlog.get_logger().warning("accounting waits for the database", reason=type(error).__name__)
                lost = True
            if stopping:
                return
            try:
                await asyncio.wait_for(stop.wait(), 1.0)
            except TimeoutError:
                continue

    async def flush(self, pool: Any, clock: Clock) -> None:
        """Writes what has been counted since the last time."""
        if not self._waiting:
            return
        counts, self._waiting = self._waiting, Tally()
        try:
            async with pool.acquire() as connection, connection.transaction():
                for workspace in sorted({key[0] for key in counts}):
                    await account(connection, workspace, STAGE, {
                        key[1:]: n for key, n in counts.items() if key[0] == workspace}, clock.now_ms())
        except BaseException:
            self._waiting.update(counts)
            raise

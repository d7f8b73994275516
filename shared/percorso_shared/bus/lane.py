"""One partition of one stage, as long as it is ours: read, work, commit, one batch after the other."""

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from percorso_shared import topics
from percorso_shared.accounting import account
from percorso_shared.bus.codec import MAX_BYTES, header_of
from percorso_shared.bus.connections import Connections
from percorso_shared.bus.errors import LostPartition, describe, is_transient
from percorso_shared.bus.metrics import BusMetrics
from percorso_shared.bus.place import Place
from percorso_shared.bus.port import Batch, Handler, PoisonRecord, Record, Stage, Stop
from percorso_shared.bus.refusal import received_at, refuse
from percorso_shared.bus.unit_of_work import Outlet, UnitOfWork, pass_fence, run_callbacks, stands_at
from percorso_shared.clock import Clock
from percorso_shared.database import is_open

TOO_SLOW_S = 0.7
"""A unit of work may not last over 1 s: from here on batches get smaller."""
FAR_TOO_SLOW_S = 3.0
"""A batch that failed after so long is tried again in halves: the server ends transactions that are silent for 5 s, and
the same batch would be ended again."""
FEW = 100
"""Below this many records a batch is halved at most: on a busy machine small batches only make it busier."""
POISON_IN_A_ROW = 20
LINGER_S = 0.008
"""How long a lane that is working gathers records before it takes a small batch."""


class Source(Protocol):
    """How an adapter reads the partitions of a stage."""

    async def fetch(self, topic: str, partition: int, position: int, limit: int, wait_s: float) -> list[Record]:
        """Records from `position` on, at most `limit` and about 1 MiB; [] if there are none within `wait_s`."""

    async def check(self, place: Place) -> None:
        """Raises Stop if what comes next for the place is no longer there."""

    def has_more(self, topic: str, partition: int, position: int) -> bool:
        """Whether a fetch from there would probably find something at once."""


@dataclass(slots=True)
class Trouble:
    """Why a stage cannot go on at present; visible in /readyz."""

    reasons: dict[str, str]

    def set(self, name: str, reason: str) -> None:
        self.reasons[name] = reason

    def clear(self, name: str) -> None:
        self.reasons.pop(name, None)


@dataclass(slots=True)
class Workshop:
    """What the lanes of a stage share."""

    stage: Stage
    source: Source
    outlet: Outlet
    connections: Connections
    clock: Clock
    metrics: BusMetrics
    trouble: Trouble


class Indigestible(Exception):
    """The handler failed on a batch for a reason that will not pass."""

    def __init__(self, position: int | None, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.position, self.reason, self.detail = position, reason, detail


class Feed:
    """The records of one place: one batch in work and the next one on its way, never more."""

    def __init__(self, shop: Workshop, place: Place) -> None:
        self._source = shop.source
        self.place = place
        self._cursor = place.next
        self._task: asyncio.Task[list[Record]] | None = None

    def begin(self, limit: int) -> asyncio.Task[list[Record]]:
        """The fetch under way, started if there is none."""
        if self._task is None:
            place = self.place
            self._task = asyncio.create_task(
                self._source.fetch(place.topic, place.partition, self._cursor, limit, 1.0))
        return self._task

    async def take(self, limit: int, linger: float) -> list[Record]:
        """What the finished fetch brought; a small batch is topped up with what has arrived since."""
        assert self._task is not None
        task, self._task = self._task, None
        records = task.result()
        if not records:
            return records
        self._cursor = records[-1].position + 1
        if len(records) < limit // 4 and sum(len(record.value) for record in records) < MAX_BYTES // 2:
            if linger:
                await asyncio.sleep(linger)
            records += await self._top_up(limit - len(records))
        return records

    async def _top_up(self, limit: int) -> list[Record]:
        place = self.place
        if not self._source.has_more(place.topic, place.partition, self._cursor):
            return []
        try:
            more = await self._source.fetch(place.topic, place.partition, self._cursor, limit, 0)
        except Exception as error:
            if not is_transient(error):
                raise
            return []  # what we hold is enough to go on with; the next fetch meets the same error
        if more:
            self._cursor = more[-1].position + 1
        return more

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._task


class Lane:
    """Runs until `closing` is set, the partition is lost (LostPartition) or the process must halt (Stop)."""

    def __init__(self, shop: Workshop, places: Sequence[Place], closing: asyncio.Event) -> None:
        self._shop = shop
        self.places = places
        self._closing = closing
        self._feeds = [Feed(shop, place) for place in places]
        self._limit = shop.stage.max_records
        self._poisoned = 0
        self._failed_fetches = 0
        self._began = math.inf
        self._finished_at = 0.0
        self._name = f"{shop.stage.name}/{places[0].partition}"
        self._log = structlog.get_logger("percorso.bus").bind(stage=shop.stage.name, partition=places[0].partition)

    async def run(self) -> None:
        closing = asyncio.create_task(self._closing.wait())
        try:
            await self._check()
            while not self._closing.is_set():
                fetches = {feed.begin(self._limit): feed for feed in self._feeds}
                await asyncio.wait({closing, *fetches}, return_when=asyncio.FIRST_COMPLETED)
                for fetch, feed in fetches.items():
                    if fetch.done() and not self._closing.is_set():
                        await self._consume(feed)
        finally:
            closing.cancel()
            self._shop.trouble.clear(self._name)
            for feed in self._feeds:
                await feed.close()

    async def _check(self) -> None:
        attempt = 0
        for place in self.places:
            while not self._closing.is_set():
                try:
                    await self._shop.source.check(place)
                except Exception as error:
                    if not is_transient(error):
                        raise
                    attempt += 1
                    await self._wait_out(error, attempt)
                else:
                    break
        self._works_again(attempt)

    async def _consume(self, feed: Feed) -> None:
        linger = LINGER_S if time.monotonic() - self._finished_at < 0.05 else 0.0
        try:
            records = await feed.take(self._limit, linger)
        except Exception as error:
            if not is_transient(error):
                raise
            self._failed_fetches += 1
            await self._wait_out(error, self._failed_fetches)
            return
        self._works_again(self._failed_fetches)
        self._failed_fetches = 0
        if records:
            feed.begin(self._limit)
            while records and not self._closing.is_set():
                limit = self._limit
                await self._digest(feed.place, records[:limit])
                records = records[limit:]
            self._finished_at = time.monotonic()

    def _works_again(self, attempts: int) -> None:
        if attempts:
            self._shop.trouble.clear(self._name)
            self._log.info("works again", attempts=attempts)

    async def _wait_out(self, error: BaseException, attempt: int) -> None:
        reason = describe(error)
        self._shop.metrics.retries.labels(self._shop.stage.name).inc()
        pause = min(5.0, 0.05 * 2 ** min(attempt, 10))
        if attempt > 2:
            self._shop.trouble.set(self._name, f"waiting: {reason}")
        self._log.warning("will try again", error=reason, attempt=attempt, pause_s=round(pause, 2))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), pause)
        if self._closing.is_set():
            raise LostPartition("stopped while waiting") from error

    async def _digest(self, place: Place, records: Sequence[Record]) -> None:
        """Works on the records, in order; what cannot be digested is found by halving and set aside alone."""
        if not records:
            return
        try:
            await self._attempt(place, records, self._shop.stage.handle)
        except Indigestible as error:
            if len(records) == 1:
                await self._set_aside(place, records[0], error)
                return
            found = [at for at, record in enumerate(records) if record.position == error.position]
            if found:
                at = found[0]
                await self._digest(place, records[:at])
                await self._set_aside(place, records[at], error)
                await self._digest(place, records[at + 1:])
            else:
                half = len(records) // 2
                await self._digest(place, records[:half])
                await self._digest(place, records[half:])

    async def _set_aside(self, place: Place, record: Record, error: Indigestible) -> None:
        stage = self._shop.stage
        self._poisoned += 1
        if self._poisoned >= POISON_IN_A_ROW:
            raise Stop(f"{stage.name}: {POISON_IN_A_ROW} records in a row of {place.topic}/{place.partition} cannot be "
                       f"worked on (last: {error}); the fault lies in the worker, not in them. Positions from "
                       f"{record.position} on are still unread.") from error
        refusal = refuse(stage.name, place.topic, place.partition, record, error.reason, error.detail,
                         self._shop.clock.now_ms())

        async def put_aside(batch: Batch, tx: Any) -> None:
            tx.publish(topics.REFUSED, refusal.value, origin=refusal.origin)
            await account(tx.connection, refusal.workspace, stage.name, {(refusal.source, "set_aside"): 1}, tx.now_ms)

        poisoned = self._poisoned
        await self._attempt(place, [record], put_aside)
        self._poisoned = poisoned
        self._shop.metrics.set_aside.labels(stage.name).inc()
        self._log.warning("set a record aside", topic=place.topic, position=record.position, reason=error.reason,
                          detail=error.detail)

    async def _attempt(self, place: Place, records: Sequence[Record], handle: Handler) -> None:
        """One unit of work, tried until it is committed. Raises Indigestible, LostPartition, Stop."""
        attempt = 0
        while True:
            try:
                place.busy = True
                self._began = math.inf
                await self._unit_of_work(place, records, handle)
            except (LostPartition, Stop):
                raise
            except PoisonRecord as error:
                raise Indigestible(error.position, error.reason, error.detail) from error
            except Exception as error:
                if not is_transient(error):
                    raise Indigestible(None, "poison", describe(error)) from error
                if len(records) > 1 and time.perf_counter() - self._began > FAR_TOO_SLOW_S:
                    raise Indigestible(None, "slow", describe(error)) from error  # in halves it may come through
                attempt += 1
                await self._wait_out(error, attempt)
            else:
                self._works_again(attempt)
                return
            finally:
                place.busy = False

    async def _unit_of_work(self, place: Place, records: Sequence[Record], handle: Handler) -> None:
        shop = self._shop
        fresh, seen = unseen(place, records)
        next_ = records[-1].position + 1
        async with shop.connections.lend() as connection:
            self._began = began = time.perf_counter()
            transaction = connection.transaction()
            await transaction.start()
            committing = False
            try:
                carried = place.mark, place.sent
                await pass_fence(connection, place, next_, seen)
                tx = UnitOfWork(connection, shop.clock.now_ms(), place, shop.outlet,
                                primary=place.topic == shop.stage.topics[0], partition=place.partition)
                if fresh:
                    await handle(Batch(place.topic, place.partition, fresh), tx)
                written = await tx.commit_outputs()
                committing = True
                await transaction.commit()
            except BaseException as error:
                if not committing and is_open(connection):
                    with suppress(Exception):
                        await transaction.rollback()
                if not committing or not isinstance(error, Exception):
                    raise
                failure: Exception | None = error
            else:
                failure = None
        if failure is not None and not await self._came_through(place, next_):
            raise failure
        place.next, place.seen, place.out = next_, seen, written.out
        place.stored = carried
        if place.topic == topics.ACCEPTED:
            place.reading_received = received_at(records[-1].value) or place.reading_received
        run_callbacks(written)
        self._measure(place, len(fresh), len(records), time.perf_counter() - began)
        await shop.outlet.committed(place, written.outputs, written.token)

    async def _came_through(self, place: Place, next_: int) -> bool:
        """Whether a commit whose answer was lost was carried out."""
        attempt = 0
        while True:
            try:
                async with self._shop.connections.lend() as connection:
                    stands = await stands_at(connection, place)
            except Exception as error:
                if not is_transient(error):
                    raise
                attempt += 1
                await self._wait_out(error, attempt)
                continue
            if stands is None:
                raise LostPartition(f"{self._name} was taken over while a commit was under way")
            return stands == next_

    def _measure(self, place: Place, fresh: int, read: int, seconds: float) -> None:
        metrics, stage = self._shop.metrics, self._shop.stage
        metrics.records.labels(stage.name, place.topic).inc(fresh)
        metrics.batches.labels(stage.name, place.topic).inc()
        metrics.seconds.labels(stage.name).observe(seconds)
        if read > fresh:
            metrics.repeated.labels(stage.name).inc(read - fresh)
        if fresh:
            self._poisoned = 0
        if seconds > TOO_SLOW_S and read > 1:
            self._limit = max(min(read // 2, FEW), int(read * 0.5 * TOO_SLOW_S / seconds))
            self._log.debug("smaller batches", seconds=round(seconds, 2), records=read, limit=self._limit)
        elif seconds < TOO_SLOW_S / 2 and self._limit < stage.max_records and read >= self._limit:
            self._limit = min(stage.max_records, self._limit * 5 // 4 + 1)


def unseen(place: Place, records: Sequence[Record]) -> tuple[list[Record], dict[str, int]]:
    """Drops what a relay has sent twice; (what is left, highest seq per producer after it)."""
    seen = place.seen
    fresh: list[Record] = []
    changed: dict[str, int] = {}
    for record in records:
        header = header_of(record.value)
        if header is not None:
            producer, _, seq = header
            highest = changed.get(producer)
            if seq <= (seen.get(producer, 0) if highest is None else highest):
                continue
            changed[producer] = seq
        fresh.append(record)
    return fresh, seen | changed if changed else seen

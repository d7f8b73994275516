"""One stage in one process: its lanes, its ticks, its stream clock, and its place among the other workers."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import structlog

from percorso_shared import topics
from percorso_shared.bus import membership, stream_clock
from percorso_shared.bus.errors import LostPartition, describe, is_transient
from percorso_shared.bus.lane import Lane, Source, Trouble, Workshop
from percorso_shared.bus.place import Place
from percorso_shared.bus.port import Stage
from percorso_shared.bus.session import Session
from percorso_shared.bus.ticks import Ticks

HEARTBEAT_S = 1.0
CLOCK_S = 0.5
DRAIN_S = 10.0


class StageSource(Source, Protocol):
    """What an adapter adds for a whole stage."""

    async def start(self, run: "StageRun") -> None:
        """Begins to tell `run.assign` which partitions are ours (Kafka); the embedded bus leaves it to heartbeats."""

    async def ends(self, topic: str, partitions: Sequence[int]) -> Mapping[int, int]:
        """Partition -> end of its log, as of an instant not before the call."""

    async def idle(self, places: Sequence[Place]) -> None:
        """Twice a second: room for what is only for monitoring."""

    async def end(self) -> None:
        """The stage has ended."""


class StageRun:
    """Runs until `stop`; raises Stop and whatever else must end the process."""

    def __init__(self, shop: Workshop, source: StageSource, session: Session, instance: str, stop: asyncio.Event, *,
                 by_heartbeat: bool) -> None:
        self._shop = shop
        self._source = source
        self._session = session
        self._instance = instance
        self._stop = stop
        self._by_heartbeat = by_heartbeat
        self._lanes: dict[int, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._places: dict[int, Sequence[Place]] = {}
        self._waiting: dict[int, stream_clock.Waiting] = {}
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ticks = Ticks(shop, instance, stop) if shop.stage.tick is not None else None
        self._log = structlog.get_logger("percorso.bus").bind(stage=shop.stage.name)

    @property
    def stage(self) -> Stage:
        return self._shop.stage

    @property
    def trouble(self) -> Trouble:
        return self._shop.trouble

    async def run(self) -> None:
        stage = self._shop.stage
        await self._register()
        duties = [asyncio.create_task(self._heartbeats()), asyncio.create_task(self._clock())]
        if self._ticks is not None:
            duties.append(asyncio.create_task(self._ticks.run()))
        for duty in duties:
            duty.add_done_callback(self._watch)
        try:
            if stage.topics:
                await self._source.start(self)
            stopped = asyncio.create_task(self._stop.wait())
            await asyncio.wait(_either(stopped, self._failure), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if self._failure.done():
                self._failure.result()
        finally:
            await self._wind_up(duties)

    def _watch(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and not self._failure.done():
            self._failure.set_exception(task.exception())  # type: ignore[arg-type]  # checked above

    async def _register(self) -> None:
        stage, outlet = self._shop.stage, self._shop.outlet
        attempt = 0
        while not self._stop.is_set():
            try:
                for topic in stage.topics:
                    count = outlet.partitions_of(topic)
                    await self._session.run(partial(_register, stage.name, topic, count))
                return
            except Exception as error:
                if not is_transient(error):
                    raise
                attempt += 1
                self._log.warning("cannot register yet", error=describe(error), attempt=attempt)
                await self._pause(min(5.0, 0.1 * 2 ** attempt))

    async def assign(self, wanted: Mapping[int, Iterable[str]], *, fresh: bool = False) -> None:
        """Starts and ends lanes until they are what is wanted: partition -> topics. `fresh` ends all of them first and
        waits for their end."""
        keep = set() if fresh else set(wanted)
        ending = [self._lanes.pop(partition) for partition in list(self._lanes) if partition not in keep]
        for task, closing in ending:
            closing.set()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        if fresh and self._ending:
            _, late = await asyncio.wait(set(self._ending), timeout=DRAIN_S)
            for task in late:
                task.cancel()
        if self._stop.is_set() or self._failure.done():
            return
        for partition, of in wanted.items():
            if partition not in self._lanes:
                closing = asyncio.Event()
                task = asyncio.create_task(self._lane(partition, tuple(of), closing))
                self._lanes[partition] = task, closing
                task.add_done_callback(self._watch)

    async def _lane(self, partition: int, of: tuple[str, ...], closing: asyncio.Event) -> None:
        shop = self._shop
        places: Sequence[Place] = ()
        try:
            places = await self._claim(partition, of, closing)
            if not places:
                return
            self._places[partition] = places
            await Lane(shop, places, closing).run()
        except LostPartition as error:
            if not closing.is_set():
                self._log.info("lost a partition", partition=partition, detail=str(error))
        finally:
            if self._places.get(partition) is places:
                self._places.pop(partition, None)
                self._waiting.pop(partition, None)
            entry = self._lanes.get(partition)
            if entry is not None and entry[1] is closing:
                del self._lanes[partition]
            for place in places:
                await self._release(place)

    async def _claim(self, partition: int, of: tuple[str, ...], closing: asyncio.Event) -> Sequence[Place]:
        attempt = 0
        while not closing.is_set():
            try:
                async with self._shop.connections.lend() as connection:
                    places = await membership.claim(connection, self._shop.stage.name, of, partition, self._instance,
                                                    unconditional=not self._by_heartbeat)
                    for place in places:
                        await self._shop.outlet.taken_over(connection, place)
                    return places
            except membership.NotFree:
                return ()
            except Exception as error:
                if not is_transient(error):
                    raise
                attempt += 1
                self._shop.metrics.retries.labels(self._shop.stage.name).inc()
                self._log.warning("cannot take a partition yet", partition=partition, error=describe(error))
                with suppress(TimeoutError):
                    await asyncio.wait_for(closing.wait(), min(5.0, 0.1 * 2 ** attempt))
        return ()

    async def _release(self, place: Place) -> None:
        try:
            await self._shop.outlet.settled(place)
            await self._session.run(lambda connection: membership.release(connection, place))
        except Exception as error:
            if not is_transient(error):
                raise
            self._log.info("could not release a partition; its lease will run out", partition=place.partition)

    async def _heartbeats(self) -> None:
        """Keeps us among the living, and on the embedded bus deals out the partitions."""
        stage, outlet = self._shop.stage, self._shop.outlet
        count = max((outlet.partitions_of(topic) for topic in stage.topics), default=0)
        while not self._stop.is_set():
            try:
                members, held = await self._session.run(self._beat)
                if self._by_heartbeat and stage.topics:
                    for partition, places in list(self._places.items()):
                        if any(held.get((place.topic, place.partition)) != place.epoch for place in places):
                            self._lanes[partition][1].set()
                    mine = membership.share(members, self._instance, count)
                    await self.assign({
                        partition: [topic for topic in stage.topics if partition < outlet.partitions_of(topic)]
                        for partition in sorted(mine)})
                self._shop.trouble.clear(f"{stage.name}/membership")
            except Exception as error:
                if not is_transient(error):
                    raise
                self._shop.trouble.set(f"{stage.name}/membership", f"waiting: {describe(error)}")
            await self._pause(HEARTBEAT_S)

    async def _beat(self, connection: Any) -> tuple[list[str], dict[tuple[str, int], int]]:
        name = self._shop.stage.name
        members = await membership.heartbeat(connection, name, self._instance, self._session.lock_key)
        orphan = None
        if self._ticks is not None:
            orphan = await membership.claim_orphan(connection, name, self._instance)
        if orphan is not None:
            await self._shop.outlet.taken_over(connection, orphan)
            await self._shop.outlet.settled(orphan)
            await membership.release(connection, orphan)
        return members, await membership.held_epochs(connection, name, self._instance)

    async def _clock(self) -> None:
        """Moves the marks of places that are at rest, and measures how far behind they are."""
        stage = self._shop.stage
        while not self._stop.is_set():
            try:
                await self._move_marks()
            except Exception as error:
                if not is_transient(error):
                    raise
                self._log.warning("the stream clock stands still", error=describe(error), stage=stage.name)
            await self._pause(CLOCK_S)

    async def _move_marks(self) -> None:
        stage, clock = self._shop.stage, self._shop.clock
        lanes = dict(self._places)
        observed = clock.now_ms()
        ends: dict[str, Mapping[int, int]] = {}
        for topic in stage.topics:
            ends[topic] = await self._source.ends(topic, sorted(lanes)) if lanes else {}
        self._measure_lag(lanes, ends)
        everywhere = [place for places in lanes.values() for place in places]
        if lanes and stage.topics[0] == topics.ACCEPTED:
            held = await self._session.run(stream_clock.read_hold)
            for partition, places in lanes.items():
                places[0].mark = stream_clock.first_mark(
                    places[0], ends[topics.ACCEPTED].get(partition), observed, held)
        elif lanes and stage.topics[0] in stream_clock.WRITTEN_BY:
            await self._adopt_marks(lanes)
        await self._source.idle(everywhere)
        if self._ticks is not None and self._ticks.place is not None:
            everywhere.append(self._ticks.place)
        changed = [place for place in everywhere if not place.busy and (place.mark, place.sent) != place.stored]
        if changed:
            stored = [(place.mark, place.sent) for place in changed]
            await self._session.run(lambda connection: stream_clock.move(connection, stage.name, changed))
            for place, now in zip(changed, stored, strict=True):
                place.stored = now

    async def _adopt_marks(self, lanes: Mapping[int, Sequence[Place]]) -> None:
        stage = self._shop.stage
        for partition, places in lanes.items():
            waiting = self._waiting.get(partition)
            if waiting is not None and waiting.is_over(places):
                places[0].mark = max(places[0].mark or waiting.mark, waiting.mark)
                del self._waiting[partition]
        missing = sorted(partition for partition in lanes if partition not in self._waiting)
        if not missing:
            return
        before = sorted({stream_clock.WRITTEN_BY[topic] for topic in stage.topics if topic in stream_clock.WRITTEN_BY})
        rows = await self._session.run(
            lambda connection: stream_clock.read_upstream(connection, before, missing))
        for partition in missing:
            found = stream_clock.waiting_for(partition, stage.topics, rows.get(partition, ()))
            if found is None:
                continue
            places = lanes[partition]
            if found.is_over(places):
                places[0].mark = max(places[0].mark or found.mark, found.mark)
            else:
                self._waiting[partition] = found

    def _measure_lag(self, lanes: Mapping[int, Sequence[Place]], ends: Mapping[str, Mapping[int, int]]) -> None:
        stage, metrics = self._shop.stage, self._shop.metrics
        for topic in stage.topics:
            lag = sum(max(0, ends[topic].get(place.partition, place.next) - place.next)
                      for places in lanes.values() for place in places if place.topic == topic)
            metrics.lag.labels(stage.name, topic).set(lag)
        marks = [places[0].mark for places in lanes.values()]
        if marks and None not in marks:
            oldest = min(mark for mark in marks if mark is not None)
            metrics.clock_lag.labels(stage.name).set((self._shop.clock.now_ms() - oldest) / 1000)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _wind_up(self, duties: Sequence[asyncio.Task[None]]) -> None:
        for duty in duties:
            if not self._stop.is_set():
                duty.cancel()
        if duties:
            _, late = await asyncio.wait(duties, timeout=DRAIN_S)
            for duty in late:
                duty.cancel()
        for task, closing in list(self._lanes.values()):
            closing.set()
            self._ending.add(task)
        if self._ending:
            _, late = await asyncio.wait(set(self._ending), timeout=DRAIN_S)
            for task in late:
                task.cancel()
        await self._source.end()
        try:
            if self._ticks is not None and self._ticks.place is not None:
                await self._release(self._ticks.place)
            await self._session.run(
                lambda connection: membership.leave(connection, self._shop.stage.name, self._instance))
        except Exception as error:
            if not is_transient(error):
                raise
            self._log.info("could not say goodbye; the lease will run out", error=describe(error))


def _either(task: asyncio.Task[Any], future: asyncio.Future[None]) -> set[asyncio.Future[Any]]:
    return {task, future}


async def _register(grp: str, topic: str, partitions: int, connection: Any) -> None:
    await membership.register(connection, grp, topic, partitions)

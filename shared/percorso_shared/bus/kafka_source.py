"""Reading from Kafka: the consumer group only says which partitions are ours; where to read stands in bus.position."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError

from percorso_shared import topics
from percorso_shared.bus.codec import MAX_BYTES
from percorso_shared.bus.errors import LostPartition
from percorso_shared.bus.place import Place
from percorso_shared.bus.port import BusUnavailable, Record, Stop
from percorso_shared.bus.runner import StageRun
from percorso_shared.settings import Settings

SESSION_MS = 6_000
TELL_OFFSETS_S = 5.0


class KafkaSource(ConsumerRebalanceListener):
    """One consumer per stage and process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._prefix = settings.kafka_prefix
        self._consumer: AIOKafkaConsumer | None = None
        self._run: StageRun | None = None
        self._rest: dict[TopicPartition, deque[Record]] = {}
        self._told_at = 0.0
        self._joining: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("percorso.bus")

    async def start(self, run: StageRun) -> None:
        self._run = run
        self._joining = asyncio.create_task(self._join(run))

    async def _join(self, run: StageRun) -> None:
        stage = run.stage
        attempt = 0
        while True:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._settings.kafka_bootstrap, client_id="percorso",
                group_id=self._prefix + stage.name, enable_auto_commit=False, auto_offset_reset="earliest",
                partition_assignment_strategy=(RangePartitionAssignor,), session_timeout_ms=SESSION_MS,
                heartbeat_interval_ms=SESSION_MS // 4, rebalance_timeout_ms=15_000, max_poll_interval_ms=600_000,
                fetch_max_wait_ms=250, max_partition_fetch_bytes=MAX_BYTES, request_timeout_ms=15_000,
                metadata_max_age_ms=60_000)
            try:
                await consumer.start()
            except (KafkaError, OSError) as error:
                attempt += 1
                self._log.warning("cannot join the consumer group yet", stage=stage.name, error=repr(error))
                run.trouble.set(f"{stage.name}/kafka", "waiting: Kafka does not answer")
                with suppress(KafkaError, OSError):
                    await consumer.stop()
                await asyncio.sleep(min(5.0, 0.2 * 2 ** min(attempt, 8)))
                continue
            run.trouble.clear(f"{stage.name}/kafka")
            self._consumer = consumer
            consumer.subscribe([self._prefix + topic for topic in stage.topics], listener=self)
            return

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Waits until what is under way is committed, so that the next owner finds it done."""
        assert self._run is not None
        self._rest.clear()
        await self._run.assign({}, fresh=True)

    async def on_partitions_assigned(self, assigned: Any) -> None:
        assert self._run is not None
        ours: dict[int, list[str]] = {}
        for topic in self._run.stage.topics:
            for place in assigned:
                if place.topic == self._prefix + topic:
                    ours.setdefault(place.partition, []).append(topic)
        await self._run.assign(ours, fresh=True)

    def _place(self, topic: str, partition: int) -> TopicPartition:
        return TopicPartition(self._prefix + topic, partition)

    async def fetch(self, topic: str, partition: int, position: int, limit: int, wait_s: float) -> list[Record]:
        place = self._place(topic, partition)
        rest = self._rest.get(place)
        if not rest:
            assert self._consumer is not None
            try:
                fetched = await self._consumer.getmany(place, timeout_ms=int(wait_s * 1000), max_records=limit)
            except (IllegalStateError, ConsumerStoppedError) as error:
                raise LostPartition(f"{topic}/{partition} is no longer assigned to us") from error
            except KafkaError as error:
                raise BusUnavailable(f"Kafka cannot be read: {error!r}") from error
            rest = self._rest[place] = deque(
                Record(record.offset, record.value) for record in fetched.get(place, ())
                if record.offset >= position and record.value is not None)
        records: list[Record] = []
        size = 0
        while rest and len(records) < limit and (not records or size + len(rest[0].value) <= MAX_BYTES):
            record = rest.popleft()
            if record.position >= position:
                records.append(record)
                size += len(record.value)
        return records

    def has_more(self, topic: str, partition: int, position: int) -> bool:
        place = self._place(topic, partition)
        if self._rest.get(place):
            return True
        try:
            end = self._consumer.highwater(place) if self._consumer is not None else None
        except (IllegalStateError, AssertionError):
            return False
        return end is not None and end > position

    async def check(self, place: Place) -> None:
        assert self._consumer is not None
        where = self._place(place.topic, place.partition)
        self._rest.pop(where, None)
        try:
            async with asyncio.timeout(15):
                begin = (await self._consumer.beginning_offsets([where]))[where]
                end = (await self._consumer.end_offsets([where]))[where]
            if 0 < place.next < begin:
                raise Stop(f"{place.grp} has worked on {where.topic}/{place.partition} up to {place.next}, but Kafka "
                           f"holds it only from {begin} on: records between were deleted before they were read. To go "
                           f"on without them set bus.position.next to {begin}")
            if place.next > end:
                raise Stop(f"{place.grp} has worked on {where.topic}/{place.partition} up to {place.next}, but on "
                           f"Kafka it ends at {end}: the topic was made anew, or the broker lost acknowledged records")
            self._consumer.seek(where, max(place.next, begin))
        except IllegalStateError as error:
            raise LostPartition(f"{place.topic}/{place.partition} is no longer assigned to us") from error
        except KafkaError as error:
            raise BusUnavailable(f"Kafka does not answer: {error!r}") from error

    async def ends(self, topic: str, partitions: Sequence[int]) -> Mapping[int, int]:
        """Of the accepted topic asked from the broker; of others, which only the lag is made of, as last heard."""
        consumer = self._consumer
        if consumer is None:
            return {}
        places = [self._place(topic, partition) for partition in partitions]
        if topic == topics.ACCEPTED:
            try:
                async with asyncio.timeout(10):
                    ends = await consumer.end_offsets(places)
            except KafkaError as error:
                raise BusUnavailable(f"Kafka does not answer: {error!r}") from error
            return {place.partition: end for place, end in ends.items()}
        heard: dict[int, int] = {}
        for place in places:
            with suppress(IllegalStateError, AssertionError):
                end = consumer.highwater(place)
                if end is not None:
                    heard[place.partition] = end
        return heard

    async def idle(self, places: Sequence[Place]) -> None:
        """Tells Kafka the offsets, for its own tools to show; nobody here reads them."""
        consumer = self._consumer
        now = time.monotonic()
        if consumer is None or now - self._told_at < TELL_OFFSETS_S:
            return
        self._told_at = now
        offsets = {self._place(place.topic, place.partition): place.next for place in places if place.topic}
        offsets = {place: offset for place, offset in offsets.items() if place in consumer.assignment()}
        if offsets:
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(5):
                    await consumer.commit(offsets)

    async def end(self) -> None:
        if self._joining is not None:
            self._joining.cancel()
            with suppress(asyncio.CancelledError):
                await self._joining
        if self._consumer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(10):
                    await self._consumer.stop()

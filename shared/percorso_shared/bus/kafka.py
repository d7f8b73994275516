"""The bus on Apache Kafka: records on topics, positions in PostgreSQL."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from percorso_shared.bus.base import BaseBus
from percorso_shared.bus.errors import is_transient
from percorso_shared.bus.group_commit import GroupCommit, Values
from percorso_shared.bus.kafka_source import KafkaSource
from percorso_shared.bus.kafka_topics import settle_topics
from percorso_shared.bus.kafka_writer import KafkaWriter
from percorso_shared.bus.outbox import Relay, write_outbox
from percorso_shared.bus.place import Place
from percorso_shared.bus.port import BusUnavailable
from percorso_shared.bus.retention import empty_outbox_segments
from percorso_shared.bus.unit_of_work import Output
from percorso_shared.clock import Clock
from percorso_shared.settings import Settings

GATHER_S = 0.003
SETTLE_S = 5.0

_POSITIONS = "SELECT partition, next FROM bus.position WHERE grp = $1 AND topic = $2"


class KafkaBus(BaseBus):
    """See `port.Bus`."""

    def __init__(self, settings: Settings, pool: Any, *, name: str, stop: asyncio.Event, clock: Clock,
                 metrics: CollectorRegistry, topics: Mapping[str, int], partitions: int, writer: KafkaWriter) -> None:
        super().__init__(settings, pool, name=name, stop=stop, clock=clock, metrics=metrics, partitions=partitions)
        self._topics = topics
        self._writer = writer
        self._group_commit = GroupCommit(self._write_group, gather_s=GATHER_S)
        self._relays: dict[tuple[str, str, int], tuple[Place, Relay]] = {}
        self._onlooker: AIOKafkaConsumer | None = None

    @classmethod
    async def open(cls, settings: Settings, pool: Any, *, name: str, stop: asyncio.Event, clock: Clock,
                   metrics: CollectorRegistry) -> "KafkaBus":
        async with pool.acquire() as connection:
            topics = await settle_topics(settings, connection)
            partitions = await connection.fetchval("SELECT partitions FROM bus.layout")
        writer = KafkaWriter(settings, clock)
        await writer.start()
        return cls(settings, pool, name=name, stop=stop, clock=clock, metrics=metrics, topics=topics,
                   partitions=partitions, writer=writer)

    def partitions_of(self, topic: str) -> int:
        return self._topics[topic]

    def source(self) -> KafkaSource:
        return KafkaSource(self._settings)

    def outlet(self) -> "KafkaBus":
        return self

    # -- writing outside units of work

    async def publish(self, topic: str, values: Mapping[int, Sequence[bytes]]) -> dict[int, int]:
        return await self._group_commit.publish(topic, values)

    async def _write_group(self, values: Values) -> Mapping[tuple[str, int], int]:
        try:
            firsts = await self._writer.publish(values)
        except BusUnavailable as error:
            self.trouble["publish"] = f"waiting: {error}"
            raise
        self.trouble.pop("publish", None)
        for (topic, _), records in values.items():
            self._metrics.published.labels(topic).inc(len(records))
        return firsts

    # -- outputs of units of work

    async def write(self, connection: Any, place: Place, out: dict[str, int], outputs: Sequence[Output],
                    now_ms: int) -> Any:
        return await write_outbox(connection, place, out, outputs, now_ms)

    async def taken_over(self, connection: Any, place: Place) -> None:
        key = place.grp, place.topic, place.partition
        former = self._relays.pop(key, None)
        if former is not None:
            await former[1].settle(0)
        self._relays[key] = place, Relay(place, self._writer, self._connections, self.trouble)

    async def settled(self, place: Place) -> None:
        key = place.grp, place.topic, place.partition
        entry = self._relays.get(key)
        if entry is not None and entry[0] is place:
            del self._relays[key]
            await entry[1].settle(SETTLE_S)

    async def committed(self, place: Place, outputs: Sequence[Output], token: Any) -> None:
        if not outputs:
            return
        place.unit = token
        entry = self._relays.get((place.grp, place.topic, place.partition))
        if entry is None or entry[0] is not place:
            return  # taken over meanwhile: the next owner finds it in the table
        failure = entry[1].failure()
        if failure is not None:
            raise failure
        await entry[1].put(token, outputs)
        for output in outputs:
            self._metrics.published.labels(output.topic).inc(len(output.values))

    # -- looking on

    async def unread(self, stage: str, topic: str) -> dict[int, int]:
        places = [TopicPartition(self._settings.kafka_prefix + topic, partition)
                  for partition in range(self.partitions_of(topic))]
        try:
            if self._onlooker is None:
                onlooker = AIOKafkaConsumer(bootstrap_servers=self._settings.kafka_bootstrap, group_id=None,
                                            client_id="percorso")
                self._onlooker = onlooker
                await onlooker.start()
            async with asyncio.timeout(10):
                ends = await self._onlooker.end_offsets(places)
            rows = await self._pool.fetch(_POSITIONS, stage, topic)
        except Exception as error:
            if isinstance(error, KafkaError) or is_transient(error):
                raise BusUnavailable(f"the bus does not answer: {error!r}") from error
            raise
        positions = {row["partition"]: row["next"] for row in rows}
        return {place.partition: max(0, end - positions.get(place.partition, 0)) for place, end in ends.items()}

    async def reclaim(self) -> None:
        async with self._pool.acquire(timeout=10) as connection:
            emptied = await empty_outbox_segments(connection, self._clock.now_ms())
        if emptied:
            structlog.get_logger("percorso.bus").debug("emptied segments of the outbox", tables=emptied)

    async def close(self) -> None:
        await self._group_commit.close()
        for _, relay in list(self._relays.values()):
            await relay.settle(0)
        self._relays.clear()
        if self._onlooker is not None:
            with suppress(KafkaError, OSError):
                await self._onlooker.stop()
        await self._writer.close()
        await super().close()

"""Writing to Kafka: whole batches from one idempotent producer."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from percorso_shared.bus.kafka_topics import MAX_BATCH_BYTES
from percorso_shared.bus.port import BusUnavailable
from percorso_shared.clock import Clock
from percorso_shared.settings import Settings

PUBLISH_TIMEOUT_S = 5.0


class KafkaWriter:
    """A batch that was handed to the producer is sent until it is acknowledged by all replicas, however long that
    takes, in order per partition. Whoever does not want to wait gets BusUnavailable, and nothing more is handed over
    for publishing until what is stuck has gone out: so nothing piles up while the broker is down."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._stuck: set[asyncio.Task[int]] = set()

    async def start(self) -> None:
        """Raises BusUnavailable."""
        async with self._starting:
            if self._producer is not None:
                return
            producer = AIOKafkaProducer(
                bootstrap_servers=self._settings.kafka_bootstrap, client_id="percorso", enable_idempotence=True,
                acks="all", compression_type="zstd", max_batch_size=MAX_BATCH_BYTES, request_timeout_ms=10_000,
                retry_backoff_ms=100, metadata_max_age_ms=60_000)
            try:
                await producer.start()
            except (KafkaError, OSError) as error:
                with suppress(KafkaError, OSError):
                    await producer.stop()
                raise BusUnavailable(f"Kafka does not answer: {error!r}") from error
            self._producer = producer

    async def publish(self, values: Mapping[tuple[str, int], Sequence[bytes]]) -> dict[tuple[str, int], int]:
        """(topic, partition) -> records; returns the offset of the first of each once all are acknowledged. Raises
        BusUnavailable when that takes over 5 s; the records may then still arrive."""
        if self._stuck:
            await asyncio.wait(self._stuck, timeout=PUBLISH_TIMEOUT_S)
            self._stuck = {task for task in self._stuck if not task.done()}
            if self._stuck:
                raise BusUnavailable("Kafka does not acknowledge")
        tasks = {place: asyncio.create_task(self.send(*place, records)) for place, records in values.items()}
        _, late = await asyncio.wait(tasks.values(), timeout=PUBLISH_TIMEOUT_S)
        if late:
            self._stuck = late
            for task in late:
                task.add_done_callback(_forget)
        failures = [task.exception() for task in tasks.values() if task.done()]
        for failure in failures:
            if failure is not None:
                raise failure
        if late:
            raise BusUnavailable("Kafka does not acknowledge")
        return {place: task.result() for place, task in tasks.items()}

    async def send(self, topic: str, partition: int, values: Sequence[bytes],
                   keys: Sequence[bytes | None] | None = None) -> int:
        """Waits for the acknowledgement as long as it takes; returns the first offset. Raises BusUnavailable if the
        producer had to be given up; then the records may or may not have arrived."""
        await self.start()
        producer = self._producer
        assert producer is not None
        name = self._settings.kafka_prefix + topic
        now = self._clock.now_ms()
        first = -1
        at = 0
        try:
            while at < len(values):
                batch = producer.create_batch()
                began = at
                while at < len(values) and batch.append(
                        key=keys[at] if keys is not None else None, value=values[at], timestamp=now) is not None:
                    at += 1
                if at == began:
                    raise ValueError(f"{topic}: a record of {len(values[at])} bytes is too large")
                batch.close()
                acknowledged = await producer.send_batch(batch, name, partition=partition)
                metadata = await acknowledged
                if first < 0:
                    first = metadata.offset
        except KafkaError as error:
            if not error.retriable:
                await self._give_up(producer, error)
            raise BusUnavailable(f"Kafka does not take records: {error!r}") from error
        return first

    async def _give_up(self, producer: AIOKafkaProducer, error: KafkaError) -> None:
        if self._producer is producer:
            self._producer = None
            structlog.get_logger("percorso.bus").warning("begins anew with another producer", error=repr(error))
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(5):
                    await producer.stop()

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        for task in self._stuck:
            task.cancel()
        if producer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(5):
                    await producer.stop()


def _forget(task: asyncio.Task[int]) -> None:
    if not task.cancelled():
        task.exception()

"""The topics on a Kafka cluster: made at the start if they are missing."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from percorso_shared import topics
from percorso_shared.bus.layout import SMALL, settle_layout
from percorso_shared.bus.port import BusMismatch, BusUnavailable
from percorso_shared.settings import Settings

MAX_BATCH_BYTES = 16 << 20


async def settle_topics(settings: Settings, connection: Any) -> dict[str, int]:
    """Topic (without prefix) -> partitions. Raises BusUnavailable, BusMismatch."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap, client_id="percorso",
                                request_timeout_ms=10_000)
    try:
        await admin.start()
        try:
            cluster = await admin.describe_cluster()
            prefix = settings.kafka_prefix
            present = await _present(admin, prefix)
            wanted = present.get(topics.ACCEPTED, settings.partitions)
            partitions = await settle_layout(connection, "kafka", f"{cluster['cluster_id']}/{prefix}", wanted)
            await _create(admin, settings, present, partitions, brokers=len(cluster["brokers"]))
            present = await _all_present(admin, prefix)
        finally:
            await admin.close()
    except (KafkaError, OSError) as error:
        raise BusUnavailable(f"Kafka does not answer at {settings.kafka_bootstrap}: {error!r}") from error
    for topic in topics.PARTITIONED_ALIKE:
        if present.get(topic) != partitions:
            raise BusMismatch(f"the Kafka topic {prefix}{topic} has {present.get(topic)} partitions, this installation "
                              f"has {partitions}: all of {', '.join(topics.PARTITIONED_ALIKE)} must have the same")
    return present


async def _all_present(admin: AIOKafkaAdminClient, prefix: str) -> dict[str, int]:
    """A topic that was just made is not known everywhere at once."""
    for _ in range(100):
        present = await _present(admin, prefix)
        if len(present) == len(topics.PARTITIONED_ALIKE) + len(SMALL):
            return present
        await asyncio.sleep(0.1)
    raise BusUnavailable(f"Kafka has not made all topics yet; it knows {sorted(present)}")


async def _present(admin: AIOKafkaAdminClient, prefix: str) -> dict[str, int]:
    names = [prefix + topic for topic in (*topics.PARTITIONED_ALIKE, *SMALL)]
    listed = set(await admin.list_topics())
    described = await admin.describe_topics([name for name in names if name in listed]) if listed else []
    return {item["topic"][len(prefix):]: len(item["partitions"]) for item in described if item["partitions"]}


async def _create(admin: AIOKafkaAdminClient, settings: Settings, present: Mapping[str, int], partitions: int,
                  brokers: int) -> None:
    replicas = min(3, brokers)
    configuration = {
        "retention.ms": str(settings.retention_bus_days * 86_400_000),
        "max.message.bytes": str(MAX_BATCH_BYTES),
        "compression.type": "producer",
        "min.insync.replicas": "2" if replicas == 3 else "1",
    }
    missing = [
        NewTopic(settings.kafka_prefix + topic, 1 if topic in SMALL else partitions, replicas,
                 topic_configs=configuration)
        for topic in (*topics.PARTITIONED_ALIKE, *SMALL) if topic not in present]
    if not missing:
        return
    answer: Any = await admin.create_topics(missing, timeout_ms=10_000)
    for name, code, *message in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise BusUnavailable(f"Kafka does not create the topic {name}: {error.__name__} {message}")

"""Which log the positions of this database count in, and how many partitions it has: fixed at the first start."""

from typing import Any, Literal

import structlog

from percorso_shared import topics
from percorso_shared.bus.port import BusMismatch

SMALL = (topics.REFUSED, topics.ACTIONS_REQUESTED)
"""Topics of one partition."""

_KEEP = "INSERT INTO bus.layout (kind, cluster, partitions) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_HEADS = """
INSERT INTO bus.head (topic, partition) SELECT $1, p FROM generate_series(0, $2::int - 1) p ON CONFLICT DO NOTHING
"""


async def settle_layout(connection: Any, kind: Literal["embedded", "kafka"], cluster: str, wanted: int) -> int:
    """The number of partitions of this installation. Raises BusMismatch."""
    async with connection.transaction():
        await connection.execute(_KEEP, kind, cluster, wanted)
        row = await connection.fetchrow("SELECT kind, cluster, partitions FROM bus.layout")
        if row["kind"] != kind:
            raise BusMismatch(
                f"this database was used with the {row['kind']} bus, and its positions count there; now the {kind} bus "
                f"is set (PERCORSO_KAFKA_BOOTSTRAP). Use the former setting, or `percorso backup` and `restore` into "
                f"an empty database")
        if row["cluster"] != cluster:
            raise BusMismatch(
                f"this database was used with the Kafka cluster {row['cluster']}, this one is {cluster}: the positions "
                f"do not count there. Point PERCORSO_KAFKA_BOOTSTRAP to the former cluster, or restore a backup into "
                f"an empty database")
        partitions: int = row["partitions"]
        if partitions != wanted:
            structlog.get_logger("percorso.bus").warning(
                "the number of partitions was fixed at the first start", partitions=partitions, setting=wanted)
        if kind == "embedded":
            for topic in sorted((*topics.PARTITIONED_ALIKE, *SMALL)):
                await connection.execute(_HEADS, topic, 1 if topic in SMALL else partitions)
        return partitions

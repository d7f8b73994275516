"""Which processes of a group are alive, and which partitions each of them shall have."""

from typing import Any

from percorso_shared.bus.place import TICK_TOPIC, Place, place_of
from percorso_shared.bus.session import LOCK_CLASS

LEASE_S = 5.0
"""A process not heard of for so long has lost its partitions, even if its connection still stands (it is frozen)."""

_ALIVE = f"""
SELECT m.instance FROM bus.member m
WHERE m.grp = $1 AND m.heard_at > clock_timestamp() - make_interval(secs => {LEASE_S}) AND EXISTS (
    SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = {LOCK_CLASS} AND l.objid = m.lock_key
    AND l.objsubid = 2 AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
_HEARTBEAT = """
INSERT INTO bus.member (grp, instance, lock_key) VALUES ($1, $2, $3)
ON CONFLICT (grp, instance) DO UPDATE SET heard_at = clock_timestamp(), lock_key = $3
"""
_MEMBERS = _ALIVE + "ORDER BY m.joined_at, m.instance"
_FORGET = "DELETE FROM bus.member WHERE grp = $1 AND heard_at < clock_timestamp() - interval '1 minute'"
_LEAVE = "DELETE FROM bus.member WHERE grp = $1 AND instance = $2"
_EPOCHS = "SELECT topic, partition, epoch FROM bus.position WHERE grp = $1 AND owner = $2"

_REGISTER = """
INSERT INTO bus.position (grp, topic, partition) SELECT $1, $2, p FROM generate_series(0, $3::int - 1) p
ON CONFLICT DO NOTHING
"""
_CLAIM_FREE = f"""
UPDATE bus.position p SET epoch = epoch + 1, owner = $4
WHERE grp = $1 AND topic = ANY($2::text[]) AND partition = $3
AND (owner IS NULL OR owner = $4 OR owner NOT IN ({_ALIVE}))
RETURNING grp, topic, partition, next, epoch, out, seen, unit, sent, mark
"""
_CLAIM_ANY = """
UPDATE bus.position SET epoch = epoch + 1, owner = $4 WHERE grp = $1 AND topic = ANY($2::text[]) AND partition = $3
RETURNING grp, topic, partition, next, epoch, out, seen, unit, sent, mark
"""
_RELEASE = """
UPDATE bus.position SET owner = NULL, sent = greatest(sent, $5)
WHERE grp = $1 AND topic = $2 AND partition = $3 AND epoch = $4
"""
_FREE_SLOT = f"""
SELECT partition FROM bus.position
WHERE grp = $1 AND topic = '{TICK_TOPIC}' AND (owner IS NULL OR owner NOT IN ({_ALIVE}))
ORDER BY unit = sent, partition FOR UPDATE SKIP LOCKED LIMIT 1
"""
_NEW_SLOT = f"""
INSERT INTO bus.position (grp, topic, partition)
SELECT $1, '{TICK_TOPIC}', coalesce(max(partition) + 1, 0) FROM bus.position WHERE grp = $1 AND topic = '{TICK_TOPIC}'
ON CONFLICT DO NOTHING RETURNING partition
"""
_UNSENT_ORPHAN = f"""
SELECT partition FROM bus.position
WHERE grp = $1 AND topic = '{TICK_TOPIC}' AND unit > sent AND (owner IS NULL OR owner NOT IN ({_ALIVE}))
ORDER BY partition FOR UPDATE SKIP LOCKED LIMIT 1
"""


async def heartbeat(connection: Any, grp: str, instance: str, lock_key: int) -> list[str]:
    """Says that we live. Returns the living, the longest-serving first."""
    await connection.execute(_HEARTBEAT, grp, instance, lock_key)
    await connection.execute(_FORGET, grp)
    return [row["instance"] for row in await connection.fetch(_MEMBERS, grp)]


async def leave(connection: Any, grp: str, instance: str) -> None:
    await connection.execute(_LEAVE, grp, instance)


def share(members: list[str], instance: str, partitions: int) -> set[int]:
    """The partitions that belong to us: dealt out in turn."""
    if instance not in members:
        return set()
    mine = members.index(instance)
    return {partition for partition in range(partitions) if partition % len(members) == mine}


async def held_epochs(connection: Any, grp: str, instance: str) -> dict[tuple[str, int], int]:
    """(topic, partition) -> epoch of what the database says is ours."""
    rows = await connection.fetch(_EPOCHS, grp, instance)
    return {(row["topic"], row["partition"]): row["epoch"] for row in rows}


async def register(connection: Any, grp: str, topic: str, partitions: int) -> None:
    """From now on retention spares what the group has not read."""
    await connection.execute(_REGISTER, grp, topic, partitions)


async def claim(connection: Any, grp: str, topics: tuple[str, ...], partition: int, instance: str, *,
                unconditional: bool) -> list[Place]:
    """Takes a partition of all topics together. `unconditional` is for Kafka, where the group has decided who owns it.
    Raises NotFree."""
    async with connection.transaction():
        rows = await connection.fetch(_CLAIM_ANY if unconditional else _CLAIM_FREE, grp, list(topics), partition,
                                      instance)
        if len(rows) < len(topics):
            raise NotFree(f"{grp}/{partition}")
    order = {topic: at for at, topic in enumerate(topics)}
    return sorted(map(place_of, rows), key=lambda place: order[place.topic])


class NotFree(Exception):
    """Somebody alive owns the partition."""


async def release(connection: Any, place: Place) -> None:
    await connection.execute(_RELEASE, place.grp, place.topic, place.partition, place.epoch, place.sent)


async def claim_tick(connection: Any, grp: str, instance: str) -> Place:
    """The place in which this process counts what its ticks write: one that nobody alive holds, else a new one."""
    while True:
        async with connection.transaction():
            slot = await connection.fetchval(_FREE_SLOT, grp)
            if slot is None:
                slot = await connection.fetchval(_NEW_SLOT, grp)
            if slot is not None:
                rows = await connection.fetch(_CLAIM_ANY, grp, [TICK_TOPIC], slot, instance)
                return place_of(rows[0])


async def claim_orphan(connection: Any, grp: str, instance: str) -> Place | None:
    """The place of a dead process whose ticks wrote something that is not on Kafka yet."""
    async with connection.transaction():
        slot = await connection.fetchval(_UNSENT_ORPHAN, grp)
        if slot is None:
            return None
        rows = await connection.fetch(_CLAIM_ANY, grp, [TICK_TOPIC], slot, instance)
        return place_of(rows[0])

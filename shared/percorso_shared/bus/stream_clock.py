"""The stream clock: how far in *received* time each accepted partition has been worked on, stage by stage.

The first stage's mark is "now minus a second" when it has worked on everything that the partition held at that instant,
otherwise the received time of what it read. A later stage takes over a mark once it has worked on everything that the
stage before it had written when that mark was read: so a mark never overtakes an unread record.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from percorso_shared import topics
from percorso_shared.bus.place import TICK_TOPIC, Place

MARGIN_MS = 1000
"""Between reception and durability, and between the clocks of ingest processes."""

WRITTEN_BY = {
    topics.RESOLVED: "identity_worker",
    topics.IDENTITY_CHANGED: "identity_worker",
    topics.FOLDED: "profile_worker",
}
"""Topic -> the stage before."""

_UPSTREAM = f"""
SELECT grp, topic, partition, out, mark FROM bus.position
WHERE grp = ANY($1::text[]) AND partition = ANY($2::int[]) AND topic <> '{TICK_TOPIC}'
"""
_HOLD = "SELECT min(mark) FROM bus.hold WHERE until > clock_timestamp()"
_MOVE = """
UPDATE bus.position p SET mark = greatest(p.mark, s.mark), sent = greatest(p.sent, s.sent)
FROM (SELECT q.grp, q.topic, q.partition, w.mark, w.sent
      FROM bus.position q
      JOIN unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[])
      AS w (topic, partition, epoch, mark, sent)
      ON q.grp = $1 AND q.topic = w.topic AND q.partition = w.partition AND q.epoch = w.epoch
      ORDER BY q.topic, q.partition FOR UPDATE OF q SKIP LOCKED) s
WHERE p.grp = s.grp AND p.topic = s.topic AND p.partition = s.partition
"""
_CLOCK = "SELECT count(*) AS n, min(mark) AS mark FROM bus.position WHERE grp = $1 AND mark IS NOT NULL"


class Waiting(msgspec.Struct):
    """A mark of the stage before, and what must be worked on first: (topic, producer) -> seq."""

    mark: int
    needed: dict[tuple[str, str], int]

    def is_over(self, places: Sequence[Place]) -> bool:
        """Whether these places have seen all that is needed."""
        seen = {place.topic: place.seen for place in places}
        return all(seen.get(topic, {}).get(producer, 0) >= seq for (topic, producer), seq in self.needed.items())


def first_mark(place: Place, end: int | None, observed_ms: int, held: int | None) -> int | None:
    """Of the first stage. `end` is the end of the partition as seen at or after `observed_ms`; None if unknown."""
    mark = place.mark
    if end is not None and place.next >= end:
        mark = observed_ms - MARGIN_MS
    elif place.reading_received is not None:
        mark = place.reading_received - MARGIN_MS
    if mark is not None and held is not None:
        mark = min(mark, held - 1)
    return mark if place.mark is None or (mark is not None and mark > place.mark) else place.mark


def waiting_for(partition: int, own_topics: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Waiting | None:
    """From the rows of the stage before for one partition (all its topics, read together): its mark stands in the row
    of its first topic. None if it has none yet."""
    mark: int | None = None
    needed: dict[tuple[str, str], int] = {}
    for row in rows:
        place = Place(row["grp"], row["topic"], partition, 0, 0)
        producer = place.producer(row["mark"] is not None, partition)
        if row["mark"] is not None:
            mark = row["mark"]
        out = msgspec.json.decode(row["out"])
        for topic in own_topics:
            seq = out.get(f"{topic}/{partition}")
            if seq is not None:
                needed[topic, producer] = seq
    return None if mark is None else Waiting(mark, needed)


async def read_upstream(connection: Any, stages: Sequence[str], partitions: Sequence[int]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in await connection.fetch(_UPSTREAM, list(stages), list(partitions)):
        found.setdefault(row["partition"], []).append(row)
    return found


async def read_hold(connection: Any) -> int | None:
    """The received time that no mark may reach, if somebody holds touchpoints back."""
    held: int | None = await connection.fetchval(_HOLD)
    return held


async def move(connection: Any, grp: str, places: Sequence[Place]) -> None:
    """Writes marks and sent marks of places at rest; those in work carry them in their unit of work."""
    await connection.execute(_MOVE, grp, [place.topic for place in places], [place.partition for place in places],
                             [place.epoch for place in places], [place.mark for place in places],
                             [place.sent for place in places])


async def stream_clock_ms(connection: Any, stage: str, partitions: int) -> int | None:
    row = await connection.fetchrow(_CLOCK, stage)
    mark: int | None = row["mark"]
    return mark if row["n"] >= partitions else None

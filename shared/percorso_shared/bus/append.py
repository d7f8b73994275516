"""Appending to the embedded log: positions are given under the row lock of the partition's head, so that they are
gap-free and in commit order."""

from collections.abc import Mapping, Sequence
from typing import Any

from percorso_shared.bus.codec import batches, pack

SEGMENTS = 4

_HEADS = """
wanted AS (SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[]) AS w (topic, partition, n)),
locked AS (SELECT h.topic, h.partition FROM bus.head h JOIN wanted w ON h.topic = w.topic AND h.partition = w.partition
           ORDER BY h.topic, h.partition FOR UPDATE OF h),
moved AS (UPDATE bus.head h SET next = h.next + w.n FROM wanted w
          JOIN locked l ON l.topic = w.topic AND l.partition = w.partition
          WHERE h.topic = w.topic AND h.partition = w.partition
          RETURNING h.topic, h.partition, h.next - w.n AS first),
added AS (INSERT INTO bus.log (segment, topic, partition, first, count, size, at, body)
          SELECT $4, r.topic, r.partition, m.first + r.skip, r.count, r.size, $5, r.body
          FROM unnest($6::text[], $7::int[], $8::int[], $9::int[], $10::int[], $11::bytea[])
          AS r (topic, partition, skip, count, size, body)
          JOIN moved m ON m.topic = r.topic AND m.partition = r.partition)
"""
_APPEND = f"WITH {_HEADS} SELECT topic, partition, first FROM moved"
_APPEND_AND_COUNT = f"""
WITH counted AS (UPDATE bus.position SET out = $16::text::jsonb
                 WHERE grp = $12 AND topic = $13 AND partition = $14 AND epoch = $15 RETURNING 1),
{_HEADS} SELECT topic, partition, first, (SELECT count(*) FROM counted) AS counted FROM moved
"""


def segment_at(now_ms: int, retention_days: int) -> int:
    """The table that is written now. Each is written for half the retention, then left for as long as two others are
    written, then emptied."""
    return now_ms // period_ms(retention_days) % SEGMENTS


def period_ms(retention_days: int) -> int:
    return retention_days * 86_400_000 // 2


def arguments(values: Mapping[tuple[str, int], Sequence[bytes]], segment: int, now_ms: int) -> list[Any]:
    """$1 .. $11, compressed: done before the transaction, so that no head is locked meanwhile."""
    heads = sorted((topic, partition, len(records)) for (topic, partition), records in values.items())
    rows = [(topic, partition, first, end - first, size, pack(records[first:end]))
            for (topic, partition), records in values.items() for first, end, size in batches(records)]
    return [*map(list, zip(*heads, strict=True)), segment, now_ms, *map(list, zip(*rows, strict=True))]


async def append(connection: Any, values: Mapping[tuple[str, int], Sequence[bytes]], segment: int,
                 now_ms: int) -> dict[tuple[str, int], int]:
    """(topic, partition) -> records. Returns the position of the first of each. One statement."""
    rows = await connection.fetch(_APPEND, *arguments(values, segment, now_ms))
    return _firsts(rows, values)


async def append_and_count(connection: Any, values: Mapping[tuple[str, int], Sequence[bytes]], segment: int,
                           now_ms: int, place: tuple[str, str, int, int], out: str,
                           ) -> dict[tuple[str, int], int] | None:
    """The same, and `out` into the row (grp, topic, partition) of bus.position if it is of that epoch; else None, and
    the caller rolls back."""
    rows = await connection.fetch(_APPEND_AND_COUNT, *arguments(values, segment, now_ms), *place, out)
    if rows and not rows[0]["counted"]:
        return None
    return _firsts(rows, values)


def _firsts(rows: Sequence[Any], values: Mapping[tuple[str, int], Sequence[bytes]]) -> dict[tuple[str, int], int]:
    firsts = {(row["topic"], row["partition"]): row["first"] for row in rows}
    if missing := values.keys() - firsts.keys():
        raise LookupError(f"no such partitions: {sorted(missing)}")
    return firsts

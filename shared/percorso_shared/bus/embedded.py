"""The bus in PostgreSQL: log tables, one row per batch."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from percorso_shared.bus.append import append, append_and_count, segment_at
from percorso_shared.bus.base import BaseBus
from percorso_shared.bus.codec import MAX_BYTES, MAX_RECORDS, unpack
from percorso_shared.bus.connections import Connections
from percorso_shared.bus.errors import LostPartition, describe, is_transient
from percorso_shared.bus.group_commit import GroupCommit, Values
from percorso_shared.bus.layout import settle_layout
from percorso_shared.bus.place import Place, as_json
from percorso_shared.bus.port import BusUnavailable, Record, Stop
from percorso_shared.bus.retention import empty_log_segments
from percorso_shared.bus.runner import StageRun
from percorso_shared.bus.session import CHANNEL
from percorso_shared.bus.unit_of_work import Output
from percorso_shared.clock import Clock
from percorso_shared.settings import Settings
from percorso_shared.wait_for_database import LOST

WRITE_TIMEOUT_S = 10.0
NOTIFY_EVERY_S = 0.005
POLL_S = 1.0

_READ = f"""
SELECT first, body FROM (
    SELECT first, size, body, sum(count) OVER before AS records, sum(size) OVER before AS bytes FROM (
        SELECT first, count, size, body FROM bus.log
        WHERE topic = $1 AND partition = $2 AND first > $3 - {MAX_RECORDS} AND first + count > $3
        ORDER BY first LIMIT 256) near
    WINDOW before AS (ORDER BY first ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) counted
WHERE records IS NULL OR (records < $4 AND bytes + size <= {MAX_BYTES}) ORDER BY first
"""
_ENDS = "SELECT partition, next FROM bus.head WHERE topic = $1"
_UNREAD = """
SELECT h.partition, h.next - coalesce(p.next, 0) AS n FROM bus.head h
LEFT JOIN bus.position p ON p.grp = $1 AND p.topic = h.topic AND p.partition = h.partition WHERE h.topic = $2
"""


class Wakes:
    """Who waits for records of which partition, and how far each log is known to reach."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, int], int] = {}
        self._waiting: dict[tuple[str, int], set[asyncio.Future[None]]] = {}
        self.ends: dict[tuple[str, int], int] = {}

    def version(self, place: tuple[str, int]) -> int:
        return self._versions.get(place, 0)

    def wake(self, place: tuple[str, int], end: int | None = None) -> None:
        self._versions[place] = self._versions.get(place, 0) + 1
        if end is not None:
            self.ends[place] = max(end, self.ends.get(place, 0))
        for future in self._waiting.pop(place, ()):
            if not future.done():
                future.set_result(None)

    def wake_all(self) -> None:
        for place in list(self._waiting):
            self.wake(place)

    async def wait(self, place: tuple[str, int], version: int, timeout: float) -> None:
        if self.version(place) != version:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(place, set()).add(future)
        try:
            async with asyncio.timeout(timeout):
                await future
        except TimeoutError:
            pass
        finally:
            self._waiting.get(place, set()).discard(future)


class EmbeddedBus(BaseBus):
    """See `port.Bus`."""

    def __init__(self, settings: Settings, pool: Any, *, name: str, stop: asyncio.Event, clock: Clock,
                 metrics: CollectorRegistry, partitions: int) -> None:
        super().__init__(settings, pool, name=name, stop=stop, clock=clock, metrics=metrics, partitions=partitions)
        self._wakes = Wakes()
        self._tell: dict[tuple[str, int], int] = {}
        self._told = asyncio.Event()
        self._writer = Connections(pool, 1)
        self._readers = Connections(pool, 1)
        self._group_commit = GroupCommit(self._write_group, gather_s=0.0)

    @classmethod
    async def open(cls, settings: Settings, pool: Any, *, name: str, stop: asyncio.Event, clock: Clock,
                   metrics: CollectorRegistry) -> "EmbeddedBus":
        async with pool.acquire() as connection:
            partitions = await settle_layout(connection, "embedded", "", settings.partitions)
        bus = cls(settings, pool, name=name, stop=stop, clock=clock, metrics=metrics, partitions=partitions)
        bus.begin(bus._notify())
        return bus

    def source(self) -> "EmbeddedBus":
        return self

    def outlet(self) -> "EmbeddedBus":
        return self

    def _segment(self) -> int:
        return segment_at(self._clock.now_ms(), self._settings.retention_bus_days)

    # -- writing outside units of work

    async def publish(self, topic: str, values: Mapping[int, Sequence[bytes]]) -> dict[int, int]:
        return await self._group_commit.publish(topic, values)

    async def _write_group(self, values: Values) -> Mapping[tuple[str, int], int]:
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S), self._writer.lend() as connection:
                firsts = await append(connection, values, self._segment(), self._clock.now_ms())
        except Exception as error:
            if not is_transient(error):
                raise
            self.trouble["publish"] = f"waiting: {describe(error)}"
            raise BusUnavailable(f"the log cannot be written now: {describe(error)}") from error
        self.trouble.pop("publish", None)
        for place, records in values.items():
            self._added(place, firsts[place] + len(records), len(records))
        return firsts

    def _added(self, place: tuple[str, int], end: int, n: int) -> None:
        self._metrics.published.labels(place[0]).inc(n)
        self._wakes.wake(place, end)
        self._tell[place] = max(end, self._tell.get(place, 0))
        self._told.set()

    # -- telling other processes

    async def _notify(self) -> None:
        """Other processes hear of new records a few milliseconds later, outside the transactions that wrote them:
        a notification inside would make all commits wait for each other."""
        while True:
            await self._told.wait()
            self._told.clear()
            places, self._tell = self._tell, {}
            words = [f"{topic}/{partition}/{end}" for (topic, partition), end in places.items()]
            try:
                for at in range(0, len(words), 100):
                    await self._session.run(partial(_tell, " ".join(words[at:at + 100])))
            except Exception as error:
                if not is_transient(error):
                    raise  # readers poll once a second in any case
            await asyncio.sleep(NOTIFY_EVERY_S)

    def heard(self, payload: str) -> None:
        for word in payload.split():
            topic, partition, end = word.split("/")
            self._wakes.wake((topic, int(partition)), int(end))

    def connected(self) -> None:
        self._wakes.wake_all()

    # -- reading

    async def fetch(self, topic: str, partition: int, position: int, limit: int, wait_s: float) -> list[Record]:
        deadline = time.monotonic() + wait_s
        place = topic, partition
        while True:
            version = self._wakes.version(place)
            async with self._readers.lend() as connection:
                rows = await connection.fetch(_READ, topic, partition, position, limit, timeout=WRITE_TIMEOUT_S)
            if rows:
                return _records(rows, position, limit)
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            await self._wakes.wait(place, version, left)

    def has_more(self, topic: str, partition: int, position: int) -> bool:
        return self._wakes.ends.get((topic, partition), 0) > position

    async def check(self, place: Place) -> None:
        """The first record must be there, unless the group is new: then it begins with the oldest that is left."""
        async with self._readers.lend() as connection:
            rows = await connection.fetch(_READ, place.topic, place.partition, place.next, 1)
            end = await connection.fetchval("SELECT next FROM bus.head WHERE topic = $1 AND partition = $2",
                                            place.topic, place.partition)
        if rows and rows[0]["first"] > place.next > 0:
            raise Stop(_LOST.format(place=place, there=rows[0]["first"]))
        if end < place.next:
            raise Stop(f"{place.grp} has worked on {place.topic}/{place.partition} up to {place.next}, but the log "
                       f"ends at {end}: the log and the positions come from different backups")

    async def ends(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        rows = await self._session.run(lambda connection: connection.fetch(_ENDS, topic))
        return {row["partition"]: row["next"] for row in rows}

    async def unread(self, stage: str, topic: str) -> dict[int, int]:
        try:
            rows = await self._pool.fetch(_UNREAD, stage, topic)
        except Exception as error:
            if not is_transient(error):
                raise
            raise BusUnavailable(f"the database does not answer: {describe(error)}") from error
        return {row["partition"]: row["n"] for row in rows}

    async def start(self, run: StageRun) -> None:
        """Heartbeats deal out the partitions."""

    async def end(self) -> None:
        """The reader belongs to the bus, not to a stage."""

    async def idle(self, places: Sequence[Place]) -> None:
        """There is nobody else to tell."""

    # -- outputs of units of work

    async def write(self, connection: Any, place: Place, out: dict[str, int], outputs: Sequence[Output],
                    now_ms: int) -> Any:
        firsts = await append_and_count(
            connection, {(output.topic, output.partition): output.values for output in outputs}, self._segment(),
            now_ms, (place.grp, place.topic, place.partition, place.epoch), as_json(out))
        if firsts is None:
            raise LostPartition(f"{place.grp} no longer owns {place.topic}/{place.partition}")
        return firsts

    async def taken_over(self, connection: Any, place: Place) -> None:
        """Outputs are in the log as soon as they are committed."""

    async def settled(self, place: Place) -> None:
        """Nothing is under way after a commit."""

    async def committed(self, place: Place, outputs: Sequence[Output], token: Any) -> None:
        for output in outputs:
            first = token[output.topic, output.partition]
            self._added((output.topic, output.partition), first + len(output.values), len(output.values))

    # -- retention

    async def reclaim(self) -> None:
        async with self._pool.acquire(timeout=10) as connection:
            emptied = await empty_log_segments(connection, self._clock.now_ms(), self._settings.retention_bus_days)
        if emptied:
            structlog.get_logger("percorso.bus").info("emptied segments of the log", tables=emptied)

    async def close(self) -> None:
        await self._group_commit.close()
        await super().close()
        for connections in (self._writer, self._readers):
            with suppress(*LOST):
                await connections.close()


async def _tell(payload: str, connection: Any) -> None:
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)


_LOST = ("{place.grp} has worked on {place.topic}/{place.partition} up to {place.next}, but the log begins at {there}: "
         "records between were deleted before they were read. To go on without them set bus.position.next to {there}")


def _records(rows: Sequence[Any], position: int, limit: int) -> list[Record]:
    records: list[Record] = []
    for row in rows:
        first = row["first"]
        values = unpack(row["body"])
        if first < position:
            values = values[position - first:]
            first = position
        records.extend(map(Record, range(first, first + len(values)), values))
    return records[:limit]

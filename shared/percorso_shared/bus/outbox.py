"""The way of outputs to Kafka: written to a table in the unit of work, sent from memory right after its commit. The
table is read only at a start or takeover."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog

from percorso_shared.bus.codec import pack, unpack
from percorso_shared.bus.connections import Connections
from percorso_shared.bus.errors import LostPartition, describe, is_transient
from percorso_shared.bus.kafka_writer import KafkaWriter
from percorso_shared.bus.place import Place, as_json
from percorso_shared.bus.retention import outbox_segment_at
from percorso_shared.bus.unit_of_work import Output

AHEAD = 4
"""Units of work that may be committed but not yet acknowledged; more wait."""
PAGE = 32

_WRITE = """
WITH counted AS (UPDATE bus.position SET out = $5::text::jsonb, unit = $6
                 WHERE grp = $1 AND topic = $2 AND partition = $3 AND epoch = $4 RETURNING 1),
added AS (INSERT INTO bus.outbox (segment, grp, topic, partition, unit, to_topic, to_partition, at, body, keys)
          SELECT $7, $1, $2, $3, $6, o.topic, o.partition, $8, o.body, o.keys
          FROM unnest($9::text[], $10::int[], $11::bytea[], $12::bytea[]) AS o (topic, partition, body, keys))
SELECT count(*) FROM counted
"""
_READ = """
SELECT unit, to_topic, to_partition, body, keys FROM bus.outbox
WHERE grp = $1 AND topic = $2 AND partition = $3 AND unit > $4 AND unit <= $5
ORDER BY unit, to_topic, to_partition LIMIT $6
"""


async def write_outbox(connection: Any, place: Place, out: dict[str, int], outputs: Sequence[Output],
                       now_ms: int) -> int:
    """Inside the unit of work. Returns its number. Raises LostPartition."""
    unit = place.unit + 1
    counted = await connection.fetchval(
        _WRITE, place.grp, place.topic, place.partition, place.epoch, as_json(out), unit, outbox_segment_at(now_ms),
        now_ms, [output.topic for output in outputs], [output.partition for output in outputs],
        [pack(output.values) for output in outputs],
        [pack([key or b"" for key in output.keys]) if any(output.keys) else None for output in outputs])
    if not counted:
        raise LostPartition(f"{place.grp} no longer owns {place.topic}/{place.partition}")
    return unit


class Relay:
    """Sends what one place has written, unit by unit, as long as we hold the place."""

    def __init__(self, place: Place, writer: KafkaWriter, connections: Connections, trouble: dict[str, str]) -> None:
        self._place = place
        self._writer = writer
        self._connections = connections
        self._trouble = trouble
        self._left_over = place.unit
        self._left_over_sent = asyncio.Event()
        self._queue: asyncio.Queue[tuple[int, Sequence[Output]]] = asyncio.Queue(AHEAD)
        self._name = f"{place.grp}/{place.topic or 'tick'}/{place.partition}/relay"
        self._log = structlog.get_logger("percorso.bus").bind(stage=place.grp, partition=place.partition)
        self._task = asyncio.create_task(self._run())

    async def put(self, unit: int, outputs: Sequence[Output]) -> None:
        """Waits while too many units are on their way."""
        await self._queue.put((unit, outputs))

    async def _run(self) -> None:
        while self._place.sent < self._left_over:
            await self._send_left_over()
        self._left_over_sent.set()
        while True:
            unit, outputs = await self._queue.get()
            await self._send(unit, outputs)
            self._queue.task_done()

    async def _send_left_over(self) -> None:
        """What the last owner wrote and perhaps did not send: whoever reads it twice drops it by its seq."""
        place = self._place
        attempt = 0
        while True:
            try:
                async with self._connections.lend() as connection:
                    rows = await connection.fetch(_READ, place.grp, place.topic, place.partition, place.sent,
                                                  self._left_over, PAGE)
                break
            except Exception as error:
                if not is_transient(error):
                    raise
                attempt += 1
                await self._wait_out(error, attempt)
        units: dict[int, list[Output]] = {}
        for row in rows:
            keys = unpack(row["keys"]) if row["keys"] is not None else []
            values = unpack(row["body"])
            units.setdefault(row["unit"], []).append(Output(
                row["to_topic"], row["to_partition"], values, [key or None for key in keys] or [None] * len(values)))
        numbers = sorted(units)
        if len(rows) == PAGE and len(numbers) > 1:
            numbers.pop()  # perhaps not all of it
        if numbers:
            self._log.info("sends what was left over", units=len(numbers))
        for unit in numbers:
            await self._send(unit, units[unit])
        if len(rows) < PAGE:
            place.sent = self._left_over

    async def _send(self, unit: int, outputs: Sequence[Output]) -> None:
        attempt = 0
        left = list(outputs)
        while left:
            sends = {asyncio.create_task(self._writer.send(output.topic, output.partition, output.values, output.keys)):
                     output for output in left}
            try:
                _, late = await asyncio.wait(sends, timeout=5)
                if late:
                    self._trouble[self._name] = "waiting: Kafka does not acknowledge"
                    await asyncio.wait(sends)
            except asyncio.CancelledError:
                for send in sends:
                    send.cancel()
                raise
            left = [output for send, output in sends.items() if send.exception() is not None]
            failures = [failure for send in sends if (failure := send.exception()) is not None]
            for failure in failures:
                if not is_transient(failure):
                    raise failure
            if failures:
                attempt += 1
                await self._wait_out(failures[0], attempt)
        self._trouble.pop(self._name, None)
        self._place.sent = unit

    async def _wait_out(self, error: BaseException, attempt: int) -> None:
        pause = min(5.0, 0.05 * 2 ** min(attempt, 10))
        if attempt > 2:
            self._trouble[self._name] = f"waiting: {describe(error)}"
        self._log.warning("will send again", error=describe(error), attempt=attempt, pause_s=round(pause, 2))
        await asyncio.sleep(pause)

    async def settle(self, patience_s: float) -> None:
        """Waits a while until all is sent; the rest is for the next owner."""
        drained = asyncio.create_task(self._drained())
        await asyncio.wait({drained, self._task}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._trouble.pop(self._name, None)

    async def _drained(self) -> None:
        await self._left_over_sent.wait()
        await self._queue.join()

    def failure(self) -> BaseException | None:
        """Why it has given up, if it has."""
        return self._task.exception() if self._task.done() and not self._task.cancelled() else None

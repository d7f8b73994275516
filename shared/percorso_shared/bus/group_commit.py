"""Many callers, one write: what is asked for while a write is under way goes out together with the next."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from percorso_shared.bus.port import BusUnavailable

Values = dict[tuple[str, int], list[bytes]]
Firsts = Mapping[tuple[str, int], int]

_Asked = tuple[str, Mapping[int, Sequence[bytes]], int, asyncio.Future[dict[int, int]]]
"""Topic, records by partition, bytes, and what the caller waits for."""

MAX_WAITING_BYTES = 64 << 20
MAX_GROUP_BYTES = 8 << 20


class GroupCommit:
    """`write` makes a group durable and returns the position of the first record of each partition, or raises
    BusUnavailable, which all callers of that group then get."""

    def __init__(self, write: Callable[[Values], Awaitable[Firsts]], gather_s: float) -> None:
        self._write = write
        self._gather_s = gather_s
        self._waiting: list[_Asked] = []
        self._bytes = 0
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def publish(self, topic: str, values: Mapping[int, Sequence[bytes]]) -> dict[int, int]:
        """partition -> position of the first. Raises BusUnavailable at once if too much is waiting already."""
        wanted = {partition: records for partition, records in values.items() if records}
        if not wanted:
            return {}
        size = sum(len(record) for records in wanted.values() for record in records)
        if self._closed:
            raise BusUnavailable("the bus is closed")
        if self._bytes and self._bytes + size > MAX_WAITING_BYTES:
            raise BusUnavailable("too much is waiting to be written")
        future: asyncio.Future[dict[int, int]] = asyncio.get_running_loop().create_future()
        self._waiting.append((topic, wanted, size, future))
        self._bytes += size
        self._asked.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while True:
            await self._asked.wait()
            if self._gather_s:
                await asyncio.sleep(self._gather_s)
            while self._waiting:
                await self._write_group()
            self._asked.clear()

    async def _write_group(self) -> None:
        group: list[_Asked] = []
        size = 0
        while self._waiting and (not group or size + self._waiting[0][2] <= MAX_GROUP_BYTES):
            group.append(self._waiting.pop(0))
            size += group[-1][2]
        together: Values = {}
        places: list[dict[int, int]] = []
        for topic, wanted, _, _ in group:
            offsets: dict[int, int] = {}
            for partition, records in wanted.items():
                of = together.setdefault((topic, partition), [])
                offsets[partition] = len(of)
                of.extend(records)
            places.append(offsets)
        try:
            firsts = await self._write(together)
        except Exception as error:  # noqa: BLE001  # every caller gets it
            failure = error if isinstance(error, BusUnavailable) else None
            for _, _, _, future in group:
                if not future.done():
                    future.set_exception(BusUnavailable(str(failure)) if failure is not None else error)
        else:
            for (topic, _, _, future), offsets in zip(group, places, strict=True):
                if not future.done():
                    future.set_result({partition: firsts[topic, partition] + offset
                                       for partition, offset in offsets.items()})
        finally:
            self._bytes -= size
            for _, _, _, future in group:
                if not future.done():
                    future.set_exception(BusUnavailable("the write was broken off"))

    async def close(self) -> None:
        """What is waiting is written; what comes afterwards is refused."""
        self._closed = True
        while self._waiting or self._bytes:
            if self._task is None or self._task.done():
                break
            await asyncio.sleep(0.005)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

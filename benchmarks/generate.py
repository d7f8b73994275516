"""The load generator: a process of its own, open loop (requests leave on time whatever the answers do).

    python -m benchmarks.generate '{"host": "127.0.0.1", "port": 8000, "write_key": "...", "rate": 5000, ...}'

Prints one JSON line. Every acknowledged message id goes to the file `acknowledged`, one a line: the truth that
stored touchpoints are compared with.
"""

import asyncio
import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.bodies import Request, requests

DEFAULTS: dict[str, Any] = {
    "host": "127.0.0.1", "port": 8000, "write_key": "", "run": "bench", "seed": 1, "rate": 5000.0, "batch": 100,
    "seconds": 20.0, "warmup": 3.0, "connections": 16, "visitors": 20_000, "acknowledged": "", "retry": False}
ANSWER_SECONDS = 15.0
"""After this a request counts as not acknowledged."""


class Generator:
    """One run. Times are seconds on the monotonic clock, latencies are counted from the planned instant."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.queue: deque[tuple[float, Request]] = deque()
        self.ready = asyncio.Event()
        self.finished = False
        self.latencies: list[float] = []
        self.acknowledged = 0
        self.counted = 0
        self.refused: dict[str, int] = {}
        self.first_counted = self.last_counted = 0.0
        self.log = Path(options["acknowledged"]).open("a") if options["acknowledged"] else None  # noqa: SIM115

    async def run(self) -> dict[str, Any]:
        o = self.options
        interval = o["batch"] / o["rate"]
        count = max(1, int((o["seconds"] + o["warmup"]) / interval))
        prepared = list(requests(run=o["run"], seed=o["seed"], count=count, batch=o["batch"], visitors=o["visitors"],
                                 write_key=o["write_key"], host=f"{o['host']}:{o['port']}"))
        sys.stdout.write(json.dumps({"prepared": len(prepared)}) + "\n")
        sys.stdout.flush()
        begin = time.monotonic()
        self.counted_from = begin + o["warmup"]
        senders = [asyncio.create_task(self._send()) for _ in range(o["connections"])]
        for number, request in enumerate(prepared):
            due = begin + number * interval
            delay = due - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            self.queue.append((due, request))
            self.ready.set()
        self.finished = True
        self.ready.set()
        await asyncio.gather(*senders)
        if self.log:
            self.log.close()
        return self._summary(time.monotonic() - begin)

    async def _send(self) -> None:
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while True:
            while not self.queue:
                if self.finished:
                    if writer:
                        writer.close()
                    return
                self.ready.clear()
                await self.ready.wait()
            due, request = self.queue.popleft()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(self.options["host"], self.options["port"])
                assert reader is not None
                writer.write(request.wire)
                status = await asyncio.wait_for(self._answer(reader), ANSWER_SECONDS)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
                if writer:
                    writer.close()
                reader = writer = None
                await self._not_acknowledged(type(error).__name__, due, request)
                continue
            if status == 200:
                self._acknowledge(due, request)
            else:
                await self._not_acknowledged(str(status), due, request)

    async def _answer(self, reader: asyncio.StreamReader) -> int:
        head = await reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        at = lower.index(b"content-length:") + 15
        await reader.readexactly(int(lower[at:lower.index(b"\r\n", at)]))
        return int(head[9:12])

    def _acknowledge(self, due: float, request: Request) -> None:
        now = time.monotonic()
        self.acknowledged += len(request.message_ids)
        if self.log:
            self.log.write("\n".join(request.message_ids) + "\n")
            self.log.flush()
        if due >= self.counted_from:
            self.first_counted = self.first_counted or now
            self.last_counted = now
            self.counted += len(request.message_ids)
            self.latencies.append(now - due)

    async def _not_acknowledged(self, reason: str, due: float, request: Request) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        if self.options["retry"]:
            await asyncio.sleep(0.2)
            self.queue.append((due, request))
            self.ready.set()

    def _summary(self, elapsed: float) -> dict[str, Any]:
        latencies = sorted(self.latencies) or [0.0]
        span = max(self.last_counted - self.counted_from, 1e-9)
        return {"acknowledged": self.acknowledged, "counted": self.counted, "rate": self.counted / span,
                "p50_ms": 1000 * latencies[len(latencies) // 2], "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)],
                "not_acknowledged": self.refused, "elapsed_s": elapsed}


def main() -> None:
    options = DEFAULTS | json.loads(sys.argv[1])
    unknown = options.keys() - DEFAULTS.keys()
    if unknown:
        raise SystemExit(f"unknown options: {', '.join(sorted(unknown))}")
    uvloop.install()
    sys.stdout.write(json.dumps(asyncio.run(Generator(options).run())) + "\n")


if __name__ == "__main__":
    main()

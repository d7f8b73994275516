"""Keeps one child process running: starts it, restarts it with growing pauses when it dies, says why, stops it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from percorso_shared.settings import Settings

FIRST_PAUSE, LONGEST_PAUSE, STEADY_AFTER = 0.2, 30.0, 10.0
"""Seconds. A child that lived for ten begins again with the first pause."""


def pause_before(restart: int) -> float:
    """Seconds to wait before the n-th restart in a row (1 for the first)."""
    return min(FIRST_PAUSE * 2.0 ** min(restart - 1, 20), LONGEST_PAUSE)


@dataclass(frozen=True)
class ChildPlan:
    """What a child is started with. The sockets stay ours too: while it is restarted, callers wait in their queue."""

    name: str
    processes: Sequence[str]
    public: socket.socket | None
    private: socket.socket


class Child:
    """`spawn`, then `begin` once the database is there; `ready` tells when it works; `stop` at the end."""

    def __init__(self, plan: ChildPlan, lock: int, changed: Callable[[str | None], None]) -> None:
        """`lock` is a descriptor to be inherited. `changed(reason)` is called when the child stops working, and with
        None when it works."""
        self.plan, self._lock, self._changed = plan, lock, changed
        self.ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._process: asyncio.subprocess.Process | None = None
        self._settings = b""
        self._stopping = False
        self._reason = ""
        self._others: dict[str, str | None] = {}

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def spawn(self) -> None:
        """Starts the process; it imports what it needs and waits for `begin`."""
        inherited = [listening.fileno() for listening in (self.plan.public, self.plan.private) if listening is not None]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "percorso_services.all_in_one.child", self.plan.name, ",".join(self.plan.processes),
            str(self.plan.public.fileno()) if self.plan.public is not None else "-", str(self.plan.private.fileno()),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, pass_fds=[*inherited, self._lock],
            start_new_session=True, env=_environment())

    async def keep_running(self, settings: Settings) -> None:
        """Until `stop`. A child that dies is a visible line and is started again after a pause."""
        log, restart = structlog.get_logger(), 0
        self._settings = _encode(settings)
        while not self._stopping:
            if self._process is None:
                await self.spawn()
            process = self._process
            assert process is not None
            began = time.monotonic()
            self._reason = ""
            self._write(self._settings)
            self.tell_others(self._others)
            await self._read_answers(process)
            code = await process.wait()
            self._process = None
            if self._stopping:
                return
            restart = 1 if time.monotonic() - began > STEADY_AFTER else restart + 1
            pause, reason = pause_before(restart), self._reason or _reason_of(code)
            self._changed(f"restarting: {reason}")
            log.error(f"the {self.plan.name} ended ({reason}); starting them again in {pause:g} s")
            await asyncio.sleep(pause)

    def tell_others(self, others: dict[str, str | None]) -> None:
        """The state of others that this child's /readyz shows: name -> why it cannot work, None if it can."""
        self._others = others
        if self._settings and others:
            self._write(msgspec.json.encode({"others": others}) + b"\n")

    async def stop(self, seconds: float) -> None:
        """SIGTERM, and SIGKILL for what has not ended after `seconds`."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            structlog.get_logger().warning(f"the {self.plan.name} did not end within {seconds:g} s and are killed")
            process.kill()
            await process.wait()

    def kill(self) -> None:
        """For a second Ctrl-C."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)

    def _write(self, line: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(line)

    async def _read_answers(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            answer = msgspec.json.decode(line)
            if "failed" in answer:
                self._reason = answer["failed"]
            if "ready" in answer:
                self._changed(None)
                if not self.ready.done():
                    self.ready.set_result(answer["ready"])


def _encode(settings: Settings) -> bytes:
    return msgspec.json.encode(settings, enc_hook=str) + b"\n"


def _reason_of(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _environment() -> dict[str, str]:
    """Settings travel through the pipe; the child reads no environment of ours."""
    return {name: value for name, value in os.environ.items()
            if not name.startswith("PERCORSO_") or name.startswith("PERCORSO_TEST_")}

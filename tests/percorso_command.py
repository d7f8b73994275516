"""`percorso` as a user runs it: a process of its own, looked at from outside."""

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

import httpx

BIN = Path(sys.executable).parent / "percorso"


class Result(NamedTuple):
    code: int
    out: str
    err: str


def clean_environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PERCORSO_")} | more


async def percorso(*arguments: str | Path, seconds: float = 60, **environment: str) -> Result:
    """One command, to its end."""
    process = await asyncio.create_subprocess_exec(
        BIN, *map(str, arguments), env=clean_environment(**environment), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


class PercorsoUp:
    """`async with PercorsoUp(folder) as up:` is `percorso up` on free ports, ready; stopped by SIGTERM at the end.

    `up.public`, `up.private`: addresses. `up.keys`: as `percorso keys --json`. `up.log()`: what it logged so far.
    """

    def __init__(self, folder: Path, *arguments: str, command: tuple[str, ...] = (str(BIN),),
                 environment: dict[str, str] | None = None, user: int | None = None) -> None:
        self.folder = folder
        self.banner = ""
        self._log = folder.parent / f"{folder.name}.stderr"
        self._command = (*command, "up", "--data", str(folder), "--public-port", "0", "--private-port", "0", *arguments)
        self._environment = clean_environment(**(environment or {}))
        self._user: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> "PercorsoUp":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.process.returncode is None:
            await self.stop()

    async def start(self, seconds: float = 60) -> None:
        with self._log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command, env=self._environment, cwd="/", stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=log, **self._user)
        try:
            self.banner = await asyncio.wait_for(self._read_banner(), seconds)
        except BaseException:
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()
            raise

    async def _read_banner(self) -> str:
        assert self.process.stdout is not None
        banner = ""
        async for line in self.process.stdout:
            banner += line.decode()
            if line.startswith(b"  Stop"):
                return banner
        raise AssertionError(f"`percorso up` ended: {self.log()}")

    async def stop(self, kind: int = signal.SIGTERM, seconds: float = 30) -> int:
        """The exit code."""
        self.process.send_signal(kind)
        return await asyncio.wait_for(self.process.wait(), seconds)

    def log(self) -> str:
        return self._log.read_text()

    def _address(self, row: str) -> str:
        found = re.search(rf"{row}\s+(http://[^\s/]+)", self.banner)
        assert found is not None, self.banner
        return found[1]

    @property
    def public(self) -> str:
        return self._address("Public address")

    @property
    def private(self) -> str:
        return self._address("Live page")

    @property
    def keys(self) -> dict[str, Any]:
        keys: dict[str, Any] = json.loads((self.folder / "keys.json").read_text())
        return keys

    @property
    def children(self) -> dict[str, int]:
        """Name -> process id."""
        children: dict[str, int] = json.loads((self.folder / "run.json").read_text())["children"]
        return children

    @property
    def database_pid(self) -> int:
        return int((self.folder / "pg" / "postmaster.pid").read_text().splitlines()[0])

    async def ready(self) -> tuple[int, dict[str, str]]:
        """Status and reasons of /readyz."""
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.private}/readyz", timeout=30)
        return answer.status_code, answer.json()["reasons"]

    async def until_ready(self, expected: bool, seconds: float = 30) -> dict[str, str]:
        """The reasons, once /readyz says so."""
        async with asyncio.timeout(seconds):
            while True:
                status, reasons = await self.ready()
                if (status == 200) == expected:
                    return reasons
                await asyncio.sleep(0.02)


async def until_ended(*pids: int, seconds: float = 10) -> None:
    """Of processes that are not ours to wait for."""
    async with asyncio.timeout(seconds):
        while any(is_running(pid) for pid in pids):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def is_running(pid: int) -> bool:
    """False for a process that ended and was not waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False

"""`percorso run` while what it needs is not there: it waits, says so, and stops when asked."""

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from percorso_command import BIN, clean_environment


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@asynccontextmanager
async def running(process: str, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        BIN, "run", process, "--private-port", "0", "--public-port", "0",
        env=clean_environment(PERCORSO_SECRET="a secret of tests", **settings), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def line_with(child: asyncio.subprocess.Process, pattern: str) -> str:
    assert child.stderr is not None
    seen = []
    async with asyncio.timeout(60):
        async for line in child.stderr:
            seen.append(line.decode())
            if re.search(pattern, seen[-1]):
                return seen[-1]
    raise AssertionError(f"no line with {pattern}: {seen}")


async def test_a_database_that_is_not_there_is_waited_for_with_visible_tries() -> None:
    port = free_port()
    url = f"postgresql://percorso:hunter2@127.0.0.1:{port}/percorso"
    async with running("profile_api", PERCORSO_DATABASE_URL=url, PERCORSO_KAFKA_BOOTSTRAP="127.0.0.1:1") as child:
        line = await line_with(child, "attempt 2")
        assert f"waiting for the database at 127.0.0.1:{port} (attempt 2): connection refused" in line
        assert "hunter2" not in line
        child.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(child.wait(), 10) == 0


async def test_a_broker_that_is_not_there_is_waited_for_with_visible_tries(database_url: str) -> None:
    place = f"127.0.0.1:{free_port()}"
    async with running("identity_worker", PERCORSO_DATABASE_URL=database_url, PERCORSO_KAFKA_BOOTSTRAP=place) as child:
        await line_with(child, rf"waiting for the bus at {place} \(attempt 2\)")
        child.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(child.wait(), 30) == 0


async def test_a_database_that_does_not_exist_is_not_waited_for(database_url: str) -> None:
    url = re.sub(r"@/\w+", "@/none", database_url)
    async with running("console", PERCORSO_DATABASE_URL=url, PERCORSO_KAFKA_BOOTSTRAP="127.0.0.1:1") as child:
        line = await line_with(child, "^percorso: ")
        assert 'database "none" does not exist' in line
        assert await asyncio.wait_for(child.wait(), 10) == 2

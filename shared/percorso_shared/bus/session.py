"""The one session per process that listens, notifies and shows that the process is alive."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from percorso_shared.bus.errors import describe, is_transient
from percorso_shared.database import is_open, terminate
from percorso_shared.wait_for_database import LOST

T = TypeVar("T")

CHANNEL = "percorso_bus"
LOCK_CLASS = 0x5045_5242
"""First key of the advisory locks that live processes hold."""


class Session:
    """Reconnects by itself. Each connection holds an advisory lock (LOCK_CLASS, lock_key) of its own as long as it
    stands: the server lets go of it at once when the process dies."""

    def __init__(self, pool: Any, on_wake: Callable[[str], None], on_connect: Callable[[], None]) -> None:
        self._pool = pool
        self.lock_key = 0
        self._on_wake = on_wake
        self._on_connect = on_connect
        self._connection: Any = None
        self._use = asyncio.Lock()
        self._log = structlog.get_logger("percorso.bus")

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """One piece of work on the session, alone. Raises what asyncpg raises; the next call connects again."""
        async with self._use:
            connection = await self._connected()
            try:
                return await work(connection)
            except BaseException as error:
                if not isinstance(error, Exception) or is_transient(error):
                    await self._let_go()
                raise

    async def keep(self, stop: asyncio.Event) -> None:
        """Connects again whenever the connection was lost, until `stop`."""
        while not stop.is_set():
            try:
                await self.run(_ping)
            except LOST as error:
                if not is_transient(error):
                    raise
                self._log.warning("the database does not answer", error=describe(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)

    async def _connected(self) -> Any:
        if self._connection is not None and is_open(self._connection):
            return self._connection
        await self._let_go()
        connection = await self._pool.acquire(timeout=10)
        try:
            await connection.execute("SET synchronous_commit = off")
            self.lock_key = secrets.randbits(31)
            await connection.execute("SELECT pg_advisory_lock($1, $2)", LOCK_CLASS, self.lock_key)
            await connection.add_listener(CHANNEL, self._heard)
        except BaseException:
            terminate(connection)
            await self._pool.release(connection, timeout=5)
            raise
        self._connection = connection
        self._on_connect()
        return connection

    def _heard(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        if self._connection is not None and pid != self._connection.get_server_pid():
            self._on_wake(payload)

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            terminate(connection)
            with suppress(*LOST):
                await self._pool.release(connection, timeout=5)

    async def close(self) -> None:
        async with self._use:
            await self._let_go()


async def _ping(connection: Any) -> None:
    await connection.execute("SELECT 1", timeout=10)

"""The few connections on which units of work run: kept, and reused last in, first out, so that their statements stay
prepared."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from percorso_shared.database import is_open, terminate
from percorso_shared.wait_for_database import LOST

IDLE_IN_TRANSACTION_S = 5
"""After this the server ends a transaction whose worker has gone silent (a frozen process), so that its locks do not
keep the next owner out."""

_SETUP = f"""
SET synchronous_commit = on;
SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_S}s';
SET lock_timeout = '10s'
"""


class Connections:
    """At most `limit` of the pool's connections. An open one that is idle is preferred to a new one."""

    def __init__(self, pool: Any, limit: int) -> None:
        self._pool = pool
        self._free = asyncio.Semaphore(limit)
        self._idle: list[Any] = []

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Any]:
        """A connection without an open transaction. Raises what asyncpg raises if the server cannot be reached."""
        async with self._free:
            connection = await self._take()
            try:
                yield connection
            finally:
                if not is_open(connection) or connection.is_in_transaction():
                    await self._drop(connection)
                else:
                    self._idle.append(connection)

    async def _take(self) -> Any:
        while self._idle:
            connection = self._idle.pop()
            if is_open(connection):
                return connection
            await self._drop(connection)
        connection = await self._pool.acquire(timeout=10)
        try:
            await connection.execute(_SETUP)
        except BaseException:
            await self._drop(connection)
            raise
        return connection

    async def _drop(self, connection: Any) -> None:
        terminate(connection)
        with suppress(*LOST):  # it is closed either way
            await self._pool.release(connection, timeout=5)

    async def close(self) -> None:
        while self._idle:
            await self._pool.release(self._idle.pop(), timeout=5)

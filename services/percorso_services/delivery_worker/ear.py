"""Hears that new rows were planned, on a connection of its own. Polling goes on beside it: a wake-up may be lost."""

import asyncio
from contextlib import suppress
from typing import Any

from percorso_shared.database import is_open
from percorso_shared.wait_for_database import LOST


class Ear:
    """Sets `heard` at every notification on `channel`."""

    def __init__(self, pool: Any, channel: str, heard: asyncio.Event) -> None:
        self._pool, self._channel, self._heard = pool, channel, heard
        self._connection: Any = None

    async def listen(self) -> None:
        """Makes sure that we hear. Raises what asyncpg raises if the server cannot be reached."""
        if self._connection is not None and is_open(self._connection):
            return
        await self.close()
        connection = await self._pool.acquire(timeout=10)
        self._connection = connection
        await connection.add_listener(self._channel, self._on_notify)
        self._heard.set()

    def _on_notify(self, *_: object) -> None:
        self._heard.set()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(*LOST):
            if is_open(connection):
                await connection.remove_listener(self._channel, self._on_notify)
        with suppress(*LOST):
            await self._pool.release(connection, timeout=2)

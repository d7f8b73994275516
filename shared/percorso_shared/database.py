"""Connections to PostgreSQL.

Ids travel as 16 raw bytes: the `uuid` type is read and written in binary form without a UUID object in between (a batch
of 1,000 touchpoints carries about 10,000 ids). `json` and `jsonb` travel as text.
"""

from contextlib import suppress
from typing import Any

import asyncpg


def _as_is(value: bytes) -> bytes:
    return value


async def prepare_connection(connection: asyncpg.Connection) -> None:
    """Given to every pool as `init`."""
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=_as_is, decoder=_as_is, format="binary")


async def open_pool(url: str, *, name: str, min_size: int = 1, max_size: int = 8) -> "asyncpg.Pool":
    """`name` is shown in pg_stat_activity. jit is off: it costs more than it gives for short set-based statements."""
    return await asyncpg.create_pool(
        url,
        min_size=min_size,
        max_size=max_size,
        init=prepare_connection,
        server_settings={"application_name": name, "jit": "off", "timezone": "UTC"},
    )


def is_open(connection: Any) -> bool:
    """False also for one that the pool took back by itself when the server ended it: asking that one for anything
    raises InterfaceError."""
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        return False


def terminate(connection: Any) -> None:
    """Ends it at once and forgets its listeners, whatever state it is in."""
    with suppress(asyncpg.InterfaceError):
        connection.terminate()

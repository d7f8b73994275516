"""Adds touchpoints to the de-duplication table: one COPY, encoded here.

An INSERT from arrays costs about 9 us per row in PostgreSQL and 3 us in asyncpg; this costs 4 us and 0.7 us.
"""

import io
import struct
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from percorso_shared.bus.port import Connection

_COLUMNS = ("workspace_id", "event_id", "received_day", "link_id", "event_time", "received_at", "source")
_START = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_END = struct.pack(">h", -1)
_HEAD = struct.Struct(">hiii16sii")
_LINK = struct.pack(">i", 16)
_NO_LINK = struct.pack(">i", -1)
_TIMES = struct.Struct(">iqiqi")
_DAYS_TO_2000 = 10_957
_US_TO_2000 = 946_684_800_000_000
"""PostgreSQL counts from 2000 on."""


class NewTouch(NamedTuple):
    """A row of the de-duplication table."""

    event: bytes
    day: int
    """Days since 1970 of its receipt, or IMPORTED_DAY."""
    link: bytes | None
    time: int
    received: int
    source: str


def encode_rows(workspace: int, touches: Sequence[NewTouch]) -> bytes:
    """PostgreSQL's binary COPY format."""
    parts = [_START]
    sources: dict[str, bytes] = {}
    head, times = _HEAD.pack, _TIMES.pack
    for event, day, link, time, received, source in touches:
        name = sources.get(source)
        if name is None:
            name = sources[source] = source.encode()
        parts += (head(7, 4, workspace, 16, event, 4, day - _DAYS_TO_2000),
                  _NO_LINK if link is None else _LINK + link,
                  times(8, time * 1000 - _US_TO_2000, 8, received * 1000 - _US_TO_2000, len(name)), name)
    parts.append(_END)
    return b"".join(parts)


async def add_events(connection: Connection, workspace: int, touches: Sequence[NewTouch]) -> None:
    """`touches` ascending by event, none of them known when it was asked. If another unit of work has added one of them
    since, this one must begin anew and will then see it: raises asyncpg.SerializationError."""
    try:
        await connection.copy_to_table(
            "dedup", source=io.BytesIO(encode_rows(workspace, touches)), columns=_COLUMNS, schema_name="identity",
            format="binary")
    except asyncpg.UniqueViolationError as error:
        raise asyncpg.SerializationError("the same touchpoint was added at the same time") from error

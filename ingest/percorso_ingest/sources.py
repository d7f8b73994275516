"""Which source a write key belongs to: all sources in memory, kept fresh by the database."""

import asyncio
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import structlog

from percorso_ingest.limits import DEFAULTS
from percorso_ingest.postgres import CHANNEL, read_sources
from percorso_ingest.source import Source
from percorso_ingest.write_key import key_of_request
from percorso_shared.database import is_open
from percorso_shared.wait_for_database import LOST

FRESH_SECONDS = 5.0
"""The longest that a change stays unseen, should a notification get lost."""

_REMEMBERED = 1_000


class ByBody(Enum):
    """Nothing outside the body says who sends."""

    BY_BODY = True


BY_BODY: Final = ByBody.BY_BODY


class Sources:
    """Answers from memory. `follow` fills it and keeps it fresh; while the database is away the last known sources
    stand."""

    def __init__(self) -> None:
        self._by_key: dict[str, Source] = {}
        self._by_alias: dict[str, Source] = {}
        self.known = asyncio.Event()
        """Set once the sources have been read."""
        self.largest_body = DEFAULTS.body_bytes
        """Bytes of the largest body that any source may send."""
        self._claims: dict[tuple[bytes | None, bytes | None, bytes], Source | ByBody | None] = {}

    def claimed(self, headers: Mapping[bytes, bytes], query: bytes) -> "Source | ByBody | None":
        """The enabled source that a request names outside its body. None: the key there is nobody's. BY_BODY: there is
        none there. What real callers send again and again is remembered."""
        seen = (headers.get(b"authorization"), headers.get(b"x-write-key"), query)
        try:
            return self._claims[seen]
        except KeyError:
            pass
        key = key_of_request(headers, query)
        found = BY_BODY if key is None else self._by_key.get(key)
        if isinstance(found, Source):
            if len(self._claims) >= _REMEMBERED:
                self._claims.clear()
            self._claims[seen] = found
        return found

    def by_key(self, write_key: str) -> Source | None:
        """The enabled source of a write key."""
        return self._by_key.get(write_key)

    def by_alias(self, alias: str) -> Source | None:
        """The enabled source that a foreign protocol calls so (`plausible:shop.example`)."""
        return self._by_alias.get(alias)

    def all(self) -> list[Source]:
        return list(self._by_key.values())

    def replace(self, sources: list[Source]) -> None:
        """These are the sources now."""
        enabled = [source for source in sources if source.enabled]
        self._by_key = {source.write_key: source for source in enabled}
        self._by_alias = {alias: source for source in enabled for alias in source.aliases}
        self.largest_body = max((source.limits.body_bytes for source in enabled), default=DEFAULTS.body_bytes)
        self._claims = {}
        self.known.set()

    async def follow(self, pool: Any, stop: asyncio.Event) -> None:
        """Until `stop`. Losing the database and having it back are lines in the log."""
        log, lost = structlog.get_logger(), False
        while not stop.is_set():
            try:
                async with pool.acquire() as connection:
                    await self._listen(connection, stop, lost)
            except LOST as error:
                if not lost:
                    log.warning("sources cannot be read; the last known ones stand", reason=type(error).__name__)
                lost = True
                await _wait(stop, 1.0)
            else:
                lost = False

    async def _listen(self, connection: Any, stop: asyncio.Event, lost: bool) -> None:
        changed = asyncio.Event()

        def wake(*_: Any) -> None:
            changed.set()

        await connection.add_listener(CHANNEL, wake)
        connection.add_termination_listener(wake)
        try:
            while not stop.is_set():
                changed.clear()
                self.replace(await read_sources(connection))
                if lost:
                    structlog.get_logger().info("sources are followed again")
                    lost = False
                await _wait_for_either(stop, changed, FRESH_SECONDS)
        finally:
            if is_open(connection):
                connection.remove_termination_listener(wake)
                await connection.remove_listener(CHANNEL, wake)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


async def _wait_for_either(first: asyncio.Event, second: asyncio.Event, seconds: float) -> None:
    waits = [asyncio.ensure_future(first.wait()), asyncio.ensure_future(second.wait())]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

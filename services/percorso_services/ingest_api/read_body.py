"""Reading a request's body: within a limit of bytes, within a limit of time, within the memory set aside for all."""

import asyncio
from collections.abc import Awaitable, Callable

from percorso_shared.process import Message

SECONDS = 30.0
"""For the whole body. A sender that needs longer is answered 408."""


DRAIN_SECONDS = 2.0
DRAIN_BYTES = 32 * 1024 * 1024
"""How much of a body that nobody wants is read after the answer."""


class TooSlow(Exception):
    """The body did not arrive in time."""


class HungUp(Exception):
    """The sender is gone; nobody is there to be answered."""


class NoRoom(Exception):
    """Too many bytes are under way; try again."""


class InFlight:
    """Bytes of all requests that are not answered yet."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0


class Share:
    """What one request holds of them: its body, and its body decompressed."""

    def __init__(self, in_flight: InFlight) -> None:
        self._all, self.bytes = in_flight, 0

    def take(self, size: int) -> None:
        """Raises NoRoom. A request alone always fits: its size has limits of its own."""
        others = self._all.bytes - self.bytes
        if others and self._all.bytes + size > self._all.limit:
            raise NoRoom
        self._all.bytes += size
        self.bytes += size

    def give_back(self) -> None:
        """Everything; once, at the end."""
        self._all.bytes -= self.bytes


async def read_body(receive: Callable[[], Awaitable[Message]], limit: int, share: Share) -> tuple[bytes, bool]:
    """The body, and whether it is whole: False = it is longer than `limit`, and what follows was not read. Raises
    TooSlow, HungUp, NoRoom."""
    try:
        async with asyncio.timeout(SECONDS):
            body, more = await _part(receive, share)
            if more:
                parts, size = [body], len(body)
                while more and size <= limit:
                    part, more = await _part(receive, share)
                    parts.append(part)
                    size += len(part)
                body = b"".join(parts)
    except TimeoutError:
        raise TooSlow from None
    return (body, True) if len(body) <= limit else (body[:limit], False)


async def _part(receive: Callable[[], Awaitable[Message]], share: Share) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise HungUp
    part: bytes = message.get("body", b"")
    share.take(len(part))
    return part, message.get("more_body", False)


async def throw_away(receive: Callable[[], Awaitable[Message]]) -> None:
    """Reads what is left of a body, within limits."""
    left = DRAIN_BYTES
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return

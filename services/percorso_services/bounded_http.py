"""HTTP/1.1 as uvicorn speaks it, with limits on what comes before the body: a head that is too slow or too long."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
"""For the head of a request, from its first byte (of the first one: from the connection) to the empty line."""
HEAD_BYTES = 64 * 1024

_TOO_LONG = (b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
             b"x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: 57\r\n\r\n"
             b'{"code":"head_too_long","message":"the head is too long"}')


class BoundedHttp(HttpToolsProtocol):
    """For `uvicorn.Config(http=BoundedHttp)`."""

    _head_since: float | None
    _head_bytes = 0
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since = self.loop.time()
        self._watch = self.loop.call_later(HEAD_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LONG)
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_since is None:
            self._head_since = self.loop.time()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._head_since = None
        super().on_headers_complete()

    def _look(self) -> None:
        """Now and then, so that an ordinary request pays for no timer of its own."""
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if self._head_since is not None and now - self._head_since >= HEAD_SECONDS * 0.99:
            self.transport.close()
            return
        wait = HEAD_SECONDS if self._head_since is None else self._head_since + HEAD_SECONDS - now
        self._watch = self.loop.call_later(wait, self._look)

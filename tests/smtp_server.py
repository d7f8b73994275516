"""A real SMTP server (aiosmtpd) in a thread of its own, that counts completed DATA per Message-ID and can be told to
refuse, to stay silent after DATA, to go down and to come up again on the same port.

    with SmtpPeer() as peer:
        ... f"smtp://127.0.0.1:{peer.port}" ...
        assert peer.completed["<id@example.com>"] == 1
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import aiosmtpd
from aiosmtpd.smtp import SMTP, Envelope, Session

import real_components

VERSION = f"aiosmtpd {aiosmtpd.__version__}"


class SmtpPeer:
    """Its answers are attributes that may be changed at any time, from any thread."""

    def __init__(self) -> None:
        self.port = 0
        self.answer_rcpt: Callable[[str], str] = lambda address: "250 OK"
        self.answer_data: Callable[[str], str] = lambda message_id: "250 OK"
        self.silent_after_data = False
        """Takes the mail and never answers."""
        self.completed: Counter[str] = Counter()
        """Message-ID -> how often its DATA came to the final dot and was accepted (or would be, if silent)."""
        self.refused: Counter[str] = Counter()
        self.messages: list[EmailMessage] = []
        self.connections = 0
        self._transports: set[Any] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="smtp peer", daemon=True)

    def __enter__(self) -> "SmtpPeer":
        real_components.note("smtp", VERSION)
        self._thread.start()
        self.up()
        return self

    def __exit__(self, *error: object) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Takes connections again, on the same port."""
        self._do(self._open())

    def down(self) -> None:
        """Refuses connections and drops those there are."""
        self._do(self._close())

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _open(self) -> None:
        self._server = await self._loop.create_server(self._protocol, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in list(self._transports):
            transport.abort()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _protocol(self) -> SMTP:
        peer = self

        class Protocol(SMTP):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                peer.connections += 1
                peer._transports.add(transport)
                super().connection_made(transport)

            def connection_lost(self, error: Exception | None) -> None:
                peer._transports.discard(self.transport)
                super().connection_lost(error)

        return Protocol(self, hostname="peer.example.com", loop=self._loop, enable_SMTPUTF8=False)

    # aiosmtpd calls these by name

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str,
                          options: list[str]) -> str:
        answer = self.answer_rcpt(address)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=default)
        ident = str(message["Message-ID"])
        answer = self.answer_data(ident)
        if not answer.startswith("250"):
            self.refused[ident] += 1
            return answer
        self.completed[ident] += 1
        self.messages.append(message)
        if self.silent_after_data:
            await asyncio.Event().wait()
        return answer

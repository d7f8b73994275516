"""E-mail by SMTP: the recipient is agreed on first, then the row is committed as `sending`, then DATA.

Whatever happens before DATA is known not to have been sent; an answer after it is final; no answer is `Unknown`.
Connections are kept and used again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import aiosmtplib

from percorso_services.delivery_worker.outcome import Later, LeaseLost, Outcome, Refused, Sent, Unknown
from percorso_shared.crash_points import reach

_NOT_FOR_THIS_MAIL = frozenset({421, 454, 530, 534, 535, 538})
"""Answers about us or the server (closing down, authentication), not about the mail."""
_PER_CONNECTION = 100


@dataclass(frozen=True, slots=True)
class Server:
    """Where mails are handed in."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"


def server_of(url: str) -> Server:
    """`smtp://user:pass@host:port` (STARTTLS where offered, port 25, with a user 587) or `smtps://` (port 465)."""
    parts = urlsplit(url)
    tls = parts.scheme == "smtps"
    return Server(parts.hostname or "localhost", parts.port or (465 if tls else 587 if parts.username else 25), tls,
                  unquote(parts.username) if parts.username else None,
                  unquote(parts.password) if parts.password else None)


class Smtp:
    """Hands mails in, on connections that are kept. Safe for several tasks at once, each on its own connection."""

    def __init__(self, server: Server, *, connect_seconds: float = 10.0, answer_seconds: float = 60.0) -> None:
        self.server = server
        self._connect_seconds, self._answer_seconds = connect_seconds, answer_seconds
        self._idle: list[tuple[aiosmtplib.SMTP, int]] = []

    async def hand_in(self, message: bytes, sender: str, recipient: str,
                      begin: Callable[[], Awaitable[bool]]) -> Outcome:
        """`begin` commits the row as `sending`; False = the lease is lost."""
        kept = bool(self._idle)
        outcome = await self._on_one_connection(message, sender, recipient, begin)
        while kept and isinstance(outcome, Later) and outcome.server_down and not outcome.began:
            kept = bool(self._idle)  # a server may close what was idle: that says nothing about the next connection
            outcome = await self._on_one_connection(message, sender, recipient, begin)
        return outcome

    async def _on_one_connection(self, message: bytes, sender: str, recipient: str,
                                 begin: Callable[[], Awaitable[bool]]) -> Outcome:
        try:
            client, used = await self._connection()
            await client.mail(sender, encoding="ascii")
        except aiosmtplib.SMTPResponseException as error:
            return self._answered(error, began=False, about_us=error.code in _NOT_FOR_THIS_MAIL)
        except (aiosmtplib.SMTPException, OSError) as error:
            return Later(f"{self.server.place}: {_why(error)}", began=False, server_down=True)
        try:
            await client.rcpt(recipient, encoding="ascii")
            if not await begin():
                await self._keep(client, used)
                return LeaseLost()
        except aiosmtplib.SMTPResponseException as error:
            await self._keep(client, used)
            return self._answered(error, began=False, about_us=error.code in _NOT_FOR_THIS_MAIL)
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            return Later(f"{self.server.place}: {_why(error)}", began=False, server_down=True)
        except BaseException:
            client.close()
            raise
        return await self._data(client, used, message)

    async def _data(self, client: aiosmtplib.SMTP, used: int, message: bytes) -> Outcome:
        reach("delivery.before_data")
        try:
            response = await client.data(message)
        except aiosmtplib.SMTPResponseException as error:
            await self._keep(client, used)
            return self._answered(error, began=True, about_us=False)
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            return Unknown(f"no answer after DATA ({_why(error)}): it may or may not have been sent")
        except BaseException:
            client.close()
            raise
        reach("delivery.after_data")
        self._idle.append((client, used + 1))
        return Sent(f"{response.code} {_line(response.message)}")

    async def _connection(self) -> tuple[aiosmtplib.SMTP, int]:
        while self._idle:
            client, used = self._idle.pop()
            if client.is_connected and used < _PER_CONNECTION:
                return client, used
            await _quit(client)
        client = aiosmtplib.SMTP(
            hostname=self.server.host, port=self.server.port, use_tls=self.server.tls, username=self.server.user,
            password=self.server.password, timeout=self._connect_seconds)
        await client.connect()
        client.timeout = self._answer_seconds
        return client, 0

    async def _keep(self, client: aiosmtplib.SMTP, used: int) -> None:
        try:
            await client.rset()
        except (aiosmtplib.SMTPException, OSError):
            client.close()
        else:
            self._idle.append((client, used + 1))

    def _answered(self, error: aiosmtplib.SMTPResponseException, *, began: bool, about_us: bool) -> Outcome:
        said = f"{error.code} {_line(error.message)}"
        if about_us:
            return Later(f"{self.server.place}: {said}", began=began, server_down=not began)
        if 400 <= error.code < 500:
            return Later(said, began=began)
        return Refused(f"the mail server refused it: {said}", said)

    async def close(self) -> None:
        """Says goodbye on every kept connection."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_quit(client) for client, _ in idle))


async def _quit(client: aiosmtplib.SMTP) -> None:
    with suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
        await asyncio.wait_for(client.quit(), 2)
    client.close()


def _line(text: str) -> str:
    return " ".join(text.split())[:500]


def _why(error: BaseException) -> str:
    return _line(str(error)) or type(error).__name__

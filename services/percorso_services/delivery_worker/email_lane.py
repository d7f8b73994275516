"""E-mails: claimed in batches, rendered, put into the mailbox or handed to the mail server."""

import asyncio
import random
from datetime import timedelta
from email.utils import parseaddr
from typing import Any

import structlog

from percorso_orchestrator.build_mail import AddressRefused, build_mail, message_id
from percorso_orchestrator.delivery_ledger import Claimed, begin, give_back, settle
from percorso_orchestrator.templates import RenderFailed, render
from percorso_services.delivery_worker.all_done import all_done
from percorso_services.delivery_worker.channels.email import Smtp
from percorso_services.delivery_worker.channels.mailbox import Letter, put_into_mailbox
from percorso_services.delivery_worker.claiming import Ready, claim_and_judge
from percorso_services.delivery_worker.metrics import Metrics
from percorso_services.delivery_worker.outcome import Later, LeaseLost, Outcome, Refused, Sent, Unknown
from percorso_services.delivery_worker.published import Published
from percorso_services.delivery_worker.retry import EMAIL, SERVER_DOWN, next_try
from percorso_shared.clock import Clock, to_datetime, to_ms
from percorso_shared.crash_points import reach

AT_ONCE = 4
"""Connections to the mail server."""
BATCH = 32
MAILBOX_BATCH = 200
SENDING_LEASE = timedelta(seconds=180)
"""Longer than the mail server may take to answer."""


class EmailLane:
    """`smtp` None: the built-in mailbox."""

    def __init__(self, pool: Any, workspace: int, clock: Clock, published: Published, metrics: Metrics,
                 smtp: Smtp | None, *, mail_from: str, public_url: str) -> None:
        self._pool, self._workspace, self._clock = pool, workspace, clock
        self._published, self._metrics, self._smtp = published, metrics, smtp
        self._mail_from, self._public_url = mail_from, public_url
        self._log = structlog.get_logger("percorso.delivery")
        self._down = 0
        """Tries in a row in which the mail server took no connection."""
        self._down_until = 0

    async def once(self) -> bool:
        """One batch. True: there may be more at once."""
        if self._clock.now_ms() < self._down_until:
            return False
        limit = 1 if self._down else BATCH if self._smtp else MAILBOX_BATCH
        claim = await claim_and_judge(self._pool, self._workspace, "email", self._clock, self._published, limit=limit)
        for stopped in claim.stopped:
            self._metrics.stopped.labels("email", stopped.gate).inc()
        letters = await self._write(claim.ready)
        if letters and self._smtp is None:
            await self._put(letters)
        elif letters:
            places = asyncio.Semaphore(AT_ONCE)
            await all_done([self._send(letter, places) for letter in letters])
        return len(claim.ready) + len(claim.stopped) >= limit

    async def _write(self, ready: tuple[Ready, ...]) -> list[Letter]:
        """Rendered mails; what cannot be rendered has failed, with its reason."""
        letters: list[Letter] = []
        for item in ready:
            try:
                letters.append(await self._letter(item))
            except (RenderFailed, AddressRefused) as error:
                await self._settle(item.row, Refused(str(error)))
        return letters

    async def _letter(self, item: Ready) -> Letter:
        row, now = item.row, to_datetime(self._clock.now_ms())
        if row.template is None:
            raise RenderFailed("the step names no template")
        template = await self._published.template(self._pool, row.journey, row.version, row.template)
        if template is None:
            raise RenderFailed(f"version {row.version} of the journey has no template {row.template!r}")
        given = row.payload.get("with") or {}
        variables = {**given, "with": given, "person": dict(item.person.traits), "run": row.payload.get("run") or {},
                     "event": row.payload.get("event") or {}, "account": dict(item.person.account_traits),
                     "public_url": self._public_url, "journey": row.journey, "step": row.step}
        variables["person"].setdefault("email", item.address)
        mail = render(template, item.person.language, variables)
        ident = message_id(row.send_id.hex(), self._mail_from)
        message = build_mail(mail, sender=self._mail_from, to=item.address, ident=ident, at=now)
        return Letter(row, item.address, ident, mail, message)

    async def _put(self, letters: list[Letter]) -> None:
        reach("delivery.before_settle")
        async with self._pool.acquire() as connection, connection.transaction():
            kept = await put_into_mailbox(connection, self._workspace, to_datetime(self._clock.now_ms()), letters)
        reach("delivery.settled")
        self._metrics.settled.labels("email", "sent").inc(len(kept))

    async def _send(self, letter: Letter, places: asyncio.Semaphore) -> None:
        async with places:
            row = letter.row
            if self._clock.now_ms() < self._down_until:
                await self._settle(row, Later("waiting for the mail server", began=True, server_down=True))
                return
            assert self._smtp is not None

            async def begun() -> bool:
                now = to_datetime(self._clock.now_ms())
                async with self._pool.acquire() as connection:
                    return await begin(connection, self._workspace, row, now, now + SENDING_LEASE,
                                       letter.address, letter.message_id)

            outcome = await self._smtp.hand_in(letter.message.as_bytes(), parseaddr(self._mail_from)[1],
                                               letter.address, begun)
            self._note_server(outcome)
            await self._settle(row, outcome)

    def _note_server(self, outcome: Outcome) -> None:
        if isinstance(outcome, Later) and outcome.server_down:
            if self._clock.now_ms() < self._down_until:
                return  # another connection has just found out
            self._down += 1
            now = self._clock.now_ms()
            self._down_until = next_try(SERVER_DOWN, self._down, now, now, random.random()) or now
            self._metrics.server_down.set(1)
            self._log.warning("the mail server cannot be reached; nothing is lost", error=outcome.response,
                              attempt=self._down, next_try_s=round((self._down_until - now) / 1000, 1))
        elif self._down and not isinstance(outcome, LeaseLost):
            self._log.info("the mail server is back", attempts=self._down)
            self._down = self._down_until = 0
            self._metrics.server_down.set(0)

    async def _settle(self, row: Claimed, outcome: Outcome) -> None:
        now_ms = self._clock.now_ms()
        now = to_datetime(now_ms)
        reach("delivery.before_settle")
        async with self._pool.acquire() as connection, connection.transaction():
            match outcome:
                case Sent(response):
                    await settle(connection, self._workspace, row, now, "sent", response=response)
                    state = "sent"
                case Refused(reason, response):
                    await settle(connection, self._workspace, row, now, "failed", reason=reason, response=response)
                    state = "failed"
                case Unknown(reason):
                    await settle(connection, self._workspace, row, now, "unknown", reason=reason)
                    state = "unknown"
                case Later():
                    state = await self._later(connection, row, outcome, now_ms)
                case LeaseLost():
                    return
        reach("delivery.settled")
        if state == "planned":
            self._metrics.later.labels("email").inc()
        else:
            self._metrics.settled.labels("email", state).inc()

    async def _later(self, connection: Any, row: Claimed, outcome: Later, now_ms: int) -> str:
        attempt = row.attempts + 1
        again = next_try(EMAIL, attempt, to_ms(row.due_at), now_ms, random.random())
        said = f"try {attempt}: {outcome.response}"
        if again is None:
            await settle(connection, self._workspace, row, to_datetime(now_ms), "failed",
                         reason=f"given up: {outcome.response}", response=said)
            return "failed"
        if outcome.server_down:
            again = max(self._down_until, now_ms)
        await give_back(connection, self._workspace, row, to_datetime(now_ms), to_datetime(again), said,
                        tried=not outcome.began)
        return "planned"

    async def close(self) -> None:
        if self._smtp is not None:
            await self._smtp.close()

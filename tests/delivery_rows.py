"""Puts in place what delivery reads, for tests of it: a person, a published journey, a run and rows of the ledger."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry

from identity_rows import IdentityRows
from percorso_orchestrator.delivery_ledger import Claimed, claim
from percorso_orchestrator.templates import Template, Version, to_json
from percorso_services.delivery_worker.channels.email import Smtp, server_of
from percorso_services.delivery_worker.channels.reachable_address import allowed_places
from percorso_services.delivery_worker.channels.webhook import WebhookSender
from percorso_services.delivery_worker.email_lane import EmailLane
from percorso_services.delivery_worker.metrics import Metrics
from percorso_services.delivery_worker.published import Published
from percorso_services.delivery_worker.webhook_lane import WebhookLane
from percorso_shared.clock import FrozenClock, to_datetime

NOON = 1_772_452_800_000
"""Monday 2026-03-02 12:00 UTC."""
POLICIES = """
policies:
  service: {}
  marketing: {consent: marketing, hold_while: [ticket_open], stale_after: 10d, quiet: {from: "21:00", to: "08:00"}}
holds:
  ticket_open:
    open: {event: ticket_opened, key: event.ticket_id}
    close: {event: ticket_closed, key: event.ticket_id}
    covers: [person, account]
    max: 14d
"""
WELCOME = Template("welcome", {
    "en": Version("Hello {{ person.name }}", "<p>Dear {{ person.name }}, {{ missing }} is missing</p>", None, "1"),
    "it": Version("Ciao {{ person.name }}", "<p>Caro {{ person.name }}</p>", "Caro {{ person.name }}\n", "1")})
BROKEN = Template("broken", {"en": Version("x", "{{ 1 | divided_by: 0 }}", None, "1")})


@dataclass
class Office:
    """One workspace with delivery's lanes on a frozen clock."""

    pool: "asyncpg.Pool"
    clock: FrozenClock = field(default_factory=lambda: FrozenClock(NOON))
    workspace: int = 1

    @property
    def now(self) -> datetime:
        return to_datetime(self.clock.now_ms())

    async def open(self) -> "Office":
        """Publishes a journey with two templates and the policies above."""
        await self.pool.execute(
            "INSERT INTO orchestrator.policy_file (workspace_id, version, text, published_at) VALUES (1, 1, $1, $2)",
            POLICIES, self.now)
        await self.pool.execute(
            "INSERT INTO orchestrator.journey (workspace_id, name, version, text, checksum, templates, published_at, "
            "revision) VALUES (1, 'hello', 1, '', '', $1, $2, 1)",
            to_json({"welcome": WELCOME, "broken": BROKEN}), self.now)
        return self

    async def person(self, name: str, /, *, consent: bool = True, account: str | None = None, **traits: Any) -> bytes:
        """`user_id:<name>` with the e-mail <name>@example.com. Answers the profile id."""
        async with self.pool.acquire() as connection:
            rows = IdentityRows(connection)
            await rows.link(f"user_id:{name}", f"email:{name}@example.com")
            profile = rows.atom(f"user_id:{name}")
            await connection.execute(
                "INSERT INTO profile.profile (workspace_id, profile_id, version, traits, consent, account) "
                "VALUES (1, $1, 1, $2, $3, $4)", profile, json.dumps({"name": name.title()} | traits),
                json.dumps({"marketing": True} if consent else {}), account)
        return profile

    async def run(self, person: bytes, number: int = 1, state: str = "active") -> bytes:
        run_id = person[:12] + number.to_bytes(4)
        await self.pool.execute(
            "INSERT INTO orchestrator.run (workspace_id, run_id, journey, version, person, atom, key, state, "
            "entered_at, body, created_at, updated_at) VALUES (1, $1, 'hello', 1, $2, $2, $3, $4, $5, '{}', $5, $5)",
            run_id, person, str(number), state, self.now)
        return run_id

    async def plan(self, person: bytes, number: int = 1, *, channel: str = "email", address: str = "",
                   template: str | None = "welcome", policy: str = "service", due_ms: int = 0,
                   run: bytes | None = None, payload: dict[str, Any] | None = None) -> bytes:
        """A planned row that is due `due_ms` from now, of a run of its own unless one is given. Answers the send id."""
        run_id = run or await self.run(person, number)
        send_id = run_id[:11] + b"\x01" + run_id[12:]
        due = self.now + timedelta(milliseconds=due_ms)
        await self.pool.execute(
            "INSERT INTO orchestrator.send (workspace_id, send_id, journey, version, run_id, step, visit, person, "
            "atom, channel, address, template, policy, payload, due_at, wanted_at, state, idempotency_key, created_at, "
            "updated_at) VALUES (1, $1, 'hello', 1, $2, 'greet', 1, $3, $3, $4, $5, $6, $7, $8, $9, $9, 'planned', "
            "$10, $11, $11)", send_id, run_id, person, channel, address, template, policy,
            json.dumps(payload or {"with": {}, "run": {"key": str(number), "entry": {}}, "event": None}), due,
            f"key-{send_id.hex()}", self.now)
        return send_id

    async def row(self, send_id: bytes) -> Any:
        return await self.pool.fetchrow(
            "SELECT * FROM orchestrator.send WHERE workspace_id = 1 AND send_id = $1", send_id)

    async def states(self) -> list[str]:
        rows = await self.pool.fetch("SELECT state FROM orchestrator.send WHERE workspace_id = 1 ORDER BY send_id")
        return [row["state"] for row in rows]

    async def mails(self) -> list[Any]:
        return list(await self.pool.fetch("SELECT * FROM orchestrator.mails WHERE workspace_id = 1 ORDER BY mail_id"))

    async def claim(self, channel: str = "email", *, seconds: float = 60, limit: int = 100,
                    **more: Any) -> list[Claimed]:
        async with self.pool.acquire() as connection, connection.transaction():
            return await claim(connection, 1, channel, self.now, self.now + timedelta(seconds=seconds), limit=limit,
                               **more)

    def emails(self, smtp_url: str = "", *, answer_seconds: float = 5.0) -> EmailLane:
        """A lane of its own; without an address, into the built-in mailbox."""
        smtp = Smtp(server_of(smtp_url), connect_seconds=2, answer_seconds=answer_seconds) if smtp_url else None
        return EmailLane(self.pool, 1, self.clock, Published(1), Metrics(CollectorRegistry()), smtp,
                         mail_from="Shop <shop@example.com>", public_url="http://127.0.0.1:8000")

    def webhooks(self, allow: str, *, seconds: float = 5.0) -> WebhookLane:
        return WebhookLane(self.pool, 1, self.clock, Published(1), Metrics(CollectorRegistry()),
                           WebhookSender(allowed_places(allow), seconds=seconds))

"""A console on a free port, over a database in which Thomas registered and Maria looked around."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import uvicorn
from prometheus_client import CollectorRegistry

from identity_rows import IdentityRows
from percorso_services.console.process import private_app
from percorso_services.profile_worker.worker import ProfileWorker
from percorso_shared.clock import SystemClock, to_datetime
from percorso_shared.control import WORKSPACE
from percorso_shared.control.first_visit import create_first_visit
from percorso_shared.process import Context
from percorso_shared.settings import Settings
from recording_tx import RecordingTx
from touchpoints import accepted, resolved, resolved_batch

MAIL = "22" * 16
RUN = "11" * 16
HTML = ("<html><head><title>x</title></head><body><h1>Ci sei quasi, Thomas</h1><script>parent.document.title='broken'"
        "</script><p><a href='http://127.0.0.1:1/demo/confirm?r=r_1'>Conferma</a></p></body></html>")


class ConsoleWorld:
    """`url`: address of the console. `link`: of the first visit. `context`: as the host makes it."""

    def __init__(self, pool: asyncpg.Pool, context: Context) -> None:
        self.pool, self.context = pool, context
        self.url = self.link = ""
        self._seq = 0

    async def does(self, identifiers: list[str], name: str, **fields: Any) -> dict[str, Any]:
        """A touchpoint, folded as the pipeline does it; identity is told that its identifiers are one person."""
        now = self.context.clock.now_ms()
        type_ = fields.pop("type", "track")
        touchpoint = accepted(name, type=type_, **{
            "timestamp": now, "received_at": now, "identifiers": [one.split(":", 1) for one in identifiers],
            "trust": "browser", **fields})
        async with self.pool.acquire() as connection, connection.transaction():
            rows = IdentityRows(connection)
            link = await rows.link(*identifiers) if identifiers else None
            self._seq += 1
            await ProfileWorker().handle(
                resolved_batch(resolved(touchpoint, link, rows.atom(identifiers[0]) if identifiers else None,
                                        seq=self._seq)), RecordingTx(connection, now))
        return touchpoint

    async def thomas_registers(self) -> None:
        """Visits, registers, is reminded; his run is over."""
        thomas = ["email:thomas@example.com", "anonymous_id:7d1f2a3c-0000-4000-8000-000000000001"]
        person = IdentityRows(None).atom(thomas[0])
        now = self.context.clock.now_ms()
        await self.does(thomas, "page_view", type="page", timestamp=now - 90_000, source="website",
                        properties={"path": "/demo/", "title": "Bottega Aurora"})
        await self.does(thomas, "identified", type="identify", timestamp=now - 80_000, source="website", traits={
            "email": "thomas@example.com", "name": "Thom", "consent": {"marketing": True}})
        await self.does(thomas, "identified", type="identify", timestamp=now - 70_000, source="backend", traits={
            "name": "Thomas Keller", "tz": "Europe/Zurich"})
        entry = await self.does(thomas, "form_submitted", timestamp=now - 60_000, source="website",
                                properties={"form": "registration", "registration_id": "r_1"})
        at = to_datetime(now - 60_000)
        async with self.pool.acquire() as connection:
            await connection.execute(
                "INSERT INTO orchestrator.run (workspace_id, run_id, journey, version, person, atom, key, state, "
                "ended_reason, entered_at, ended_at, entry_event, body, created_at, updated_at) VALUES "
                "($1, $2, 'demo-registration', 1, $3, $3, 'r_1', 'ended', 'finished', $4, $5, $6, '{}', $4, $5)",
                WORKSPACE, bytes.fromhex(RUN), person, at, at + timedelta(seconds=60),
                bytes.fromhex(entry["event_id"]))
            gates = [{"gate": "run active", "says": "passes"}, {"gate": "consent", "says": "passes"},
                     {"gate": "quiet hours", "says": "not configured"}]
            stopped = [{"gate": "run active", "says": "passes"},
                       {"gate": "consent", "says": "stops", "why": "withdrawn"}]
            for seconds, step, kind, reason, detail in (
                    (0, None, "entered", None, {"key": "r_1"}),
                    (0, "grace", "waiting", None, {"until": now - 40_000}),
                    (20, "remind", "planned", None, {"gates": gates, "send": "aa" * 16}),
                    (21, "remind", "sent", None, {}),
                    (60, "benefits", "skipped", "consent", {"gates": stopped}),
                    (60, None, "finished", None, {})):
                await connection.execute(
                    "INSERT INTO orchestrator.decision (workspace_id, journey, version, run_id, person, at, step, "
                    "kind, reason, detail, event_id, recorded_at) "
                    "VALUES ($1, 'demo-registration', 1, $2, $3, $4, $5, $6, $7, $8, $9, $4)",
                    WORKSPACE, bytes.fromhex(RUN), person, at + timedelta(seconds=seconds), step, kind, reason,
                    msgspec.json.encode(detail).decode(),
                    bytes.fromhex(entry["event_id"]) if kind == "entered" else None)
            await connection.execute(
                'INSERT INTO orchestrator.mail (workspace_id, mail_id, "to", subject, text, html, headers, at) '
                "VALUES ($1, $2, 'thomas@example.com', 'Manca solo la tua conferma', $3, $4, $5, $6)",
                WORKSPACE, bytes.fromhex(MAIL), "Conferma: http://127.0.0.1:1/demo/confirm?r=r_1#e=x", HTML,
                '{"From": "Percorso <percorso@localhost>", "Message-ID": "<1@percorso>"}', at + timedelta(seconds=21))

    async def maria_looks_around(self) -> None:
        maria = ["anonymous_id:7d1f2a3c-0000-4000-8000-000000000002"]
        for path in ("/demo/", "/demo/product/miele"):
            await self.does(maria, "page_view", type="page", source="website", properties={"path": path})
        await self.does(maria, "Product Added", source="website", properties={"product_id": "miele", "price": 9.8})

    async def new_link(self) -> str:
        async with self.pool.acquire() as connection:
            token = await create_first_visit(connection, WORKSPACE, self.context.clock.now_ms())
        return f"{self.url}/first-visit?token={token}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.up.set()


@asynccontextmanager
async def console_world(pool: asyncpg.Pool, **settings: Any) -> AsyncIterator[ConsoleWorld]:
    """The server drains at the end as the host's does: first no new requests, then `stop`."""
    context = Context(settings=Settings(**settings), pool=pool, bus=None,  # type: ignore[arg-type]  # it has no use for it
                      clock=SystemClock(), stop=asyncio.Event(), metrics=CollectorRegistry())
    async with pool.acquire() as connection:
        for name, kind in (("website", "browser"), ("backend", "server")):
            await connection.execute("INSERT INTO ingest.source (workspace_id, name, kind, write_key) "
                                     "VALUES ($1, $2, $3, $4)", WORKSPACE, name, kind, f"key-of-{name}")
    server = _Server(uvicorn.Config(private_app(context), host="127.0.0.1", port=0, log_config=None, lifespan="off",
                                    ws="none", timeout_graceful_shutdown=8))
    task = asyncio.create_task(server.serve())
    await server.up.wait()
    world = ConsoleWorld(pool, context)
    world.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    world.link = await world.new_link()
    try:
        yield world
    finally:
        server.should_exit = True
        context.stop.set()
        await task

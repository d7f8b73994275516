"""A workspace with published journeys, people and their touchpoints, driven through the handler and the tick of
orchestrator_worker; the ledger is settled by hand. The clock moves only when told."""

from collections.abc import Mapping
from typing import Any

import asyncpg
import msgspec

from identity_rows import IdentityRows
from percorso_orchestrator.publish import Ready, publish
from percorso_orchestrator.read_journey import read_journey
from percorso_orchestrator.read_policies import NO_POLICIES, read_policies
from percorso_profile.partitions import ensure_months, months_ahead
from percorso_services.orchestrator_worker.worker import OrchestratorWorker
from percorso_shared.bus.port import Batch, Record
from percorso_shared.clock import to_datetime
from percorso_shared.ids import atom_id, event_id
from percorso_shared.names import canonical_name
from percorso_shared.topics import FOLDED
from recording_tx import RecordingTx

MONDAY = 1_772_409_600_000
"""2026-03-02 00:00 UTC, d0 of journey tests."""
HOUR = 3_600_000
DAY = 24 * HOUR


def at(day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    return MONDAY + day * DAY + hour * HOUR + minute * 60_000 + second * 1000


def _batch(records: list[dict[str, Any]]) -> Batch:
    return Batch(FOLDED, 0, [Record(index, msgspec.json.encode(record)) for index, record in enumerate(records)])


class FixedBus:
    """The only thing of a bus that the worker asks for: the stream clock."""

    def __init__(self) -> None:
        self.clock: int | None = None

    async def stream_clock_ms(self, stage: str) -> int | None:
        return self.clock


class JourneyWorld:
    """`now` is both clocks unless `stream` is set apart."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.bus = FixedBus()
        self.worker = OrchestratorWorker(self.bus)  # type: ignore[arg-type]
        self.now = MONDAY
        self.links: dict[str, bytes] = {}
        self._numbers = 0

    async def publish(self, journey: str, policies: str = "", when: int | None = None) -> None:
        found = read_policies(policies) if policies else NO_POLICIES
        async with self.pool.acquire() as connection:
            await publish(connection, 1, found, [Ready(read_journey(journey), "{}")],
                          MONDAY - DAY if when is None else when)

    async def person(self, name: str, *, consent: Mapping[str, bool] | None = None, account: str | None = None,
                     **traits: Any) -> bytes:
        """Somebody with a user id and an e-mail address; the profile id."""
        traits = {"email": f"{name}@example.com"} | traits
        async with self.pool.acquire() as connection:
            rows = IdentityRows(connection)
            self.links[name] = await rows.link(f"user_id:{name}")
            profile = rows.atom(f"user_id:{name}")
            await connection.execute(
                "INSERT INTO profile.profile (workspace_id, profile_id, version, traits, consent, account) "
                "VALUES (1, $1, 1, $2, $3, $4) ON CONFLICT (workspace_id, profile_id) DO UPDATE SET traits = $2, "
                "consent = $3, account = $4", profile, msgspec.json.encode(traits).decode(),
                msgspec.json.encode(consent or {}).decode(), account)
        return profile

    async def merge(self, name: str, into: str) -> None:
        """Two profiles become one (or `name` becomes itself again)."""
        async with self.pool.acquire() as connection:
            moves = await IdentityRows(connection).point([f"user_id:{name}"], f"user_id:{into}")
        await self._handle(_batch([{"schema": 1, "workspace": 1, "kind": "moved", "moves": moves}]))

    def touchpoint(self, who: str, name: str, time: int, received: int | None = None, message: str | None = None,
                   flags: list[str] | None = None, **properties: Any) -> dict[str, Any]:
        self._numbers += 1
        message = message or f"m{self._numbers:06d}"
        return {"schema": 1, "workspace": 1, "source": "site", "trust": "server",
                "event_id": event_id(1, "site", message).hex(), "message_id": message, "type": "track", "name": name,
                "timestamp": time, "received_at": received or time, "properties": properties, "context": {},
                "flags": flags or [], "who": who}

    async def remember(self, *touchpoints: dict[str, Any]) -> None:
        """Into the history, as the profile worker does before the record goes on."""
        async with self.pool.acquire() as connection:
            for touchpoint in touchpoints:
                await ensure_months(connection, months_ahead(touchpoint["timestamp"]))
                await connection.execute(
                    "INSERT INTO profile.event (workspace_id, link_id, event_time, event_id, received_at, folded_at, "
                    "source, type, name, canonical_name, touchpoint) "
                    "VALUES (1, $1, $2, $3, $4, $4, 'site', 'track', $5, $6, $7) ON CONFLICT DO NOTHING",
                    self.links[touchpoint["who"]], to_datetime(touchpoint["timestamp"]),
                    bytes.fromhex(touchpoint["event_id"]), to_datetime(touchpoint["received_at"]), touchpoint["name"],
                    canonical_name(touchpoint["name"]), msgspec.json.encode(touchpoint).decode())

    async def arrive(self, *touchpoints: dict[str, Any]) -> None:
        """One batch, received at the newest `received_at`."""
        await self.remember(*touchpoints)
        self.now = max(self.now, *(touchpoint["received_at"] for touchpoint in touchpoints))
        await self._handle(self.batch(*touchpoints))

    def batch(self, *touchpoints: dict[str, Any]) -> Batch:
        """As it comes from the profile worker."""
        records: list[dict[str, Any]] = []
        for touchpoint in touchpoints:
            home = atom_id(1, "user_id", touchpoint["who"]).hex()
            records.append({"schema": 1, "workspace": 1, "kind": "touchpoint", "home": home, "profile": home,
                            "touchpoint": touchpoint})
        return _batch(records)

    async def happens(self, who: str, name: str, time: int, received: int | None = None, **properties: Any) -> None:
        await self.arrive(self.touchpoint(who, name, time, received, **properties))

    async def _handle(self, batch: Batch) -> None:
        async with self.pool.acquire() as connection:
            async with connection.transaction():
                tx = RecordingTx(connection, self.now)
                await self.worker.handle(batch, tx)
            tx.run_after_commit()

    async def tick(self, now: int | None = None, stream: int | None = None) -> bool:
        """One unit of work without a record."""
        self.now = max(self.now, now or 0)
        self.bus.clock = self.now if stream is None else stream
        async with self.pool.acquire() as connection:
            async with connection.transaction():
                tx = RecordingTx(connection, self.now)
                more = await self.worker.due.tick(tx)
            tx.run_after_commit()
        return more

    async def settle(self, state: str = "sent", *, sent_at: int | None = None, attempts: int = 1,
                     reason: str | None = None) -> list[tuple[str, int]]:
        """Delivers everything planned, as delivery_worker would: (step, due_at)."""
        rows = await self.pool.fetch(
            "UPDATE orchestrator.send SET state = $1, sent_at = $2, updated_at = $2, attempts = $3, reason = $4, "
            "epoch = epoch + 1 WHERE workspace_id = 1 AND state = 'planned' RETURNING step, due_at", state,
            to_datetime(sent_at or self.now), attempts, reason)
        return [(row["step"], int(row["due_at"].timestamp() * 1000)) for row in rows]

    async def run_to(self, instant: int, lateness: int = 30_000) -> None:
        """Lets the clock go to `instant`, stopping wherever something is due; everything planned is sent at once."""
        while True:
            await self.quiesce()
            wake = await self.pool.fetchval(
                "SELECT min(w) FROM (SELECT min(wake_at) AS w FROM orchestrator.timer UNION ALL "
                "SELECT min(not_before) FROM orchestrator.send WHERE state = 'held') AS q WHERE w < '9000-01-01'")
            due = None if wake is None else round(wake.timestamp() * 1000)
            if due is None or due > instant:
                break
            await self.tick(max(due, self.now))
        self.now = max(self.now, instant)

    async def quiesce(self) -> None:
        """Settles and ticks at the present instant until nothing more happens."""
        await self.tick()
        while await self.settle():
            await self.tick()

    async def runs(self) -> list[dict[str, Any]]:
        rows = await self.pool.fetch("SELECT * FROM orchestrator.runs ORDER BY entered_at, run_id")
        return [dict(row) for row in rows]

    async def sends(self) -> list[tuple[str, str, int]]:
        """(step, state, due_at) in the order of acting."""
        rows = await self.pool.fetch("SELECT step, state, due_at FROM orchestrator.sends ORDER BY due_at, created_at")
        return [(row["step"], row["state"], round(row["due_at"].timestamp() * 1000)) for row in rows]

    async def trace(self) -> list[tuple[str, str | None, str | None]]:
        """(kind, step, reason), in the order of writing."""
        rows = await self.pool.fetch("SELECT kind, step, reason FROM orchestrator.decisions ORDER BY decision_id")
        return [(row["kind"], row["step"], row["reason"]) for row in rows]

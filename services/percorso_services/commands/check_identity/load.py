"""Brings a case into empty workspaces: through the handlers of both workers, shuffled, in batches, with repeats."""

import random
from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec

from percorso_identity.facts import add_fact
from percorso_identity.policy import encode_policy
from percorso_services.commands.check_identity.cases import Case, CaseFact, Event
from percorso_services.identity_worker.worker import IdentityWorker, changed_record
from percorso_services.profile_worker.worker import ProfileWorker
from percorso_shared import ids
from percorso_shared.bus.port import Batch, Record
from percorso_shared.topics import ACCEPTED, ENCODER, IDENTITY_CHANGED, RESOLVED, SCHEMA, Accepted

SOURCE = "cases"


class _Collected:
    """A unit of work whose outputs the next worker reads."""

    def __init__(self, connection: Any, now_ms: int) -> None:
        self._connection, self._now_ms = connection, now_ms
        self.published: list[tuple[str, bytes]] = []
        self.callbacks: list[Callable[[], None]] = []

    @property
    def connection(self) -> Any:
        return self._connection

    @property
    def now_ms(self) -> int:
        return self._now_ms

    def publish(self, topic: str, value: bytes, *, origin: tuple[int, int], partition: int | None = None,
                key: bytes | None = None) -> None:
        head = b'{"stage":"check","origin":[%d,%d],"seq":%d,' % (*origin, len(self.published))
        self.published.append((topic, head + value[1:]))

    def after_commit(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)


class Engine:
    """Both workers of one process. A workspace number is used once."""

    def __init__(self, pool: "asyncpg.Pool", now_ms: int) -> None:
        self._pool, self._now_ms = pool, now_ms
        self._identity, self._profile = IdentityWorker(), ProfileWorker()

    async def load(self, case: Case, base: int, seed: str) -> None:
        """Tenant n becomes workspace base + n."""
        chance = random.Random(seed)
        said: list[Event | CaseFact] = [*case.events, *case.facts]
        await self._set_policy(case, {base + one.tenant for one in said})
        said += chance.sample(said, chance.randint(0, len(said)))
        chance.shuffle(said)
        while said:
            size = chance.choice((1, 1, 2, 3, 5, len(said)))
            taken, said = said[:size], said[size:]
            events = [one for one in taken if isinstance(one, Event)]
            if events:
                await self._take_events(events, base, chance)
            for one in taken:
                if isinstance(one, CaseFact):
                    await self._take_fact(one, base)
        while await self._tick():
            pass

    async def _set_policy(self, case: Case, workspaces: set[int]) -> None:
        async with self._pool.acquire() as connection:
            for workspace in sorted(workspaces):
                await connection.execute(
                    "INSERT INTO identity.policy (workspace_id, version, body, author) VALUES ($1, 1, $2, 'check')",
                    workspace, encode_policy(case.rules()))

    async def _take_events(self, events: list[Event], base: int, chance: random.Random) -> None:
        records = [Record(position, accepted(event, base + event.tenant, self._now_ms))
                   for position, event in enumerate(events)]
        async with self._pool.acquire() as connection:
            async with connection.transaction():
                tx = _Collected(connection, self._now_ms)
                await self._identity.handle(Batch(ACCEPTED, 0, records), tx)
                if chance.random() < 0.5:  # chained stages: one unit of work
                    await self._fold(tx)
            await self._finish(connection, tx)

    async def _finish(self, connection: Any, tx: _Collected) -> None:
        for callback in tx.callbacks:
            callback()
        tx.callbacks.clear()
        if tx.published:
            async with connection.transaction():
                after = _Collected(connection, self._now_ms)
                after.published = tx.published
                await self._fold(after)
            for callback in after.callbacks:
                callback()

    async def _fold(self, tx: _Collected) -> None:
        published, tx.published = tx.published, []
        for topic in (RESOLVED, IDENTITY_CHANGED):
            records = [Record(position, value) for position, (name, value) in enumerate(published) if name == topic]
            if records:
                await self._profile.handle(Batch(topic, 0, records), tx)
        tx.published = []

    async def _take_fact(self, fact: CaseFact, base: int) -> None:
        workspace = base + fact.tenant
        named = [identifier(one) for one in fact.named()]
        id_ = ids.event_id(workspace, "fact", repr(fact))
        async with self._pool.acquire() as connection:
            async with connection.transaction():
                tx = _Collected(connection, self._now_ms)
                changes = await add_fact(connection, workspace, id_, fact.op, *named, author="check", reason="case",
                                         now_ms=self._now_ms)
                if changes.moves or changes.recuts:
                    tx.publish(IDENTITY_CHANGED, changed_record(workspace, changes, "fact"), origin=(-1, -1))
            await self._finish(connection, tx)

    async def _tick(self) -> bool:
        async with self._pool.acquire() as connection:
            async with connection.transaction():
                tx = _Collected(connection, self._now_ms)
                more = await self._identity.tick(tx)
            await self._finish(connection, tx)
        return more


def identifier(text: str) -> tuple[str, str]:
    """`type:value`, split at the first colon."""
    type_, _, value = text.partition(":")
    return type_, value


def accepted(event: Event, workspace: int, now_ms: int) -> bytes:
    """The record that ingest would write."""
    says = bool(event.set or event.set_once or event.add)
    return ENCODER.encode(Accepted(
        schema=SCHEMA, workspace=workspace, source=SOURCE, trust="server",
        event_id=ids.event_id(workspace, SOURCE, event.id).hex(), message_id=event.id,
        type="identify" if says else "track", name="identified" if says else "seen", timestamp=event.t,
        received_at=now_ms, identifiers=event.identifiers(), traits=_raw(event.set), set_once=_raw(event.set_once),
        add=_raw(event.add), logged_out=event.logout))


def _raw(value: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))

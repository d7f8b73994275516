"""Accepted touchpoints get their person: duplicates dropped, identifiers joined, what moved told to others."""

from collections import Counter
from typing import Any

import msgspec

from percorso_identity import postgres, slices_postgres
from percorso_identity.batch import DAY_MS, Place, Touch, place_batch
from percorso_identity.identify import Identifying
from percorso_identity.memory import Memory
from percorso_identity.partitions import ensure_days
from percorso_identity.settle import Changes, recut
from percorso_shared import topics
from percorso_shared.accounting import account
from percorso_shared.bus.port import Batch, PoisonRecord, Stage, Stop, Tx
from percorso_shared.topics import ACCEPTED, HEADER_DECODER, IDENTITY_CHANGED, RESOLVED, SCHEMA

STAGE = "identity_worker"
RECUTS_PER_TICK = 200

_RESOLVED = b'{"schema":%d,"workspace":%d,"event_id":"%b",%b,"touchpoint":%b}'
_BELONGS = b'"link":%b,"home":%b,"slice":%b,"profile":%b'


class _Claim(msgspec.Struct, frozen=True, gc=False):
    """What identity reads of an `Accepted`; the rest of its bytes goes through unread."""

    schema: int
    workspace: int
    source: str
    trust: topics.Trust
    event_id: str
    timestamp: int
    received_at: int
    identifiers: list[tuple[str, str]] = []
    logged_out: bool = False
    flags: list[str] = []


_DECODE = msgspec.json.Decoder(_Claim).decode


class IdentityWorker:
    """The handler of the stage. What it remembers only saves questions."""

    def __init__(self) -> None:
        self._identify = Identifying()
        self._memory = Memory()
        self._days: set[int] = set()

    def stage(self) -> Stage:
        return Stage(STAGE, (ACCEPTED,), self.handle, self.tick)

    async def handle(self, batch: Batch, tx: Tx) -> None:
        claims = [_decode(position, value) for position, value in batch.records]
        await self._make_days(tx, claims)
        places: list[Place | None] = [None] * len(claims)
        workspaces: dict[int, list[int]] = {}
        for index, claim in enumerate(claims):
            workspaces.setdefault(claim.workspace, []).append(index)
        last = (batch.partition, batch.records[-1].position)
        for workspace, indices in sorted(workspaces.items()):
            found = await self._place(tx, workspace, batch, claims, indices, last)
            for index, place in zip(indices, found, strict=True):
                places[index] = place
        written: dict[Place, bytes] = {}
        partition, publish = batch.partition, tx.publish
        for (position, value), claim, place in zip(batch.records, claims, places, strict=True):
            if place is None:
                continue
            belongs = written.get(place)
            if belongs is None:
                belongs = written[place] = _BELONGS % (
                    _id(place.link), _id(place.home), _id(place.slice), _id(place.profile))
            publish(RESOLVED, _RESOLVED % (SCHEMA, claim.workspace, claim.event_id.encode(), belongs, value),
                    origin=(partition, position))

    async def tick(self, tx: Tx) -> bool:
        """Cuts slices again that a login of a transaction beside theirs may have missed."""
        more = False
        for workspace in await slices_postgres.workspaces_with_recuts(tx.connection):
            policy, _ = await postgres.begin(tx.connection, workspace)
            atoms = await slices_postgres.due_recuts(tx.connection, workspace, RECUTS_PER_TICK)
            if atoms:
                await postgres.lock(tx.connection, workspace)
                _publish_changes(tx, workspace, await recut(tx.connection, workspace, policy, atoms), (-1, -1))
                more = more or len(atoms) == RECUTS_PER_TICK
        return more

    async def _place(self, tx: Tx, workspace: int, batch: Batch, claims: list[_Claim], indices: list[int],
                     origin: tuple[int, int]) -> list[Place | None]:
        policy, epoch = await postgres.begin(tx.connection, workspace)
        identify = self._identify
        touches = []
        for index in indices:
            claim = claims[index]
            try:
                event = bytes.fromhex(claim.event_id)
            except ValueError as error:
                raise PoisonRecord(batch.records[index].position, "record_unreadable", str(error)) from error
            touches.append(Touch(
                event, claim.source, claim.trust == "browser", claim.timestamp, claim.received_at,
                "imported" in claim.flags, claim.logged_out, identify(workspace, claim.identifiers, policy)))
        placed = await place_batch(tx.connection, workspace, touches, self._memory, policy, epoch, tx.now_ms)
        tx.after_commit(lambda: self._memory.learn(workspace, epoch, placed.learnt))
        _publish_changes(tx, workspace, placed.changes, origin)
        counts: Counter[tuple[str, str]] = Counter()
        for touch, place in zip(touches, placed.places, strict=True):
            counts[touch.source, "accepted"] += 1
            counts[touch.source, "duplicate" if place is None else "resolved"] += 1
        await account(tx.connection, workspace, STAGE, counts, tx.now_ms)
        return placed.places

    async def _make_days(self, tx: Tx, claims: list[_Claim]) -> None:
        days = {claim.received_at // DAY_MS for claim in claims if "imported" not in claim.flags}
        missing = days - self._days
        if missing:
            await ensure_days(tx.connection, missing)
            tx.after_commit(lambda: self._days.update(missing))


def _decode(position: int, value: bytes) -> _Claim:
    """Raises PoisonRecord for what is no accepted touchpoint, Stop for one of a version to come."""
    try:
        claim = _DECODE(value)
    except msgspec.MsgspecError as error:
        _check_version(value)
        raise PoisonRecord(position, "record_unreadable", str(error)) from error
    if claim.schema > SCHEMA:
        _check_version(value)
    if claim.schema < SCHEMA - 1:
        raise PoisonRecord(position, "record_too_old", f"version {claim.schema}")
    return claim


def _check_version(value: bytes) -> None:
    try:
        version = HEADER_DECODER.decode(value).schema
    except msgspec.MsgspecError:
        return
    if version > SCHEMA:
        raise Stop(f"{ACCEPTED} holds records of version {version}, this process knows {SCHEMA}: update it")


def _id(value: bytes | None) -> bytes:
    return b"null" if value is None else b'"%b"' % value.hex().encode()


def _publish_changes(tx: Tx, workspace: int, changes: Changes, origin: tuple[int, int]) -> None:
    if changes.moves or changes.recuts:
        tx.publish(IDENTITY_CHANGED, changed_record(workspace, changes, "touchpoint"), origin=origin)


def changed_record(workspace: int, changes: Changes, cause: str) -> bytes:
    """The record of `identity.changed` for these changes."""
    body: dict[str, Any] = {
        "schema": SCHEMA, "workspace": workspace, "cause": cause,
        "moves": [[move.atom.hex(), (move.before or b"").hex(), (move.after or b"").hex()] for move in changes.moves],
        "recuts": [[cut.atom.hex(), *cut.interval] for cut in changes.recuts]}
    return msgspec.json.encode(body)

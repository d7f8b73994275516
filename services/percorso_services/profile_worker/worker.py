"""Touchpoints whose person is known become part of the profile; people that merged or split are folded again."""

from collections.abc import Sequence
from typing import Any

import msgspec

from percorso_profile.apply import Outcome, Undigestible, apply_changes, apply_resolved
from percorso_profile.partitions import Month
from percorso_shared.accounting import account
from percorso_shared.bus.port import Batch, PoisonRecord, Stage, Stop, Tx
from percorso_shared.topics import (
    FOLDED,
    HEADER_DECODER,
    IDENTITY_CHANGED,
    IDENTITY_CHANGED_DECODER,
    RESOLVED,
    RESOLVED_DECODER,
    SCHEMA,
    IdentityChanged,
    Resolved,
)

STAGE = "profile_worker"

_ENCODER = msgspec.json.Encoder()
_FOLDED = (b'{"schema":%d,"workspace":%d,"kind":"touchpoint","link":%b,"home":%b,"profile":%b,"version":%d,%b'
           b'"touchpoint":%b}')
_MOVED = b'{"schema":%d,"workspace":%d,"kind":"moved","moves":%b}'


class ProfileWorker:
    """The handler of the stage. Remembers only which months have a partition."""

    def __init__(self) -> None:
        self._months: set[Month] = set()

    def stage(self) -> Stage:
        return Stage(STAGE, (RESOLVED, IDENTITY_CHANGED), self.handle)

    async def handle(self, batch: Batch, tx: Tx) -> None:
        if batch.topic == RESOLVED:
            await self._fold(batch, tx)
        else:
            await _fold_again(batch, tx)

    async def _fold(self, batch: Batch, tx: Tx) -> None:
        records: list[Resolved] = _decode(batch, RESOLVED_DECODER)
        outcomes: list[Outcome | None] = [None] * len(records)
        for workspace, indices in _by_workspace(records):
            try:
                applied = await apply_resolved(
                    tx.connection, workspace, [records[index] for index in indices], tx.now_ms, self._months)
            except Undigestible as error:
                position = batch.records[indices[error.index]].position
                raise PoisonRecord(position, "touchpoint_unreadable", error.detail) from error
            tx.after_commit(lambda months=applied.months: self._months.update(months))  # type: ignore[misc]
            counts: dict[tuple[str, str], int] = {}
            for index, done in zip(indices, applied.outcomes, strict=True):
                outcomes[index] = done
                key = (done.source, "resolved")
                counts[key] = counts.get(key, 0) + 1
            await account(tx.connection, workspace, STAGE, counts, tx.now_ms)
        publish = tx.publish
        for record, outcome in zip(records, outcomes, strict=True):
            if outcome is not None:
                publish(FOLDED, _folded(record, outcome), origin=record.origin)


async def _fold_again(batch: Batch, tx: Tx) -> None:
    records: list[IdentityChanged] = _decode(batch, IDENTITY_CHANGED_DECODER)
    for workspace, indices in _by_workspace(records):
        await apply_changes(tx.connection, workspace, [records[index] for index in indices])
    for record in records:
        if record.moves:
            tx.publish(FOLDED, _MOVED % (SCHEMA, record.workspace, _ENCODER.encode(record.moves)), origin=record.origin)


def _folded(record: Resolved, outcome: Outcome) -> bytes:
    """`home` is the atom through which the touchpoint is its person's: of a shared device the slice's owner."""
    changed = b'"changed":%b,' % _ENCODER.encode(outcome.changed) if outcome.changed else b""
    return _FOLDED % (SCHEMA, record.workspace, _text(record.link), _id(outcome.owner), _id(outcome.profile),
                      outcome.version, changed, bytes(record.touchpoint))


def _text(value: str | None) -> bytes:
    return b"null" if value is None else b'"%b"' % value.encode()


def _id(value: bytes | None) -> bytes:
    return b"null" if value is None else b'"%b"' % value.hex().encode()


def _decode(batch: Batch, decoder: Any) -> Any:
    """Raises PoisonRecord for what is no such record, Stop for one of a version to come."""
    decode = decoder.decode
    records = []
    for position, value in batch.records:
        try:
            record = decode(value)
        except msgspec.MsgspecError as error:
            _check_version(batch.topic, value)
            raise PoisonRecord(position, "record_unreadable", str(error)) from error
        if record.schema > SCHEMA:
            _check_version(batch.topic, value)
        if record.schema < SCHEMA - 1:
            raise PoisonRecord(position, "record_too_old", f"version {record.schema}")
        records.append(record)
    return records


def _check_version(topic: str, value: bytes) -> None:
    """Raises Stop for a record of a version to come."""
    try:
        version = HEADER_DECODER.decode(value).schema
    except msgspec.MsgspecError:
        return
    if version > SCHEMA:
        raise Stop(f"{topic} holds records of version {version}, this process knows {SCHEMA}: update it")


def _by_workspace(records: Sequence[Resolved | IdentityChanged]) -> list[tuple[int, list[int]]]:
    """(workspace, indices of its records)."""
    found: dict[int, list[int]] = {}
    for index, record in enumerate(records):
        found.setdefault(record.workspace, []).append(index)
    return sorted(found.items())

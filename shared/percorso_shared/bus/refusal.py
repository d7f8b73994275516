"""The record that tells the quarantine of something that a worker could not digest."""

from base64 import b64encode
from hashlib import blake2b

import msgspec

from percorso_shared import topics
from percorso_shared.accounting import UNKNOWN_SOURCE
from percorso_shared.bus.codec import header_of
from percorso_shared.bus.port import Record


class _Touchpoint(msgspec.Struct):
    workspace: int = 1
    source: str | None = None
    received_at: int | None = None


class _Derived(_Touchpoint):
    touchpoint: _Touchpoint | None = None


_DECODER = msgspec.json.Decoder(_Derived)


class Refusal(msgspec.Struct):
    """What is known of a record that is set aside."""

    workspace: int
    source: str
    origin: tuple[int, int]
    value: bytes
    """A `topics.Refused` without stage, origin and seq."""


def refuse(stage: str, topic: str, partition: int, record: Record, reason: str, detail: str, now_ms: int) -> Refusal:
    """The same record set aside twice has the same id."""
    try:
        told: _Touchpoint = _DECODER.decode(record.value)
        inner = told.touchpoint if isinstance(told, _Derived) and told.touchpoint is not None else told
    except msgspec.DecodeError:
        told = inner = _Touchpoint()
    header = header_of(record.value)
    origin = header[1] if header is not None else (partition, record.position)
    place = f"{stage}\x1f{topic}\x1f{partition}\x1f{record.position}".encode()
    value = topics.ENCODER.encode({
        "schema": topics.SCHEMA,
        "id": blake2b(place, digest_size=16, person=b"refused").hexdigest(),
        "workspace": told.workspace,
        "source": inner.source,
        "at_stage": stage,
        "reason": reason,
        "detail": detail[:500],
        "received_at": inner.received_at if inner.received_at is not None else now_ms,
        "body_base64": b64encode(record.value).decode(),
    })
    return Refusal(told.workspace, inner.source or UNKNOWN_SOURCE, origin, value)


class _Received(msgspec.Struct):
    received_at: int


_RECEIVED = msgspec.json.Decoder(_Received)


def received_at(value: bytes) -> int | None:
    """Of an accepted touchpoint; None if it cannot be read."""
    try:
        return _RECEIVED.decode(value).received_at
    except msgspec.DecodeError:
        return None

"""From a request to an answer: read, believe, make durable, and only then say yes."""

from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from uuid_utils import uuid7

from percorso_ingest.answers import JSON, error_body
from percorso_ingest.believe import Verdict, believe
from percorso_ingest.claim import Parcel
from percorso_ingest.digestible import clean
from percorso_ingest.inflate import inflate
from percorso_ingest.protocols.port import Protocol, Request
from percorso_ingest.refusal import NotBelieved, Refusal
from percorso_ingest.source import Source
from percorso_ingest.sources import Sources
from percorso_ingest.write_key import key_of_body
from percorso_services.ingest_api.counters import STAGE, Counters
from percorso_services.ingest_api.read_body import Share
from percorso_shared.bus.port import Bus, BusUnavailable
from percorso_shared.bus.receipts import encode_receipt
from percorso_shared.clock import Clock
from percorso_shared.topics import ACCEPTED, ENCODER, REFUSED, SCHEMA, Refused

RETRY_SECONDS = 2


class Reply(NamedTuple):
    """An answer. `headers` are beyond the common ones."""

    status: int
    content_type: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Arrived(NamedTuple):
    """A request whose body has been read."""

    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    whole: bool
    """False: it is larger than the limit, and `body` is its beginning."""


def trouble(status: int, code: str, message: str, retry_after: int | None = None) -> Reply:
    """An error in the form that every SDK understands; whole seconds in Retry-After."""
    headers = ((b"retry-after", b"%d" % retry_after),) if retry_after is not None else ()
    return Reply(status, JSON, error_body(code, message), headers)


NO_KEY = trouble(401, "unauthorized", "a valid write key is needed")
NOT_READY = trouble(503, "not_ready", "starting; try again", RETRY_SECONDS)
NOT_DURABLE = trouble(503, "unavailable", "touchpoints cannot be stored now; try again", RETRY_SECONDS)
NO_ROOM = trouble(503, "busy", "too many bytes under way; try again", 1)


class Intake:
    """Everything that taking touchpoints in needs."""

    def __init__(self, bus: Bus, sources: Sources, clock: Clock, counters: Counters) -> None:
        self._bus, self._sources, self._clock, self._counters = bus, sources, clock, counters

    async def take(self, arrived: Arrived, protocol: Protocol, known: Source | None, share: Share) -> Reply:
        """`known` is None if only the body can tell whose it is. Raises NoRoom."""
        parcel: Parcel | None = None
        refusal: Refusal | None = None
        size = 0
        try:
            if not arrived.whole:
                raise NotBelieved("too_large", f"more than {len(arrived.body)} bytes")
            limit = known.limits.body_bytes if known else self._sources.largest_body
            body = inflate(arrived.body, arrived.headers.get(b"content-encoding", b"").lower(), limit)
            size = len(body)
            if body is not arrived.body:
                share.take(size)
            parcel = protocol.read(Request(arrived.path, arrived.query, arrived.headers, clean(body)))
        except NotBelieved as error:
            refusal = error.refusal
        if known is None:
            key = key_of_body(parcel.write_key) if parcel else None
            known = self._sources.by_key(key) if key else None
            if known is None:
                return Reply(*protocol.answer(None)) if protocol.always_ok else NO_KEY
        if parcel is None:
            assert refusal is not None
            return await self._refuse(refusal, arrived, protocol, known)
        allowed = known.limits.event_bytes if parcel.single else known.limits.batch_bytes
        now = self._clock.now_ms()
        try:
            if size > allowed:
                raise NotBelieved("too_large", f"{size} bytes, the limit is {allowed}")
            verdict = believe(parcel, known, now)
        except NotBelieved as error:
            return await self._refuse(error.refusal, arrived, protocol, known)
        told = verdict.refused[0][0] if parcel.single and verdict.refused and not protocol.always_ok else None
        return await self._settle(verdict, known, now, protocol, told, _wants_receipt(arrived))

    async def _refuse(self, refusal: Refusal, arrived: Arrived, protocol: Protocol, source: Source) -> Reply:
        """A request that cannot be read as a whole is one record."""
        original = arrived.body or arrived.query
        verdict = Verdict(refused=[(refusal, original)])
        told = None if protocol.always_ok else refusal
        return await self._settle(verdict, source, self._clock.now_ms(), protocol, told, False)

    async def _settle(self, verdict: Verdict, source: Source, now: int, protocol: Protocol, told: Refusal | None,
                      wants_receipt: bool) -> Reply:
        """Publishes, counts, answers. The answer is only given once everything is durable."""
        headers: tuple[tuple[bytes, bytes], ...] = ()
        try:
            if verdict.refused:
                await self._bus.publish(REFUSED, {0: [
                    _refused(refusal, original, source, now) for refusal, original in verdict.refused]})
            if verdict.accepted:
                by_partition = self._spread(verdict)
                first = await self._bus.publish(ACCEPTED, by_partition)
                if wants_receipt:
                    receipt = encode_receipt({partition: position + len(by_partition[partition]) - 1
                                              for partition, position in first.items()})
                    headers = ((b"percorso-receipt", receipt.encode()),)
        except BusUnavailable:
            return NOT_DURABLE
        self._counters.count(source, len(verdict.accepted), [refusal.reason for refusal, _ in verdict.refused])
        return Reply(*protocol.answer(told), headers)

    def _spread(self, verdict: Verdict) -> dict[int, list[bytes]]:
        partition_for = self._bus.partition_for
        spread: dict[int, list[bytes]] = {}
        for key, record in verdict.accepted:
            partition = partition_for(key.encode())
            if partition in spread:
                spread[partition].append(record)
            else:
                spread[partition] = [record]
        return spread


def _wants_receipt(arrived: Arrived) -> bool:
    return arrived.headers.get(b"percorso-receipt", b"").strip().lower() == b"want"


def _refused(refusal: Refusal, original: bytes, source: Source, now: int) -> bytes:
    return ENCODER.encode(_Refused(
        schema=SCHEMA, id=uuid7().hex, workspace=source.workspace, source=source.name, at_stage=STAGE,
        reason=refusal.reason, detail=refusal.detail, received_at=now, body_base64=b64encode(original).decode()))


class _Refused(msgspec.Struct, kw_only=True):
    """`Refused` without what belongs to the bus."""

    schema: int
    id: str
    workspace: int
    source: str
    at_stage: str
    reason: str
    detail: str
    received_at: int
    body_base64: str


assert set(_Refused.__struct_fields__) | {"stage", "origin", "seq"} == set(Refused.__struct_fields__)

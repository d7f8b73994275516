"""Segment's and RudderStack's HTTP API: one event per call, or batches.

The path says what a single event is, whatever its `type`; in a batch each event says so itself. Content-Type means
nothing: real SDKs send JSON as text/plain, as a form, and as nothing at all.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from percorso_ingest.answers import answer_json
from percorso_ingest.claim import NOTHING, Parcel
from percorso_ingest.digestible import may_hold_huge_number
from percorso_ingest.fold_deep import Folded
from percorso_ingest.protocols.port import Protocol, Request
from percorso_ingest.refusal import UNDECODABLE, NotBelieved, refusal_of

_SINGLE: Final = {
    "track": "track", "identify": "identify", "page": "page", "screen": "screen", "group": "group", "alias": "alias",
    "t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}
_SENT_AT: Final = b"sentat"
"""A header, in some SDKs."""


class _Batch(msgspec.Struct, rename="camel", gc=False):
    batch: list[msgspec.Raw] | None = None
    sent_at: Any = None
    write_key: Any = None
    context: msgspec.Raw = NOTHING


class _Key(msgspec.Struct, rename="camel", gc=False):
    write_key: Any = None


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_key = msgspec.json.Decoder(_Key).decode


def read_single(request: Request, *, type_: str) -> Parcel:
    """The body is the event."""
    try:
        key = _decode_key(request.body).write_key
    except UNDECODABLE as error:
        raise NotBelieved(*refusal_of(error)) from None
    return Parcel(originals=[request.body], single=True, type=type_, write_key=key,
                  sent_at=_header(request, _SENT_AT), suspicious=may_hold_huge_number(request.body))


def read_batch(request: Request, *, imported: bool = False) -> Parcel:
    """`{"batch": [event, ...], "sentAt", "writeKey", "context"}`."""
    folded = None
    try:
        try:
            body = _decode_batch(request.body)
        except RecursionError:
            folded = Folded(request.body)
            body = _decode_batch(folded.body)
    except UNDECODABLE as error:
        raise NotBelieved(*refusal_of(error)) from None
    if body.batch is None:
        raise NotBelieved("wrong_shape", "a batch is an object with the array `batch`")
    if not body.batch:
        raise NotBelieved("no_events")
    originals = body.batch if folded is None else folded.unfold_all([bytes(event) for event in body.batch])
    return Parcel(
        originals=originals, single=False, write_key=body.write_key or _key_of_first(body.batch[0]),
        sent_at=body.sent_at if body.sent_at is not None else _header(request, _SENT_AT),
        context=body.context, flags=("imported",) if imported else (),
        suspicious=may_hold_huge_number(request.body))


def _key_of_first(event: msgspec.Raw) -> Any:
    try:
        return _decode_key(event).write_key
    except UNDECODABLE:
        return None


def _header(request: Request, name: bytes) -> str | None:
    value = request.headers.get(name)
    return value.decode("latin-1") if value else None


def routes() -> Mapping[str, Protocol]:
    """POST path -> protocol."""
    batch = Protocol(read_batch, answer_json)
    found = {"/beacon/v1/batch": batch}
    for prefix in ("/v1/", "/"):
        for word, type_ in _SINGLE.items():
            found[prefix + word] = Protocol(partial(read_single, type_=type_), answer_json)
        found[prefix + "batch"] = found[prefix + "b"] = batch
        found[prefix + "import"] = Protocol(partial(read_batch, imported=True), answer_json)
    return found

"""Laws of the public port: whatever comes in, what is accepted and what is refused add up to what was sent."""

import gzip
import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from percorso_ingest.believe import believe
from percorso_ingest.claim import Parcel
from percorso_ingest.digestible import clean, may_hold_huge_number
from percorso_ingest.inflate import inflate
from percorso_ingest.instants import correct, read_instant
from percorso_ingest.limits import limits_of
from percorso_ingest.protocols.port import Request
from percorso_ingest.protocols.registry import all_routes
from percorso_ingest.quarantine import identifiers_in
from percorso_ingest.refusal import REASONS, NotBelieved
from percorso_ingest.source import Source
from percorso_ingest.write_key import key_of_request
from percorso_shared.topics import ACCEPTED_DECODER

NOW = 1_795_320_000_000
SOURCE = Source(1, "website", "browser", "WK")
ROUTES = list(all_routes().values())

texts = st.text(max_size=20) | st.sampled_from(
    ["\x00", "\ud83d", "é", "", " ", "u-1", "2026-11-22T02:53:03.122Z", "\\"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8)
fields = st.sampled_from([
    "type", "userId", "anonymousId", "previousId", "groupId", "event", "name", "category", "messageId", "timestamp",
    "originalTimestamp", "sentAt", "traits", "properties", "context", "writeKey", "_ga", "client_id"])
types = st.sampled_from(["track", "identify", "page", "screen", "group", "alias", "dance", None])
contexts = st.fixed_dictionaries({}, optional={
    "traits": values, "device": values, "externalIds": values | st.lists(
        st.fixed_dictionaries({"type": texts, "id": values}), max_size=3),
    "groupId": values, "percorso": values | st.fixed_dictionaries({}, optional={
        "set_once": values, "add": values, "logged_out": values}), "_ga": values})
events = st.builds(
    lambda base, more: base | more,
    st.fixed_dictionaries({"type": types, "userId": texts, "event": texts}),
    st.dictionaries(fields, values, max_size=4) | st.fixed_dictionaries({"context": contexts}))
bodies = st.binary(max_size=60) | st.builds(
    lambda event: json.dumps(event).encode(), events | values | st.fixed_dictionaries({"batch": st.lists(events)}))


def take(protocol: Any, body: bytes) -> Any:
    """What intake does with a request, without the bus: a verdict, or the refusal of the whole."""
    try:
        whole = clean(inflate(body, b"", 512_000))
        parcel = protocol.read(Request("/", b"", {}, whole))
        return parcel, believe(parcel, SOURCE, NOW)
    except NotBelieved as error:
        return None, error.refusal


@settings(max_examples=300, deadline=None)
@given(bodies, st.sampled_from(ROUTES))
def test_any_bytes_are_accepted_or_refused_and_the_numbers_add_up(body: bytes, protocol: Any) -> None:
    parcel, verdict = take(protocol, body)
    if parcel is None:
        assert verdict.reason in REASONS
    else:
        assert len(verdict.accepted) + len(verdict.refused) == len(parcel.originals)
        for key, record in verdict.accepted:
            assert key.encode()
            touchpoint = ACCEPTED_DECODER.decode(record)
            msgspec.json.decode(record)
            assert touchpoint.timestamp <= touchpoint.received_at == NOW
            assert len(touchpoint.message_id) <= 100
            assert touchpoint.identifiers or touchpoint.account
            assert b"\\u0000" not in record.replace(b"\\\\", b"")
        for refusal, _ in verdict.refused:
            assert refusal.reason in REASONS


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=6))
def test_compressed_or_not_the_verdict_is_the_same(batch: list[Any]) -> None:
    body = json.dumps({"batch": [event | {"messageId": f"m-{n}"} for n, event in enumerate(batch)]}).encode()
    protocol = all_routes()["POST", "/v1/batch"]
    _, plain = take(protocol, body)
    _, packed = take(protocol, gzip.compress(body))
    assert plain == packed


@settings(max_examples=200, deadline=None)
@given(st.lists(events, min_size=1, max_size=6))
def test_an_event_in_a_batch_fares_as_it_does_alone(batch: list[Any]) -> None:
    wires = [clean(json.dumps(event | {"messageId": f"m-{n}"}).encode()) for n, event in enumerate(batch)]
    suspicious = any(map(may_hold_huge_number, wires))
    together = believe(Parcel(originals=wires, single=False, suspicious=suspicious), SOURCE, NOW)
    alone = [believe(Parcel(originals=[wire], single=True, suspicious=suspicious), SOURCE, NOW) for wire in wires]
    assert together.accepted == [believed for verdict in alone for believed in verdict.accepted]
    assert together.refused == [refused for verdict in alone for refused in verdict.refused]


@given(values)
def test_anything_is_an_instant_or_none(value: Any) -> None:
    instant = read_instant(value)
    assert instant is None or 946_684_800_000 <= instant < 4_102_444_800_000


@given(st.none() | st.integers(946_684_800_000, 4_102_444_799_999), st.none() | st.integers(0, 4_102_444_799_999))
def test_no_touchpoint_lies_in_the_future(original: int | None, sent: int | None) -> None:
    assert correct(original, sent, NOW)[0] <= NOW


@given(st.dictionaries(st.sampled_from([b"authorization", b"x-write-key"]), st.binary(max_size=20) | st.builds(
    lambda tail: b"Basic " + tail, st.binary(max_size=12))), st.binary(max_size=30))
def test_any_headers_are_a_key_or_none(headers: dict[bytes, bytes], query: bytes) -> None:
    key = key_of_request(headers, query)
    assert key is None or isinstance(key, str)


@given(st.binary(max_size=60) | st.builds(lambda value: json.dumps(value).encode(), values | events))
def test_any_original_can_be_searched_for_people(body: bytes) -> None:
    found = identifiers_in(body)
    assert found is None or all("\x00" not in name and name.encode() for name in found)


@given(st.dictionaries(st.sampled_from(["event_bytes", "batch_bytes", "depth", "x"]), values))
def test_any_configuration_gives_limits(configured: dict[str, Any]) -> None:
    limits = limits_of(configured)
    assert all(value > 0 for value in (limits.event_bytes, limits.batch_bytes, limits.depth, limits.values))

"""From the wire to our words: one event in, one record out."""

from typing import Any

import msgspec
import pytest

from percorso_ingest.believe import believe
from percorso_ingest.claim import Parcel
from percorso_ingest.digestible import clean
from percorso_ingest.limits import Limits
from percorso_ingest.protocols.port import Request
from percorso_ingest.protocols.segment import read_batch, read_single
from percorso_ingest.source import Source
from percorso_shared.ids import event_id
from percorso_shared.topics import ACCEPTED_DECODER, Accepted

NOW = 1_795_320_000_000
SOURCE = Source(1, "website", "browser", "WK")


def wire(type_: str, source: Source = SOURCE, **event: Any) -> Any:
    """The accepted record as a struct, or the reason of the refusal."""
    body = msgspec.json.encode({"messageId": "m-1", **event})
    verdict = believe(read_single(Request("", b"", {}, clean(body)), type_=type_), source, NOW)
    return outcome(verdict)[0]


def batch(*events: Any, source: Source = SOURCE, **more: Any) -> list[Any]:
    body = msgspec.json.encode({"batch": events, **more})
    return outcome(believe(read_batch(Request("", b"", {}, clean(body))), source, NOW))


def outcome(verdict: Any) -> list[Any]:
    return [ACCEPTED_DECODER.decode(record) for _, record in verdict.accepted] + [
        refusal.reason for refusal, _ in verdict.refused]


def loads(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw)


def test_a_track_keeps_its_name_and_its_slices() -> None:
    record = wire("track", userId="u", event="Order Completed", properties={"total": 39.9}, context={"locale": "it"})
    assert record == Accepted(
        schema=1, workspace=1, source="website", trust="browser", event_id=event_id(1, "website", "m-1").hex(),
        message_id="m-1", type="track", name="Order Completed", timestamp=NOW, received_at=NOW,
        identifiers=[("user_id", "u")], properties=msgspec.Raw(b'{"total":39.9}'),
        context=msgspec.Raw(b'{"locale":"it"}'))


@pytest.mark.parametrize(("type_", "name"), [
    ("page", "page_view"), ("screen", "screen_view"), ("identify", "identified"), ("group", "grouped"),
    ("alias", "aliased")])
def test_the_other_calls_have_names_of_ours(type_: str, name: str) -> None:
    record = wire(type_, userId="u", previousId="v", groupId="g")
    assert (record.type, record.name) == (type_, name)


def test_identifiers_come_in_an_order_that_does_not_depend_on_the_sender() -> None:
    record = wire(
        "identify", anonymousId="a", userId="u", traits={"phone": "+39 333", "email": "Ada@Example.com"},
        client_id="7.8", context={
            "device": {"id": "d"}, "_ga": "GA1.2.123.456", "externalIds": [{"type": "crm_id", "id": "c-1"}]})
    assert record.identifiers == [
        ("user_id", "u"), ("anonymous_id", "a"), ("email", "Ada@Example.com"), ("phone", "+39 333"), ("device_id", "d"),
        ("ga_client_id", "7.8"), ("ga_client_id", "123.456"), ("crm_id", "c-1")]


def test_an_email_in_the_properties_of_a_track_is_nobodys() -> None:
    record = wire("track", event="x", anonymousId="a", properties={"email": "a@b.it"},
                  context={"traits": {"email": "c@d.it"}}, traits={"email": "e@f.it"})
    assert record.identifiers == [("anonymous_id", "a")]
    assert loads(record.traits) == {}


def test_rudderstack_puts_the_traits_of_an_identify_into_the_context() -> None:
    record = wire("identify", userId="u", context={"traits": {"email": "g@example.com"}})
    assert loads(record.traits) == {"email": "g@example.com"}
    assert ("email", "g@example.com") in record.identifiers


@pytest.mark.parametrize(("given", "kept"), [
    (12345, "12345"), (12345.0, "12345"), (1.5, "1.5"), (True, "true"), (" u ", " u "), ("0", "0")])
def test_ids_that_are_numbers_are_text(given: Any, kept: str) -> None:
    assert wire("track", event="x", userId=given).identifiers == [("user_id", kept)]


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_empty_ids_are_none(empty: Any) -> None:
    assert wire("track", event="x", userId=empty, anonymousId="a").identifiers == [("anonymous_id", "a")]


@pytest.mark.parametrize(("previous", "type_"), [
    ("29c0378a-8daa-4211-9ab4-e6c01da3e21c", "anonymous_id"), ("29C0378A8DAA42119AB4E6C01DA3E21C", "anonymous_id"),
    ("anon-1", "user_id"), ("29c0378a", "user_id")])
def test_an_alias_types_its_previous_id_by_its_form(previous: str, type_: str) -> None:
    assert wire("alias", userId="u", previousId=previous).identifiers == [("user_id", "u"), (type_, previous)]


def test_an_alias_to_oneself_links_nothing() -> None:
    assert wire("alias", userId="u", previousId="u", anonymousId="a").identifiers == [("user_id", "u")]


def test_a_group_is_an_account_and_its_traits_are_the_accounts() -> None:
    record = wire("group", userId="u", groupId=7, traits={"email": "info@acme.it"})
    assert (record.account, record.identifiers) == ("7", [("user_id", "u")])
    assert loads(record.traits) == {"email": "info@acme.it"}


def test_an_account_in_the_context_goes_with_any_touchpoint() -> None:
    assert wire("track", event="x", userId="u", context={"groupId": "acme"}).account == "acme"


def test_our_own_words_are_in_context_percorso() -> None:
    record = wire("track", event="x", userId="u", context={
        "percorso": {"set_once": {"first": 1}, "add": {"tags": ["a"]}, "logged_out": True}})
    assert (loads(record.set_once), loads(record.add), record.logged_out) == ({"first": 1}, {"tags": ["a"]}, True)


@pytest.mark.parametrize("name", ["Signed Out", "signed_out", "SIGNED-OUT"])
def test_signed_out_is_a_logout(name: str) -> None:
    assert wire("track", event=name, userId="u").logged_out is True


def test_a_page_keeps_its_name_and_category_in_its_properties() -> None:
    record = wire("page", userId="u", name="Home", category="Docs", properties={"url": "https://x.it"})
    assert loads(record.properties) == {"name": "Home", "category": "Docs", "url": "https://x.it"}
    assert loads(wire("screen", userId="u", name="Cart").properties) == {"name": "Cart"}
    own = wire("page", userId="u", name="Home", properties={"name": "Mine", "in": {"category": 1}}, category="Docs")
    assert loads(own.properties) == {"category": "Docs", "name": "Mine", "in": {"category": 1}}


@pytest.mark.parametrize("empty", [None, ""])
def test_a_touchpoint_without_message_id_gets_one_of_its_own(empty: Any) -> None:
    first, second = (wire("track", event="x", userId="u", messageId=empty) for _ in range(2))
    assert first.message_id != second.message_id
    assert len(first.message_id) == 36


def test_a_long_message_id_is_replaced_by_its_hash_and_kept() -> None:
    first, second = (wire("track", event="x", userId="u", messageId="x" * 101) for _ in range(2))
    assert first.message_id == second.message_id != "x" * 101
    assert len(first.message_id) <= 100
    assert (first.original_message_id, first.flags) == ("x" * 101, ["message_id_hashed"])
    assert wire("track", event="x", userId="u", messageId="x" * 100).message_id == "x" * 100


@pytest.mark.parametrize(("event", "reason"), [
    ({"userId": "u"}, "name_missing"), ({"userId": "u", "event": " "}, "name_missing"),
    ({"userId": "u", "event": ["x"]}, "name_missing"), ({"userId": "u", "event": "x" * 257}, "name_too_long"),
    ({"event": "x"}, "identifier_missing"), ({"event": "x", "userId": ""}, "identifier_missing"),
    ({"event": "x", "userId": {"a": 1}}, "identifier_unreadable"),
    ({"event": "x", "userId": ["a"]}, "identifier_unreadable"),
    ({"event": "x", "userId": "u" * 513}, "identifier_too_long"),
    ({"event": "x", "userId": "u", "properties": []}, "wrong_shape"),
    ({"event": "x", "userId": "u", "properties": "p"}, "wrong_shape"),
    ({"event": "x", "userId": "u", "context": 1}, "wrong_shape"),
    ({"event": "x", "userId": "u", "context": {"percorso": []}}, "wrong_shape"),
])
def test_a_track_is_refused_with_a_reason(event: Any, reason: str) -> None:
    assert wire("track", **event) == reason


@pytest.mark.parametrize(("type_", "event", "reason"), [
    ("group", {"userId": "u"}, "group_id_missing"), ("alias", {"userId": "u"}, "previous_id_missing"),
    ("alias", {"previousId": "u"}, "previous_id_missing"), ("identify", {"userId": "u", "traits": []}, "wrong_shape"),
    ("identify", {"traits": {"plan": "gold"}}, "identifier_missing")])
def test_other_calls_are_refused_with_a_reason(type_: str, event: Any, reason: str) -> None:
    assert wire(type_, **event) == reason


@pytest.mark.parametrize("field", ["properties", "context", "traits"])
def test_null_is_an_empty_object(field: str) -> None:
    record = wire("identify", userId="u", **{field: None})
    assert loads(record.properties) == loads(record.context) == loads(record.traits) == {}


def test_what_cannot_name_anybody_is_left_out_with_a_flag() -> None:
    record = wire("identify", userId="u", traits={"email": ["a@b.c", "d@e.f"]}, context={
        "device": "phone", "externalIds": {"type": "x"}, "_ga": [1]})
    assert (record.identifiers, record.flags) == ([("user_id", "u")], ["identifier_ignored"])
    some = wire("track", event="x", userId="u", context={
        "externalIds": [{"type": "crm_id", "id": 7}, {"type": "no\x00", "id": "x"}, 5, {"id": "x"}]})
    assert (some.identifiers, some.flags) == ([("user_id", "u"), ("crm_id", "7")], ["identifier_ignored"])


def test_one_bad_event_never_fails_its_batch() -> None:
    good = {"type": "track", "event": "x", "userId": "u"}
    assert batch(good, {"type": "dance", "userId": "u"}, 7, None, {}, "x", good)[2:] == [
        "unknown_type", "wrong_shape", "wrong_shape", "unknown_type", "wrong_shape"]


def test_an_event_of_any_depth_is_set_aside_alone_and_whole() -> None:
    deep = b'{"type":"track","event":"x","userId":"u","properties":' + b'{"[":[' * 5_000 + b'"]"' + b"]}" * 5_000 + b"}"
    good = b'{"type":"track","event":"x","userId":"u"}'
    roomy = Source(1, "roomy", "server", "k", limits=Limits(event_bytes=1_000_000))
    body = b'{"batch":[' + b",".join((good, deep, good, deep)) + b"]}"
    verdict = believe(read_batch(Request("", b"", {}, body)), roomy, NOW)
    assert len(verdict.accepted) == 2
    assert [(refusal.reason, original) for refusal, original in verdict.refused] == [("too_deep", deep)] * 2


def test_the_context_of_a_batch_is_under_the_events_own() -> None:
    own, without = batch(
        {"type": "track", "event": "x", "userId": "u", "context": {"locale": "it"}},
        {"type": "track", "event": "x", "userId": "u"},
        context={"locale": "en", "app": {"name": "shop"}})
    assert loads(own.context) == {"locale": "it", "app": {"name": "shop"}}
    assert loads(without.context) == {"locale": "en", "app": {"name": "shop"}}


def test_limits_are_the_sources_own() -> None:
    event = {"type": "track", "event": "x", "userId": "u", "properties": {"v": "a" * 100}}
    small = Source(1, "small", "browser", "k", limits=Limits(event_bytes=100))
    assert batch(event, source=small) == ["too_large"]
    assert batch(event)[0].name == "x"


def test_an_imported_touchpoint_says_so() -> None:
    body = msgspec.json.encode({"batch": [{"type": "track", "event": "x", "userId": "u"}]})
    verdict = believe(read_batch(Request("", b"", {}, body), imported=True), SOURCE, NOW)
    assert outcome(verdict)[0].flags == ["imported"]


def test_a_parcel_of_bytes_is_judged_as_one_of_slices() -> None:
    parcel = Parcel(originals=[b'{"userId":"u"}', b"[]", b"\xff"], single=False, type="identify")
    assert outcome(believe(parcel, SOURCE, NOW))[1:] == ["wrong_shape", "unreadable"]

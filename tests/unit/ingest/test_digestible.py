"""What PostgreSQL and our decoders cannot digest."""

import msgspec
import pytest

from percorso_ingest.digestible import check_numbers, check_shape, clean, may_hold_huge_number
from percorso_ingest.refusal import UNDECODABLE, NotBelieved, refusal_of


@pytest.mark.parametrize(("sent", "kept"), [
    (rb'"a\u0000b"', rb'"a\ufffdb"'), (rb'"cut \ud83d"', rb'"cut \ufffd"'), (rb'"\uDE00 low"', rb'"\ufffd low"'),
    (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'), (rb'"\u0041\ud83d\ude00"', rb'"\u0041\ud83d\ude00"'),
    (rb'"\ud83d\ude00\ude00"', rb'"\ud83d\ude00\ufffd"'), (rb'"\\ud83d"', rb'"\\ud83d"'),
    (rb'"\\\ud83d"', rb'"\\\ufffd"'), (rb'"\\u0000\u0000"', rb'"\\u0000\ufffd"'), (b'\xef\xbb\xbf{}', b"{}"),
    ('"Caffè ☕"'.encode(), '"Caffè ☕"'.encode()), (rb'"\n\t\"\u00e8"', rb'"\n\t\"\u00e8"')])
def test_only_what_cannot_be_stored_is_replaced(sent: bytes, kept: bytes) -> None:
    assert clean(sent) == kept
    msgspec.json.decode(kept)


@pytest.mark.parametrize("body", [b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"'])
def test_what_is_not_utf8_is_unreadable(body: bytes) -> None:
    with pytest.raises(NotBelieved) as refused:
        clean(body)
    assert refused.value.refusal.reason == "unreadable"


@pytest.mark.parametrize("number", [
    "1e400", "-1E+400", "1.5e309", "9" * 5_000, "1" + "0" * 310 + ".5", "9" * 250 + "e99", "[1e999", "1e99999999999"])
def test_a_number_beyond_every_float_is_found(number: str) -> None:
    event = f'{{"a":"e","v":{number.lstrip("[")}}}'.encode()
    assert may_hold_huge_number(event)
    with pytest.raises(UNDECODABLE) as refused:
        check_numbers(event)
    assert refusal_of(refused.value).reason == "number_out_of_range"


@pytest.mark.parametrize("value", [
    "1e-400", "1e99", "1.7976931348623157e308", "123456789012345678901234567890", '"1e400"', '"' + "9" * 400 + '"',
    '"3f29c037-8a8d-4e22-919a-b4e6c01da3e2"', '"3e1237aa-1e23-9e99-0e00-0e0000000000"'])
def test_other_numbers_and_texts_pass(value: str) -> None:
    event = f'{{"v":{value}}}'.encode()
    if may_hold_huge_number(event):
        check_numbers(event)


def test_ids_of_hex_digits_do_not_cost_a_second_look() -> None:
    assert not may_hold_huge_number(b'{"a":"3e1237aa-1e23-9e99-0e00-0e0000000000","b":1.5e10,"c":-1e-400}')


@pytest.mark.parametrize(("event", "reason"), [
    (b'{"a":' * 65 + b"1" + b"}" * 65, "too_deep"), (b"[" * 500 + b"]" * 500, "too_deep"),
    (b"[" + b"1," * 2_500 + b"1]", "too_wide"), (b"[" + b"[]," * 2_500 + b"[]]", "too_wide")])
def test_depth_and_width_have_limits(event: bytes, reason: str) -> None:
    with pytest.raises(NotBelieved) as refused:
        check_shape(event, depth=64, values=2_000)
    assert refused.value.refusal.reason == reason


@pytest.mark.parametrize("event", [
    b'{"a":' * 64 + b"1" + b"}" * 64, b'{"a":"' + b"{[" * 500 + b'"}', b'{"a":"' + b"," * 9_000 + b'"}',
    b'{"a":"\\"' + b"[" * 500 + b'"}', b"[" + b"[]," * 500 + b"[]]", b"[" + b"1," * 1_900 + b"1]"])
def test_brackets_and_commas_in_texts_do_not_count(event: bytes) -> None:
    check_shape(event, depth=64, values=2_000)

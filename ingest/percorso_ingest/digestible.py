"""What PostgreSQL and our decoders cannot digest although it may look like JSON: found here, before it is accepted.

msgspec checks the grammar of what it skips, but neither its UTF-8 nor the size of its numbers; it refuses half of a
surrogate pair, which browsers do send (a cut emoji). The checks look at a whole body at once, so that an ordinary event
pays for a few searches at the speed of memory.
"""

import re

import msgspec

from percorso_ingest.refusal import NotBelieved

_REPLACEMENT = rb"\ufffd"
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair
    rb"|(?P<bad>\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2}))"
    rb"|\\.", re.DOTALL)

_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_LONG_NUMBER = b"0" * 200
"""Up to 199 digits and a two-digit exponent are below 1e300."""
_TOO_MANY_DIGITS = re.compile(rb"[0-9]{300}")
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OUTSIDE_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ANY = msgspec.json.Decoder()


def clean(body: bytes) -> bytes:
    """The body in a form that can be stored: a byte order mark dropped, NUL and lone surrogates replaced by U+FFFD.
    Raises NotBelieved for bytes that are not UTF-8."""
    if body[:3] == b"\xef\xbb\xbf":
        body = body[3:]
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise NotBelieved("unreadable", f"not UTF-8 at byte {error.start}") from None
    if b"\\" in body and (b"\\u0000" in body or b"\\ud" in body or b"\\uD" in body):
        body = _ESCAPE.sub(_mend, body)
    return body


def _mend(found: "re.Match[bytes]") -> bytes:
    return _REPLACEMENT if found["bad"] else found[0]


def may_hold_huge_number(body: bytes) -> bool:
    """True if a number in it could be beyond what a float holds: then each of its events is decoded to see.
    False is certain."""
    digits = body.translate(_DIGITS, b"+")
    if _LONG_NUMBER in digits:
        return True
    at = digits.find(b"0e000")
    while at >= 0:
        # Hex digits of an id look the same, but a number begins behind punctuation.
        before = digits[max(0, at - 400):at].rstrip(b"0.").removesuffix(b"-")
        if before[-1:] in b":,[ \t\r\n":
            return True
        at = digits.find(b"0e000", at + 5)
    return False


def check_numbers(event: bytes) -> None:
    """Raises NotBelieved, or what the decoder raises, for a number that readers of it could not hold as a float."""
    _ANY.decode(event)
    if _TOO_MANY_DIGITS.search(event) and _TOO_MANY_DIGITS.search(_TEXT.sub(b"", event)):
        raise NotBelieved("number_out_of_range")


def check_shape(event: bytes, *, depth: int, values: int) -> None:
    """Raises NotBelieved for an event that is nested too deep or holds too many values. Brackets, commas and colons in
    texts count only when the quick count is over the limit."""
    brackets = event.count(b"{") + event.count(b"[")
    if brackets > depth and _is_deeper(event, depth):
        raise NotBelieved("too_deep", f"more than {depth} levels")
    if len(event) > values and event.count(b",") + brackets > values and _values(event) > values:
        raise NotBelieved("too_wide", f"more than {values} values")


def _is_deeper(data: bytes, depth: int) -> bool:
    """For well-formed JSON: each round takes off the innermost level."""
    rest = _TEXT.sub(b"", data).translate(None, _OUTSIDE_BRACKETS)
    for _ in range(depth):
        shorter = rest.replace(b"{}", b"").replace(b"[]", b"")
        if len(shorter) == len(rest):
            break
        rest = shorter
    return bool(rest)


def _values(data: bytes) -> int:
    bare = _TEXT.sub(b"", data)
    return bare.count(b",") + bare.count(b"{") + bare.count(b"[")

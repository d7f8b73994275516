"""From an identifier as sent to the one spelling under which it is known, or to "identifies nobody"."""

import re
from typing import NamedTuple
from unicodedata import normalize

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from percorso_identity.policy import Policy


class Identifier(NamedTuple):
    """`value` is normalised and not empty."""

    type: str
    value: str
    blocked: bool
    """On the block list: kept, but it joins nobody and nothing belongs to it."""


_QUOTES = "\"'`“”‘’«»"
_NOTHING = re.compile(r"[0-]*\Z")
_NOT_DIGIT = re.compile(r"\D+")

BLOCKED = frozenset({
    "-1", "null", "undefined", "none", "nil", "nan", "anonymous", "guest", "true", "false", "id", "distinct_id", "test",
    "unknown", "n/a", "na", "[object object]", "{}", "[]", "test@test.com", "test@example.com", "test@test.test",
    "example@example.com", "user@example.com", "email@example.com", "none@none.com", "no@email.com", "a@a.com",
    "noemail@noemail.com", "null@null.com", "anonymous@anonymous.com", "guest@guest.com", "unknown@unknown.com",
})
"""What programs and people write where an identifier should stand (compared trimmed, unquoted and lower-cased), beside
`^[0-]*$`."""


def normalise(type_: str, raw: str, policy: Policy) -> Identifier | None:
    """None: nothing is left of it. The same identifier gives the same value in whatever way it was written."""
    value = _unquote(raw)
    if not value:
        return None
    folded = value.casefold()
    if _NOTHING.match(folded) or folded in BLOCKED or folded in policy.blocked:
        return Identifier(type_, folded, True)
    if type_ == "email":
        value = _email(value.lower())
    elif type_ == "phone":
        value = _phone(value, policy.region)
        if _NOTHING.match(value):
            return Identifier(type_, value, True)
    elif policy.rule(type_).fold == "lower":
        value = folded
    return Identifier(type_, value, False)


def _unquote(raw: str) -> str:
    value = raw.replace("\x00", "").strip()
    if not value.isascii():
        value = normalize("NFC", value.encode(errors="replace").decode())
    while len(value) > 1 and value[0] in _QUOTES and value[-1] in _QUOTES:
        value = value[1:-1].strip()
    return "" if value in _QUOTES else value


def _email(value: str) -> str:
    """What is no address stays as it is: some senders hash addresses before they send them."""
    try:
        return validate_email(value, check_deliverability=False, allow_smtputf8=True).normalized.lower()
    except EmailNotValidError:
        return value


def _phone(value: str, region: str | None) -> str:
    """The digits of the E.164 form, else its digits; what has no digit stays as it is."""
    if region is not None or "+" in value:
        try:
            number = phonenumbers.parse(value, region)
        except phonenumbers.NumberParseException:
            pass
        else:
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).lstrip("+")
    return _NOT_DIGIT.sub("", value) or value

"""Who it was: identifiers in a claim, as sent. Identity normalises them and decides which of them count."""

import re
from typing import Any

import msgspec

from percorso_ingest.limits import IDENTIFIER_CHARACTERS, IDENTIFIERS
from percorso_ingest.refusal import NotBelieved

Identifier = tuple[str, str]

IGNORED = "identifier_ignored"
"""Flag: something that should have named somebody could not be used."""

_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_GA_COOKIE = re.compile(r"GA\d\.\d\.(\d+\.\d+)")


class Traits(msgspec.Struct, gc=False):
    """The traits of an identify that are identifiers."""

    email: Any = None
    phone: Any = None


class _Device(msgspec.Struct, gc=False):
    id: Any = None


_TRAITS = msgspec.json.Decoder(Traits)
_DEVICE = msgspec.json.Decoder(_Device)
_ANY = msgspec.json.Decoder()


def text_of(value: Any, field: str) -> str | None:
    """An id as text: numbers are normal traffic, null and "" are none. Raises NotBelieved for anything else."""
    kind = type(value)
    if kind is str:
        if len(value) > IDENTIFIER_CHARACTERS:
            raise NotBelieved("identifier_too_long", f"{field}: more than {IDENTIFIER_CHARACTERS} characters")
        return value if value and not value.isspace() else None
    if value is None:
        return None
    if kind is int:
        return str(value)
    if kind is float:
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if kind is bool:
        return "true" if value else "false"
    raise NotBelieved("identifier_unreadable", field)


def type_of_previous(value: str) -> str:
    """An alias does not say what its `previousId` is: browsers' anonymous ids have the form of a UUID."""
    return "anonymous_id" if _UUID.fullmatch(value) else "user_id"


def of_traits(traits: bytes, flags: list[str]) -> list[Identifier]:
    """E-mail and phone of an identify."""
    found = _TRAITS.decode(traits)
    identifiers: list[Identifier] = []
    for type_, value in (("email", found.email), ("phone", found.phone)):
        if value is None or value == "":
            continue
        if type(value) is int:
            value = str(value)
        if type(value) is not str or len(value) > IDENTIFIER_CHARACTERS or value.isspace():
            flags.append(IGNORED)
        else:
            identifiers.append((type_, value))
    return identifiers


def of_device(device: msgspec.Raw, flags: list[str]) -> list[Identifier]:
    """`context.device.id`."""
    try:
        value = text_of(_DEVICE.decode(device).id, "context.device.id")
    except (msgspec.DecodeError, NotBelieved):
        flags.append(IGNORED)
        return []
    return [("device_id", value)] if value else []


def of_google(value: Any, flags: list[str]) -> list[Identifier]:
    """A client id of Google Analytics, or its `_ga` cookie, which wraps it in a version."""
    if type(value) is float:
        flags.append(IGNORED)  # 1234567890.1234567890 as a number has lost digits
        return []
    try:
        text = text_of(value, "_ga")
    except NotBelieved:
        flags.append(IGNORED)
        return []
    if not text:
        return []
    cookie = _GA_COOKIE.fullmatch(text)
    return [("ga_client_id", cookie[1] if cookie else text)]


def of_external_ids(external: msgspec.Raw, flags: list[str]) -> list[Identifier]:
    """`context.externalIds`: [{"type", "id"}, ...]."""
    try:
        entries = _ANY.decode(external)
    except msgspec.DecodeError:
        entries = 0
    if entries is None:
        return []
    if type(entries) is not list:
        flags.append(IGNORED)
        return []
    identifiers: list[Identifier] = []
    for entry in entries:
        type_ = entry.get("type") if type(entry) is dict else None
        if len(identifiers) == IDENTIFIERS or type(type_) is not str or not _TYPE.fullmatch(type_):
            flags.append(IGNORED)
            continue
        try:
            value = text_of(entry.get("id"), "context.externalIds")
        except NotBelieved:
            flags.append(IGNORED)
            continue
        if value:
            identifiers.append((type_, value))
    return identifiers

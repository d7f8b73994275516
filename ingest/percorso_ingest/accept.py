"""From the wire to our words: one claim in, one `Accepted` record out, or a reason why not.

The hottest code of the public port (a few microseconds per touchpoint): slices of what was sent are passed on
unchanged, the record is joined from pieces, and nothing is decoded that no rule asks for.
"""

from functools import lru_cache
from typing import Any, Final

import msgspec
from uuid_utils import uuid7

from percorso_ingest import identifiers as ids
from percorso_ingest.claim import Claim, Parcel
from percorso_ingest.digestible import check_numbers, check_shape
from percorso_ingest.instants import correct, read_instant
from percorso_ingest.limits import IDENTIFIER_CHARACTERS, MESSAGE_ID_CHARACTERS, NAME_CHARACTERS
from percorso_ingest.message_id import hash_of
from percorso_ingest.refusal import NotBelieved
from percorso_ingest.source import Source
from percorso_shared.names import canonical_name

NAMES: Final = {"track": b"", "identify": b'"identified"', "page": b'"page_view"', "screen": b'"screen_view"',
                "group": b'"grouped"', "alias": b'"aliased"'}
"""Type -> the name of its touchpoints, as JSON. A track brings its own."""

_TYPES: Final = {type_: b',"type":"%b","name":' % type_.encode() for type_ in NAMES}

_encode = msgspec.json.Encoder().encode
_decode_claim = msgspec.json.Decoder(Claim).decode
_EMPTY = b"{}"


Believed = tuple[str, bytes]
"""A touchpoint that we believe: what decides its partition (so that one visitor's touchpoints keep their order), and
its record, an `Accepted` (see `percorso_shared.topics`)."""


class _Percorso(msgspec.Struct, gc=False):
    """Our own words in a context."""

    set_once: msgspec.Raw = msgspec.Raw(_EMPTY)
    add: msgspec.Raw = msgspec.Raw(_EMPTY)
    logged_out: Any = False


class _Context(msgspec.Struct, gc=False):
    """The parts of a context that say who it was."""

    traits: msgspec.Raw = msgspec.Raw(b"")
    device: msgspec.Raw = msgspec.Raw(b"")
    external_ids: msgspec.Raw = msgspec.field(default=msgspec.Raw(b""), name="externalIds")
    group_id: Any = msgspec.field(default=None, name="groupId")
    percorso: msgspec.Raw = msgspec.Raw(b"")
    ga: Any = msgspec.field(default=None, name="_ga")
    client_id: Any = None
    ga_client_id: Any = None


class _PageName(msgspec.Struct, gc=False):
    """What a page's properties may say themselves."""

    name: msgspec.Raw = msgspec.Raw(b"")
    category: msgspec.Raw = msgspec.Raw(b"")


_decode_page_name = msgspec.json.Decoder(_PageName).decode
_decode_context = msgspec.json.Decoder(_Context).decode
_decode_percorso = msgspec.json.Decoder(_Percorso).decode
_NO_CONTEXT = _Context()


def accept(original: bytes, parcel: Parcel, source: Source, received_at: int, sent_at: int | None) -> Believed:
    """Raises NotBelieved, or what a decoder raises (see `refusal_of`). Instants are in milliseconds since 1970;
    `sent_at` is the parcel's, for an event that does not say its own."""
    limits = source.limits
    if len(original) > limits.event_bytes:
        raise NotBelieved("too_large", f"an event of {len(original)} bytes, the limit is {limits.event_bytes}")
    if len(original) > limits.values or original.count(b"{") + original.count(b"[") > limits.depth:
        check_shape(original, depth=limits.depth, values=limits.values)
    if parcel.suspicious:
        check_numbers(original)
    claim = _decode_claim(original)
    type_ = parcel.type or claim.type
    name = NAMES.get(type_) if type(type_) is str else None
    if name is None:
        raise NotBelieved("unknown_type")
    flags: list[str] = []
    # The record's later members, but for properties and context.
    more = b""
    logged_out = False

    context = bytes(claim.context)
    if context[:1] != b"{":
        context = _object(context, "context")
    if parcel.context:
        context = _merge(parcel.context, context)
    known = _decode_context(context) if context != _EMPTY else _NO_CONTEXT
    if known.percorso:
        more, logged_out = _percorso(known.percorso)
    properties = bytes(claim.properties)
    if properties[:1] != b"{":
        properties = _object(properties, "properties")
    traits = _EMPTY
    if type_ == "track":
        called = claim.event
        name, says_logged_out = _track_name(called if type(called) is str else _text_of_name(called))
        logged_out = logged_out or says_logged_out
    elif type_ == "identify" or type_ == "group":
        traits = _object(bytes(claim.traits), "traits")
        if traits == _EMPTY and type_ == "identify":
            traits = _object(bytes(known.traits), "context.traits")
        if traits != _EMPTY:
            more += b',"traits":' + traits
    elif claim.name is not None or claim.category is not None:
        properties = _with_page_name(properties, claim)

    people, key = _identifiers(claim, known, type_, traits, flags)
    account = claim.group_id if type_ == "group" else known.group_id
    if account is not None:
        account = ids.text_of(account, "groupId")
        if account is not None:
            more += b',"account":' + _encode(account)
    if account is None:
        if type_ == "group":
            raise NotBelieved("group_id_missing")
        if not people:
            raise NotBelieved("identifier_missing")

    message_id = claim.message_id
    if type(message_id) is not str or not 0 < len(message_id) <= MESSAGE_ID_CHARACTERS:
        message_id, too_long = _message_id(message_id)
        if too_long is not None:
            flags.append("message_id_hashed")
            more += b',"original_message_id":' + _encode(too_long)
    instant = received_at
    said = claim.timestamp if claim.timestamp is not None else claim.original_timestamp
    if said is not None:
        sent = sent_at if claim.sent_at is None else read_instant(claim.sent_at)
        instant, flag = correct(read_instant(said), sent, received_at)
        if flag is not None:
            flags.append(flag)
        more += b',"original_timestamp":' + _encode(said if type(said) is str else _encode(said).decode())
    if logged_out:
        more += b',"logged_out":true'
    if flags or parcel.flags:
        more += b',"flags":' + _encode(sorted({*flags, *parcel.flags}))
    return key or message_id, b"".join((
        source.record_start, source.event_id(message_id), b'","message_id":', _encode(message_id),
        _TYPES[type_], name, b',"timestamp":%d,"received_at":%d,"identifiers":' % (instant, received_at),
        _encode(people), more, b',"properties":', properties, b',"context":', context, b"}"))


def _object(data: bytes, field: str) -> bytes:
    """The bytes of an object; absent and null are an empty one."""
    if data[:1] == b"{":
        return data
    if data and data != b"null":
        raise NotBelieved("wrong_shape", f"{field} is not an object")
    return _EMPTY


def _merge(shared: msgspec.Raw, own: bytes) -> bytes:
    """The batch's context under the event's, member by member."""
    below = _object(bytes(shared), "context of the batch")
    if below == _EMPTY or own == _EMPTY:
        return own if below == _EMPTY else below
    members: dict[str, msgspec.Raw] = msgspec.json.decode(below, type=dict[str, msgspec.Raw])
    members |= msgspec.json.decode(own, type=dict[str, msgspec.Raw])
    return _encode(members)


@lru_cache(maxsize=4_096)
def _track_name(event: str) -> tuple[bytes, bool]:
    """The name as JSON, and whether it says that somebody has logged out."""
    if not event or event.isspace():
        raise NotBelieved("name_missing")
    if len(event) > NAME_CHARACTERS:
        raise NotBelieved("name_too_long", f"more than {NAME_CHARACTERS} characters")
    return _encode(event), canonical_name(event) == "signed_out"


def _text_of_name(event: Any) -> str:
    if type(event) is int:
        return str(event)
    raise NotBelieved("name_missing")


def _with_page_name(properties: bytes, claim: Claim) -> bytes:
    """Browsers repeat a page's name and category in its properties, servers do not: there they belong."""
    present = _decode_page_name(properties)
    start = b""
    if type(claim.name) is str and not present.name:
        start = b'"name":' + _encode(claim.name) + b","
    if type(claim.category) is str and not present.category:
        start += b'"category":' + _encode(claim.category) + b","
    if not start:
        return properties
    return b"{" + start + properties[1:] if properties[1:-1].strip() else b"{" + start[:-1] + b"}"


def _percorso(raw: msgspec.Raw) -> tuple[bytes, bool]:
    """What `context.percorso` says: members of the record, and whether the person has logged out."""
    words = _object(bytes(raw), "context.percorso")
    if words == _EMPTY:
        return b"", False
    rules = _decode_percorso(words)
    members = b""
    for name, part in ((b"set_once", rules.set_once), (b"add", rules.add)):
        value = _object(bytes(part), f"context.percorso.{name.decode()}")
        if value != _EMPTY:
            members += b',"%b":%b' % (name, value)
    return members, rules.logged_out is True


def _identifiers(claim: Claim, known: _Context, type_: str, traits: bytes,
                 flags: list[str]) -> tuple[list[ids.Identifier], str]:
    """Who it was, and the value that decides the partition ("" for none)."""
    found: list[ids.Identifier] = []
    user, anonymous = claim.user_id, claim.anonymous_id
    if type(user) is not str or not 0 < len(user) <= IDENTIFIER_CHARACTERS or user[0] <= " ":
        user = ids.text_of(user, "userId")
    if type(anonymous) is not str or not 0 < len(anonymous) <= IDENTIFIER_CHARACTERS or anonymous[0] <= " ":
        anonymous = ids.text_of(anonymous, "anonymousId")
    if user:
        found.append(("user_id", user))
    if type_ == "alias":
        previous = ids.text_of(claim.previous_id, "previousId")
        if previous and previous == user:
            return found, previous  # to itself: it links nothing
        if previous:
            found.append((ids.type_of_previous(previous), previous))
        if len(found) + bool(anonymous) < 2:
            raise NotBelieved("previous_id_missing")
    if anonymous:
        found.append(("anonymous_id", anonymous))
    if type_ == "identify" and traits != _EMPTY:
        found += ids.of_traits(traits, flags)
    if known.device:
        found += ids.of_device(known.device, flags)
    if (claim.ga is not None or claim.client_id is not None or known.ga is not None or known.client_id is not None
            or known.ga_client_id is not None):
        for google in (claim.ga, claim.client_id, known.ga, known.client_id, known.ga_client_id):
            found += ids.of_google(google, flags)
    if known.external_ids:
        found += ids.of_external_ids(known.external_ids, flags)
    if len(found) > 2:
        found = list(dict.fromkeys(found))
    return found, user or anonymous or (found[0][1] if found else "")


def _message_id(given: Any) -> tuple[str, str | None]:
    """A message id of at most 100 characters, and the one that was sent if it was longer. Without one: a new one, so
    that sending it again counts again."""
    if type(given) is int or type(given) is float:
        given = str(given)
    if type(given) is not str or not given:
        return str(uuid7()), None
    if len(given) <= MESSAGE_ID_CHARACTERS:
        return given, None
    return hash_of(given), given

"""What a single touchpoint says of its person and of its account."""

from typing import Any, NamedTuple

import msgspec

from percorso_profile.fold import Said, State
from percorso_shared.topics import EMPTY, TouchpointType, Trust

BROWSER_LATENESS_MS = 48 * 3_600_000
"""Event times of browsers are invented at will: for `first writer wins` they count as no older than this before their
receipt, so that nobody takes a person's first source with an old timestamp."""

CONSENT = {"consent_given": True, "consent_withdrawn": False}


class Touchpoint(msgspec.Struct, frozen=True, gc=False):
    """The part of an `Accepted` record that folding reads; the rest stays undecoded."""

    source: str
    trust: Trust
    type: TouchpointType
    name: str
    timestamp: int
    received_at: int
    account: str | None = None
    traits: msgspec.Raw = EMPTY
    set_once: msgspec.Raw = EMPTY
    add: msgspec.Raw = EMPTY
    properties: msgspec.Raw = EMPTY


class AccountSays(NamedTuple):
    """What a group call says of its account."""

    account: str
    state: State


_OBJECT = msgspec.json.Decoder(dict[str, Any])
_NOTHING = (b"{}", b"", b"null")


def _object(raw: msgspec.Raw) -> dict[str, Any]:
    """Raises msgspec.ValidationError if it is no JSON object."""
    text = bytes(raw)
    return {} if text in _NOTHING else _OBJECT.decode(text)


def says(touchpoint: Touchpoint, canonical_name: str, event: str) -> State | None:
    """Of the person. None for the ordinary touchpoint, which sets nothing. `event`: 32 hex digits."""
    granted = CONSENT.get(canonical_name)
    group = touchpoint.type == "group"
    if (touchpoint.account is None and granted is None and (group or bytes(touchpoint.traits) in _NOTHING)
            and bytes(touchpoint.set_once) in _NOTHING and bytes(touchpoint.add) in _NOTHING):
        return None
    at, source = touchpoint.timestamp, touchpoint.source
    state = State()
    if not group:
        for name, value in _object(touchpoint.traits).items():
            if name == "consent" and isinstance(value, dict):
                for purpose, agreed in value.items():
                    state.consent[purpose] = [Said(agreed is True, at, event, source)]
            elif name.startswith("consent.") and len(name) > len("consent."):
                state.consent[name.removeprefix("consent.")] = [Said(value is True, at, event, source)]
            else:
                state.set[name] = [Said(value, at, event, source)]
    first = at if touchpoint.trust == "server" else max(at, touchpoint.received_at - BROWSER_LATENESS_MS)
    for name, value in _object(touchpoint.set_once).items():
        state.once[name] = [Said(value, first, event, source)]
    for name, value in _object(touchpoint.add).items():
        elements = [Said(element, at, event, source) for element in (value if isinstance(value, list) else [value])
                    if element is not None]
        if elements:
            state.add[name] = elements
    if granted is not None:
        for purpose in _purposes(_object(touchpoint.properties)):
            state.consent[purpose] = [Said(granted, at, event, source)]
    if touchpoint.account is not None:
        state.account = [Said(touchpoint.account, at, event, source)]
    return state or None


def says_of_account(touchpoint: Touchpoint, event: str) -> AccountSays | None:
    """Only a group call says something of its account."""
    if touchpoint.type != "group" or touchpoint.account is None:
        return None
    return AccountSays(touchpoint.account, State(set={
        name: [Said(value, touchpoint.timestamp, event, touchpoint.source)]
        for name, value in _object(touchpoint.traits).items()}))


def _purposes(properties: dict[str, Any]) -> list[str]:
    purpose = properties.get("purpose")
    return [item for item in (purpose if isinstance(purpose, list) else [purpose]) if isinstance(item, str) and item]

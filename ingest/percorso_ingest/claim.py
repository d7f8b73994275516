"""A claim: one event as somebody sent it, in Segment's words, not yet believed.

Every protocol adapter turns its request into claims; `accept.py` judges them all alike. The field types are as wide as
what really arrives (numbers and null as ids, numbers as times), so that one odd field costs its event, never a batch.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

NOTHING = msgspec.Raw(b"")


class Claim(msgspec.Struct, rename="camel", gc=False):
    """`traits`, `properties` and `context` are slices of what was sent, passed on unchanged."""

    type: Any = None
    user_id: Any = None
    anonymous_id: Any = None
    previous_id: Any = None
    group_id: Any = None
    event: Any = None
    name: Any = None
    category: Any = None
    message_id: Any = None
    timestamp: Any = None
    original_timestamp: Any = None
    sent_at: Any = None
    write_key: Any = None
    ga: Any = msgspec.field(default=None, name="_ga")
    client_id: Any = msgspec.field(default=None, name="client_id")
    traits: msgspec.Raw = NOTHING
    properties: msgspec.Raw = NOTHING
    context: msgspec.Raw = NOTHING


class Parcel(msgspec.Struct, gc=False):
    """What one request brought."""

    originals: Sequence[bytes | msgspec.Raw]
    """The bytes of each event, as sent (but see `digestible.clean`)."""
    single: bool
    """The answer depends on this one event; else bad ones are set aside and the answer is 200."""
    type: str | None = None
    """What the path says each event is; None: each says so itself."""
    write_key: Any = None
    sent_at: Any = None
    """For events that have none of their own."""
    context: msgspec.Raw = NOTHING
    """Merges into each event's, which wins."""
    flags: tuple[str, ...] = ()
    """For each of its touchpoints."""
    suspicious: bool = False
    """A number in it may be too large: see `digestible.may_hold_huge_number`."""

"""Topics and the records in them: the words that processes say to each other.

A record is one JSON object. Instants are milliseconds since 1970 (UTC), ids are 32 hex digits. Every derived record
(everything but `touchpoints.accepted`) also carries `stage`, `origin` and `seq`; the bus writes those three when a unit
of work publishes it (see `bus/port.py`), so that the structs below declare them only for reading.

`schema` is the version of a record's shape. A reader accepts its own version and the one before.
"""

from typing import Any, Literal

import msgspec

SCHEMA = 1

ACCEPTED = "touchpoints.accepted"
REFUSED = "touchpoints.refused"
RESOLVED = "touchpoints.resolved"
FOLDED = "touchpoints.folded"
IDENTITY_CHANGED = "identity.changed"
ACTIONS_REQUESTED = "actions.requested"

PARTITIONED_ALIKE = (ACCEPTED, RESOLVED, FOLDED, IDENTITY_CHANGED)
"""These have equal partition counts; a stage writes to the partition number that it read from."""

Trust = Literal["server", "browser"]
TouchpointType = Literal["track", "identify", "page", "screen", "group", "alias"]

EMPTY = msgspec.Raw(b"{}")


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A touchpoint that we believe (`touchpoints.accepted`). Written by ingest and, for what we did ourselves
    (`email_sent` ...), by the delivery worker."""

    schema: int
    workspace: int
    source: str
    trust: Trust
    event_id: str
    message_id: str
    """At most 100 characters."""
    original_message_id: str | None = None
    """The one that was sent, if it was longer: `message_id` is its hash then."""
    type: TouchpointType
    name: str
    """As sent for a track; `page_view`, `screen_view`, `identified`, `grouped`, `aliased` for the others."""
    timestamp: int
    """Event time, corrected for the sender's clock, never in the future of `received_at`."""
    received_at: int
    original_timestamp: str | None = None
    identifiers: list[tuple[str, str]] = []
    """(type, value) as sent, not yet normalised."""
    account: str | None = None
    """The group id of a `group` call or of `context.groupId`."""
    traits: msgspec.Raw = EMPTY
    """Of an identify: what to set on the person. Of a group: what to set on the account."""
    set_once: msgspec.Raw = EMPTY
    add: msgspec.Raw = EMPTY
    logged_out: bool = False
    properties: msgspec.Raw = EMPTY
    context: msgspec.Raw = EMPTY
    flags: list[str] = []
    """`timestamp_unreadable`, `timestamp_clamped`, `message_id_hashed`, `imported` ..."""


class Header(msgspec.Struct, frozen=True):
    """What every derived record begins with."""

    schema: int
    stage: str = ""
    origin: tuple[int, int] = (-1, -1)
    """Partition and position of the accepted touchpoint that caused it; (-1, -1) for a timer."""
    seq: int = -1
    """Counts up per output partition and producing stage."""


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """A touchpoint whose person is known (`touchpoints.resolved`). Duplicates never get here."""

    schema: int
    stage: str = ""
    origin: tuple[int, int] = (-1, -1)
    seq: int = -1
    workspace: int
    event_id: str
    link: str | None
    """The link of its identifiers; None if it has no usable identifier (it is kept in the history, of nobody)."""
    home: str | None
    """The link's strongest atom that is neither blocked nor a hub."""
    slice: str | None = None
    """For a link of weak ids only that belongs to a slice: the slice's owner atom."""
    profile: str | None
    """A hint: the pointer is read again inside every unit of work."""
    touchpoint: msgspec.Raw
    """The `Accepted` record, its bytes unchanged."""


class Move(msgspec.Struct, frozen=True, array_like=True):
    """One atom that points to another profile than before."""

    atom: str
    before: str
    after: str


class Recut(msgspec.Struct, frozen=True, array_like=True):
    """A weak identifier that several people use: its own touchpoints (those of links at home with it) in an interval of
    event time have another owner than before. Whose they are now, `identity.slices` says."""

    atom: str
    since: int | None
    """Half-open; None: without end."""
    until: int | None


class IdentityChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Pointers moved (`identity.changed`): profiles merged or split."""

    schema: int
    stage: str = ""
    origin: tuple[int, int] = (-1, -1)
    seq: int = -1
    workspace: int
    moves: list[Move]
    cause: str
    """`touchpoint` or `fact`."""
    recuts: list[Recut] = []


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """A touchpoint that is part of its profile (`touchpoints.folded`), or people that moved."""

    schema: int
    stage: str = ""
    origin: tuple[int, int] = (-1, -1)
    seq: int = -1
    workspace: int
    kind: Literal["touchpoint", "moved", "timer"]
    link: str | None = None
    home: str | None = None
    profile: str | None = None
    version: int = 0
    """The profile's version after this touchpoint."""
    changed: dict[str, Any] = {}
    """Traits that changed: name -> present value."""
    moves: list[Move] = []
    touchpoint: msgspec.Raw = EMPTY


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Something set aside, with its reason and original bytes (`touchpoints.refused`). Read back into quarantine."""

    schema: int
    stage: str = ""
    origin: tuple[int, int] = (-1, -1)
    seq: int = -1
    id: str
    """32 hex digits; the same refusal published twice is one quarantine row."""
    workspace: int
    source: str | None
    at_stage: str
    """`ingest_api`, or the worker that could not digest it."""
    reason: str
    detail: str
    received_at: int
    body_base64: str


ENCODER = msgspec.json.Encoder()
ACCEPTED_DECODER = msgspec.json.Decoder(Accepted)
HEADER_DECODER = msgspec.json.Decoder(Header)
RESOLVED_DECODER = msgspec.json.Decoder(Resolved)
IDENTITY_CHANGED_DECODER = msgspec.json.Decoder(IdentityChanged)
FOLDED_DECODER = msgspec.json.Decoder(Folded)
REFUSED_DECODER = msgspec.json.Decoder(Refused)

"""Ids: every id that two processes must agree on is a 16-byte hash, computed here and nowhere else.

Inside Python and in PostgreSQL (`uuid` columns) an id is 16 raw bytes; on the bus and in the query API it is its 32
lower-case hex digits. A hash that is the same on every machine is what lets a replayed or repeated touchpoint have no
second effect.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import NewType

AtomId = NewType("AtomId", bytes)
"""One identifier (type, normalised value) of one workspace. A profile id is an atom id too."""
LinkId = NewType("LinkId", bytes)
"""One set of identifiers that came together in a touchpoint."""
EventId = NewType("EventId", bytes)
"""One touchpoint: the hash of (workspace, source, message id)."""
ProfileId = NewType("ProfileId", bytes)
"""The atom id of the strongest identifier of a profile."""

_SEPARATOR = b"\x1f"


def _hash(kind: bytes, workspace: int, *parts: bytes) -> bytes:
    return blake2b(_SEPARATOR.join((b"%d" % workspace, *parts)), digest_size=16, person=kind).digest()


def atom_id(workspace: int, type_: str, value: str) -> AtomId:
    """`value` is already normalised (identity's rule)."""
    return AtomId(_hash(b"atom", workspace, type_.encode(), value.encode()))


def link_id(workspace: int, atoms: Iterable[bytes]) -> LinkId:
    """The same set of atoms gives the same id in any order, repeated or not."""
    return LinkId(_hash(b"link", workspace, *sorted(set(atoms))))


def event_id(workspace: int, source: str, message_id: str) -> EventId:
    return EventId(_hash(b"event", workspace, source.encode(), message_id.encode()))

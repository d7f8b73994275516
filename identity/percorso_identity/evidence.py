"""What resolution knows: a set that only grows. Nothing in here depends on the order in which it was learnt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple


class State(IntEnum):
    """What an atom may do (column `pointer.state`)."""

    ACTIVE = 0
    BROWSER_HUB = 1
    """Too many claim it, if what browsers say counts: for their evidence it is a hub."""
    HUB = 2
    CROWD_HUB = 3
    """A weak id with several strong neighbours in a crowd."""
    BLOCKED = 4


class Seen(NamedTuple):
    """The first touchpoint of its kind: smallest (event time in ms, event id)."""

    time: int
    event: bytes


class Link(NamedTuple):
    """Identifiers that came together. At least one of `server` and `browser` is there."""

    id: bytes
    atoms: tuple[bytes, ...]
    server: Seen | None
    browser: Seen | None


class Pin(NamedTuple):
    """An operator says: the same person."""

    a: bytes
    b: bytes
    seen: Seen
    """When it was said, and the fact's id."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All evidence of one or several whole components.

    `links` holds every link, not ignored, of every atom that is not in `settled`. Atoms of which no link speaks are not
    there at all.
    """

    types: Mapping[bytes, str]
    """Atom -> its type, for every atom of `links`."""
    links: Sequence[Link]
    blocked: frozenset[bytes] = frozenset()
    """By the block list or by an operator."""
    settled: Mapping[bytes, State] = field(default_factory=dict)
    """Hubs whose links were not read again: being a hub is for ever as long as no fact is revoked."""
    crowded: frozenset[bytes] = frozenset()
    """Atoms whose component is known to be a crowd."""
    vetoes: Sequence[tuple[bytes, bytes]] = ()
    pins: Sequence[Pin] = ()

"""One person: who it is, what we know and from where, what they did."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from percorso_identity.normalise import normalise
from percorso_identity.policy import Policy
from percorso_profile.fold import Said, State
from percorso_profile.views import profile_of
from percorso_services.console.reads.touchpoints import Touchpoint, about
from percorso_shared import history
from percorso_shared.clock import to_datetime
from percorso_shared.control import WORKSPACE
from percorso_shared.ids import atom_id

_HEX = re.compile(r"[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PHONE = re.compile(r"\+?[\d ()./-]{6,25}")


@dataclass(frozen=True)
class Identifier:
    type: str
    value: str
    state: str
    """`active`, or `hub` (shared by so many that it joins nobody)."""
    first_seen: datetime


@dataclass(frozen=True)
class Value:
    value: Any
    at: datetime
    source: str
    event_id: str


@dataclass(frozen=True)
class Trait:
    """A trait with where it comes from, and the values that lost."""

    name: str
    value: Any
    source: str
    at: datetime
    lost: Sequence[Value]


@dataclass(frozen=True)
class Person:
    profile_id: bytes
    identifiers: Sequence[Identifier]
    """Strongest kinds first: those that name somebody, then browsers and devices."""
    traits: Sequence[Trait]
    consent: Sequence[Trait]
    account: str | None
    touchpoints: int
    by_name: Sequence[tuple[str, int]]
    """How often they did what, the most frequent first."""

    @property
    def title(self) -> str:
        """A name if we know one, else an identifier."""
        for name in ("name", "first_name", "firstName"):
            for trait in self.traits:
                if trait.name == name and isinstance(trait.value, str) and trait.value:
                    return trait.value
        return self.identifiers[0].value if self.identifiers else self.profile_id.hex()

    @property
    def addresses(self) -> list[str]:
        return [identifier.value for identifier in self.identifiers if identifier.type == "email"]


_IDENTIFIERS = """
SELECT a.type, a.value, a.state, a.first_seen FROM identity.pointers p
JOIN identity.atoms a ON a.workspace_id = $1 AND a.atom_id = p.atom_id
WHERE p.workspace_id = $1 AND p.profile_id = $2
ORDER BY a.type IN ('anonymous_id', 'device_id', 'ga_client_id'), a.type <> 'user_id', a.type, a.first_seen LIMIT 200
"""


def candidates(text: str) -> list[tuple[str, str]]:
    """What a search may mean, the likeliest first: (type, value). The type `` is a profile id."""
    text = text.strip()
    if not text:
        return []
    found: list[tuple[str, str]] = []
    kind, colon, value = text.partition(":")
    if colon and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", kind) and value.strip():
        found.append((kind, value.strip()))
    if _HEX.fullmatch(text):
        found.append(("", text))
    if "@" in text:
        found.append(("email", text))
    if _UUID.fullmatch(text):
        found.append(("anonymous_id", text))
    if _PHONE.fullmatch(text):
        found.append(("phone", text))
    found.append(("user_id", text))
    return found


async def find_profile(connection: Any, text: str) -> bytes | None:
    """The present profile id of the first candidate that we know."""
    atoms: list[bytes] = []
    for kind, value in candidates(text):
        if not kind:
            atoms.append(bytes.fromhex(value))
        elif (identifier := normalise(kind, value, Policy())) is not None:
            atoms.append(atom_id(WORKSPACE, identifier.type, identifier.value))
    rows = await connection.fetch(
        "SELECT atom_id, profile_id FROM identity.pointers WHERE workspace_id = $1 AND atom_id = ANY ($2::uuid[])",
        WORKSPACE, atoms)
    pointers = {row["atom_id"]: row["profile_id"] for row in rows}
    return next((pointers[atom] for atom in atoms if atom in pointers), None)


async def read_person(connection: Any, profile_id: bytes) -> Person:
    rows = await connection.fetch(_IDENTIFIERS, WORKSPACE, profile_id)
    profile = await profile_of(connection, WORKSPACE, profile_id)
    return Person(
        profile_id, [Identifier(*row) for row in rows], _traits(profile.state), _consent(profile.state),
        profile.account, profile.touchpoints, sorted(profile.by_name.items(), key=lambda pair: (-pair[1], pair[0])))


async def timeline_of(connection: Any, profile_id: bytes, before_ms: int | None, limit: int) -> list[Touchpoint]:
    """What the person did, newest first, of all their browsers and names."""
    past = await history.scan(connection, WORKSPACE, [profile_id], to_ms=before_ms, limit=limit)
    return [_as_touchpoint(touchpoint) for touchpoint in reversed(past)]


def _as_touchpoint(past: history.PastTouchpoint) -> Touchpoint:
    body = msgspec.json.decode(past.touchpoint)
    return Touchpoint(past.event_id.hex(), to_datetime(past.received_at), to_datetime(past.event_time), past.source,
                      past.type, past.name, about(body), None, body)


def _traits(state: State) -> list[Trait]:
    traits = {name: _trait(name, kept) for name, kept in {**state.once, **state.set}.items() if kept}
    for name, elements in state.add.items():
        if elements and name not in traits:
            newest = max(elements, key=lambda said: said.at)
            traits[name] = Trait(name, [said.value for said in elements], newest.source, to_datetime(newest.at), ())
    return [traits[name] for name in sorted(traits) if name != "consent"]


def _consent(state: State) -> list[Trait]:
    return [_trait(purpose, kept) for purpose, kept in sorted(state.consent.items()) if kept]


def _trait(name: str, kept: Sequence[Said]) -> Trait:
    first = kept[0]
    return Trait(name, first.value, first.source, to_datetime(first.at),
                 [Value(said.value, to_datetime(said.at), said.source, said.event) for said in kept[1:]])

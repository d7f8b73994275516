"""What we know of a person as a fold: joins of what single touchpoints said.

A `State` is what a set of touchpoints said of one link, one person or one account. `join` is commutative, associative
and idempotent, so that any order, batching or repetition of touchpoints, and any regrouping of links into people, gives
the same result. Every value keeps who said it, when, and in which touchpoint; values that lost are kept too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

KEPT_VALUES = 10
"""Distinct values kept per trait, the winning one included. Cutting keeps the laws: a value is cut only when this many
others stand before it, and their instants never move back."""

_SORTED = msgspec.json.Encoder(order="sorted")
_MISSING = object()


class Said(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value, and the touchpoint that said it. Ordered by (at, event): no two touchpoints compare equal."""

    value: Any
    at: int
    """Event time, ms since 1970."""
    event: str
    """32 hex digits."""
    source: str


class State(msgspec.Struct, omit_defaults=True):
    """Its JSON form is what the tables keep. Lists inside are replaced, never changed in place."""

    set: dict[str, list[Said]] = {}
    """Trait -> its values, newest first: the first wins. Each distinct value once, with its newest instant."""
    once: dict[str, list[Said]] = {}
    """Trait -> first writers, oldest first. Never beats `set`."""
    add: dict[str, list[Said]] = {}
    """Trait -> elements of the set, by their JSON form, each with its oldest instant."""
    consent: dict[str, list[Said]] = {}
    """Purpose -> given or not, newest first."""
    account: list[Said] = []
    """Account ids, newest first."""

    def __bool__(self) -> bool:
        return bool(self.set or self.once or self.add or self.consent or self.account)


class Changes(NamedTuple):
    """What looks different after a join: empty when something was only said again."""

    traits: dict[str, Any]
    """Name -> present value; `consent` among them when a purpose changed."""
    account: bool

    def __bool__(self) -> bool:
        return bool(self.traits) or self.account


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(State)


def encode(state: State) -> str:
    return _ENCODER.encode(state).decode()


def decode(text: str | bytes) -> State:
    return _DECODER.decode(text)


def _same(a: Any, b: Any) -> bool:
    """`1` and `true` are two values, inside lists and objects too."""
    if type(a) is not type(b) or a != b:
        return False
    return not isinstance(a, list | dict) or _SORTED.encode(a) == _SORTED.encode(b)


def _later(said: Said) -> tuple[int, str]:
    return said.at, said.event


def _newest(kept: list[Said], new: Said) -> list[Said]:
    """`kept` with `new` in its place; the same list when nothing changed."""
    if not kept:
        return [new]
    for index, old in enumerate(kept):
        if _same(old.value, new.value):
            if _later(new) <= _later(old):
                return kept
            return [new, *kept[1:]] if index == 0 else sorted(
                [*kept[:index], *kept[index + 1:], new], key=_later, reverse=True)
    return sorted([*kept, new], key=_later, reverse=True)[:KEPT_VALUES]


def _oldest(kept: list[Said], new: Said) -> list[Said]:
    for index, old in enumerate(kept):
        if _same(old.value, new.value):
            if _later(new) >= _later(old):
                return kept
            return sorted([*kept[:index], *kept[index + 1:], new], key=_later)
    return sorted([*kept, new], key=_later)[:KEPT_VALUES]


def _with_element(kept: list[Said], new: Said) -> list[Said]:
    key = _SORTED.encode(new.value)
    for index, old in enumerate(kept):
        found = _SORTED.encode(old.value)
        if found == key:
            return kept if _later(old) <= _later(new) else [*kept[:index], new, *kept[index + 1:]]
        if found > key:
            return [*kept[:index], new, *kept[index:]]
    return [*kept, new]


def present(state: State, name: str, default: Any = None) -> Any:
    """The value of one trait as it shows: set, else first written, else the set of that name as a list."""
    if name == "consent" and state.consent:
        return consent_of(state)
    kept = state.set.get(name) or state.once.get(name)
    if kept:
        return kept[0].value
    elements = state.add.get(name)
    return [element.value for element in elements] if elements else default


def traits_of(state: State) -> dict[str, Any]:
    """All traits as they show, in alphabetical order."""
    names = {*state.set, *state.once, *state.add}
    if state.consent:
        names.add("consent")
    return {name: present(state, name) for name in sorted(names)}


def consent_of(state: State) -> dict[str, bool]:
    return {purpose: kept[0].value for purpose, kept in sorted(state.consent.items())}


def account_of(state: State) -> str | None:
    return state.account[0].value if state.account else None


def absorb(state: State, said: State) -> Changes:
    """Joins `said` into `state`, in place: the step of the stream."""
    changed: dict[str, Any] = {}
    for name in {*said.set, *said.once, *said.add} if said.once or said.add else said.set:
        before = present(state, name, _MISSING)
        for new in said.set.get(name, ()):
            state.set[name] = _newest(state.set.get(name, []), new)
        for new in said.once.get(name, ()):
            state.once[name] = _oldest(state.once.get(name, []), new)
        for new in said.add.get(name, ()):
            state.add[name] = _with_element(state.add.get(name, []), new)
        after = present(state, name, _MISSING)
        if not _same(before, after):
            changed[name] = after
    if said.consent:
        agreed = consent_of(state)
        for purpose, values in said.consent.items():
            for new in values:
                state.consent[purpose] = _newest(state.consent.get(purpose, []), new)
        if agreed != consent_of(state):
            changed["consent"] = consent_of(state)
    belonged = account_of(state)
    for new in said.account:
        state.account = _newest(state.account, new)
    return Changes(changed, belonged != account_of(state))


def join(states: Iterable[State]) -> State:
    """The least state that holds all of them. None of them is changed."""
    result = State()
    for state in states:
        absorb(result, state)
    return result


class Seen(NamedTuple):
    """Distinct touchpoints of one canonical name; instants in ms since 1970, event time."""

    touchpoints: int
    first: int
    last: int

    def __add__(self, other: "Seen") -> "Seen":  # type: ignore[override]
        return Seen(self.touchpoints + other.touchpoints, min(self.first, other.first), max(self.last, other.last))


def add_counters(counters: Iterable[Mapping[str, Seen]]) -> dict[str, Seen]:
    """Each touchpoint is in exactly one of them."""
    result: dict[str, Seen] = {}
    for counter in counters:
        for name, seen in counter.items():
            result[name] = result[name] + seen if name in result else seen
    return result


@dataclass(frozen=True, slots=True)
class LinkState:
    """All that is kept of one link (of weak ids only: of one link in one slice)."""

    state: State = field(default_factory=State)
    counters: Mapping[str, Seen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Profile:
    """What we know of one person."""

    traits: dict[str, Any]
    sets: dict[str, list[Any]]
    consent: dict[str, bool]
    account: str | None
    touchpoints: int
    by_name: dict[str, int]
    first_seen: int | None
    last_seen: int | None
    state: State
    """Where each value comes from, and what lost against it."""


def fold(links: Iterable[LinkState]) -> Profile:
    """The order of the links does not matter; each link (and slice) comes once."""
    links = list(links)
    state = join(link.state for link in links)
    counters = add_counters(link.counters for link in links)
    return Profile(
        traits=traits_of(state),
        sets={name: [element.value for element in kept] for name, kept in sorted(state.add.items())},
        consent=consent_of(state),
        account=account_of(state),
        touchpoints=sum(seen.touchpoints for seen in counters.values()),
        by_name={name: seen.touchpoints for name, seen in sorted(counters.items())},
        first_seen=min((seen.first for seen in counters.values()), default=None),
        last_seen=max((seen.last for seen in counters.values()), default=None),
        state=state)

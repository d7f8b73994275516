"""The file of cases: read strictly, so that a misspelt key is an error and not a case that checks nothing."""

from pathlib import Path
from typing import Any, Literal

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from percorso_identity.policy import DEFAULT, DEFAULT_TYPES, Policy, TypeRule
from percorso_shared.cannot_run import CannotRun

FOR_THE_READER = frozenset({"source", "src", "why", "note", "basis", "chk", "derived", "source_says"})
"""Ignored in a case, an event, a fact and in what is expected."""


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One touchpoint."""

    id: str
    t: int
    ids: dict[str, Any] = {}
    tenant: int = 1
    set: dict[str, Any] = {}
    set_once: dict[str, Any] = {}
    add: dict[str, Any] = {}
    logout: bool = False

    def identifiers(self) -> list[tuple[str, str]]:
        return [(type_, str(value)) for type_, given in self.ids.items()
                for value in (given if isinstance(given, list) else [given]) if value is not None]


class CaseFact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator said."""

    op: Literal["block", "veto", "pin"]
    id: str | None = None
    a: str | None = None
    b: str | None = None
    tenant: int = 1

    def named(self) -> list[str]:
        return [one for one in (self.id, self.a, self.b) if one is not None]


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is named is compared."""

    profiles: list[list[str]] | None = None
    n_profiles: int | None = None
    events_of: dict[str, str | None] = {}
    traits: dict[str, dict[str, Any]] = {}
    sets: dict[str, dict[str, list[Any]]] = {}
    counts: dict[str, int] = {}
    canonical: dict[str, str] = {}
    refused: list[tuple[str, str, Literal["limit", "size", "hub", "veto"]]] = []


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A type's rule; what is not given stays as by default."""

    rank: int | None = None
    limit: int | None = None
    weak: bool | None = None
    fold: Literal["lower"] | None = None


class _Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    types: dict[str, _Rule] = {}
    hub: int | None = None
    size: int | None = None
    shared: Literal["slice", "first", "last", "ambiguous"] | None = None


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A set of events and facts, and what must come of it in every order."""

    case: str
    events: list[Event]
    expect: Expected
    policy: _Policy = _Policy()
    facts: list[CaseFact] = []

    def rules(self) -> Policy:
        """Raises ValueError for a rule out of its range."""
        types: dict[str, TypeRule] = {}
        for type_, given in self.policy.types.items():
            changes = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not None}
            types[type_] = msgspec.structs.replace(DEFAULT_TYPES.get(type_) or DEFAULT.rule(type_), **changes)
        changes = {name: value for name, value in msgspec.structs.asdict(self.policy).items()
                   if name != "types" and value is not None}
        rules = Policy(types=types, **changes)
        return msgspec.convert(msgspec.to_builtins(rules), Policy)


def read_cases(path: Path) -> list[Case]:
    """Raises CannotRun, with the case and the key that is unknown."""
    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CannotRun(f"cannot read {path}: {error.strerror}") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise CannotRun(f"{path} is no YAML: {error}") from error
    if not isinstance(data, list):
        raise CannotRun(f"{path} must be a list of cases")
    return [_case(number, one) for number, one in enumerate(data, 1)]


def _case(number: int, data: Any) -> Case:
    name = data.get("case", f"number {number}") if isinstance(data, dict) else f"number {number}"
    try:
        case = msgspec.convert(_without_remarks(data), Case)
        case.rules()
    except (msgspec.ValidationError, ValueError) as error:
        raise CannotRun(f"case {name}: {error}") from error
    for fact in case.facts:
        if len(fact.named()) != (1 if fact.op == "block" else 2) or (fact.op == "block") != (fact.id is not None):
            raise CannotRun(f"case {name}: a {fact.op} has {'id' if fact.op == 'block' else 'a and b'}")
    unknown = case.expect.events_of.keys() - {event.id for event in case.events}
    if unknown:
        raise CannotRun(f"case {name}: events_of names {', '.join(sorted(unknown))}, which is no event")
    return case


def _without_remarks(data: Any) -> Any:
    """The case without what is for its reader, also inside its events, facts, policy and expectations."""
    if not isinstance(data, dict):
        return data
    kept = {key: value for key, value in data.items() if key not in FOR_THE_READER}
    for key in ("events", "facts"):
        if isinstance(kept.get(key), list):
            kept[key] = [{name: value for name, value in one.items() if name not in FOR_THE_READER}
                         if isinstance(one, dict) else one for one in kept[key]]
    for key in ("policy", "expect"):
        if isinstance(kept.get(key), dict):
            kept[key] = {name: value for name, value in kept[key].items() if name not in FOR_THE_READER}
    return kept

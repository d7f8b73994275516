"""The variables of one evaluation: only what the expression mentions, null where it is missing, numbers as doubles."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str, ...]


@dataclass(slots=True)
class Need:
    """What an expression reads below one name."""

    whole: bool = False
    """The value itself is used, not only what is inside."""
    guarded: bool = False
    """`has()` asks whether it is there: then null is left out instead of filled in."""
    inside: "dict[str, Need]" = field(default_factory=dict)


def needs_of(reads: Iterable[Path], guarded: Iterable[Path]) -> dict[str, Need]:
    """root name -> what is read below it."""
    top: dict[str, Need] = {}
    for path in reads:
        _reach(top, path).whole = True
    for path in guarded:
        _reach(top, path).guarded = True
    return top


def _reach(top: dict[str, Need], path: Path) -> Need:
    need = top.setdefault(path[0], Need())
    for name in path[1:]:
        need = need.inside.setdefault(name, Need())
    return need


def fill(value: Any, need: Need) -> Any:
    """`value` cut down to what is needed. Every path of `need` exists in the result (with null at its end), unless
    something that is no object stands in its way, or the object itself is also asked for and is null."""
    inside = need.inside
    if not inside:
        return value if type(value) is str or value is None else as_doubles(value)
    if value is None:
        if need.whole:
            return None
        value = {}
    elif not isinstance(value, Mapping):
        return as_doubles(value)
    filled: dict[str, Any] = as_doubles(value) if need.whole else {}
    for name, part in inside.items():
        found = value.get(name)
        if found is None and part.guarded:
            filled.pop(name, None)
        else:
            filled[name] = fill(found, part)
    return filled


def as_doubles(value: Any) -> Any:
    """JSON knows one kind of number."""
    kind = type(value)
    if kind is int:
        return float(value)
    if kind is str or kind is float or kind is bool or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(name): as_doubles(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_doubles(part) for part in value]
    return value


_EXACT = 2.0**53


def as_json(value: Any) -> Any:
    """A result as JSON has it: whole numbers without a fraction, instants and durations as text."""
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() and abs(value) <= _EXACT else value
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        return value
    if isinstance(value, dict):
        return {as_text(name): as_json(part) for name, part in value.items()}
    if isinstance(value, list):
        return [as_json(part) for part in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "total_seconds"):
        return f"{as_json(value.total_seconds())}s"
    return str(value)


def as_text(value: Any) -> str:
    """A result inside a text: null is nothing, a list is joined with commas."""
    value = as_json(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(as_text(part) for part in value)
    return str(value)

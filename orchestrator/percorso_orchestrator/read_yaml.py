"""YAML 1.2, core schema, with the place of every value: `as: no` is a string, errors name line and column.

Tags, merge keys and timestamps are not part of it. An alias is read as a copy of its anchor, within a size limit.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_LIMIT = 100_000
_DEPTH = 60
_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OCT_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class Place(NamedTuple):
    """Both count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


class YamlProblem(ValueError):
    """What is wrong in a file, and where."""

    def __init__(self, message: str, place: Place | None = None, file: str = "") -> None:
        where = ", ".join(part for part in (file, str(place) if place else "") if part)
        super().__init__(f"{where}: {message}" if where else message)
        self.message, self.place, self.file = message, place, file

    def in_file(self, file: str) -> "YamlProblem":
        return YamlProblem(self.message, self.place, file)


@dataclass(frozen=True, slots=True)
class Located:
    """A value and where it begins. `value`: None, bool, int, float, str, a list of Located, or a dict of name to
    Located; `keys` are the places of a dict's names."""

    value: Any
    place: Place
    keys: dict[str, Place]

    def refuse(self, message: str) -> NoReturn:
        raise YamlProblem(message, self.place)

    def plain(self) -> Any:
        """Without the places."""
        if isinstance(self.value, dict):
            return {name: item.plain() for name, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def mapping(self, what: str, known: Iterable[str] | None = None) -> dict[str, "Located"]:
        """The names of a mapping; an unknown one is refused with the nearest known one."""
        if not isinstance(self.value, dict):
            self.refuse(f"{what} must be a mapping, not {_kind(self.value)}")
        if known is not None:
            names = tuple(known)
            for name in self.value:
                if name not in names:
                    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
                    hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}"
                    raise YamlProblem(f"{name!r} is not known in {what}{hint}", self.keys[name])
        return self.value

    def items(self, what: str) -> list["Located"]:
        if not isinstance(self.value, list):
            self.refuse(f"{what} must be a list, not {_kind(self.value)}")
        return self.value

    def text(self, what: str) -> str:
        if not isinstance(self.value, str):
            self.refuse(f"{what} must be text, not {_kind(self.value)}")
        return self.value

    def whole(self, what: str, low: int = 0) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < low:
            self.refuse(f"{what} must be a whole number, {low} or more")
        return self.value

    def truth(self, what: str) -> bool:
        if not isinstance(self.value, bool):
            self.refuse(f"{what} must be true or false, not {_kind(self.value)}")
        return self.value


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value)


def read_yaml(text: str) -> Located:
    """The one document in `text`. Raises YamlProblem."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = "1.2"
    try:
        nodes = list(_documents(yaml, text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else None
        raise YamlProblem(str(error.problem or error.context or "not YAML"), place) from None
    except (YAMLError, ValueError) as error:
        raise YamlProblem(" ".join(str(error).split())) from None
    except RecursionError:
        raise YamlProblem("too deeply nested") from None
    if len(nodes) != 1:
        raise YamlProblem("one document is expected" if nodes else "the file is empty")
    return _Builder().build(nodes[0], 0)


def _documents(yaml: YAML, text: str) -> Iterator[Node]:
    for node in yaml.compose_all(text):
        if node is not None:
            yield node


class _Builder:
    def __init__(self) -> None:
        self.count = 0

    def build(self, node: Node, depth: int) -> Located:
        place = Place(node.start_mark.line + 1, node.start_mark.column + 1)
        self.count += 1
        if self.count > _LIMIT or depth > _DEPTH:
            raise YamlProblem("the file is too large or too deeply nested", place)
        if isinstance(node, ScalarNode):
            return Located(_scalar(node, place), place, {})
        if isinstance(node, SequenceNode):
            return Located([self.build(item, depth + 1) for item in node.value], place, {})
        assert isinstance(node, MappingNode)
        values: dict[str, Located] = {}
        keys: dict[str, Place] = {}
        for key, value in node.value:
            at = Place(key.start_mark.line + 1, key.start_mark.column + 1)
            if not isinstance(key, ScalarNode):
                raise YamlProblem("a name must be text", at)
            name = str(key.value)
            if name in values:
                raise YamlProblem(f"{name!r} is there twice", at)
            values[name] = self.build(value, depth + 1)
            keys[name] = at
        return Located(values, place, keys)


def _scalar(node: ScalarNode, place: Place) -> Any:
    text = node.value
    if node.style is not None:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text) and len(text) < 40:
        return int(text)
    if _OCT_HEX.fullmatch(text) and len(text) < 40:
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text

"""The checked syntax tree of a CEL expression, read from and written to the protocol-buffer form in which
cel-expr-python hands it over (`cel.expr.CheckedExpr` of github.com/google/cel-spec, checked.proto and syntax.proto).

Only this wire format is known here; what a tree may contain is decided in `compiling.py`.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from percorso_shared.conditions.errors import ConditionError


@dataclass(slots=True)
class Constant:
    """`value` is None, bool, int, float, str or bytes; `unsigned` for 3u."""

    id: int
    value: bool | int | float | str | bytes | None
    unsigned: bool = False


@dataclass(slots=True)
class Ident:
    id: int
    name: str


@dataclass(slots=True)
class Select:
    """`operand.field`, or `has(operand.field)` if test_only."""

    id: int
    operand: "Node"
    field: str
    test_only: bool


@dataclass(slots=True)
class Invoke:
    """A function or operator (`_+_`, `_[_]` ...) applied."""

    id: int
    target: "Node | None"
    function: str
    args: "list[Node]"


@dataclass(slots=True)
class ListOf:
    id: int
    elements: "list[Node]"


@dataclass(slots=True)
class MapOf:
    id: int
    entries: "list[tuple[int, Node, Node]]"
    """(entry id, key, value)"""


@dataclass(slots=True)
class Loop:
    """What a macro (`all`, `map` ...) turns into, or a message of a type, or anything else we do not allow."""

    id: int
    what: Literal["loop", "message"]


_TYPE_URL = b"type.googleapis.com/cel.expr.CheckedExpr"

Node = Constant | Ident | Select | Invoke | ListOf | MapOf | Loop


@dataclass(slots=True)
class Tree:
    root: Node
    positions: dict[int, int] = field(default_factory=dict)
    """node id -> offset in characters"""
    line_offsets: list[int] = field(default_factory=list)
    """offset of the first character of line 2, 3 ..."""

    def place(self, node_id: int) -> tuple[int, int]:
        """Line and column, both from 1."""
        offset = self.positions.get(node_id, 0)
        starts = [0, *(start for start in self.line_offsets if start <= offset)]
        return len(starts), offset - starts[-1] + 1


def children(node: Node) -> "list[Node]":
    """The parts of a node, in the order of the text."""
    if isinstance(node, Select):
        return [node.operand]
    if isinstance(node, Invoke):
        return [*([node.target] if node.target is not None else []), *node.args]
    if isinstance(node, ListOf):
        return node.elements
    if isinstance(node, MapOf):
        return [part for _, key, value in node.entries for part in (key, value)]
    return []


# --- reading -------------------------------------------------------------------------------------------------------


def read_tree(checked: bytes) -> Tree:
    """`Expression.serialize()` (a CheckedExpr or ParsedExpr inside an Any) -> tree."""
    root: Node | None = None
    positions: dict[int, int] = {}
    offsets: list[int] = []
    wrapped = dict(_fields(checked))
    expression, source = (4, 5) if wrapped[1] == _TYPE_URL else (2, 3)
    for number, value in _fields(_bytes(wrapped[2])):
        if number == expression:
            root = _node(_bytes(value))
        elif number == source:
            for part, content in _fields(_bytes(value)):
                if part == 3:
                    offsets.extend(_packed(content))
                elif part == 4:
                    entry = dict(_fields(_bytes(content)))
                    positions[_int(entry.get(1, 0))] = _int(entry.get(2, 0))
    if root is None:
        raise ConditionError("the expression is empty")
    return Tree(root, positions, offsets)


def _node(data: bytes) -> Node:
    ident, kind, body = 0, 0, b""
    for number, value in _fields(data):
        if number == 2:
            ident = _int(value)
        else:
            kind, body = number, _bytes(value)
    if kind == 3:
        return _constant(ident, body)
    if kind == 4:
        return Ident(ident, _text(dict(_fields(body)).get(1, b"")))
    if kind == 5:
        parts = dict(_fields(body))
        return Select(ident, _node(_bytes(parts[1])), _text(parts.get(2, b"")), bool(parts.get(3, 0)))
    if kind == 6:
        target: Node | None = None
        function, args = "", []
        for number, value in _fields(body):
            if number == 1:
                target = _node(_bytes(value))
            elif number == 2:
                function = _text(value)
            else:
                args.append(_node(_bytes(value)))
        return Invoke(ident, target, function, args)
    if kind == 7:
        return ListOf(ident, [_node(_bytes(value)) for number, value in _fields(body) if number == 1])
    if kind == 8:
        return _map(ident, body)
    return Loop(ident, "loop")


def _constant(ident: int, body: bytes) -> Constant:
    for number, value in _fields(body):
        if number == 1:
            return Constant(ident, None)
        if number == 2:
            return Constant(ident, bool(value))
        if number == 3:
            return Constant(ident, _int(value))
        if number == 4:
            return Constant(ident, _int(value), unsigned=True)
        if number == 5:
            return Constant(ident, struct.unpack("<d", _bytes(value))[0])
        if number == 6:
            return Constant(ident, _text(value))
        return Constant(ident, _bytes(value))
    return Constant(ident, None)


def _map(ident: int, body: bytes) -> Node:
    entries: list[tuple[int, Node, Node]] = []
    for number, value in _fields(body):
        if number == 1 and value:
            return Loop(ident, "message")
        if number == 2:
            parts = dict(_fields(_bytes(value)))
            if 3 not in parts:
                return Loop(ident, "message")
            entries.append((_int(parts.get(1, 0)), _node(_bytes(parts[3])), _node(_bytes(parts[4]))))
    return MapOf(ident, entries)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value): varints as int, everything else as bytes."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            number, at = _varint(data, at)
            yield tag >> 3, number
        else:
            if wire == 2:
                length, at = _varint(data, at)
            else:
                length = 8 if wire == 1 else 4
            yield tag >> 3, data[at:at + length]
            at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _packed(value: int | bytes) -> list[int]:
    if isinstance(value, int):
        return [value]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers


def _int(value: int | bytes) -> int:
    assert isinstance(value, int), "a number was expected in the syntax tree"
    return value - (1 << 64) if value >= 1 << 63 else value


def _bytes(value: int | bytes) -> bytes:
    assert isinstance(value, bytes), "a message was expected in the syntax tree"
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()


# --- writing -------------------------------------------------------------------------------------------------------


def write_tree(root: Node) -> bytes:
    """A `CheckedExpr` for `Env.deserialize`, without the checker's notes: names and overloads are found at run time."""
    return _part(1, _TYPE_URL) + _part(2, _part(4, _write(root)))


def _write(node: Node) -> bytes:
    head = _number(2, node.id)
    if isinstance(node, Constant):
        return head + _part(3, _write_constant(node))
    if isinstance(node, Ident):
        return head + _part(4, _part(1, node.name.encode()))
    if isinstance(node, Select):
        return head + _part(5, _part(1, _write(node.operand)) + _part(2, node.field.encode())
                            + (_number(3, 1) if node.test_only else b""))
    if isinstance(node, Invoke):
        target = _part(1, _write(node.target)) if node.target is not None else b""
        return head + _part(6, target + _part(2, node.function.encode())
                            + b"".join(_part(3, _write(part)) for part in node.args))
    if isinstance(node, ListOf):
        return head + _part(7, b"".join(_part(1, _write(part)) for part in node.elements))
    if isinstance(node, MapOf):
        return head + _part(8, b"".join(
            _part(2, _number(1, ident) + _part(3, _write(key)) + _part(4, _write(value)))
            for ident, key, value in node.entries))
    raise ConditionError("loops cannot be written")


def _write_constant(node: Constant) -> bytes:
    value = node.value
    if value is None:
        return _number(1, 0)
    if isinstance(value, bool):
        return _number(2, int(value))
    if isinstance(value, int):
        return _number(4 if node.unsigned else 3, value)
    if isinstance(value, float):
        return b"\x29" + struct.pack("<d", value)
    if isinstance(value, str):
        return _part(6, value.encode())
    return _part(7, value)


def _number(number: int, value: int) -> bytes:
    return _to_varint(number << 3) + _to_varint(value)


def _part(number: int, body: bytes) -> bytes:
    return _to_varint(number << 3 | 2) + _to_varint(len(body)) + body


def _to_varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

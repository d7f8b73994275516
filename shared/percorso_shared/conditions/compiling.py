"""From the text of an expression to something that can be evaluated.

The checker reads the text; then the checked tree is looked through and rewritten:

* loops (what the macros `all`, `exists`, `map`, `filter` turn into) and messages are refused;
* whole numbers become doubles, like every number in JSON: `event.total / 100` is no whole division;
* `count`, `values`, `last` and `sent` become look-ups in the answers that the caller gives to `evaluate`; their
  arguments are literals, so that everything an expression will ask is known before it is evaluated.
"""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from cel_expr_python import cel

from percorso_shared.conditions.check_messages import explain, nearest
from percorso_shared.conditions.context_filling import Need, Path, needs_of
from percorso_shared.conditions.environment import ROOTS, SIGNATURES, STATE, checker, runtime
from percorso_shared.conditions.errors import ConditionError
from percorso_shared.conditions.syntax_tree import (
    Constant,
    Ident,
    Invoke,
    ListOf,
    Loop,
    MapOf,
    Node,
    Select,
    Tree,
    read_tree,
    write_tree,
)

Function = Literal["count", "values", "last", "sent"]
Names = Mapping[str, Collection[str] | None]
"""root -> the names that may follow it, None for any."""

ANY_NAMES: Names = dict.fromkeys(ROOTS)

MAX_CHARACTERS = 4_000
_SINCE = re.compile(r"(\d+[smhdw])+")
_WHOLE = {"size", "int", "uint", "indexOf", "lastIndexOf"}
"""Functions whose result is a whole number; so are the `getHours()` ... of instants."""

_MIXED = re.compile(r"no matching overload for .* applied to '\((?:int, double|double, int)\)'")
_QUOTED_OR_NUMBER = re.compile(
    r"""\"(?:[^"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[A-Za-z_]\w*|\d+\.\d+(?:[eE][+-]?\d+)?|0x[0-9a-fA-F]+|\d+[uUeE][\d+-]*"""
    r"|(?P<whole>\d+)")


class Call(NamedTuple):
    """A question about the state of a run or person."""

    function: Function
    event: str
    """The event's name as written; for `sent` the step."""
    property: str | None = None
    since: str | None = None
    """A duration such as `7d`, `ever`, or None: this run's key since its entry."""


class Program(NamedTuple):
    """What a text compiles to."""

    expression: Any
    result: str
    """The checker's word for the type: BOOL, DYN, STRING ..."""
    needs: dict[str, Need]
    reads: frozenset[str]
    calls: tuple[Call, ...]


def compile_program(text: str, names: Names = ANY_NAMES) -> Program:
    """Raises ConditionError. The same text compiles once."""
    return _compile(text, tuple(sorted(
        (root, None if inside is None else tuple(sorted(inside))) for root, inside in names.items())))


@lru_cache(maxsize=4_096)
def _compile(text: str, names: tuple[tuple[str, tuple[str, ...] | None], ...]) -> Program:
    if not isinstance(text, str):
        raise ConditionError(f"an expression is a text, not {type(text).__name__}")
    if not text.strip():
        raise ConditionError("the expression is empty")
    if len(text) > MAX_CHARACTERS:
        raise ConditionError(f"the expression is longer than {MAX_CHARACTERS} characters")
    known = dict(names)
    checked, tree = _check(text, known)
    rewriting = _Rewriting(tree, known)
    root = rewriting.node(tree.root)
    return Program(
        runtime().deserialize(write_tree(root)),
        _kind(checked.return_type()),
        needs_of(rewriting.reads, rewriting.guarded),
        frozenset(".".join(path) for path in (*rewriting.reads, *rewriting.guarded)),
        tuple(rewriting.calls))


def _check(text: str, known: Collection[str]) -> tuple[Any, Tree]:
    """CEL takes 100 for a whole number and refuses `event.total / 100 == 0.5`. A text that fails like this is checked
    once more with 100.0 in its place; the positions stay those of the text."""
    try:
        checked = checker().compile(text)
        return checked, read_tree(checked.serialize())
    except RuntimeError as error:
        said = str(error)
    if _MIXED.search(said):
        try:
            checked = checker().compile(_QUOTED_OR_NUMBER.sub(_as_double, text))
        except RuntimeError:
            raise explain(text, said, known) from None
        original = read_tree(checker().compile(text, disable_check=True).serialize())
        return checked, Tree(read_tree(checked.serialize()).root, original.positions, original.line_offsets)
    raise explain(text, said, known)


def _as_double(token: "re.Match[str]") -> str:
    return f"{token[0]}.0" if token["whole"] else token[0]


def _kind(kind: Any) -> str:
    return "BOOL" if kind == cel.Type.BOOL else "DYN" if kind == cel.Type.DYN else str(kind.name())


class _Rewriting:
    """One walk over a tree: collects what it reads and asks, and returns it rewritten."""

    def __init__(self, tree: Tree, names: Mapping[str, Collection[str] | None]) -> None:
        self.tree, self.names = tree, names
        self.reads: dict[Path, None] = {}
        self.guarded: dict[Path, None] = {}
        self.calls: dict[Call, str] = {}

    def node(self, node: Node) -> Node:
        path = _path(node)
        if path is not None:
            self._check(path, node)
            into = self.guarded if isinstance(node, Select) and node.test_only else self.reads
            into[path] = None
            return node
        if isinstance(node, Constant):
            number = isinstance(node.value, int) and not isinstance(node.value, bool)
            return Constant(node.id, float(node.value)) if number else node  # type: ignore[arg-type]  # it is an int
        if isinstance(node, Select):
            return Select(node.id, self.node(node.operand), node.field, node.test_only)
        if isinstance(node, Invoke):
            return self._invoke(node)
        if isinstance(node, ListOf):
            return ListOf(node.id, [self.node(part) for part in node.elements])
        if isinstance(node, MapOf):
            return MapOf(node.id, [(ident, self.node(key), self.node(value)) for ident, key, value in node.entries])
        raise self._error(node, "loops (all, exists, exists_one, map, filter) are not allowed"
                          if isinstance(node, Loop) and node.what == "loop" else "typed messages are not allowed")

    def _invoke(self, node: Invoke) -> Node:
        if node.target is None and node.function in SIGNATURES and node.function != "difference":
            name = self.calls.setdefault(self._call(node), f"answer {len(self.calls)}")
            answer: Node = Select(node.id, Ident(node.id, STATE), name, test_only=False)
            return answer
        target = None if node.target is None else self.node(node.target)
        called = Invoke(node.id, target, node.function, [self.node(part) for part in node.args])
        if node.function in _WHOLE or (target is not None and node.function.startswith("get")):
            return Invoke(node.id, None, "double", [called])
        return called

    def _call(self, node: Invoke) -> Call:
        words: list[str] = []
        for part in node.args:
            if not isinstance(part, Constant) or not isinstance(part.value, str):
                raise self._error(part, f"the arguments of {SIGNATURES[node.function]} are texts in quotes, "
                                        "so that it is known beforehand what will be asked")
            words.append(part.value)
        fixed = 1 if node.function in ("count", "sent") else 2
        since = words[fixed] if len(words) > fixed else None
        if since is not None and since != "ever" and not _SINCE.fullmatch(since):
            raise self._error(node.args[fixed], f"since is a duration such as '7d' or '12h', or 'ever', not '{since}'")
        function: Function = node.function  # type: ignore[assignment]  # a key of SIGNATURES but difference
        return Call(function, words[0], words[1] if fixed == 2 else None, since)

    def _check(self, path: Path, node: Node) -> None:
        root, *rest = path
        if root not in self.names:
            raise self._error(_leaf(node), f"'{root}' is not known here" + nearest(root, self.names))
        allowed = self.names[root]
        if rest and allowed is not None and rest[0] not in allowed:
            raise self._error(_leaf(node), f"'{root}.{rest[0]}' is not known" + nearest(rest[0], allowed))

    def _error(self, node: Node, message: str) -> ConditionError:
        return ConditionError(message, *self.tree.place(node.id))


def _path(node: Node) -> Path | None:
    """`event.a["b"]` -> ("event", "a", "b"); None for anything else."""
    names: list[str] = []
    while not isinstance(node, Ident):
        if isinstance(node, Select) and not (names and node.test_only):
            names.append(node.field)
            node = node.operand
        elif (isinstance(node, Invoke) and node.function == "_[_]" and isinstance(node.args[1], Constant)
              and isinstance(node.args[1].value, str)):
            names.append(node.args[1].value)
            node = node.args[0]
        else:
            return None
    return (node.name, *reversed(names))


def _leaf(node: Node) -> Node:
    while isinstance(node, (Select, Invoke)):
        node = node.operand if isinstance(node, Select) else node.args[0]
    return node

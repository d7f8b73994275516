"""The messages of the CEL checker in the words of somebody who writes journeys."""

import difflib
import re
from collections.abc import Iterable

from percorso_shared.conditions.environment import SIGNATURES
from percorso_shared.conditions.errors import ConditionError

_FIRST = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?: \[[A-Z_]+\])?$", re.MULTILINE)
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '(.*)'")
_UNEXPECTED = re.compile(r"Syntax error: (?:extraneous input|mismatched input|no viable alternative at input"
                         r"|token recognition error at:) '(.*?)'(?: expecting|$)")
_OPERATOR = re.compile(r"^_?(\W+)_$|^@(in)$")


def explain(text: str, message: str, roots: Iterable[str]) -> ConditionError:
    """`message` is what the checker said about `text`."""
    found = _FIRST.search(message)
    if "recursion" in message or found is None:
        nested = "recursion" in message
        return ConditionError("the expression is nested too deeply" if nested else message.split("\n")[0])
    line, column, said = max(int(found[1]), 1), max(int(found[2]), 1), found[3]
    if unknown := _UNDECLARED.search(said):
        return _unknown(text, unknown[1], line, column, roots)
    if overload := _OVERLOAD.search(said):
        return ConditionError(_mismatch(overload[1], overload[2]), line, column)
    if unexpected := _UNEXPECTED.search(said):
        what = unexpected[1]
        return ConditionError("the expression ends too early" if what == "<EOF>" else f"unexpected '{what}'",
                              line, column)
    return ConditionError(said, line, column)


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'event'?`, or what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known are {', '.join(known)}" if known else ""


def _unknown(text: str, name: str, line: int, column: int, roots: Iterable[str]) -> ConditionError:
    """The checker points behind the name (at the dot or the parenthesis): we point at its beginning."""
    first = name.split(".")[0]
    source = text.split("\n")[line - 1]
    start = source.rfind(first, 0, column - 1 + len(first))
    column = start + 1 if start >= 0 else column
    if source[column - 1 + len(first):].lstrip().startswith("("):
        if first in SIGNATURES:
            return ConditionError(f"wrong number of arguments: it is {SIGNATURES[first]}", line, column)
        return ConditionError(f"unknown function '{first}'" + nearest(first, SIGNATURES), line, column)
    return ConditionError(f"unknown name '{first}'" + nearest(first, roots), line, column)


def _mismatch(function: str, types: str) -> str:
    shape = SIGNATURES.get(function)
    operator = _OPERATOR.match(function)
    name = next(part for part in operator.groups() if part) if operator else function
    return f"'{name}' cannot be applied to {types}" + (f"; it is {shape}" if shape else "")

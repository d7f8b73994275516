"""The CEL environments: what an expression may name while it is checked, and what is there while it runs.

The checker knows our functions by their types. At run time `count`, `values`, `last` and `sent` are no functions any
more but entries of the variable STATE (see compiling.py); only `difference` is called.
"""

import ctypes
import sys
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

ROOTS = ("event", "context", "person", "account", "run")
STATE = "state_of_the_run"
"""Not declared to the checker: no expression can name it."""

SIGNATURES = {
    "count": "count(event, since?)",
    "values": "values(event, property, since?)",
    "last": "last(event, property, since?)",
    "difference": "difference(list, list)",
    "sent": "sent(step)",
}


def difference(first: list[Any] | None, second: list[Any] | None) -> list[Any]:
    """What is in the first list and not in the second, in the order of the first. null is an empty list."""
    without = second or []
    return [item for item in first or [] if item not in without]


@lru_cache(maxsize=1)
def checker() -> Any:
    """Compiles texts, with types."""
    kind = cel.Type
    text, anything, many = kind.STRING, kind.DYN, kind.List(kind.DYN)
    functions = [
        _declare("count", kind.INT, [text], [text, text]),
        _declare("values", many, [text, text], [text, text, text]),
        _declare("last", anything, [text, text], [text, text, text]),
        _declare("sent", kind.BOOL, [text]),
        _difference(),
    ]
    return cel.NewEnv(variables=dict.fromkeys(ROOTS, anything), functions=functions)


@lru_cache(maxsize=1)
def runtime() -> Any:
    """Turns rewritten trees into something that runs."""
    return cel.NewEnv(variables=dict.fromkeys((*ROOTS, STATE), cel.Type.DYN), functions=[_difference()])


def _declare(name: str, result: Any, *parameters: list[Any]) -> Any:
    return cel.FunctionDecl(name, [
        cel.Overload(f"{name}_{len(kinds)}", return_type=result, parameters=kinds) for kinds in parameters])


def _difference() -> Any:
    many, null = cel.Type.List(cel.Type.DYN), cel.Type.NULL
    pairs = [("lists", many, many), ("from_null", null, many), ("minus_null", many, null), ("nulls", null, null)]
    return cel.FunctionDecl("difference", [
        cel.Overload(f"difference_{name}", return_type=many, parameters=[first, second], impl=difference)
        for name, first, second in pairs])


def _keep_none() -> None:
    """cel-expr-python 0.1.3 gives back one reference to None too many for each null in a result: after some thousands
    of them the interpreter aborts ("deallocating None"). From Python 3.12 on None is immortal; before, this makes it
    so: its count, the first word of the object, begins far from 0."""
    if sys.version_info < (3, 12):
        count = ctypes.c_ssize_t.from_address(id(None))
        if 0 < count.value < 1 << 40:
            count.value += 1 << 60


_keep_none()

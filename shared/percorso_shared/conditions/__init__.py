"""Conditions: CEL (github.com/google/cel-spec) for everything that people write into journeys, audiences and scores.

    idle = compile_condition("event.items > 0 && person.tier == 'loyal'")
    idle.evaluate(event={"items": 2}, person={"tier": "loyal"})     # Evaluation(value=True, error=None, ...)

An expression reads `event`, `context`, `person`, `account` and `run`. A path that is missing is null. Numbers are
doubles. It cannot loop, and asks about history only through `count`, `values`, `last` and `sent`, whose arguments are
literals: `calls` says beforehand which answers `evaluate` will want.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from cel_expr_python import cel

from percorso_shared.conditions.braces import Piece, split_braces
from percorso_shared.conditions.compiling import ANY_NAMES, Call, Names, Program, compile_program
from percorso_shared.conditions.context_filling import as_doubles, as_json, as_text, fill
from percorso_shared.conditions.environment import ROOTS, STATE
from percorso_shared.conditions.errors import ConditionError

__all__ = ["ANY_NAMES", "ROOTS", "Call", "Compiled", "CompiledExpression", "CompiledText", "ConditionError",
           "Evaluation", "Names", "StateAnswers", "compile_condition", "compile_text", "compile_value"]

StateAnswers = Mapping[Call, Any]
"""The answers to `calls`. One that is missing could not be read: the expression is then unreadable, unless its result
does not depend on it."""

_NO_ANSWERS: StateAnswers = {}
_UNREADABLE = 'Key not found in map : "answer '


class Evaluation(NamedTuple):
    """`value` is a bool for a condition, JSON (or None) for a value, a str for a text. `error` says why a condition is
    false, a value None or a part of a text empty. `unreadable`: the state could not be read; hold and try again."""

    value: Any
    error: str | None = None
    unreadable: bool = False


_TRUE, _FALSE = Evaluation(True), Evaluation(False)


class Compiled(ABC):
    """An expression, or a text with expressions in braces."""

    text: str
    """As written."""

    @property
    @abstractmethod
    def reads(self) -> frozenset[str]:
        """The dotted paths that it mentions: `event.total`, `run.cart.items`."""

    @property
    @abstractmethod
    def calls(self) -> tuple[Call, ...]:
        """What it asks of the state, each question once."""

    @abstractmethod
    def evaluate(self, *, event: Mapping[str, Any] | None = None, context: Mapping[str, Any] | None = None,
                 person: Mapping[str, Any] | None = None, account: Mapping[str, Any] | None = None,
                 run: Mapping[str, Any] | None = None, functions: StateAnswers = _NO_ANSWERS) -> Evaluation:
        """Never raises for what the data holds. In a text, null is written as nothing, a list with commas, and the
        first error stands for all."""


@dataclass(frozen=True)
class CompiledExpression(Compiled):
    """One expression."""

    text: str
    kind: Literal["condition", "value"]
    program: Program

    @property
    def reads(self) -> frozenset[str]:
        return self.program.reads

    @property
    def calls(self) -> tuple[Call, ...]:
        return self.program.calls

    def evaluate(self, *, event: Mapping[str, Any] | None = None, context: Mapping[str, Any] | None = None,
                 person: Mapping[str, Any] | None = None, account: Mapping[str, Any] | None = None,
                 run: Mapping[str, Any] | None = None, functions: StateAnswers = _NO_ANSWERS) -> Evaluation:
        program = self.program
        given = {"event": event, "context": context, "person": person, "account": account, "run": run}
        data = {root: fill(given[root], need) for root, need in program.needs.items()}
        if program.calls:
            data[STATE] = {f"answer {number}": as_doubles(functions[call])
                           for number, call in enumerate(program.calls) if call in functions}
        found = program.expression.eval(data=data)
        result = found.plain_value()
        if result is True and self.kind == "condition":
            return _TRUE
        if result is False and self.kind == "condition":
            return _FALSE
        if found.type() == cel.Type.ERROR:
            return self._failed(result)
        if self.kind == "condition":
            return Evaluation(False, f"gives {found.type().name()}, not true or false")
        return Evaluation(as_json(result))

    def _failed(self, message: str) -> Evaluation:
        value = False if self.kind == "condition" else None
        if _UNREADABLE in message:
            return Evaluation(value, "the state could not be read", unreadable=True)
        return Evaluation(value, message.partition(": ")[2] or message)


@dataclass(frozen=True)
class CompiledText(Compiled):
    """A text with expressions in braces."""

    text: str
    pieces: tuple[str | CompiledExpression, ...]

    @property
    def reads(self) -> frozenset[str]:
        return frozenset().union(*(piece.reads for piece in self.pieces if isinstance(piece, CompiledExpression)))

    @property
    def calls(self) -> tuple[Call, ...]:
        return tuple(dict.fromkeys(
            call for piece in self.pieces if isinstance(piece, CompiledExpression) for call in piece.calls))

    def evaluate(self, *, event: Mapping[str, Any] | None = None, context: Mapping[str, Any] | None = None,
                 person: Mapping[str, Any] | None = None, account: Mapping[str, Any] | None = None,
                 run: Mapping[str, Any] | None = None, functions: StateAnswers = _NO_ANSWERS) -> Evaluation:
        parts: list[str] = []
        error: str | None = None
        unreadable = False
        for piece in self.pieces:
            if isinstance(piece, str):
                parts.append(piece)
                continue
            found = piece.evaluate(event=event, context=context, person=person, account=account, run=run,
                                   functions=functions)
            error, unreadable = error or found.error, unreadable or found.unreadable
            parts.append(as_text(found.value))
        return Evaluation("".join(parts), error, unreadable)


def compile_condition(text: str, *, names: Names = ANY_NAMES) -> CompiledExpression:
    """An expression that is true or false. Raises ConditionError with line and column."""
    program = compile_program(text, names)
    if program.result not in ("BOOL", "DYN"):
        raise ConditionError(f"a condition is true or false, this gives {program.result}")
    return CompiledExpression(text, "condition", program)


def compile_value(text: str, *, names: Names = ANY_NAMES) -> CompiledExpression:
    """An expression of any type. Raises ConditionError with line and column."""
    return CompiledExpression(text, "value", compile_program(text, names))


def compile_text(text: str, *, names: Names = ANY_NAMES) -> CompiledText:
    """A text with expressions in braces: `Open cart {run.cart.cart_id}`; `{{` and `}}` are braces themselves. Line and
    column of a ConditionError are those of the whole text."""
    pieces: list[str | CompiledExpression] = []
    for piece in split_braces(text):
        if not isinstance(piece, Piece):
            pieces.append(piece)
            continue
        try:
            pieces.append(compile_value(piece.text, names=names))
        except ConditionError as error:
            column = error.column + (piece.column - 1 if error.line == 1 else 0)
            raise ConditionError(error.message, piece.line + error.line - 1, column) from None
    return CompiledText(text, tuple(pieces))

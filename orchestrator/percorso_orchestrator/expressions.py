"""The expressions of a journey file: compiled with the place where they stand."""

from collections.abc import Mapping

from percorso_orchestrator.read_yaml import Located, YamlProblem
from percorso_shared.conditions import Compiled, ConditionError, compile_condition, compile_text, compile_value

Expression = Compiled


def _failed(error: ConditionError, at: Located) -> YamlProblem:
    return YamlProblem(f"{error.message} (at line {error.line}, column {error.column} of the expression)", at.place)


def condition(at: Located | None, what: str) -> Expression | None:
    """`where`, `when`: an expression that is true or false. None where the file has none."""
    if at is None:
        return None
    text = str(at.value).lower() if isinstance(at.value, bool) else at.text(what)
    try:
        return compile_condition(text)
    except ConditionError as error:
        raise _failed(error, at) from None


def value(at: Located | None, what: str) -> Expression | None:
    """`key`, `value`, the values of `with` and `show`: an expression of any kind. Numbers may stand as they are."""
    if at is None:
        return None
    text = repr(at.value) if isinstance(at.value, int | float) and not isinstance(at.value, bool) else (
        str(at.value).lower() if isinstance(at.value, bool) else at.text(what))
    try:
        return compile_value(text)
    except ConditionError as error:
        raise _failed(error, at) from None


def text(at: Located | None, what: str) -> Expression | None:
    """`template`, `title`, `text`: text with expressions in braces."""
    if at is None:
        return None
    try:
        return compile_text(at.text(what))
    except ConditionError as error:
        raise _failed(error, at) from None


def values(at: Located | None, what: str) -> Mapping[str, Expression]:
    """`with`, `show`: name -> value."""
    if at is None:
        return {}
    found = {name: value(item, f"{what}.{name}") for name, item in at.mapping(what).items()}
    return {name: expression for name, expression in found.items() if expression is not None}

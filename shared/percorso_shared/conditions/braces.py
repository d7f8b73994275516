"""Where the expressions of a text stand: between braces, quotes and inner braces respected."""

from typing import NamedTuple

from percorso_shared.conditions.errors import ConditionError


class Piece(NamedTuple):
    """An expression and the place of its first character (from 1)."""

    text: str
    line: int
    column: int


def split_braces(text: str) -> list[str | Piece]:
    """Plain parts and expressions in their order. `{{` and `}}` are one brace each. Raises ConditionError."""
    if not isinstance(text, str):
        raise ConditionError(f"a text was expected, not {type(text).__name__}")
    parts: list[str | Piece] = []
    plain: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character in "{}" and text[at:at + 2] == character * 2:
            plain.append(character)
            at += 2
        elif character == "{":
            end = _closing(text, at)
            if plain:
                parts.append("".join(plain))
                plain = []
            parts.append(Piece(text[at + 1:end], *_place(text, at + 1)))
            at = end + 1
        elif character == "}":
            raise ConditionError("a '}' without its '{'; write '}}' for the brace itself", *_place(text, at))
        else:
            plain.append(character)
            at += 1
    if plain:
        parts.append("".join(plain))
    return parts


def _closing(text: str, opening: int) -> int:
    depth, quote, at = 0, "", opening
    while at < len(text):
        character = text[at]
        if quote:
            if character == "\\":
                at += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    raise ConditionError("a '{' without its '}'", *_place(text, opening))


def _place(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)

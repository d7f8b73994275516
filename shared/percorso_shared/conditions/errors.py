"""What is wrong with a condition's text."""


class ConditionError(ValueError):
    """The text cannot be a condition: `message`, at `line` and `column` (both from 1, columns in characters)."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(f"{message} (line {line}, column {column})")
        self.message, self.line, self.column = message, line, column

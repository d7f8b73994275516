"""What is wrong with a template."""


class TemplateProblem(Exception):
    """The template cannot be published: `message`, in `file` at `line` and `column` (from 1; 0 = as a whole)."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, column: int = 0) -> None:
        place = ":".join(str(part) for part in (file, line or "", column or "") if part != "")
        super().__init__(f"{place}: {message}" if place else message)
        self.message, self.file, self.line, self.column = message, file, line, column

    def in_file(self, file: str, *, lines_before: int = 0) -> "TemplateProblem":
        """The same problem, placed in its file, whose front matter takes `lines_before` lines."""
        return TemplateProblem(self.message, file=file, line=self.line + lines_before if self.line else 0,
                               column=self.column)


class RenderFailed(Exception):
    """The template could not be filled in: {0}"""

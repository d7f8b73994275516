"""How long: `90s`, `2h` are elapsed time; `3d`, `2w` are calendar days on somebody's wall clock."""

import re
from dataclasses import dataclass
from typing import Literal

Unit = Literal["s", "m", "h", "d", "w"]
_FORM = re.compile(r"(\d{1,6})\s*([smhdw])")
_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000}


@dataclass(frozen=True, slots=True)
class Duration:
    """`amount` of one unit; never negative."""

    amount: int
    unit: Unit

    @property
    def is_calendar(self) -> bool:
        return self.unit in ("d", "w")

    @property
    def days(self) -> int:
        """Of a calendar duration."""
        return self.amount * 7 if self.unit == "w" else self.amount

    @property
    def milliseconds(self) -> int:
        """Of an elapsed duration; of a calendar one as if every day had 24 hours."""
        return self.days * 86_400_000 if self.is_calendar else self.amount * _MS[self.unit]

    def __str__(self) -> str:
        return f"{self.amount}{self.unit}"


def parse_duration(text: str) -> Duration:
    """`2h` -> Duration(2, 'h'). Raises ValueError with what a duration looks like."""
    found = _FORM.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a duration: a whole number and one of s, m, h, d, w, such as 90s, 2h, 3d")
    return Duration(int(found[1]), found[2])  # type: ignore[arg-type]  # the expression admits the five units only

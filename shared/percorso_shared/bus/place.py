"""A row of bus.position while we own it: where we stand, and what we have written."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

TICK_TOPIC = ""
"""Rows of this topic belong to ticks: they read nothing, they only count what they write."""


@dataclass(slots=True)
class Place:
    """Only the holder of `epoch` changes it, so that memory and row agree."""

    grp: str
    topic: str
    partition: int
    epoch: int
    next: int
    out: dict[str, int] = field(default_factory=dict)
    """"topic/partition" -> highest seq given."""
    seen: dict[str, int] = field(default_factory=dict)
    """Producer -> highest seq worked on."""
    unit: int = 0
    sent: int = 0
    mark: int | None = None
    """Progress in received time that is known to hold; written with the next unit of work or by the stream clock."""
    reading_received: int | None = None
    """received_at of the last record worked on (first stage only)."""
    stored: tuple[int | None, int] = (None, 0)
    """The (mark, sent) that the row is known to hold."""
    busy: bool = False
    """A unit of work is under way."""

    def producer(self, primary: bool, partition: int) -> str:
        """The name under which this place's outputs to a partition count their seq: each place is a producer of its
        own, for a place is what one worker at a time holds. The plain name is for what others follow."""
        if primary and partition == self.partition:
            return self.grp
        return f"{self.grp}/{self.topic or 'tick'}/{self.partition}"


def place_of(row: Any) -> Place:
    """From a row of bus.position."""
    return Place(
        grp=row["grp"], topic=row["topic"], partition=row["partition"], epoch=row["epoch"], next=row["next"],
        out=msgspec.json.decode(row["out"]), seen=msgspec.json.decode(row["seen"]), unit=row["unit"],
        sent=row["sent"], mark=row["mark"],
        stored=(row["mark"], row["sent"]))


def as_json(numbers: dict[str, int]) -> str:
    """For a jsonb parameter."""
    return msgspec.json.encode(numbers).decode()

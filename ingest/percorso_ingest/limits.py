"""How much one source may send at once."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes are those of the JSON, decompressed. What `ingest.source.limits` names wins over these defaults."""

    event_bytes: int = 32 * 1024
    batch_bytes: int = 500 * 1024
    batch_events: int = 2_500
    depth: int = 64
    """Levels of nesting of one event."""
    values: int = 2_000
    """Values in one event: members of objects and elements of arrays, over all levels."""

    @property
    def body_bytes(self) -> int:
        """The largest body of any request."""
        return max(self.batch_bytes, self.event_bytes)


DEFAULTS = Limits()

MESSAGE_ID_CHARACTERS = 100
"""A longer one is replaced by its hash."""
IDENTIFIER_CHARACTERS = 512
NAME_CHARACTERS = 256
IDENTIFIERS = 50
"""Of one event; those in `context.externalIds` beyond it are left out, with a flag."""
LARGEST_BODY = 16 * 1024 * 1024
"""No source's limit goes beyond this."""


def limits_of(configured: Mapping[str, Any]) -> Limits:
    """The limits of a source. Names that are none of ours and values that are no positive number count as absent."""
    known = {field.name for field in fields(Limits)}
    return Limits(**{
        name: min(value, LARGEST_BODY) for name, value in configured.items()
        if name in known and isinstance(value, int) and not isinstance(value, bool) and value > 0})

"""A source: who sends us touchpoints with one write key."""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec

from percorso_ingest.limits import DEFAULTS, Limits
from percorso_shared.topics import Trust


@dataclass(frozen=True, slots=True)
class Source:
    """As it stands in `ingest.source`."""

    workspace: int
    name: str
    kind: Trust
    write_key: str
    enabled: bool = True
    limits: Limits = DEFAULTS
    aliases: tuple[str, ...] = ()
    record_start: bytes = field(init=False, repr=False, compare=False)
    """How each of its `Accepted` records begins, up to the event id's first digit."""
    event_id_start: Any = field(init=False, repr=False, compare=False)
    """A hash that has already eaten what all its event ids have in common (see `ids.event_id`)."""

    def __post_init__(self) -> None:
        start = b'{"schema":1,"workspace":%d,"source":%b,"trust":"%b","event_id":"' % (
            self.workspace, msgspec.json.encode(self.name), self.kind.encode())
        object.__setattr__(self, "record_start", start)
        object.__setattr__(self, "event_id_start", blake2b(
            b"%d\x1f%b\x1f" % (self.workspace, self.name.encode()), digest_size=16, person=b"event"))

    def event_id(self, message_id: str) -> bytes:
        """32 hex digits; the same as `ids.event_id(workspace, source, message_id).hex()`, in a third of the time."""
        hashed = self.event_id_start.copy()
        hashed.update(message_id.encode())
        digits: bytes = hashed.hexdigest().encode()
        return digits

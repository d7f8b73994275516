"""Builds records as they stand on the bus."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec

from percorso_shared.bus.port import Batch, Record
from percorso_shared.ids import event_id
from percorso_shared.topics import IDENTITY_CHANGED, RESOLVED

NOON = 1_772_452_800_000
"""2026-03-02 12:00 UTC."""

_numbers = count(1)


def accepted(name: str = "page_view", *, message: str | None = None, source: str = "website", workspace: int = 1,
             **fields: Any) -> dict[str, Any]:
    """A record of `touchpoints.accepted`; each has a new message id unless told otherwise."""
    message = message or f"m{next(_numbers)}"
    return {
        "schema": 1, "workspace": workspace, "source": source, "trust": "server",
        "event_id": event_id(workspace, source, message).hex(), "message_id": message, "type": "track", "name": name,
        "timestamp": NOON, "received_at": fields.get("timestamp", NOON) + 1000, "identifiers": []} | fields


def resolved(touchpoint: dict[str, Any], link: bytes | None = None, home: bytes | None = None, *,
             profile: bytes | None = None, slice: bytes | None = None, origin: tuple[int, int] = (0, 0),
             seq: int = 1) -> dict[str, Any]:
    """Whose it is; `profile` is by default the home's."""
    profile = profile or home
    return {
        "schema": 1, "stage": "identity_worker", "origin": origin, "seq": seq, "workspace": touchpoint["workspace"],
        "event_id": touchpoint["event_id"], "link": link.hex() if link else None, "home": home.hex() if home else None,
        "slice": slice.hex() if slice else None, "profile": profile.hex() if profile else None,
        "touchpoint": touchpoint}


def resolved_batch(*records: dict[str, Any], partition: int = 0) -> Batch:
    return _batch(RESOLVED, records, partition)


def moves_batch(*moves: list[tuple[str, str, str]], recuts: Sequence[tuple[str, int | None, int | None]] = (),
                workspace: int = 1, partition: int = 0) -> Batch:
    return _batch(IDENTITY_CHANGED, [
        {"schema": 1, "stage": "identity_worker", "origin": (0, index), "seq": index, "workspace": workspace,
         "moves": found, "cause": "touchpoint", "recuts": recuts} for index, found in enumerate(moves)], partition)


def _batch(topic: str, records: Any, partition: int) -> Batch:
    return Batch(topic, partition, [
        Record(position, msgspec.json.encode(value)) for position, value in enumerate(records)])

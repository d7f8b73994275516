"""What becomes of refusals: rows with their original bytes, up to a cap; beyond it numbers and every 1,000th
original."""

from base64 import b64decode
from collections import Counter
from typing import Any

import msgspec

from percorso_ingest.postgres import count_records, keep_records, known_records, lock_quarantine, read_not_kept
from percorso_shared.bus.port import Batch, Handler, Tx
from percorso_shared.clock import to_datetime
from percorso_shared.topics import REFUSED_DECODER, Refused

ONE_IN = 1_000
"""Of the originals beyond the cap this many-th is kept, so that a new kind of trouble can be seen."""
_IDENTIFIERS = 100
"""Of one original."""
_LONGEST = 1_024

_ANY = msgspec.json.Decoder()
_PERSONAL = {"userId": "user_id", "anonymousId": "anonymous_id", "previousId": "user_id", "email": "email",
             "phone": "phone"}


def handler(max_bytes: int) -> Handler:
    """Writes what `touchpoints.refused` says. The same record twice is one row and counts once."""

    async def handle(batch: Batch, tx: Tx) -> None:
        records = [REFUSED_DECODER.decode(record.value) for record in batch.records]
        for workspace in sorted({record.workspace for record in records}):
            await _keep(tx.connection, workspace, [r for r in records if r.workspace == workspace], max_bytes)

    return handle


async def _keep(connection: Any, workspace: int, records: list[Refused], max_bytes: int) -> None:
    total = await lock_quarantine(connection, workspace)
    unique = {bytes.fromhex(record.id): record for record in records}
    known = await known_records(connection, workspace, sorted(unique))
    not_kept_before = await read_not_kept(connection, workspace)
    refused: Counter[tuple[str, str, str]] = Counter()
    not_kept: Counter[tuple[str, str, str]] = Counter()
    rows: list[tuple[Any, ...]] = []
    kept_bytes = 0
    for id_, record in sorted(unique.items()):
        if id_ in known:
            continue
        key = (record.source or "", record.at_stage, record.reason)
        refused[key] += 1
        body = b64decode(record.body_base64)
        if total + kept_bytes + len(body) > max_bytes:
            not_kept[key] += 1
            if (not_kept_before.get(key, 0) + not_kept[key]) % ONE_IN != 1:
                continue
        kept_bytes += len(body)
        found = identifiers_in(body)
        rows.append((id_, key[0], record.at_stage, record.reason, storable(record.detail),
                     to_datetime(record.received_at), len(body), found is not None,
                     msgspec.json.encode(found or []).decode(), body))
    if rows:
        await keep_records(connection, workspace, list(zip(*rows, strict=True)))
    if refused:
        keys = sorted(refused)
        await count_records(connection, workspace, [
            *zip(*keys, strict=True), [refused[key] for key in keys], [not_kept[key] for key in keys]], kept_bytes)


def identifiers_in(body: bytes) -> list[str] | None:
    """`type:value` of everybody named anywhere in an original, as `as_kept` writes them; None if it cannot be
    parsed."""
    try:
        value = _ANY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found: dict[str, None] = {}
    left: list[Any] = [value]
    while left and len(found) < _IDENTIFIERS:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            for name, inner in part.items():
                if isinstance(inner, dict | list):
                    left.append(inner)
                elif name in _PERSONAL and isinstance(inner, str | int):
                    found[as_kept(_PERSONAL[name], str(inner))] = None
            if isinstance(part.get("type"), str) and isinstance(part.get("id"), str):
                found[as_kept(part["type"], part["id"])] = None
            for pair in _list(part.get("identifiers")):
                if isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair):
                    found[as_kept(*pair)] = None
            device = part.get("device")
            if isinstance(device, dict) and isinstance(device.get("id"), str):
                found[as_kept("device_id", device["id"])] = None
    return list(found)[:_IDENTIFIERS]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def as_kept(type_: str, value: str) -> str:
    """One spelling for finding a person's records: identity's own normalisation is finer, erasure asks for more rather
    than less."""
    if type_ == "phone":
        value = "".join(character for character in value if character.isdigit())
    return storable(f"{type_}:{value.strip().strip(chr(34)).lower()}")[:_LONGEST]


def storable(text: str) -> str:
    """Text that PostgreSQL takes: no NUL, no half of a surrogate pair."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()

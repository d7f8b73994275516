"""What a sender is told. Status codes steer every SDK's retries: what is answered 4xx is dropped by the client, what is
answered 429 and 503 is tried again."""

from typing import Final

import msgspec

from percorso_ingest.refusal import STATUS, Refusal

JSON: Final = b"application/json"
SUCCESS: Final = b'{"success":true}'
"""Exactly this, with 200: some SDKs send again on anything else."""


def error_body(code: str, message: str) -> bytes:
    """Every error has these two members; one SDK tries ten times more when one is missing."""
    return msgspec.json.encode({"code": code, "message": message})


def answer_json(refusal: Refusal | None) -> tuple[int, bytes, bytes]:
    """Status, content type, body."""
    if refusal is None:
        return 200, JSON, SUCCESS
    return STATUS.get(refusal.reason, 400), JSON, error_body(refusal.reason, refusal.message)

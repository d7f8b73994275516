"""Answers: JSON, and pages of lists."""

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import Response

_ENCODER = msgspec.json.Encoder()


def answer(value: Any, status: int = 200) -> Response:
    return Response(_ENCODER.encode(value), status, {"Cache-Control": "no-store"}, media_type="application/json")


def page(data: Sequence[Any], next_cursor: str | None) -> Response:
    """`{"data": [...], "next": cursor | null}`."""
    return answer({"data": data, "next": next_cursor})


def raw(text: str | None) -> msgspec.Raw | None:
    """A JSON column as it is."""
    return None if text is None else msgspec.Raw(text.encode())

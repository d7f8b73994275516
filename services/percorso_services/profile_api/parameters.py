"""How parameters are written: instants, limits, cursors."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import Query
from pydantic import AfterValidator

from percorso_services.profile_api.problems import BadRequest
from percorso_shared.clock import to_datetime

MOST = 1000


def storable(text: str | None) -> str | None:
    """PostgreSQL keeps no NUL in a text."""
    if text is not None and "\x00" in text:
        raise ValueError("must not hold NUL")
    return text


Text = Annotated[str | None, Query(max_length=500), AfterValidator(storable)]
Limit = Annotated[int, Query(ge=1, le=MOST, description="most items of a page")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next` of the page before")]
From = Annotated[str | None, Query(alias="from", max_length=40, description="included: ISO 8601 or ms since 1970")]
To = Annotated[str | None, Query(max_length=40, description="excluded: ISO 8601 or ms since 1970")]


def instant(name: str, text: str | None) -> datetime | None:
    """ISO 8601 (UTC unless it says more) or milliseconds since 1970. Raises BadRequest."""
    if text is None or text == "":
        return None
    try:
        if text.lstrip("-").isascii() and text.lstrip("-").isdigit():
            return to_datetime(int(text))
        # A `+` that was not percent-encoded in the address arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+") if text[-6:-5] == " " else text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{name}: {text!r} is no instant; write 2026-03-02T12:00:00Z or milliseconds") from error


def iso(moment: datetime | None) -> str | None:
    """`2026-03-02T12:00:00.000Z`."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_ms(ms: int | None) -> str | None:
    return None if ms is None else iso(to_datetime(ms))


def make_cursor(kind: str, moment: datetime, key: bytes | str) -> str:
    """Leads to what comes after (moment, key). `kind`: which list."""
    text = key.hex() if isinstance(key, bytes) else key
    return base64.urlsafe_b64encode(msgspec.json.encode([kind, moment.isoformat(), text])).decode().rstrip("=")


def read_cursor(kind: str, cursor: str | None) -> tuple[datetime, bytes] | None:
    """Raises BadRequest for what is no cursor of that list."""
    if cursor is None:
        return None
    try:
        found: Any = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        made_for, moment, key = found
        if made_for != kind:
            raise ValueError(made_for)
        parsed, identity = datetime.fromisoformat(moment), bytes.fromhex(key)
        if parsed.tzinfo is None or len(identity) != 16:
            raise ValueError(cursor)
        return parsed, identity
    except (ValueError, TypeError, binascii.Error, msgspec.MsgspecError) as error:
        raise BadRequest("cursor: not a cursor of this list; send what `next` held, or none") from error

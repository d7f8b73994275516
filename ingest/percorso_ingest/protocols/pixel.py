"""Segment's pixel: an event in the address of a picture, for mails and pages without scripts.

`GET /v1/pixel/track?data=<base64 of the event's JSON>`. The answer is always the picture.
"""

import binascii
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from percorso_ingest.claim import Parcel
from percorso_ingest.digestible import clean
from percorso_ingest.protocols.port import Protocol, Request
from percorso_ingest.protocols.segment import read_single
from percorso_ingest.refusal import NotBelieved, Refusal

GIF: Final = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_TYPES: Final = ("track", "identify", "page", "screen", "group", "alias")


def read_pixel(request: Request, *, type_: str) -> Parcel:
    """The body is empty, the event is in `data`."""
    given = parse_qs(request.query.decode("latin-1")).get("data")
    if not given:
        raise NotBelieved("wrong_shape", "`data` is missing")
    # A plus sign that was not escaped has become a space.
    data = given[0].replace(" ", "+").encode("latin-1", "replace")
    data += b"=" * (-len(data) % 4)
    try:
        event = urlsafe_b64decode(data) if b"-" in data or b"_" in data else b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise NotBelieved("unreadable", "`data` is not base64") from None
    return read_single(request._replace(body=clean(event)), type_=type_)


def answer_pixel(refusal: Refusal | None) -> tuple[int, bytes, bytes]:
    return 200, b"image/gif", GIF


def routes() -> Mapping[str, Protocol]:
    """GET path -> protocol."""
    return {f"/v1/pixel/{type_}": Protocol(partial(read_pixel, type_=type_), answer_pixel, always_ok=True)
            for type_ in _TYPES}

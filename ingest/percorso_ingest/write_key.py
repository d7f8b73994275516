"""Who sends: the forms in which a write key comes.

Basic `key:`, Basic `key`, `X-Write-Key`, `?writeKey=`, and `writeKey` in the body, with or without a Bearer token that
means nothing to us. What stands outside the body wins over the body.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs


def key_of_request(headers: Mapping[bytes, bytes], query: bytes) -> str | None:
    """The key outside the body; None if only the body can have one; "" if there is one that nobody can read."""
    authorization = headers.get(b"authorization")
    if authorization is not None and authorization[:6].lower() == b"basic ":
        return _key_of_basic(authorization[6:])
    named = headers.get(b"x-write-key")
    if named is not None:
        return _text(named.strip())
    if query and b"ritekey" in query.lower():
        given = {name.lower(): values[0] for name, values in parse_qs(query.decode("latin-1")).items()}
        key = given.get("writekey")
        if key is not None:
            return key.strip()
    return None


def key_of_body(value: Any) -> str | None:
    """A `writeKey` member."""
    return value.strip() if isinstance(value, str) and value.strip() else None


def _key_of_basic(encoded: bytes) -> str:
    encoded = encoded.strip()
    try:
        text = _text(b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True))
    except (binascii.Error, ValueError):
        return ""
    return text.partition(":")[0].strip()


def _text(value: bytes) -> str:
    """"" for bytes that no key holds."""
    return value.decode() if value.isascii() else ""

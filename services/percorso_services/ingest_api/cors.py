"""Which pages may talk to the public port: all of them. A write key in a page is public, and so is this."""

from typing import Final

Headers = list[tuple[bytes, bytes]]

EXPOSED: Final = b"Retry-After, Percorso-Receipt"
COMMON: Final[Headers] = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


def cors_headers(origin: bytes | None) -> Headers:
    """For every answer. The origin is mirrored, because a wildcard does not go with credentials, which beacons send."""
    if origin is None:
        return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED)]
    return [(b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", EXPOSED), (b"vary", b"Origin")]


def preflight_headers(origin: bytes | None, requested: bytes | None) -> Headers:
    """The answer to OPTIONS: whatever headers a page asks for are fine."""
    return [*cors_headers(origin), (b"access-control-allow-methods", b"GET, HEAD, POST, OPTIONS"),
            (b"access-control-allow-headers", requested or b"authorization, content-type"),
            (b"access-control-max-age", b"7200")]

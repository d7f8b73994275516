"""Decompressing what senders compress, within a limit."""

import zlib

from percorso_ingest.refusal import NotBelieved

GZIP = b"\x1f\x8b"
_GZIP_OR_ZLIB = 47
_BARE_DEFLATE = -15


def inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body itself if it is not compressed: the magic decides where the header is missing or lies. Raises
    NotBelieved when it is cut off, broken, or larger than `limit` bytes."""
    if body[:2] != GZIP and not (encoding == b"deflate" and body[:1] not in b"{[ "):
        return body
    try:
        return _within(zlib.decompressobj(_GZIP_OR_ZLIB), body, limit)
    except zlib.error:
        if body[:2] == GZIP:
            raise NotBelieved("unreadable", "the compressed body is broken") from None
    try:
        return _within(zlib.decompressobj(_BARE_DEFLATE), body, limit)
    except zlib.error:
        raise NotBelieved("unreadable", "the compressed body is broken") from None


def _within(inflater: "zlib._Decompress", body: bytes, limit: int) -> bytes:
    data = inflater.decompress(body, limit + 1)
    if len(data) > limit:
        raise NotBelieved("too_large", f"more than {limit} bytes when decompressed")
    if not inflater.eof:
        raise NotBelieved("unreadable", "the compressed body is cut off")
    return data

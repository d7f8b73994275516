"""Receipts: where accepted touchpoints landed, as one opaque word: the header `Percorso-Receipt`, then `after=`."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping

import msgspec

_LARGEST = 64 * 1024


class BadReceipt(ValueError):
    """This is no receipt of ours."""


def encode_receipt(last: Mapping[int, int]) -> str:
    """`last`: accepted partition -> position of the last record that was written there."""
    return urlsafe_b64encode(msgspec.msgpack.encode(sorted(last.items()))).rstrip(b"=").decode()


def decode_receipt(receipt: str) -> dict[int, int]:
    """Accepted partition -> position of the last record. Raises BadReceipt."""
    if len(receipt) > _LARGEST or not receipt.isascii():
        raise BadReceipt
    try:
        packed = urlsafe_b64decode(receipt + "=" * (-len(receipt) % 4))
        pairs = msgspec.msgpack.decode(packed, type=list[tuple[int, int]])
    except (ValueError, msgspec.MsgspecError):
        raise BadReceipt from None
    if any(partition < 0 or position < 0 for partition, position in pairs):
        raise BadReceipt
    return dict(pairs)

"""Receipts: where accepted touchpoints landed, as one opaque word (the header `Percorso-Receipt`, the query's
`after=`), and whether they are folded in."""

import asyncio
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import msgspec

from percorso_shared import topics

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


IDENTITY, PROFILE = "identity_worker", "profile_worker"

_READ = "SELECT partition, next, out FROM bus.position WHERE grp = $1 AND topic = $2 AND partition = ANY($3::int[])"
_FOLDED = """
SELECT count(*) FROM unnest($2::text[], $3::int[], $4::bigint[]) AS w (topic, partition, seq)
WHERE NOT EXISTS (SELECT FROM bus.position p WHERE p.grp = $1 AND p.topic = w.topic AND p.partition = w.partition
                  AND coalesce((p.seen ->> $5)::bigint, 0) >= w.seq)
"""


class Follower:
    """Follows the touchpoints of a receipt until the profiles hold them.

    Once the identity stage has passed their positions, everything that came of them bears at most the `seq` which that
    stage has written by then; when the profile stage has worked on those, they are folded in.
    """

    def __init__(self, receipt: str) -> None:
        """Raises BadReceipt."""
        self._unread = decode_receipt(receipt)
        self._unfolded: dict[tuple[str, int], int] = {}

    async def folded(self, connection: Any) -> bool:
        """Whether all of it is folded in by now. Two statements at most; to be asked again until it is."""
        if self._unread:
            for row in await connection.fetch(_READ, IDENTITY, topics.ACCEPTED, list(self._unread)):
                partition = row["partition"]
                if row["next"] > self._unread[partition]:
                    del self._unread[partition]
                    out = msgspec.json.decode(row["out"])
                    for topic in (topics.RESOLVED, topics.IDENTITY_CHANGED):
                        seq = out.get(f"{topic}/{partition}", 0)
                        if seq:
                            self._unfolded[topic, partition] = seq
        if self._unfolded:
            wanted = sorted((topic, partition, seq) for (topic, partition), seq in self._unfolded.items())
            open_ = await connection.fetchval(_FOLDED, PROFILE, *map(list, zip(*wanted, strict=True)), IDENTITY)
            if not open_:
                self._unfolded.clear()
        return not self._unread and not self._unfolded

    async def wait(self, pool: Any, patience_s: float) -> bool:
        """The same, asked every few milliseconds; False if it is not folded in after `patience_s`."""
        deadline = time.monotonic() + patience_s
        pause = 0.005
        while True:
            async with pool.acquire() as connection:
                if await self.folded(connection):
                    return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            await asyncio.sleep(min(pause, left))
            pause = min(0.05, pause * 1.5)

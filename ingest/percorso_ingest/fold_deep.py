"""Batches with an event nested so deep that no decoder follows: its depth is folded away, so that the others are read.

The decoder gives up at about 1,000 levels and takes the whole batch with it. Only then is the body looked at here.
"""

import re
from collections.abc import Sequence
from secrets import token_hex

LEVELS = 200
"""What lies deeper is folded. More than any event may have (see `limits.Limits.depth`), fewer than a decoder takes."""

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


class Folded:
    """A body without its depths; `unfold` gives them back."""

    def __init__(self, body: bytes) -> None:
        self._nonce = token_hex(8).encode()
        self._depths: list[bytes] = []
        self.body = self._fold(body)

    def unfold(self, event: bytes) -> bytes:
        """The original bytes of an event of the folded body."""
        if self._nonce not in event:
            return event
        return re.sub(rb'"%b:(\d+)"' % self._nonce, lambda found: self._depths[int(found[1])], event)

    def unfold_all(self, events: Sequence[bytes]) -> list[bytes]:
        return [self.unfold(event) for event in events]

    def _fold(self, body: bytes) -> bytes:
        parts: list[bytes] = []
        level = start = done = 0
        for token in _TOKEN.finditer(body):
            mark = token[0]
            if mark in b"[{":
                level += 1
                if level == LEVELS + 1:
                    start = token.start()
            elif mark in b"]}":
                if level == LEVELS + 1:
                    parts += (body[done:start], b'"%b:%d"' % (self._nonce, len(self._depths)))
                    self._depths.append(body[start:token.end()])
                    done = token.end()
                level -= 1
        return b"".join((*parts, body[done:]))

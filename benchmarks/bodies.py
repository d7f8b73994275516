"""Requests prepared beforehand, so that the generator costs next to nothing while it measures."""

import json
import random
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass

EVENTS = ("Product Viewed", "Product Added", "Search Performed", "Video Played", "Article Read")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as bytes, and the message ids in it."""

    wire: bytes
    message_ids: tuple[str, ...]


def requests(*, run: str, seed: int, count: int, batch: int, visitors: int, write_key: str, host: str,
             known_share: float = 0.08) -> Iterator[Request]:
    """`count` requests of `batch` touchpoints each by `visitors` browsers; `known_share` of the touchpoints identify
    their visitor. About 600 bytes a touchpoint, as the browser SDKs send."""
    random_ = random.Random(seed)
    number = 0
    for _ in range(count):
        items, ids = [], []
        for _ in range(batch):
            visitor = random_.randrange(visitors)
            message_id = f"{run}-{seed}-{number}"
            number += 1
            ids.append(message_id)
            items.append(_touchpoint(random_, run, seed, visitor, message_id, random_.random() < known_share))
        payload = items[0] if batch == 1 else {"batch": items, "sentAt": "2026-11-25T10:00:00.000Z"}
        path = f"/v1/{items[0]['type']}" if batch == 1 else "/v1/batch"
        yield Request(_wire(path, host, write_key, json.dumps(payload, separators=(",", ":")).encode()), tuple(ids))


def _touchpoint(random_: random.Random, run: str, seed: int, visitor: int, message_id: str,
                identify: bool) -> dict[str, object]:
    context = {"page": {"url": f"https://shop.example/p/{random_.randrange(500)}?utm_source=newsletter",
                        "path": "/p", "referrer": "https://search.example/", "title": "Shop"},
               "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0",
               "locale": "it-IT", "library": {"name": "analytics.js", "version": "1.84.3"}}
    base: dict[str, object] = {"messageId": message_id, "anonymousId": f"{run}-{seed}-visitor-{visitor}",
                               "context": context, "timestamp": "2026-11-25T10:00:00.000Z"}
    if identify:
        return base | {"type": "identify", "userId": f"{run}-{seed}-user-{visitor}",
                       "traits": {"email": f"{run}-{seed}-{visitor}@shop.example", "plan": "plus", "city": "Bologna"}}
    return base | {"type": "track", "event": random_.choice(EVENTS),
                   "properties": {"sku": f"S{random_.randrange(2000)}", "price": 19.9, "currency": "EUR",
                                  "category": "garden", "position": random_.randrange(40)}}


def _wire(path: str, host: str, write_key: str, body: bytes) -> bytes:
    token = b64encode(f"{write_key}:".encode()).decode()
    head = (f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")
    return head.encode() + body

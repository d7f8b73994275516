"""How long ingest thinks about one touchpoint: parse, believe, encode, without the bus and without HTTP.

usage: .venv/bin/python benchmarks/ingest_micro.py [--profile]

Prints microseconds of CPU per touchpoint, the best of several rounds, for batches of 100 and single calls. Bodies are
those of real SDKs (tests/data/sdk-captures), repeated with message ids of their own.
"""

import cProfile
import gzip
import json
import pstats
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from percorso_ingest.believe import believe
from percorso_ingest.digestible import clean
from percorso_ingest.protocols.port import Request
from percorso_ingest.protocols.segment import read_batch, read_single
from percorso_ingest.source import Source

CAPTURES = Path(__file__).parents[1] / "tests" / "data" / "sdk-captures"
KINDS = {"browser": "segment-analytics-next-1.84.3/browser_npm_batching/003-POST-v1_b.json",
         "python": "segment-analytics-python-2.4.0/gzip/001-POST-v1_batch.json",
         "node": "rudder-sdk-node-3.0.13/plain/002-POST-v1_batch.json"}
SOURCE = Source(1, "website", "browser", "WK_TEST")
NOW = 1_795_320_000_000
BATCH, ROUNDS, REPEAT = 100, 30, 20


def events_of(capture: str) -> list[dict[str, Any]]:
    body = b64decode(json.loads((CAPTURES / capture).read_text(encoding="utf-8"))["body_base64"])
    events: list[dict[str, Any]] = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)["batch"]
    return events


def batch_of(events: list[dict[str, Any]]) -> bytes:
    many = [events[n % len(events)] | {"messageId": f"0b8bfb7c-91a8-4a09-9b0f-{n:012d}"} for n in range(BATCH)]
    return json.dumps({"batch": many, "sentAt": "2026-11-22T02:56:09.268Z"}, separators=(",", ":")).encode()


def take_batch(body: bytes) -> int:
    return len(believe(read_batch(Request("/v1/batch", b"", {}, clean(body))), SOURCE, NOW).accepted)


def take_single(body: bytes) -> int:
    return len(believe(read_single(Request("/v1/t", b"", {}, clean(body)), type_="track"), SOURCE, NOW).accepted)


def best(work: Callable[[], object], times: int, touchpoints: int) -> float:
    """Microseconds of CPU per touchpoint."""
    spent = []
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        for _ in range(times):
            work()
        spent.append(time.process_time_ns() - start)
    return min(spent) / times / touchpoints / 1_000


def main() -> None:
    for kind, capture in KINDS.items():
        events = events_of(capture)
        body = batch_of(events)
        assert take_batch(body) == BATCH
        track = next(event for event in events if event["type"] == "track")
        single = json.dumps(track, separators=(",", ":")).encode()
        assert take_single(single) == 1
        print(f"{kind:8} {len(body) // BATCH:5} bytes  batch of {BATCH}: "  # noqa: T201
              f"{best(lambda body=body: take_batch(body), REPEAT, BATCH):5.2f} us/touchpoint   single: "  # type: ignore[misc]
              f"{best(lambda body=single: take_single(body), 500, 1):5.2f} us")  # type: ignore[misc]
        if "--profile" in sys.argv:
            profile = cProfile.Profile()
            profile.runcall(lambda body=body: [take_batch(body) for _ in range(100)])  # type: ignore[misc]
            pstats.Stats(profile).sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    main()

"""Mutations of what real SDKs send, against the whole public port: no answer of 500 and above, no event unaccounted."""

import gzip
import json
import random
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from ingest_world import ingest_world, make_sources
from percorso_shared.topics import ACCEPTED, ACCEPTED_DECODER

CAPTURES = Path(__file__).parents[1] / "data" / "sdk-captures"
REQUESTS = 1_500
SEED = 20261125


def valid_requests() -> list[tuple[str, bytes]]:
    found = []
    for path in sorted(CAPTURES.glob("*/*/*POST*.json")):
        capture = json.loads(path.read_text(encoding="utf-8"))
        if "cloudevents" not in str(path):
            body = b64decode(capture["body_base64"])
            found.append((capture["path"], gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body))
    return found


def mutate(chance: random.Random, body: bytes) -> bytes:
    """One to three changes: of bytes, of values, of the compression."""
    for _ in range(chance.randint(1, 3)):
        match chance.randrange(7):
            case 0:
                at = chance.randrange(len(body) + 1)
                body = body[:at] + bytes([chance.randrange(256)]) + body[at + chance.randrange(2):]
            case 1:
                body = body[:chance.randrange(len(body) + 1)]
            case 2 | 3 | 4:
                body = change_value(chance, body)
            case 5:
                at = chance.randrange(len(body) + 1)
                odd = chance.choice([b"\\u0000", b"\\ud83d", b"\xff", b"1e999", b"[", b"null,"])
                body = body[:at] + odd + body[at:]
            case _:
                body = gzip.compress(body)
    return body


def change_value(chance: random.Random, body: bytes) -> bytes:
    try:
        value = json.loads(body)
    except ValueError:
        return body
    place = value
    while isinstance(place, dict | list) and place:
        key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
        if chance.random() < 0.3 or not isinstance(place[key], dict | list):
            place[key] = chance.choice([
                None, True, 0, -1, 1e308, 10**30, "", " ", "x" * 600, "\x00", "\ud800", [], {}, [[]], {"a": {}},
                "track", "2026-13-45", "è", place[key]])
            break
        place = place[key]
    return json.dumps(value).encode()


async def test_no_mutation_breaks_the_port_and_every_event_is_accounted_for(pool: Any) -> None:
    chance, valid = random.Random(SEED), valid_requests()
    statuses: Counter[int] = Counter()
    await make_sources(pool)
    async with ingest_world(pool) as world:
        for _ in range(REQUESTS):
            path, body = chance.choice(valid)
            answer = await world.post(path, mutate(chance, body))
            statuses[answer.status_code] += 1
            assert answer.status_code in (200, 400, 413), answer.text
            assert answer.json() == {"success": True} or answer.json().keys() == {"code", "message"}
            assert "Traceback" not in answer.text
            assert "percorso_" not in answer.text
        refused = await world.records("touchpoints.refused")
        accepted = await world.values(ACCEPTED)
        assert len(await world.quarantine(len(refused))) == len(refused)
        assert statuses[200] > 0.3 * REQUESTS
        assert sum(count for status, count in statuses.items() if status != 200) <= len(refused)
        for value in accepted:
            ACCEPTED_DECODER.decode(value)
            msgspec.json.decode(value)
        # PostgreSQL takes whatever was accepted.
        await pool.execute("SELECT v::jsonb FROM unnest($1::text[]) AS v", [value.decode() for value in accepted])
        counted = dict(counts(world))
    assert counted == {"accepted": len(accepted), "refused": len(refused)}


def counts(world: Any) -> Any:
    for metric in world.context.metrics.collect():
        for sample in metric.samples:
            if sample.name == "percorso_ingest_touchpoints_total":
                yield sample.labels["outcome"], int(sample.value)

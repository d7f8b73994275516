"""Requests recorded from real SDKs, and single protocol cases, replayed against the public port."""

import gzip
import json
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ingest_world import KEY, World, ingest_world, make_sources

CAPTURES = Path(__file__).parents[1] / "data" / "sdk-captures"
RECORDED = sorted(path for path in CAPTURES.glob("*/*/*.json") if "cloudevents" not in str(path))
CASES = {case["name"]: case for case in map(
    json.loads, (CAPTURES / "_cases" / "cases.jsonl").read_text(encoding="utf-8").splitlines())}
LATER = {"ce_binary"}
"""CloudEvents come with their own adapter."""


@pytest.fixture
async def world(pool: Any) -> Any:
    await make_sources(pool)
    async with ingest_world(pool) as made:
        yield made


def events_of(capture: dict[str, Any]) -> list[dict[str, Any]]:
    body = b64decode(capture["body_base64"])
    if not body:
        return []
    sent = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    events: list[dict[str, Any]] = sent.get("batch", [sent])
    return events


async def replay(world: World, capture: dict[str, Any]) -> Any:
    headers = [(name, value) for name, value in capture["headers"]
               if name.lower() not in ("host", "content-length", "connection", "expect")]
    return await world.client.request(
        capture["method"], capture["path"], content=b64decode(capture["body_base64"]), headers=headers)


async def test_every_recorded_request_works_and_each_event_in_it_is_accepted(world: World) -> None:
    sent: Counter[str] = Counter()
    for path in RECORDED:
        capture = json.loads(path.read_text(encoding="utf-8"))
        answer = await replay(world, capture)
        assert answer.status_code == 200, (path.parent.name, path.name, answer.text)
        if capture["method"] == "POST":
            assert answer.content == b'{"success":true}'
            sent.update(event["messageId"] for event in events_of(capture))
    accepted = Counter(record["message_id"] for record in await world.accepted())
    assert accepted == sent
    assert len(sent) > 40
    assert await world.records("touchpoints.refused") == []


async def test_what_the_python_sdk_sends_is_kept_as_it_was(world: World) -> None:
    capture = json.loads((CAPTURES / "segment-analytics-python-2.4.0/gzip/001-POST-v1_batch.json").read_text())
    await replay(world, capture)
    sent = {event["messageId"]: event for event in events_of(capture)}
    records = {record["message_id"]: record for record in await world.accepted()}
    for message_id, event in sent.items():
        record = records[message_id]
        assert record["context"] == event["context"]
        assert record["original_timestamp"] == event["timestamp"]
        if event["type"] == "track":
            assert (record["name"], record["properties"]) == (event["event"], event["properties"])
    by_type = {record["type"]: record for record in records.values()}
    assert by_type["identify"]["identifiers"] == [["user_id", "u-42"], ["email", "Giulia.Bianchi@Example.com"]]
    assert by_type["identify"]["traits"]["plan"] == "gold"
    assert (by_type["group"]["account"], by_type["group"]["traits"]) == ("acme", {"name": "ACME Srl", "employees": 12})
    assert by_type["alias"]["identifiers"] == [["user_id", "u-42"], ["user_id", "anon-1"]]
    assert by_type["page"]["properties"]["name"] == "Home"
    # Sent 500.824 ms after it happened, by the sender's own clock.
    assert by_type["identify"]["received_at"] - by_type["identify"]["timestamp"] == 501


async def test_a_self_alias_of_the_browser_sdk_links_nothing(world: World) -> None:
    path = CAPTURES / "segment-analytics-next-1.84.3/browser_npm/011-POST-v1_a.json"
    await replay(world, json.loads(path.read_text()))
    [record] = await world.accepted()
    assert record["identifiers"] == [["user_id", "u-42"]]


def body_of(case: dict[str, Any]) -> bytes:
    event = {"type": "track", "userId": "u", "event": "Big", "properties": {}}
    if case["gen"] == "batch_with_33kb":
        return json.dumps({"batch": [event, event | {"properties": {"x": "a" * 33 * 1024}}]}).encode()
    body = case["body"]
    raw = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return gzip.compress(raw) if case["headers"].get("Content-Encoding") == "gzip" else raw


@pytest.mark.parametrize("name", sorted(CASES.keys() - LATER))
async def test_a_protocol_case_is_answered_as_expected(world: World, name: str) -> None:
    case, expected = CASES[name], CASES[name]["expect"]
    answer = await world.client.request(case["method"], case["path"], content=body_of(case), headers=case["headers"])
    status = expected.get("status", 200)
    if isinstance(status, str):
        status = [int(word) for word in status.replace(",", " ").split() if word.isdigit()]
    assert answer.status_code in ([status] if isinstance(status, int) else status)
    if "json" in expected:
        assert answer.json() == expected["json"]
    if "content_type" in expected:
        assert answer.headers["content-type"] == expected["content_type"]
    assert set(expected.get("json_has", [])) <= set(answer.json() if "json_has" in expected else [])
    records = await world.accepted()
    if "accepted" in expected:
        assert len(records) == expected["accepted"]
    if "userId" in expected.get("stored", {}):
        assert records[0]["identifiers"] == [["user_id", expected["stored"]["userId"]]]
    if "email" in expected.get("profile", {}):
        assert ["email", expected["profile"]["email"]] in records[0]["identifiers"]


async def test_an_event_over_its_limit_is_set_aside_and_its_batch_goes_on(world: World) -> None:
    case = CASES["size_event_33kb_in_batch"]
    answer = await world.client.post(case["path"], content=body_of(case), headers=case["headers"])
    assert answer.status_code == 200
    assert len(await world.accepted()) == 1
    [row] = await world.quarantine(1)
    assert (row["reason"], row["source"], row["at_stage"], row["readable"]) == (
        "too_large", "website", "ingest_api", True)
    assert json.loads(row["body"])["properties"]["x"] == "a" * 33 * 1024


async def test_a_date_that_is_none_becomes_the_time_of_receipt(world: World) -> None:
    case = CASES["time_doc_typo_date"]
    await world.client.post(case["path"], content=body_of(case), headers=case["headers"])
    [record] = await world.accepted()
    assert record["timestamp"] == record["received_at"]
    assert record["flags"] == ["timestamp_unreadable"]
    assert record["original_timestamp"] == "2015-2-02T00:30:08.276Z"


def test_the_write_key_of_the_captures_is_the_one_of_the_tests() -> None:
    assert KEY == "WK_TEST"

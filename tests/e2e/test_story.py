"""The product's story in a page: the same on the embedded default and with every process on its own."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError

import pytest
import segment.analytics as segment
from benchmarks.systems import System, answers, cluster, embedded, get


@pytest.fixture(scope="module", params=["embedded", pytest.param("cluster", marks=pytest.mark.kafka)])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("with a space")
    if request.param == "embedded":
        with embedded(folder) as started:
            yield started
    else:
        kafka = request.getfixturevalue("kafka")
        with cluster(folder, kafka.bootstrap, None) as started:
            yield started


def eventually(read: Callable[[], Any], holds: Callable[[Any], bool], seconds: float = 15.0) -> Any:
    """Reads again until it holds; the last thing read is in the failure."""
    end = time.monotonic() + seconds
    while True:
        try:
            value = read()
        except HTTPError as error:
            value = {"status": error.code}
        if holds(value):
            return value
        assert time.monotonic() < end, f"still {value!r}"
        time.sleep(0.05)


def segment_client(system: System) -> "segment.Client":
    return segment.Client(system.write_key, host=f"http://127.0.0.1:{system.public}", sync_mode=False, max_retries=3)


@pytest.mark.timeout(180)
def test_a_visitor_who_gives_an_email_keeps_the_whole_history_with_the_stock_segment_sdk(system: System) -> None:
    client = segment_client(system)
    client.track(anonymous_id="anon-ada", event="Product Viewed", properties={"sku": "S1"})
    client.track(anonymous_id="anon-ada", event="Product Added", properties={"sku": "S1"})
    client.identify(user_id="ada", anonymous_id="anon-ada", traits={"email": "Ada@Example.com", "plan": "plus"})
    client.group(user_id="ada", group_id="acme", traits={"name": "Acme"})
    client.flush()
    acknowledged = time.monotonic()
    profile = eventually(lambda: get(system, "/v1/profiles/email:ada@example.com"),
                         lambda answer: answer.get("counters", {}).get("touchpoints") == 4)
    took = time.monotonic() - acknowledged
    assert profile["traits"]["plan"] == "plus"
    assert {(item["type"], item["value"]) for item in profile["identifiers"]} == {
        ("user_id", "ada"), ("anonymous_id", "anon-ada"), ("email", "ada@example.com")}
    assert profile["counters"]["by_name"]["product_viewed"] == 1
    events = get(system, "/v1/profiles/user_id:ada/events")["data"]
    assert len(events) == 4
    print(f"{system.name}: profile complete {took:.2f} s after the acknowledgement")  # noqa: T201


def test_a_repeated_message_counts_once(system: System) -> None:
    client = segment_client(system)
    for _ in range(3):
        client.track(user_id="bob", event="Signed Up", message_id="bob-1")
    client.track(user_id="bob", event="Paid", message_id="bob-2")
    client.flush()
    profile = eventually(lambda: get(system, "/v1/profiles/user_id:bob"),
                         lambda answer: answer.get("counters", {}).get("touchpoints", 0) >= 2)
    assert profile["counters"]["touchpoints"] == 2


def test_what_went_in_balances_with_what_came_out(system: System) -> None:
    rows = eventually(lambda: get(system, "/v1/accounting")["data"],
                      lambda found: bool(found) and not any(row["in_flight"] for row in found))
    for row in rows:
        assert row["accepted"] == row["resolved"] + row["duplicate"] + row["set_aside"] + row["erased"]


def test_every_process_says_that_it_can_work(system: System) -> None:
    assert answers(f"http://127.0.0.1:{system.private}/readyz")
    assert answers(f"http://127.0.0.1:{system.private}/healthz")

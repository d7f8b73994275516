"""What an SDK sees of the public port."""

import asyncio
import gzip
from typing import Any

import pytest

from ingest_world import BASIC, KEY, SERVER_KEY, World, ingest_world, make_sources

PING = {"userId": "u-1", "event": "Ping", "messageId": "m-1"}


@pytest.fixture
async def world(pool: Any) -> Any:
    await make_sources(pool)
    async with ingest_world(pool) as made:
        yield made


async def test_success_is_exactly_200_with_success_true(world: World) -> None:
    answer = await world.post("/v1/track", PING)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (
        200, b'{"success":true}', "application/json")
    [accepted] = await world.accepted()
    assert accepted["name"] == "Ping"


@pytest.mark.parametrize(("headers", "query", "extra"), [
    ({"authorization": "Basic V0tfVEVTVDo="}, "", {}),
    ({"authorization": "Basic V0tfVEVTVA=="}, "", {}),
    ({}, "", {"writeKey": KEY}),
    ({}, f"?writeKey={KEY}", {}),
    ({"x-write-key": KEY}, "", {"writeKey": "another"}),
    ({"authorization": "Bearer opaque"}, "", {"writeKey": KEY}),
])
async def test_a_write_key_comes_in_six_forms(world: World, headers: Any, query: str, extra: Any) -> None:
    answer = await world.post(f"/v1/track{query}", PING | extra, headers)
    assert answer.status_code == 200
    assert [record["source"] for record in await world.accepted()] == ["website"]


@pytest.mark.parametrize("headers", [
    {}, {"authorization": "Basic "}, {"authorization": "Basic !!!"}, {"authorization": "Basic b3RoZXI6"},
    {"x-write-key": "ä"}, {"authorization": "Bearer WK_TEST"}])
async def test_without_a_valid_key_nothing_is_kept(world: World, headers: dict[str, str]) -> None:
    answer = await world.client.post("/v1/track", content=b"{not json", headers={
        name: value.encode("latin-1") for name, value in headers.items()})  # type: ignore[arg-type]
    assert answer.status_code == 401
    assert answer.json().keys() == {"code", "message"}
    assert await world.accepted() == []
    assert await world.records("touchpoints.refused") == []


@pytest.mark.parametrize("path", [
    f"{prefix}{word}" for prefix in ("/v1/", "/")
    for word in ("track", "identify", "page", "screen", "group", "alias", "t", "i", "p", "s", "g", "a")])
async def test_every_path_of_a_single_call(world: World, path: str) -> None:
    answer = await world.post(path, PING | {"groupId": "acme", "previousId": "u-0"})
    assert answer.status_code == 200
    [record] = await world.accepted()
    assert record["type"][0] == path.rsplit("/", 1)[1][0]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import", "/batch", "/b", "/import", "/beacon/v1/batch"])
async def test_every_path_of_a_batch(world: World, path: str) -> None:
    answer = await world.post(path, {"batch": [PING | {"type": "track"}]})
    assert answer.status_code == 200
    assert len(await world.accepted()) == 1


async def test_metrics_of_sdks_are_swallowed(world: World) -> None:
    answer = await world.post("/v1/m", {"series": []}, {})
    assert answer.status_code == 200
    assert await world.accepted() == []


@pytest.mark.parametrize("path", ["/v1/t", "/v1/projects/WK_TEST/settings", "/anything"])
async def test_a_preflight_is_answered_everywhere_and_mirrors_what_is_asked(world: World, path: str) -> None:
    answer = await world.client.options(path, headers={
        "origin": "https://shop.example", "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-custom"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-headers"] == "authorization,x-custom"
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


async def test_pages_may_read_the_answer_and_its_retry_after(world: World) -> None:
    answer = await world.post("/v1/t", PING, BASIC | {"origin": "https://shop.example"})
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json", None])
@pytest.mark.parametrize("encoding", ["gzip", None])
async def test_the_content_decides_not_its_labels(world: World, content_type: str | None, encoding: str | None) -> None:
    headers = BASIC | ({"content-type": content_type} if content_type else {}) | (
        {"content-encoding": encoding} if encoding else {})
    answer = await world.post("/v1/track", gzip.compress(b'{"userId":"u","event":"Ping"}'), headers)
    assert answer.status_code == 200
    assert len(await world.accepted()) == 1


async def test_settings_tell_the_browser_sdk_where_to_send(world: World) -> None:
    answer = await world.client.get("/v1/projects/WK_TEST/settings", headers={"host": "cdp.example:8000"})
    segment = answer.json()["integrations"]["Segment.io"]
    assert answer.status_code == 200
    assert (segment["apiKey"], segment["apiHost"], segment["protocol"]) == (KEY, "cdp.example:8000/v1", "http")
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_settings_follow_the_public_url(pool: Any) -> None:
    await make_sources(pool)
    async with ingest_world(pool, public_url="https://cdp.shop.example/") as world:
        segment = (await world.client.get("/v1/projects/WK_TEST/settings")).json()["integrations"]["Segment.io"]
    assert (segment["apiHost"], segment["protocol"]) == ("cdp.shop.example/v1", "https")


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/v1/projects/nobody/settings", 404), ("GET", "/v1/track", 404), ("GET", "/nothing", 404),
    ("FOO", "/v1/track", 404), ("GET", "/sourceConfig/", 401), ("GET", "/v1/profiles/x", 404),
    ("GET", "/static/p.js%00.png", 404), ("GET", "/docs", 404), ("GET", "/openapi.json", 404)])
async def test_errors_say_code_and_message(world: World, method: str, path: str, status: int) -> None:
    answer = await world.client.request(method, path)
    assert answer.status_code == status
    assert answer.json().keys() == {"code", "message"}


async def test_the_start_up_question_of_rudderstack(world: World) -> None:
    answer = await world.client.get(f"/sourceConfig/?p=npm&v=3.34.1&writeKey={KEY}")
    assert answer.json()["source"]["writeKey"] == KEY


async def test_a_pixel_is_a_picture_whatever_happens(world: World) -> None:
    data = "eyJ3cml0ZUtleSI6IldLX1RFU1QiLCJ1c2VySWQiOiJ1LTEiLCJldmVudCI6IkVtYWlsIE9wZW5lZCJ9"
    for query in (f"?data={data}", "?data=!!!", "", "?writeKey=nobody"):
        answer = await world.client.get(f"/v1/pixel/track{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert [record["name"] for record in await world.accepted()] == ["Email Opened"]


async def test_a_new_source_works_within_a_moment_and_a_disabled_one_no_longer(world: World) -> None:
    await make_sources(world.pool, [("shop", "browser", "WK_SHOP")])
    await eventually(world, "WK_SHOP", 200)
    await world.pool.execute("UPDATE ingest.source SET enabled = false WHERE workspace_id = 1 AND name = 'shop'")
    await eventually(world, "WK_SHOP", 401)


async def eventually(world: World, key: str, status: int) -> None:
    async with asyncio.timeout(5):
        while (  # noqa: ASYNC110  # only the next answer tells
                await world.post("/v1/track", PING, {"x-write-key": key})).status_code != status:
            await asyncio.sleep(0.01)


async def test_trust_is_that_of_the_source(world: World) -> None:
    await world.post("/v1/track", PING, {"x-write-key": SERVER_KEY})
    [record] = await world.accepted()
    assert (record["source"], record["trust"], record["workspace"]) == ("backend", "server", 1)

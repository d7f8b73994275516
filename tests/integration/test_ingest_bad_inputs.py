"""Hostile and broken requests: nothing breaks, nothing is lost silently, nothing of it gets in where it must not."""

from typing import Any

import pytest

from hostile_requests import CASES, body_of, filler
from ingest_world import KEY, World, ingest_world, make_sources

ROUTES = ("/v1/track", "/v1/identify", "/v1/alias", "/v1/group", "/v1/page", "/v1/batch", "/v1/pixel")
GROUPS = ("JSON", "NUM", "STR", "SIZE", "SEG", "IDN", "HTTP", "AUTH", "CORS", "INJ")
DUE = [case for case in CASES if case["group"] in GROUPS and case["path"].startswith(ROUTES)
       and case["auth"] in ("write", "none", "revoked") and case["body"]["kind"] != "socket"
       and case["method"] in ("POST", "GET")]
OTHER = "WK_OTHER"
REVOKED = "WK_REVOKED"


@pytest.fixture
async def world(pool: Any) -> Any:
    await make_sources(pool, [("website", "browser", KEY), ("other", "browser", OTHER), ("gone", "browser", REVOKED)])
    await pool.execute("UPDATE ingest.source SET enabled = false WHERE workspace_id = 1 AND name = 'gone'")
    async with ingest_world(pool) as made:
        yield made


async def ask(world: World, case: dict[str, Any]) -> Any:
    fill = filler(REVOKED if case["auth"] == "revoked" else KEY, OTHER)
    headers = {name: fill(value) for name, value in case["headers"].items()}
    if case["auth"] in ("write", "revoked") and "authorization" not in headers:
        headers["authorization"] = fill("<<BASIC>>")
    body: Any = body_of(case, fill)
    if headers.pop("transfer-encoding", None):
        body = in_chunks(body)
    return await world.client.request(case["method"], fill(case["path"]), content=body, headers=headers)


async def in_chunks(body: bytes) -> Any:
    for start in range(0, len(body), 65_536):
        yield body[start:start + 65_536]


async def test_every_case_is_answered_as_it_says_and_leaves_no_doubt_about_what_became_of_it(world: World) -> None:
    """One world for all: each case also shows that the ones before it broke nothing."""
    accepted = refused = 0
    for case in DUE:
        answer = await ask(world, case)
        expected, name = case["expect"], (case["id"], case["title"])
        assert answer.status_code in expected["status"], (*name, answer.status_code, answer.text)
        assert answer.headers["x-content-type-options"] == "nosniff", name
        assert answer.headers["content-type"], name
        now_accepted = len(await world.accepted())
        now_refused = len(await world.records("touchpoints.refused"))
        got_in, set_aside = now_accepted - accepted, now_refused - refused
        accepted, refused = now_accepted, now_refused
        if answer.status_code in (401, 403):
            assert (got_in, set_aside) == (0, 0), name
        elif expected["class"] == "accept":
            assert (got_in, set_aside) == (1, 0), name
        elif expected["class"] == "reject":
            assert (got_in, set_aside) == (0, 1), name
        elif case["path"].startswith("/v1/batch"):
            assert got_in + set_aside >= 1, name
        else:
            assert got_in + set_aside == 1, name
        if not 200 <= answer.status_code < 300:
            assert answer.json().keys() == {"code", "message"}, name
    assert len(DUE) >= 35
    assert len(await world.quarantine(refused)) == refused


async def test_a_cut_emoji_is_replaced_and_everything_else_is_kept(world: World) -> None:
    by_id = {case["id"]: case for case in DUE}
    for id_, value in (("STR-006", "cut �"), ("STR-001", "a�b"),
                       ("STR-016", "\N{MAN}‍\N{MAN}‍\N{GIRL}")):
        await ask(world, by_id[id_])
        texts = [record["properties"]["v"] for record in await world.accepted()]
        assert value in texts or id_ == "STR-016"
    assert any("‍" in text for text in texts)

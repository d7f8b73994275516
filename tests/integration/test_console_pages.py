"""The console over HTTP: who comes in, what the pages say, what they never do."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from console_world import MAIL, ConsoleWorld, console_world
from percorso_services.console.entrance import csrf_token


@pytest.fixture
async def world(pool: asyncpg.Pool) -> AsyncIterator[ConsoleWorld]:
    async with console_world(pool) as opened:
        yield opened


@pytest.fixture
async def stranger(world: ConsoleWorld) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.url, headers={"Accept-Language": "en"}) as client:
        yield client


@pytest.fixture
async def visitor(world: ConsoleWorld, stranger: httpx.AsyncClient) -> httpx.AsyncClient:
    """Has come in by the link."""
    assert (await stranger.get(world.link)).status_code == 303
    return stranger


@pytest.mark.parametrize("path", [
    "/", "/people", "/people/email:thomas@example.com", "/mailbox", f"/mailbox/{MAIL}", f"/mailbox/{MAIL}/html",
    "/live/stream", "/live/list", "/touchpoints/1-" + "0" * 32, "/anything"])
async def test_without_a_session_nothing_is_shown(world: ConsoleWorld, stranger: httpx.AsyncClient, path: str) -> None:
    await world.thomas_registers()
    answer = await stranger.get(path)
    assert answer.status_code == 401
    assert "The console is closed" in answer.text
    assert "thomas" not in answer.text.lower()


async def test_the_link_lets_one_visitor_in_once(world: ConsoleWorld, stranger: httpx.AsyncClient) -> None:
    first = await stranger.get(world.link)
    assert (first.status_code, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert (await stranger.get("/")).status_code == 200
    async with httpx.AsyncClient(base_url=world.url) as second:
        assert (await second.get(world.link)).status_code == 403
        assert (await second.get("/")).status_code == 401


async def test_a_made_up_link_or_session_is_refused(world: ConsoleWorld, stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get("/first-visit?token=guess")).status_code == 403
    assert (await stranger.get("/first-visit")).status_code == 403
    stranger.cookies.set(f"percorso_session_{world.context.settings.private_port}", "guess")
    assert (await stranger.get("/")).status_code == 401


async def test_logging_out_needs_the_pages_own_token(world: ConsoleWorld, visitor: httpx.AsyncClient) -> None:
    session = visitor.cookies[f"percorso_session_{world.context.settings.private_port}"]
    for data in ({}, {"csrf": "forged"}, {"csrf": "x" * 20_000}):
        assert (await visitor.post("/logout", data=data)).status_code == 403
    assert (await visitor.get("/")).status_code == 200
    token = re.search(r'name="csrf" value="([^"]+)"', (await visitor.get("/")).text)
    assert token is not None
    assert token[1] == csrf_token(session)
    assert (await visitor.post("/logout", data={"csrf": token[1]})).status_code == 303
    visitor.cookies.set(f"percorso_session_{world.context.settings.private_port}", session)
    assert (await visitor.get("/")).status_code == 401


async def test_pages_allow_no_script_but_their_own(visitor: httpx.AsyncClient) -> None:
    for path in ("/", "/people", "/mailbox", "/nowhere"):
        answer = await visitor.get(path)
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?![^>]*\ssrc=)|\son[a-z]+=|\sstyle=", answer.text)


@pytest.mark.parametrize(("path", "says"), [
    ("/", "Open the demo shop"), ("/", "data-key=&#34;"), ("/people", "demo shop"), ("/mailbox", "demo shop")])
async def test_an_empty_page_says_what_to_do_next(visitor: httpx.AsyncClient, path: str, says: str) -> None:
    answer = await visitor.get(path)
    assert answer.status_code == 200
    assert says.replace("&#34;", '"') in answer.text


async def test_the_language_is_the_browsers_until_one_is_chosen(visitor: httpx.AsyncClient) -> None:
    async def heading(**more: Any) -> str:
        return (await visitor.get("/mailbox", **more)).headers["content-language"]

    assert await heading() == "en"
    assert await heading(headers={"Accept-Language": "de, it-CH;q=0.8, en;q=0.3"}) == "it"
    assert await heading(params={"lang": "it"}) == "it"
    assert await heading() == "it"
    assert await heading(params={"lang": "xx"}) == "it"


async def test_a_person_is_found_by_whatever_names_them(world: ConsoleWorld, visitor: httpx.AsyncClient) -> None:
    await world.thomas_registers()
    for text in ("Thomas@Example.com ", "email:thomas@example.com", "7d1f2a3c-0000-4000-8000-000000000001",
                 "anonymous_id:7d1f2a3c-0000-4000-8000-000000000001"):
        answer = await visitor.get("/people", params={"q": text})
        assert (answer.status_code, answer.headers["location"]) == (303, "/people/email:thomas@example.com"), text
    assert (await visitor.get("/people", params={"q": "<b>zoe"})).status_code == 404
    missing = await visitor.get("/people/user_id:<b>zoe")
    assert missing.status_code == 404
    assert "<b>zoe" not in missing.text


async def test_a_persons_page_tells_the_whole_story(world: ConsoleWorld, visitor: httpx.AsyncClient) -> None:
    await world.thomas_registers()
    page = (await visitor.get("/people/email:thomas@example.com")).text
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    for expected in ("Thomas Keller", "Before: Thom", "backend", "marketing given", "Europe/Zurich", "form_submitted",
                     "form: registration", "Mail: Manca solo la tua conferma", "demo-registration", "finished",
                     "Entered", "Message sent remind", "Message dropped benefits", "consent: stops it (withdrawn)",
                     "Touchpoints: 4"):
        assert expected in words, expected


async def test_a_touchpoint_tells_what_it_said_and_what_journeys_did(world: ConsoleWorld, visitor: httpx.AsyncClient,
                                                                    ) -> None:
    await world.thomas_registers()
    listed = (await visitor.get("/", params={"name": "Form Submitted"})).text
    found = re.search(r'href="(/touchpoints/[^"]+)">form_submitted', listed)
    assert found is not None
    assert "page_view" not in listed.split("<ol")[1]
    page = (await visitor.get(found[1])).text
    assert "registration_id" in page
    assert "Entered" in page
    assert (await visitor.get(found[1][:-1] + ("0" if found[1][-1] != "0" else "1"))).status_code == 404
    assert (await visitor.get("/touchpoints/x")).status_code == 404


async def test_the_timeline_goes_on_where_the_page_ended(world: ConsoleWorld, visitor: httpx.AsyncClient) -> None:
    now = world.context.clock.now_ms()
    for number in range(60):
        await world.does(["user_id:many"], f"step {number}", timestamp=now - number * 1000)
    first = (await visitor.get("/people/user_id:many")).text
    older = re.search(r'hx-get="([^"]+)"', first)
    assert older is not None
    second = await visitor.get(older[1], headers={"HX-Request": "true"})
    assert "<html" not in second.text
    seen = re.findall(r">step (\d+)<", first) + re.findall(r">step (\d+)<", second.text)
    assert [int(number) for number in seen] == list(range(60))


async def test_a_mail_is_shown_in_a_frame_that_can_do_nothing(world: ConsoleWorld, visitor: httpx.AsyncClient) -> None:
    await world.thomas_registers()
    page = await visitor.get(f"/mailbox/{MAIL}")
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.text
    assert "<script>parent" not in page.text
    assert 'href="http://127.0.0.1:1/demo/confirm?r=r_1#e=x"' in page.text
    frame = await visitor.get(f"/mailbox/{MAIL}/html")
    assert frame.headers["content-security-policy"].startswith("sandbox allow-popups")
    assert "script-src" not in frame.headers["content-security-policy"]
    assert '<base target="_blank">' in frame.text
    alone = await visitor.get(f"/mailbox/{MAIL}", headers={"HX-Request": "true"})
    assert "<html" not in alone.text
    assert (await visitor.get("/mailbox", params={"to": "maria@example.com"})).text.count("thomas") == 0
    assert (await visitor.get("/mailbox/nonsense")).status_code == 404


async def rows(stream: httpx.Response) -> AsyncIterator[str]:
    """The events of a stream that carry rows."""
    event = ""
    async for line in stream.aiter_lines():
        if line:
            event += line + "\n"
        else:
            if event.startswith("event: rows"):
                yield event
            event = ""


async def test_the_stream_brings_what_arrives_and_nothing_twice(
        world: ConsoleWorld, visitor: httpx.AsyncClient) -> None:
    await world.does(["user_id:a"], "before", source="website")
    async with visitor.stream("GET", "/live/stream", params={"source": "website"}) as stream:
        arriving = rows(stream)
        assert ">before<" in await anext(arriving)
        await world.does(["user_id:a"], "elsewhere", source="backend")
        await world.does(["user_id:a"], "after", source="website")
        event = await asyncio.wait_for(anext(arriving), 10)
        assert ">after<" in event
        assert ">before<" not in event
        assert ">elsewhere<" not in event


async def test_watching_pages_let_the_process_stop_at_once(pool: asyncpg.Pool) -> None:
    began = 0.0
    async with httpx.AsyncClient() as client:
        async with console_world(pool) as world:
            client.base_url = httpx.URL(world.url)
            await client.get(world.link)
            request = client.build_request("GET", "/live/stream")
            stream = await client.send(request, stream=True)
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            began = time.monotonic()
        assert time.monotonic() - began < 3
        await stream.aclose()


async def test_too_many_watching_pages_are_asked_to_wait(world: ConsoleWorld, visitor: httpx.AsyncClient) -> None:
    async def watch() -> httpx.Response:
        return await visitor.send(visitor.build_request("GET", "/live/stream"), stream=True)

    watching = [await watch() for _ in range(20)]
    reading = [stream.aiter_lines() for stream in watching]
    for lines in reading:
        assert await anext(lines) == "retry: 2000"
    refused = await watch()
    assert refused.status_code == 503
    for stream in (*watching, refused):
        await stream.aclose()

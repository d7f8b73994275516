"""The beacon in a real browser, against a page and a collecting server of the test's own."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.async_api import BrowserContext, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from chromium import open_chromium

pytestmark = pytest.mark.browser

BEACON = Path(__file__).parents[2] / "services" / "percorso_services" / "ingest_api" / "static" / "p.js"
FORM = """<form name="signup" action="/thanks" method="get" data-percorso-properties='{"plan": "free"}'>
<input name="email"><input name="secret" type="password"><input name="token" type="hidden" value="t0k3n">
<button>Go</button></form>"""


def page_html(body: str = "", *, attributes: str = "", before: str = "") -> str:
    return (f'<!doctype html><html lang="en"><head><title>A page</title>{before}'
            f'<script defer src="/p.js" data-key="wk" {attributes}></script></head><body>{body}</body></html>')


@dataclass
class Site:
    """Pages by path, and what the beacon sent."""

    pages: dict[str, str] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    content_types: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Statuses and headers to be given first; then 200."""
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    url: str = ""

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for body in self.bodies for event in body["batch"]]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event.get("event", event["type"]) == name]

    async def until(self, condition: Callable[[], bool], seconds: float = 15) -> None:
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(condition), seconds)

    async def page(self, request: Request) -> Response:
        return HTMLResponse(self.pages.get(request.url.path, page_html()))

    async def script(self, request: Request) -> Response:
        return Response(BEACON.read_bytes(), media_type="text/javascript")

    async def batch(self, request: Request) -> Response:
        async with self.arrived:
            self.methods.append(request.method)
            status, headers = self.answers.pop(0) if self.answers else (200, {})
            if status == 200:
                self.content_types.append(request.headers.get("content-type", ""))
                self.bodies.append(json.loads(await request.body()))
            self.arrived.notify_all()
        return JSONResponse({"success": status == 200}, status, headers=headers)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.up.set()


@asynccontextmanager
async def running(site: Site) -> AsyncIterator[Site]:
    app = Starlette(routes=[
        Route("/p.js", site.script), Route("/v1/batch", site.batch, methods=["GET", "POST", "OPTIONS"]),
        Route("/{path:path}", site.page)])
    server = _Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", ws="none"))
    task = asyncio.create_task(server.serve())
    await server.up.wait()
    site.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield site
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running(Site()) as opened:
        yield opened


@pytest.fixture
async def visitor() -> AsyncIterator[BrowserContext]:
    async with open_chromium() as browser:
        yield await browser.new_context(locale="it-IT", timezone_id="Europe/Rome")


@pytest.fixture
async def page(visitor: BrowserContext) -> AsyncIterator[Page]:
    """Fails the test if anything is thrown into the page."""
    opened = await visitor.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    assert errors == []


async def test_a_page_view_says_what_was_seen_and_leaves_out_the_fragment(site: Site, page: Page) -> None:
    await page.goto(f"{site.url}/oil?utm_source=news&utm_campaign=autumn#e=secret@example.com")
    await site.until(lambda: len(site.events) == 1)
    event = site.events[0]
    assert site.bodies[0]["writeKey"] == "wk"
    assert (event["type"], event["properties"]["path"]) == ("page", "/oil")
    assert event["properties"]["title"] == "A page"
    assert event["context"]["campaign"] == {"source": "news", "name": "autumn"}
    assert (event["context"]["timezone"], event["context"]["locale"]) == ("Europe/Rome", "it-IT")
    assert "secret@example.com" not in json.dumps(site.bodies)


async def test_it_is_sent_as_plain_text_so_that_no_preflight_comes_first(site: Site, page: Page) -> None:
    async with running(Site()) as other:
        other.pages["/"] = page_html(attributes=f'data-host="{site.url}"')
        site.answers.append((200, {"Access-Control-Allow-Origin": "*"}))
        await page.goto(f"{other.url}/")
        await site.until(lambda: len(site.events) == 1)
    assert site.methods == ["POST"]
    assert site.content_types == ["text/plain;charset=UTF-8"]


async def test_calls_made_before_the_script_has_loaded_are_kept(site: Site, page: Page) -> None:
    site.pages["/"] = page_html(
        before="<script>(window.percorso = window.percorso || []).push(['track', 'early', {n: 1}])</script>")
    await page.goto(site.url)
    await site.until(lambda: bool(site.named("early")))
    assert site.named("early")[0]["properties"] == {"n": 1}


async def test_the_calls_of_segment_have_the_shape_of_segment(site: Site, page: Page) -> None:
    site.pages["/"] = page_html(attributes='data-pages="off"')
    await page.goto(site.url)
    await page.evaluate("""() => {
        percorso.identify({email: "ada@example.com"});
        percorso.identify("u1", {name: "Ada"});
        percorso.identify(null, {city: "Rome"});
        percorso.track("Order Completed", {total: 5});
        percorso.group("acme", {plan: "pro"});
        percorso.alias("u2");
        percorso.page("Docs", "Start", {depth: 2});
    }""")
    await site.until(lambda: len(site.events) == 7)
    first, second, third, track, group, alias, view = site.events
    assert "userId" not in first
    assert first["traits"] == {"email": "ada@example.com"}
    assert (second["userId"], second["traits"]) == ("u1", {"name": "Ada"})
    assert (third["userId"], third["traits"]) == ("u1", {"city": "Rome"})
    assert (track["event"], track["properties"], track["userId"]) == ("Order Completed", {"total": 5}, "u1")
    assert (group["groupId"], group["traits"]) == ("acme", {"plan": "pro"})
    assert (alias["userId"], alias["previousId"]) == ("u2", "u1")
    assert (view["name"], view["properties"]["category"], view["properties"]["depth"]) == ("Start", "Docs", 2)
    assert len({event["anonymousId"] for event in site.events}) == 1
    assert len({event["messageId"] for event in site.events}) == 7


async def test_nonsense_never_throws_into_the_page(site: Site, page: Page) -> None:
    await page.goto(site.url)
    await page.evaluate("""() => {
        const loop = {}; loop.loop = loop;
        percorso.track(); percorso.track(loop, loop); percorso.track("loop", loop); percorso.identify(undefined);
        percorso.group(); percorso.alias(); percorso.page(Symbol("x")); percorso.ready(3); percorso.push(null);
        percorso.push(["nothing"]); percorso.track("after", {ok: true});
    }""")
    await site.until(lambda: bool(site.named("after")))


async def test_the_visitor_is_the_same_on_the_next_page_until_reset(site: Site, page: Page) -> None:
    await page.goto(f"{site.url}/one")
    await page.goto(f"{site.url}/two")
    await site.until(lambda: {e["properties"].get("path") for e in site.named("page")} >= {"/one", "/two"})
    assert len({event["anonymousId"] for event in site.events}) == 1
    await page.evaluate("() => { percorso.identify('u1'); percorso.reset(); percorso.track('fresh'); }")
    await site.until(lambda: bool(site.named("fresh")))
    fresh = site.named("fresh")[0]
    assert "userId" not in fresh
    assert fresh["anonymousId"] != site.events[0]["anonymousId"]


async def test_a_page_that_changes_its_address_is_seen_again_once_per_address(site: Site, page: Page) -> None:
    await page.goto(f"{site.url}/a")
    await page.evaluate("""() => {
        history.pushState({}, "", "/b"); document.title = "B";
        history.replaceState({}, "", "/b#top");
    }""")
    await site.until(lambda: len(site.named("page")) == 2)
    await page.go_back()
    await site.until(lambda: len(site.named("page")) == 3)
    views = [event["properties"] for event in site.named("page")]
    assert [view["path"] for view in views] == ["/a", "/b", "/a"]
    assert (views[1]["title"], views[1]["referrer"]) == ("B", f"{site.url}/a")


async def test_forms_tell_names_and_never_values(site: Site, page: Page) -> None:
    site.pages["/"] = page_html(FORM)
    await page.goto(site.url)
    await page.fill("[name=email]", "ada@example.com")
    await page.fill("[name=secret]", "hunter2")
    await page.click("button")
    await site.until(lambda: bool(site.named("form_submitted")))
    (started,), (submitted,) = site.named("form_started"), site.named("form_submitted")
    assert started["properties"] == {"form": "signup", "field": "email", "plan": "free"}
    assert submitted["properties"] == {"form": "signup", "fields": ["email", "secret"], "plan": "free"}
    sent = json.dumps([started["properties"], submitted["properties"]])
    assert not any(value in sent for value in ("ada@example.com", "hunter2", "t0k3n"))


async def test_a_form_that_is_switched_off_is_left_alone(site: Site, page: Page) -> None:
    site.pages["/"] = page_html(FORM.replace("<form", '<form data-percorso-form="off"'))
    await page.goto(site.url)
    await page.fill("[name=email]", "x")
    await page.click("button")
    await site.until(lambda: any(event["properties"]["path"] == "/thanks" for event in site.named("page")))
    assert {event["type"] for event in site.events} == {"page"}


@pytest.mark.parametrize("signal", ["doNotTrack: '1'", "globalPrivacyControl: true"])
async def test_who_asks_for_privacy_is_left_in_peace(
        site: Site, visitor: BrowserContext, page: Page, signal: str) -> None:
    name, value = signal.split(": ")
    await visitor.add_init_script(f"Object.defineProperty(navigator, {name!r}, {{get: () => {value}}})")
    site.pages["/told"] = page_html(attributes='data-dnt="ignore"')
    await page.goto(f"{site.url}/silent")
    await page.evaluate("() => percorso.track('hidden')")
    assert await page.evaluate("() => Object.keys(localStorage).length") == 0
    assert await visitor.cookies() == []
    await page.goto(f"{site.url}/told")
    await site.until(lambda: bool(site.events))
    assert [event["properties"]["path"] for event in site.events] == ["/told"]


async def test_what_the_server_could_not_take_is_sent_again_with_the_same_id(site: Site, page: Page) -> None:
    site.answers = [(503, {}), (429, {"Retry-After": "1"})]
    await page.goto(site.url)
    await site.until(lambda: bool(site.events))
    assert len(site.methods) == 3
    assert await page.wait_for_function("() => !Object.keys(localStorage).some((k) => k.startsWith('percorso_q_'))")


async def test_what_the_server_will_never_take_is_not_offered_again(site: Site, page: Page) -> None:
    site.answers = [(400, {})]
    await page.goto(site.url)
    await site.until(lambda: len(site.methods) == 1)
    await page.wait_for_function("() => !Object.keys(localStorage).some((k) => k.startsWith('percorso_q_'))")
    await page.evaluate("() => percorso.track('next')")
    await site.until(lambda: bool(site.events))
    assert [event.get("event") for event in site.events] == ["next"]


async def test_what_an_earlier_page_could_not_deliver_is_delivered_by_a_later_one(site: Site, page: Page) -> None:
    await page.goto(f"{site.url}/")
    await site.until(lambda: bool(site.events))
    await page.evaluate("""() => localStorage.setItem(
        "percorso_q_" + (Date.now() - 60000).toString(36) + "_abcdef12",
        JSON.stringify(["wk", JSON.stringify({type: "track", event: "left behind", messageId: "m1"})]))""")
    await page.goto(f"{site.url}/next")
    await site.until(lambda: bool(site.named("left behind")))


async def test_what_happens_as_the_page_is_left_is_sent(site: Site, page: Page) -> None:
    await page.goto(f"{site.url}/")
    await page.evaluate("() => addEventListener('pagehide', () => percorso.track('leaving'))")
    await site.until(lambda: bool(site.events))
    await page.evaluate("() => { percorso.track('just before'); location.href = '/elsewhere'; }")
    await site.until(lambda: bool(site.named("just before")))


async def test_without_storage_it_works_all_the_same(site: Site, visitor: BrowserContext, page: Page) -> None:
    await visitor.add_init_script("""
        Object.defineProperty(window, "localStorage", {get() { throw new Error("forbidden"); }});
        const no = () => { throw new Error("forbidden"); };
        Object.defineProperty(document, "cookie", {get: no, set: no});""")
    await page.goto(site.url)
    await page.evaluate("() => percorso.track('still here')")
    await site.until(lambda: bool(site.named("still here")))
    assert len({event["anonymousId"] for event in site.events}) == 1

"""The demo shop over HTTP."""

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount

from percorso_services.ingest_api.demo import routes
from percorso_services.ingest_api.demo.products import PRODUCTS
from percorso_services.ingest_api.demo.texts import TEXTS
from percorso_shared.clock import SystemClock
from percorso_shared.process import Context
from percorso_shared.settings import Settings

PAGES = ("/", "/product/olio", "/register", "/check-mail?r=r_12345", "/confirm?r=r_12345", "/welcome", "/confirm", "/x")


@pytest.fixture
async def shop(pool: asyncpg.Pool) -> AsyncIterator[httpx.AsyncClient]:
    context = Context(settings=Settings(), pool=pool, bus=None,  # type: ignore[arg-type]  # it has no use for it
                      clock=SystemClock(), stop=asyncio.Event(), metrics=CollectorRegistry())
    app = Starlette(routes=[Mount("/demo", routes=routes(context))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        yield client


@pytest.fixture
async def source(pool: asyncpg.Pool) -> str:
    await pool.execute("INSERT INTO ingest.source (workspace_id, name, kind, write_key) "
                       "VALUES (1, 'backend', 'server', 'secret'), (1, 'app', 'browser', 'other'), "
                       "(1, 'website', 'browser', 'k1')")
    return "k1"


def test_every_text_of_the_shop_exists_in_both_languages() -> None:
    assert TEXTS["it"].keys() == TEXTS["en"].keys()
    assert all(product.names.keys() == product.leads.keys() == product.stories.keys() == {"it", "en"}
               for product in PRODUCTS)


async def test_every_page_carries_the_beacon_with_the_key_of_the_website(shop: httpx.AsyncClient, source: str) -> None:
    for page in PAGES:
        text = (await shop.get(f"/demo{page}")).text
        assert f'src="/p.js" data-key="{source}"' in text
        assert "secret" not in text


async def test_italian_until_english_is_chosen(shop: httpx.AsyncClient, source: str) -> None:
    assert '<html lang="it">' in (await shop.get("/demo/", headers={"Accept-Language": "en"})).text
    assert '<html lang="en">' in (await shop.get("/demo/register?lang=en")).text
    page = (await shop.get("/demo/register")).text
    assert '<html lang="en">' in page
    assert 'href="?lang=it"' in page


async def test_a_registration_leads_to_its_own_confirmation(shop: httpx.AsyncClient, source: str) -> None:
    page = (await shop.get("/demo/register")).text
    found = re.search(r'action="/demo/register\?r=(r_[0-9a-f]{16})"', page)
    assert found is not None
    assert f'data-percorso-properties=\'{{"registration_id": "{found[1]}"}}\'' in page
    posted = await shop.post(f"/demo/register?r={found[1]}", data={"email": "ada@example.com"})
    assert (posted.status_code, posted.headers["location"]) == (303, f"/demo/check-mail?r={found[1]}")
    assert f"/demo/confirm?r={found[1]}" in (await shop.get(posted.headers["location"])).text
    assert found[1] not in (await shop.get("/demo/register")).text


async def test_opening_the_confirmation_only_asks(shop: httpx.AsyncClient, source: str) -> None:
    page = await shop.get("/demo/confirm?r=r_12345")
    assert (page.status_code, page.text.count("<form")) == (200, 1)
    assert (await shop.post("/demo/confirm?r=r_12345")).headers["location"] == "/demo/welcome"
    for broken in ("", "?r=", "?r=<script>", "?r=" + "x" * 65):
        answer = await shop.get(f"/demo/confirm{broken}")
        assert answer.status_code == 400
        assert "<script>" not in answer.text.replace("<script defer", "")


async def test_nothing_is_loaded_from_elsewhere(shop: httpx.AsyncClient, source: str) -> None:
    for page in PAGES:
        answer = await shop.get(f"/demo{page}")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not re.search(r"""(?:src|href)=["'](?:https?:)?//(?!127\.0\.0\.1)""", answer.text)
    for name in ("shop.css", "shop.js", "sun.svg"):
        assert (await shop.get(f"/demo/static/{name}")).status_code == 200
    assert (await shop.get("/demo/static/..%2fshop.py")).status_code == 404


async def test_a_shop_without_a_source_says_how_to_make_one(shop: httpx.AsyncClient) -> None:
    answer = await shop.get("/demo/")
    assert answer.status_code == 503
    assert "percorso source create" in answer.text

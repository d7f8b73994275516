"""The console in a real browser."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from playwright.async_api import Browser, Page, expect

from chromium import open_chromium, screenshot_path
from console_world import MAIL, ConsoleWorld, console_world

pytestmark = pytest.mark.browser

PAGES = ("/", "/people", "/people/email:thomas@example.com", f"/mailbox/{MAIL}", "/nowhere")


@pytest.fixture
async def world(pool: asyncpg.Pool) -> AsyncIterator[ConsoleWorld]:
    async with console_world(pool) as opened:
        yield opened


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_chromium() as opened:
        yield opened


async def come_in(browser: Browser, world: ConsoleWorld, *, language: str = "en-GB", scheme: str = "light",
                  width: int = 1280) -> tuple[Page, list[str]]:
    """A page with a session, and the list of what its own scripts and policies complain about."""
    context = await browser.new_context(
        locale=language, timezone_id="Europe/Rome", viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light")
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None)
    await page.goto(await world.new_link())
    return page, complaints


async def test_a_touchpoint_appears_on_the_live_page_by_itself(world: ConsoleWorld, browser: Browser) -> None:
    page, complaints = await come_in(browser, world)
    await expect(page.get_by_text("No touchpoint has arrived yet")).to_be_visible()
    await expect(page.locator("[data-live-state]")).to_have_text("Watching. New ones appear at the top.")
    await world.does(["email:ada@example.com"], "Order Completed", properties={"total": 42})
    row = page.locator(".touchpoints li")
    await expect(row).to_contain_text("total: 42")
    await expect(page.locator("[data-live-empty]")).to_have_count(0)
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator("[data-live-state]")).to_have_text("Paused.")
    await world.does(["email:ada@example.com"], "Order Refunded", properties={"total": 42})
    await page.get_by_role("button", name="Go on").click()
    await expect(page.locator(".touchpoints li")).to_have_count(2)
    await expect(page.locator(".touchpoints li").first).to_contain_text("Order Refunded")
    await page.get_by_role("link", name="ada@example.com").first.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("ada@example.com")
    assert complaints == []


async def test_searching_and_reading_a_mail_work_with_the_keyboard(world: ConsoleWorld, browser: Browser) -> None:
    await world.thomas_registers()
    page, complaints = await come_in(browser, world, language="it-IT")
    await page.get_by_role("searchbox").fill("thomas@example.com")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Thomas Keller")
    await page.goto(f"{world.url}/mailbox")
    await page.get_by_role("link", name="Manca solo la tua conferma").focus()
    await page.keyboard.press("Enter")
    frame = page.frame_locator("iframe")
    await expect(frame.get_by_role("heading")).to_have_text("Ci sei quasi, Thomas")
    await expect(page).to_have_url(f"{world.url}/mailbox/{MAIL}")
    assert await page.title() == "Posta · Percorso"
    assert complaints == []


async def test_the_theme_can_be_switched_and_stays(world: ConsoleWorld, browser: Browser) -> None:
    page, _ = await come_in(browser, world, scheme="light")

    async def ground() -> str:
        return str(await page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = await ground()
    await page.get_by_role("button", name="Light or dark").click()
    dark = await ground()
    assert dark != light
    await page.goto(f"{world.url}/people")
    assert await ground() == dark


@pytest.mark.parametrize(("language", "scheme", "width"), [
    ("en-GB", "light", 1280), ("it-IT", "dark", 1280), ("it-IT", "light", 390), ("en-GB", "dark", 390)])
async def test_no_page_is_wider_than_its_window(world: ConsoleWorld, browser: Browser, language: str, scheme: str,
                                                width: int) -> None:
    await world.thomas_registers()
    await world.maria_looks_around()
    page, complaints = await come_in(browser, world, language=language, scheme=scheme, width=width)
    for path in PAGES:
        await page.goto(world.url + path)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        name = path.strip("/").split("/")[0] or "live"
        await page.screenshot(path=screenshot_path(f"console-{name}-{language[:2]}-{scheme}-{width}"), full_page=True)
    assert complaints == []

"""Thomas registers in the demo shop, in a real browser, on everything running for real."""

import asyncio
import re
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from chromium import open_chromium, screenshot_path
from percorso_command import PercorsoUp
from percorso_services.demo_outcome import read_outcome
from percorso_services.demo_walk import Pace, cast, walk

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

GRACE, PATIENCE = 3, 8
"""Seconds that the shipped journey is shortened to."""


def shortened_journeys(folder: Path) -> Path:
    """The shipped journeys and templates with waits that a test can wait for."""
    shipped = files("percorso_orchestrator") / "shipped"

    def copy(source: Any, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        for item in source.iterdir():
            if item.is_dir():
                copy(item, target / item.name)
            else:
                text = item.read_text(encoding="utf-8")
                if item.name == "demo-registration.yaml":
                    text = text.partition("tests:")[0].replace("for: 20s", f"for: {GRACE}s").replace(
                        "for: 40s", f"for: {PATIENCE}s")
                (target / item.name).write_text(text, encoding="utf-8")

    copy(shipped, folder)
    return folder


class Shop:
    """The running installation, as its visitors and its owner see it."""

    def __init__(self, up: PercorsoUp, browser: Browser, api: httpx.AsyncClient) -> None:
        self.up, self.browser, self.api = up, browser, api

    async def visitor(self, language: str = "it") -> Page:
        """Somebody at a device of their own."""
        context: BrowserContext = await self.browser.new_context(timezone_id="Europe/Rome", locale=language)
        page = await context.new_page()
        await page.goto(f"{self.up.public}/demo/?lang={language}")
        return page

    async def register(self, page: Page, name: str, email: str, *, consent: bool) -> None:
        """Up to the page that asks to check the mail."""
        await page.get_by_role("navigation").get_by_role("link").nth(1).click()
        await page.locator("#name").fill(name)
        await page.locator("#email").fill(email)
        if consent:
            await page.locator("#consent").check()
        await page.locator("form[data-register] button").click()
        await page.wait_for_url("**/demo/check-mail?r=*")

    async def owner(self) -> Page:
        """The console, through the one-time link."""
        page = await (await self.browser.new_context(locale="en-GB", timezone_id="Europe/Rome")).new_page()
        await page.goto((self.up.folder / "first-visit").read_text().strip())
        return page

    async def mails(self, to: str) -> list[dict[str, Any]]:
        """Oldest first."""
        answer = await self.api.get("/v1/mailbox", params={"to": to})
        assert answer.status_code == 200, answer.text
        return list(reversed(answer.json()["data"]))

    async def mails_once(self, to: str, count: int, seconds: float) -> list[dict[str, Any]]:
        async with asyncio.timeout(seconds):
            while True:
                found = await self.mails(to)
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.2)

    async def run_ended(self, email: str, seconds: float = 30) -> tuple[str, str | None]:
        """How the person's only run ended, once it has."""
        async with asyncio.timeout(seconds):
            while True:
                answer = await self.api.get(f"/v1/profiles/email:{email}/journeys")
                runs = answer.json()["data"] if answer.status_code == 200 else []
                if runs and runs[0]["state"] == "ended":
                    assert len(runs) == 1
                    return runs[0]["ended_reason"], runs[0]["ended_as"]
                await asyncio.sleep(0.2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    journeys = shortened_journeys(folder / "journeys")
    async with (open_chromium() as browser,
                PercorsoUp(folder / "data", environment={"PERCORSO_JOURNEYS_DIR": str(journeys)}) as up,
                httpx.AsyncClient(base_url=up.private, timeout=30,
                                  headers={"Authorization": f"Bearer {up.keys['secret_key']}"}) as api):
        yield Shop(up, browser, api)


async def test_thomas_does_not_confirm_and_is_reminded_then_told_what_he_gains(shop: Shop) -> None:
    owner = await shop.owner()
    thomas = await shop.visitor("it")
    await thomas.locator(".products a").first.click()
    await thomas.locator("[data-add]").click()
    await shop.register(thomas, "Thomas", "thomas@example.com", consent=True)

    row = owner.locator(".touchpoints li", has_text="form_submitted")
    await expect(row).to_contain_text("thomas@example.com", timeout=10_000)
    await expect(owner.locator(".touchpoints li", has_text="Product Added")).to_be_visible()
    await owner.screenshot(path=screenshot_path("demo-live"))

    reminder, benefits = await shop.mails_once("thomas@example.com", 2, GRACE + PATIENCE + 30)
    assert [reminder["subject"], benefits["subject"]] == [
        "Manca solo la tua conferma", "Ecco cosa ti aspetta da Bottega Aurora"]
    assert "Thomas" in reminder["html"]
    assert await shop.run_ended("thomas@example.com") == ("finished", None)

    await owner.goto(f"{shop.up.private}/people/email:thomas@example.com")
    await expect(owner.get_by_role("heading", level=1)).to_have_text("Thomas")
    await expect(owner.locator(".decision.sent")).to_have_count(2)
    await expect(owner.locator(".timeline")).to_contain_text("Manca solo la tua conferma")
    await expect(owner.locator(".timeline")).to_contain_text("/demo/product/olio")
    await owner.screenshot(path=screenshot_path("demo-person"), full_page=True)
    await owner.goto(f"{shop.up.private}/mailbox/{reminder['id']}")
    await expect(owner.frame_locator("iframe").get_by_role("link", name="Conferma la registrazione")).to_be_visible()
    await owner.screenshot(path=screenshot_path("demo-mailbox"), full_page=True)


async def test_who_confirms_in_time_hears_nothing(shop: Shop) -> None:
    maria = await shop.visitor("en")
    await shop.register(maria, "Maria", "maria@example.com", consent=True)
    await maria.locator("a[data-confirm]").click()
    await maria.get_by_role("button", name="Yes, I confirm").click()
    await expect(maria.get_by_role("heading", level=1)).to_have_text("Welcome to Bottega Aurora")
    assert await shop.run_ended("maria@example.com") == ("exit", "confirmed")
    assert await shop.mails("maria@example.com") == []


async def test_confirming_from_the_mail_on_another_device_stops_the_second_mail(shop: Shop) -> None:
    guy = await shop.visitor("en")
    await shop.register(guy, "Guy", "guy@example.com", consent=True)
    (reminder,) = await shop.mails_once("guy@example.com", 1, GRACE + 30)
    assert reminder["subject"] == "Only your confirmation is missing"
    link = re.search(rf"{re.escape(shop.up.public)}/demo/confirm[^\s)]+", reminder["text"])
    assert link is not None, reminder["text"]
    telephone = await shop.visitor("en")
    await telephone.goto(link[0])
    await telephone.get_by_role("button", name="Yes, I confirm").click()
    await expect(telephone.get_by_role("heading", level=1)).to_have_text("Welcome to Bottega Aurora")
    assert await shop.run_ended("guy@example.com") == ("exit", "confirmed")
    assert len(await shop.mails("guy@example.com")) == 1


async def test_without_consent_the_reminder_comes_and_the_benefits_do_not(shop: Shop) -> None:
    vera = await shop.visitor("it")
    await shop.register(vera, "Vera", "vera@example.com", consent=False)
    await shop.mails_once("vera@example.com", 1, GRACE + 30)
    assert await shop.run_ended("vera@example.com", GRACE + PATIENCE + 30) == ("finished", None)
    assert [mail["subject"] for mail in await shop.mails("vera@example.com")] == ["Manca solo la tua conferma"]


async def test_the_people_of_the_demo_get_exactly_the_mails_they_should(shop: Shop) -> None:
    pace = Pace(arrivals=0.05, reading=(0.01, 0.1), soon=(0.1, 0.5), late=(GRACE + 2, GRACE + 3), reminds=GRACE,
                ends=GRACE + PATIENCE)
    seen: list[str] = []
    keys = shop.up.keys
    walked = await walk(cast(20, 1), public=shop.up.public, write_key=keys["sources"][0]["write_key"], pace=pace,
                        seen=seen.append)
    assert (seen.count("registered"), seen.count("confirmed")) == (20, 14)
    async with asyncio.timeout(GRACE + PATIENCE + 40):
        while True:
            outcome = await read_outcome(shop.up.private, keys["secret_key"], walked, pace)
            if outcome.settled and outcome.profiles == 20:
                break
            await asyncio.sleep(0.5)
    assert outcome.surprises == []
    assert outcome.runs == {"exit confirmed": 14, "finished": 6}
    assert outcome.in_mailbox == sum(outcome.mails.values())

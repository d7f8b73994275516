"""A real Chromium for tests, driven by playwright. Without one a test is skipped, in CI it fails."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

import real_components

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")
ARTEFACTS = Path(__file__).parents[1] / "artefacts"


def executable() -> str:
    """Where Chromium is. Skips the test that asks, or fails it in CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found:
        return found
    message = "no Chromium on this machine: apt-get install chromium"
    if os.environ.get("CI") or os.environ.get("PERCORSO_CI"):
        pytest.fail(message)
    pytest.skip(message)


@asynccontextmanager
async def open_chromium() -> AsyncIterator[Browser]:
    """Its version is noted for the end of the run."""
    path = executable()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        real_components.note("browser", f"Chromium {browser.version}")
        try:
            yield browser
        finally:
            await browser.close()


def screenshot_path(name: str) -> str:
    ARTEFACTS.mkdir(exist_ok=True)
    return str(ARTEFACTS / f"{name}.png")

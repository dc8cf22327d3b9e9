"""A Chromium for the tests of the page: started once, with a fresh context for each test.

    async with open_context(chromium) as context:
        page = await context.new_page()

It belongs to an event loop, so all tests that use it share that loop. So must the async fixtures
between them: `@pytest_asyncio.fixture(loop_scope="session")`.

`make test` installs Chromium if apt-get may do so; without it the tests are skipped with a message.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first is Chromium without windows, which needs a fifth less processor time."""
SWITCHES = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
SECONDS = 60


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """A Chromium without a window, controlled by Playwright."""
    program = find_chromium()
    if program is None:
        pytest.skip("the page was not tested: there is no Chromium (apt-get install chromium)")
    async with running(program) as browser:
        yield browser


@asynccontextmanager
async def running(program: str) -> AsyncIterator[Browser]:
    """Run this program as a browser that Playwright controls."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=SWITCHES)
        async with browser:
            yield browser


@asynccontextmanager
async def open_context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """Yield a fresh context in that Chromium.

    It blocks service workers, because tests cannot intercept their requests.
    """
    async with await chromium.new_context(service_workers="block") as context:
        yield context


def find_chromium() -> str | None:
    """Return the first of `NAMES` that is installed; None if none is."""
    return next(filter(None, map(shutil.which, NAMES)), None)

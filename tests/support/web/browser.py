"""A Chromium for the tests of the page: started once, with a fresh context for each test.

    async with opened(chromium) as context:
        page = await context.new_page()

It belongs to a loop, so all tests that ask for it share that loop. So must the async fixtures
between: `@pytest_asyncio.fixture(loop_scope="session")`.

Where there is no Chromium it is installed if apt-get may do so; else the tests are skipped, and
say so.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first is Chromium without what windows need, and takes a fifth less of the processor."""
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
    """A Chromium that takes orders, without a window."""
    program = find_chromium()
    if program is None:
        pytest.skip("the page was not tested: there is no Chromium (apt-get install chromium)")
    async with running(program) as browser:
        yield browser


@asynccontextmanager
async def running(program: str) -> AsyncIterator[Browser]:
    """Start this program as a browser that takes orders, and end it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=SWITCHES)
        async with browser:
            yield browser


@asynccontextmanager
async def open_context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A fresh context in that Chromium.

    It has no service workers: what they fetch, no test can hold back.
    """
    async with await chromium.new_context(service_workers="block") as context:
        yield context


def find_chromium() -> str | None:
    """Return the first of `NAMES` that is installed; None if none is."""
    return next(filter(None, map(shutil.which, NAMES)), None)

"""A Chromium for the tests of the page: started once, with a fresh context for each test.

    async with opened(chromium) as context:
        page = await context.new_page()

Where there is no Chromium, which `tests/programs.py` installs, the tests are skipped, and say so.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
SECONDS = 60


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address at which a running Chromium takes orders."""
    program = _program()
    if program is None:
        pytest.skip("the page was not tested: there is no Chromium (apt-get install chromium)")
    with running(program, tmp_path_factory.mktemp("chromium")) as address:
        yield address


@contextmanager
def running(program: str, profile: Path) -> Iterator[str]:
    """A Chromium that keeps what it knows in that folder."""
    command = [program, *SWITCHES, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{_port(process, profile / 'DevToolsActivePort')}"
    finally:
        process.terminate()
        process.wait(SECONDS)


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[BrowserContext]:
    """A fresh context in that Chromium, for the loop of the test that asks."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(address)
        context = await browser.new_context()
        try:
            yield context
        finally:
            await context.close()


def _program() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def _port(process: subprocess.Popen[bytes], file: Path) -> int:
    """The port, once Chromium has written it down."""
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        lines = file.read_text().splitlines() if file.exists() else []
        if lines:
            return int(lines[0])
        time.sleep(0.02)
    raise RuntimeError(f"Chromium was wanted; it ended with {process.poll()} and named no port.")

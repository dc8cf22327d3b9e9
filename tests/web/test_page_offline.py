"""The page without its server: the browser keeps its files, and no answer of the server."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

import antiphon
from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings
from tests.support.web.chats import Installation
from tests.support.web.people import ADMIN, PASSWORD, add_person

LIST_KEPT_PATHS = """async () => {
  const paths = [];
  for (const name of await caches.keys()) {
    for (const { url } of await (await caches.open(name)).keys()) paths.push(new URL(url).pathname);
  }
  return paths;
}"""
COUNT_WORKERS = "async () => (await navigator.serviceWorker.getRegistrations()).length"
WAIT_UNTIL_KEPT = """async () => {
  const { src } = document.querySelector("script[type=module]");
  const cacheName = `antiphon ${new URL(src).pathname.split("/")[2]}`;
  for (;;) {
    const worker = await navigator.serviceWorker.getRegistration();
    const coming = worker?.installing ?? worker?.waiting;
    const shell = await caches.match("/", { cacheName });
    if (shell && !coming && worker?.active?.state === "activated") return;
    await new Promise(requestAnimationFrame);
  }
}"""
"""Resolves when the browser keeps the version that is shown."""


@pytest_asyncio.fixture(loop_scope="session")
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    async with await chromium.new_context() as context:
        yield context


async def open_page(context: BrowserContext, url: str) -> Page:
    """Return the page at this address once the browser keeps it."""
    page = await context.new_page()
    page.set_default_timeout(60_000)
    await page.goto(url)
    await page.wait_for_selector("#composer")
    await page.evaluate(WAIT_UNTIL_KEPT)
    return page


@pytest.mark.slow
async def test_the_page_opens_without_its_server_with_the_drafts_and_says_so(
    context: BrowserContext, tmp_path: Path, axe: str
) -> None:
    async with Installation(tmp_path, "--no-servers") as up:
        page = await open_page(context, up.url)
        await page.locator("#composer").fill("half a sentence")
        await up.kill()
        await page.reload()

        await expect(page.locator("#composer")).to_have_value("half a sentence")
        await expect(page.locator(".away")).to_contain_text("The server does not answer")
        await expect(page.locator(".threads")).to_contain_text("does not answer")
        await page.locator("#composer").press("Enter")
        await expect(page.locator(".toasts")).to_contain_text("can be sent when it is back")
        violations = await findings(page, axe)
        await page.locator("#composer").fill("half a sentence, and more")
        await page.goto(f"{up.url}/t/thread_unknown")
        await expect(page.locator(".notice")).to_contain_text("cannot be reached")
        await expect(page.locator(".toast, .starters")).to_have_count(0)  # one notice is enough
        await page.goto(up.url)
        await expect(page.locator("#composer")).to_have_value("half a sentence, and more")
        await page.get_by_role("button", name="Settings").click()
        await expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
        await page.keyboard.press("Escape")

        await up.begin()
        await expect(page.locator(".away")).to_have_count(0)
        await expect(page.locator(".composer")).to_have_attribute("aria-busy", "false")
        await expect(page.locator("#composer")).to_have_value("half a sentence, and more")
        assert violations == []


@pytest.mark.slow
async def test_only_files_of_the_page_are_kept_and_no_answer_of_the_server(
    context: BrowserContext, tmp_path: Path
) -> None:
    async with Installation(tmp_path, "--no-servers") as up:
        page = await open_page(context, up.url)
        await page.reload()
        await page.get_by_role("button", name="Settings").click()
        await expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
        paths = await page.evaluate(LIST_KEPT_PATHS)

        assert "/" in paths
        assert all(path == "/" or path.startswith("/static/") for path in paths)
        assert any(path.endswith("/chat/bundle.mjs") for path in paths)
        assert not any("highlight.mjs" in path and "/vendor/" in path for path in paths)


@pytest.mark.slow
async def test_a_new_version_is_shown_as_soon_as_the_server_has_it_and_never_mixed(
    context: BrowserContext, tmp_path: Path
) -> None:
    async with Installation(tmp_path, "--no-servers") as up:
        page = await open_page(context, up.url)
        old_paths = await page.evaluate(LIST_KEPT_PATHS)
        await up.kill()
        async with deploy_new_version(tmp_path, up.port):
            await page.goto(up.url)
            await page.wait_for_selector("#composer")
            color = "getComputedStyle(document.documentElement).getPropertyValue('--deployed')"
            assert await page.evaluate(color) == "yes"
            resources = await page.evaluate(
                "performance.getEntriesByType('resource').map(({ name }) => name)"
            )
            versions = {name.split("/")[4] for name in resources if "/static/" in name}
            assert len(versions) == 1
            assert versions.isdisjoint({path.split("/")[2] for path in old_paths if path != "/"})
            await page.evaluate(WAIT_UNTIL_KEPT)
        await page.reload()
        await expect(page.locator(".away")).to_be_visible()
        assert await page.evaluate(color) == "yes"


@asynccontextmanager
async def deploy_new_version(folder: Path, port: int) -> AsyncIterator[None]:
    """Run Antiphon with a page of another version at this port."""
    source = folder / "deployed"
    shutil.copytree(
        Path(antiphon.__file__).parent,
        source / "antiphon",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    colors = source / "antiphon/web/static/chat/css/tokens.css"
    colors.write_text(colors.read_text() + "\n:root { --deployed: yes; }\n")
    home = folder / "home"
    home.mkdir()
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "antiphon", "up", "--port", str(port), "--no-servers"),
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(source)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(120):
            while b"listening on" not in await child.stdout.readline():
                assert child.returncode is None
        yield
    finally:
        child.kill()
        await child.wait()


async def test_a_logout_takes_the_drafts_and_what_the_browser_keeps_of_the_page(
    context: BrowserContext, tmp_path: Path
) -> None:
    add_person(tmp_path, ADMIN, "admin")
    async with Installation(tmp_path, "--no-servers", "--login", "password") as up:
        page = await context.new_page()
        page.set_default_timeout(60_000)
        await page.goto(up.url)
        await page.get_by_label("Name").fill(ADMIN)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_selector("#composer")
        await page.evaluate(WAIT_UNTIL_KEPT)
        await page.locator("#composer").fill("nobody else's business")
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_role("button", name="Sign out", exact=True).click()
        await page.wait_for_selector(".login")

        assert await page.evaluate(LIST_KEPT_PATHS) == []
        assert await page.evaluate(COUNT_WORKERS) == 0
        storage_text = await page.evaluate("JSON.stringify(localStorage)")
        assert "business" not in storage_text
        assert "antiphon.person" not in storage_text

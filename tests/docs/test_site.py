"""The documentation site has every page, a search, and an explorer of the API that works."""

from __future__ import annotations

import asyncio
import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

import antiphon
from tests.support.docs.blocks import ROOT
from tests.support.web.browser import chromium, open_context

__all__ = ["chromium"]

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOCS = ROOT / "docs"
BUILD_SECONDS = 300


def build(output: Path, docs: Path = DOCS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, docs / "site/build.py", "--output", output],
        check=False,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("site")
    completed = build(output)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return output


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(_QuietHandler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
async def test_every_page_is_on_the_site_also_as_markdown_and_in_the_list(site: Path) -> None:
    version = site / antiphon.__version__
    index = (version / "llms.txt").read_text("utf-8")
    all_pages = (version / "llms-full.txt").read_text("utf-8")

    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS)
        if name.parts[0] in ("site", "README.md"):
            continue
        folder = name.parent if name.name == "README.md" else name.with_suffix("")
        title = re.search(r"(?m)^# (.+)$", page.read_text("utf-8"))
        assert (version / folder / "index.html").exists(), name
        assert (version / folder / "index.md").exists(), name
        assert title is not None
        assert f"]({folder.as_posix()}/index.md)" in index, name
        assert title[0] in all_pages


@pytest.mark.slow
async def test_versions_stand_side_by_side_and_the_newest_is_opened(site: Path) -> None:
    versions = json.loads((site / "versions.json").read_text("utf-8"))

    assert versions == [
        {"version": antiphon.__version__, "title": antiphon.__version__, "aliases": ["latest"]}
    ]
    assert f'href="{antiphon.__version__}/"' in (site / "index.html").read_text("utf-8")


@pytest.mark.slow
async def test_a_page_in_no_list_and_a_link_to_nowhere_end_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(DOCS / "site", docs / "site")
    (docs / "README.md").write_text("# Documentation\n\n## Start\n\n- [One](one.md)\n", "utf-8")
    (docs / "one.md").write_text("# One\n", "utf-8")
    (docs / "lost.md").write_text("# Lost\n", "utf-8")
    unlisted_build = build(tmp_path / "out", docs)
    (docs / "lost.md").unlink()
    (docs / "one.md").write_text("# One\n\n[Nowhere](../nowhere.md)\n", "utf-8")
    broken_build = build(tmp_path / "out", docs)

    assert (unlisted_build.returncode, broken_build.returncode) == (1, 1)
    assert "missing: lost.md" in unlisted_build.stderr
    assert "docs/one.md links to ../nowhere.md" in broken_build.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
async def test_the_site_is_searched_and_drawn_without_requests_to_other_hosts(
    chromium: Browser, address: str
) -> None:
    async with open_context(chromium) as context:
        page = await context.new_page()
        problems = watch(page, address)
        await page.goto(f"{address}/")
        await page.wait_for_url(f"**/{antiphon.__version__}/")
        await page.goto(f"{address}/{antiphon.__version__}/explanation/architecture/")
        await expect(page.locator("article .mermaid")).to_be_visible()
        await page.keyboard.press("/")
        await page.keyboard.type("only once")
        result = page.get_by_role("option").filter(has_text="Do a thing only once")
        await result.first.click()
        await page.wait_for_url("**/how-to/tools/**")

    assert problems == []


@pytest.mark.slow
async def test_the_explorer_sends_requests_to_the_readers_own_server(
    chromium: Browser, address: str
) -> None:
    async with open_context(chromium) as context:
        page = await context.new_page()
        problems = watch(page, address)
        requests: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        await page.route("http://127.0.0.1:8000/**", functools.partial(answer, requests))
        await page.goto(f"{address}/{antiphon.__version__}/reference/explorer/")
        await page.locator("#explorer .opblock-tag").filter(has_text="threads").first.click()
        operation = page.locator("#operations-threads-ListThreads, .opblock-get").filter(
            has_text="/v1/threads"
        )
        await operation.first.click()
        await page.get_by_role("button", name="Try it out").click()
        await page.get_by_role("button", name="Execute").click()
        method, url = await asyncio.wait_for(requests.get(), 30)
        await expect(page.locator("#explorer .responses-table").first).to_contain_text("has_more")

    assert (method, url.partition("?")[0]) == ("GET", "http://127.0.0.1:8000/v1/threads")
    assert problems == []


async def answer(requests, route) -> None:
    request = route.request
    await requests.put((request.method, request.url))
    await route.fulfill(
        headers={"access-control-allow-origin": "*"}, json={"data": [], "has_more": False}
    )


def watch(page: Page, address: str) -> list[str]:
    """Return a list that fills with requests to other hosts and errors of the page."""
    problems: list[str] = []
    allowed = (address, "http://127.0.0.1:8000", "data:", "blob:")
    page.on(
        "request", lambda request: request.url.startswith(allowed) or problems.append(request.url)
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    return problems

"""Responses at the addresses of the page."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator

import pytest

from tests.support.web.visiting import Chat, open_chat

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
VIEWS = (
    "/",
    "/t/thread_1",
    "/assistants",
    "/assistants/new",
    "/a/token",
    "/admin",
    "/admin/keys",
    "/login",
)


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with open_chat() as chat:
        yield chat


@pytest.mark.parametrize("address", VIEWS)
async def test_each_view_is_the_same_page(chat: Chat, address: str) -> None:
    browser = chat.browser()
    first = await browser.open("GET", "/", None, HTML)
    page = await browser.open("GET", address, None, HTML)

    assert (page.status_code, page.data) == (200, first.data)


async def test_the_files_of_the_page_are_compressed_for_a_browser_that_accepts_it(
    chat: Chat,
) -> None:
    browser = chat.browser()
    page = (await browser.open("GET", "/", None, HTML)).text
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    modules = [address for address in addresses if not address.endswith(".png")]
    assert any(address.endswith("/bundle.mjs") for address in modules)
    for address in modules:
        plain_response = await browser.open("GET", address, None, {"Accept-Encoding": "identity"})
        gzip_response = await browser.open("GET", address, None, {"Accept-Encoding": "gzip, br"})

        assert (plain_response.status_code, plain_response.content_encoding) == (200, None)
        assert gzip_response.content_encoding == "gzip"
        assert gzip.decompress(gzip_response.data) == plain_response.data
        assert gzip_response.headers["vary"] == plain_response.headers["vary"] == "accept-encoding"


async def test_a_browser_can_install_the_page_with_icons_that_exist(chat: Chat) -> None:
    browser = chat.browser()
    page = await browser.open("GET", "/", None, HTML)
    fresh = chat.browser()
    manifest = await fresh.open("GET", "/manifest.webmanifest", None, {})

    assert '<link rel="manifest" href="/manifest.webmanifest">' in page.text
    assert "manifest-src 'self'" in page.headers["content-security-policy"]
    assert (manifest.status_code, manifest.mimetype) == (200, "application/manifest+json")
    assert manifest.headers["cache-control"] == "no-cache"
    assert "set-cookie" not in manifest.headers
    assert manifest.json["name"] == "Antiphon"
    assert (manifest.json["start_url"], manifest.json["display"]) == ("/", "standalone")
    for icon in manifest.json["icons"]:
        image = await browser.open("GET", icon["src"], None, {})
        width = int.from_bytes(image.data[16:20])
        assert (image.status_code, image.mimetype) == (200, icon["type"])
        assert icon["sizes"] == f"{width}x{width}"


async def test_at_an_unknown_address_a_browser_gets_the_page_with_status_404(chat: Chat) -> None:
    page = await chat.browser().open("GET", "/nowhere", None, HTML)

    assert (page.status_code, page.mimetype) == (404, "text/html")


@pytest.mark.parametrize("address", ["/api/nothing", "/static/old/chat/main.mjs"])
async def test_an_unknown_address_of_the_api_or_a_file_is_answered_with_a_problem(
    chat: Chat, address: str
) -> None:
    answer = await (await chat.browser().arrive()).open("GET", address, None, HTML)

    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")


async def test_a_program_is_answered_with_a_problem(chat: Chat) -> None:
    answer = await chat.browser().open("GET", "/nowhere", None, {"Accept": "application/json"})

    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")

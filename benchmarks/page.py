"""Cost of drawing an incoming answer in Chromium, beside redrawing all of it each time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, Route, async_playwright

from benchmarks.answers import BLOCKS, CHARACTERS_PER_TOKEN, mixed_answer, single
from benchmarks.bench import Bench
from benchmarks.report import Figure, Row, inverse, row
from tests.support.web.browser import find_chromium

CHAT = Path(__file__).parents[1] / "src/antiphon/web/static/chat"
ORIGIN = "http://localhost/"
TYPES = {".mjs": "text/javascript", ".css": "text/css"}
SHELL = (
    '<!doctype html><link rel="stylesheet" href="/css/tokens.css">'
    '<link rel="stylesheet" href="/css/markdown.css"><body></body>'
)
SWITCHES = ("--no-sandbox", "--no-first-run", "--disable-background-networking")
STEP = 30 * CHARACTERS_PER_TOKEN
"""Characters between two drawings: the text of a fast model in a frame or two."""
FRAME = 1000 / 60


async def measure(bench: Bench) -> list[Row]:
    """Measure answers of all kinds and of one block; without a Chromium there are no rows."""
    program = find_chromium()
    if program is None:
        print("page: wanted a Chromium to draw in; found none")
        return []
    mixed_tokens, block_tokens = bench.pick(300, 10_000, 10_000), bench.pick(300, 2_000, 10_000)
    async with open_page(program) as page:
        rows = await compare_drawings(page, mixed_answer(mixed_tokens))
        for kind in bench.pick(("list",), tuple(BLOCKS), tuple(BLOCKS)):
            rows.append(
                one_block(
                    kind, await time_drawings(page, "incremental", single(kind, block_tokens))
                )
            )
    return rows


@asynccontextmanager
async def open_page(program: str) -> AsyncIterator[Page]:
    """Open a page that has the chat's modules and no network."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=SWITCHES)
        page = await browser.new_page()
        await page.route("**/*", serve)
        await page.goto(ORIGIN)
        # The first drawing of each kind loads the libraries.
        await time_drawings(page, "incremental", mixed_answer(500))
        await time_drawings(page, "naive", mixed_answer(500))
        yield page
        await browser.close()


async def serve(route: Route) -> None:
    """Answer a request with a file of the chat, with `page.mjs`, or with the page itself."""
    path = route.request.url.removeprefix(ORIGIN)
    file = Path(__file__).with_suffix(".mjs") if path == "page.mjs" else CHAT / path
    if path:
        await route.fulfill(body=file.read_text(), content_type=TYPES[file.suffix])
    else:
        await route.fulfill(body=SHELL, content_type="text/html")


async def time_drawings(page: Page, how: str, text: str) -> list[float]:
    """Return the milliseconds of each drawing."""
    call = "async ([how, ...parameters]) => (await import('/page.mjs'))[how](...parameters)"
    return [float(each) for each in await page.evaluate(call, [how, text, STEP])]


async def compare_drawings(page: Page, text: str) -> list[Row]:
    """Compare both ways of drawing the whole answer."""
    incremental, naive = (
        await time_drawings(page, "incremental", text),
        await time_drawings(page, "naive", text),
    )
    what = f"{len(text) / 1000:.0f} kB of all kinds in {len(incremental)} frames"
    return [
        row(
            f"{what}: all drawings",
            Figure((sum(incremental),), "ms"),
            "drawing all anew",
            Figure((sum(naive),), "ms"),
            ratio=inverse,
            target="at least 10 times less",
            ratio_at_least=10.0,
        ),
        row(
            f"{what}: the slowest drawing while it comes",
            Figure((max(incremental[:-1]),), "ms"),
            "drawing all anew",
            Figure((max(naive),), "ms"),
            target="at most three frames",
            at_most=3 * FRAME,
        ),
        row(f"{what}: the last one, which draws all", Figure((incremental[-1],), "ms")),
    ]


def one_block(kind: str, incremental: list[float]) -> Row:
    """Return the row of a block that does not end: the cost in its last quarter."""
    last = incremental[-len(incremental) // 4 : -1]
    return row(
        f"one {kind}, {len(incremental)} frames: a drawing in the last quarter",
        Figure((sum(last) / max(1, len(last)),), "ms"),
        target="at most 50 ms",
        at_most=50.0,
    )

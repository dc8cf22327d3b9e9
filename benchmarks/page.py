"""The web chat while an answer comes: what a drawing costs in Chromium, against drawing it all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, Route, async_playwright

from benchmarks.answers import BLOCKS, TOKEN, mixed_answer, single
from benchmarks.bench import Bench
from benchmarks.report import Figure, Row, inverse, row
from tests.support.web.browser import find_chromium

CHAT = Path(__file__).parents[1] / "src/antiphon/web/static/chat"
HERE = "http://localhost/"
TYPES = {".mjs": "text/javascript", ".css": "text/css"}
SHELL = (
    '<!doctype html><link rel="stylesheet" href="/css/tokens.css">'
    '<link rel="stylesheet" href="/css/markdown.css"><body></body>'
)
SWITCHES = ("--no-sandbox", "--no-first-run", "--disable-background-networking")
STEP = 30 * TOKEN  # characters between two drawings: what a fast model says in a frame or two
FRAME = 1000 / 60


async def measure(bench: Bench) -> list[Row]:
    """Answers of all kinds and of one block, drawn after each step; nothing without a Chromium."""
    program = find_chromium()
    if program is None:
        print("page: wanted a Chromium to draw in; found none")
        return []
    whole, block = bench.pick(300, 10_000, 10_000), bench.pick(300, 2_000, 10_000)
    async with open_page(program) as page:
        rows = await compare_drawings(page, mixed_answer(whole))
        for kind in bench.pick(("list",), tuple(BLOCKS), tuple(BLOCKS)):
            rows.append(one_block(kind, await time_drawings(page, "ours", single(kind, block))))
    return rows


@asynccontextmanager
async def open_page(program: str) -> AsyncIterator[Page]:
    """A page that has the chat's modules and reaches no network."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=SWITCHES)
        page = await browser.new_page()
        await page.route("**/*", serve)
        await page.goto(HERE)
        await time_drawings(page, "ours", mixed_answer(500))  # the first time loads the libraries
        await time_drawings(page, "naive", mixed_answer(500))
        yield page
        await browser.close()


async def serve(route: Route) -> None:
    """A file of the chat, or ours."""
    path = route.request.url.removeprefix(HERE)
    file = Path(__file__).with_suffix(".mjs") if path == "page.mjs" else CHAT / path
    if path:
        await route.fulfill(body=file.read_text(), content_type=TYPES[file.suffix])
    else:
        await route.fulfill(body=SHELL, content_type="text/html")


async def time_drawings(page: Page, how: str, text: str) -> list[float]:
    """Milliseconds of each drawing."""
    call = "async ([how, ...given]) => (await import('/page.mjs'))[how](...given)"
    return [float(each) for each in await page.evaluate(call, [how, text, STEP])]


async def compare_drawings(page: Page, text: str) -> list[Row]:
    """The whole answer, both ways."""
    ours, naive = await time_drawings(page, "ours", text), await time_drawings(page, "naive", text)
    what = f"{len(text) / 1000:.0f} kB of all kinds in {len(ours)} frames"
    return [
        row(
            f"{what}: all drawings",
            Figure((sum(ours),), "ms"),
            "drawing all anew",
            Figure((sum(naive),), "ms"),
            ratio=inverse,
            target="at least 10 times less",
            ratio_at_least=10.0,
        ),
        row(
            f"{what}: the slowest drawing while it comes",
            Figure((max(ours[:-1]),), "ms"),
            "drawing all anew",
            Figure((max(naive),), "ms"),
            target="at most three frames",
            at_most=3 * FRAME,
        ),
        row(f"{what}: the last one, which draws all", Figure((ours[-1],), "ms")),
    ]


def one_block(kind: str, ours: list[float]) -> Row:
    """A block that does not end, in its last quarter."""
    last = ours[-len(ours) // 4 : -1]
    return row(
        f"one {kind}, {len(ours)} frames: a drawing in the last quarter",
        Figure((sum(last) / max(1, len(last)),), "ms"),
        target="at most 50 ms",
        at_most=50.0,
    )

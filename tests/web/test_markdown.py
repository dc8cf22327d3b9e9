"""Markdown of an answer in the page: the same however it is streamed, and always harmless."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route

from tests.support.terminal.markdown_documents import DEFINED, LINES, WORDS
from tests.support.web.browser import open_context
from tests.support.web.payloads import PAYLOADS

CHAT = Path(__file__).parents[2] / "src/antiphon/web/static/chat"
PROBE = Path(__file__).parent / "js/markdown_probe.mjs"
TYPES = {".mjs": "text/javascript", ".css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types dompurify"
)
SHELL = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>An answer</title>'
    '<link rel="stylesheet" href="/css/tokens.css"><link rel="stylesheet" href="/css/markdown.css">'
    '<main></main><script type="module" src="/probe.mjs"></script></html>'
)
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
MATHS = ["$$", "$$ x $$", "\\[", "\\]", "a $x_1$ b", "\\(y\\) z", "costs $5 or $6"]

LINKS = {
    "[here](https://example.org/a)": "here example.org",
    "[example.org](https://example.org/a)": "example.org",
    "[https://ok.example/](https://evil.example/)": "https://ok.example/ evil.example",
    "<https://ok.example@evil.example/>": "https://ok.example@evil.example/ evil.example",
    "[write](mailto:me@example.org)": "write me@example.org",
    "[p\u0430ypal.com](https://p\u0430ypal.com)": "p\u0430ypal.com xn--pypal-4ve.com",
    "![a plan](https://example.org/p.png)": "a plan example.org",
    "[![build](https://ci.example/b.svg)](https://ok.example)": "build ok.example",
}


@dataclass
class Answer:
    """A page with one answer only; `strays` are its unexpected requests, messages and errors."""

    page: Page
    strays: list[str] = field(default_factory=list)

    async def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the probe."""
        script = "async ([name, args]) => (await import('/probe.mjs'))[name](...args)"
        return await self.page.evaluate(script, [name, list(arguments)])

    async def serve(self, route: Route) -> None:
        path = route.request.url.removeprefix("http://localhost/")
        file = PROBE if path == "probe.mjs" else CHAT / path
        if not path:
            policy = {"Content-Security-Policy": POLICY}
            await route.fulfill(body=SHELL, content_type="text/html", headers=policy)
        elif path.startswith("api/files/"):
            await route.fulfill(body=PICTURE, content_type="image/svg+xml")
        elif file.is_file():
            await route.fulfill(body=file.read_text(), content_type=TYPES[file.suffix])
        else:
            self.strays.append(route.request.url)
            await route.abort()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def window(chromium: Browser) -> AsyncIterator[Answer]:
    async with open_context(chromium) as context:
        window = Answer(await context.new_page())
        window.page.on("console", lambda message: window.strays.append(message.text))
        window.page.on("pageerror", lambda error: window.strays.append(str(error)))
        await context.grant_permissions(["clipboard-read", "clipboard-write"])
        await window.page.route("**/*", window.serve)
        await window.page.goto("http://localhost/")
        yield window


@pytest.fixture
def answer(window: Answer) -> Iterator[Answer]:
    yield window

    strays, window.strays = window.strays, []
    assert strays == []


def draw_documents(times: int) -> list[tuple[str, list[int]]]:
    """Return documents of every kind of line, and the offsets at which their streams are cut."""
    dice = random.Random(7)
    lines = [*LINES, *DEFINED, *MATHS, " ".join(WORDS)]

    def draw_document() -> str:
        return "\n".join(dice.choice(lines) for _ in range(dice.randint(1, 14)))

    def draw_cuts(text: str) -> list[int]:
        return sorted(dice.randint(0, len(text)) for _ in range(dice.randint(0, 40)))

    texts = [draw_document() for _ in range(times)]
    return [(text, draw_cuts(text)) for text in texts]


@pytest.mark.slow
async def test_an_answer_that_came_in_pieces_is_the_one_that_came_at_once(answer: Answer) -> None:
    await answer.call("loadLibraries")

    assert await answer.call("findDifferences", draw_documents(300)) == []


async def test_nothing_in_an_answer_acts_wherever_it_is_cut(answer: Answer) -> None:
    await answer.call("loadLibraries")

    faults_by_payload = {payload: await answer.call("findFaults", payload) for payload in PAYLOADS}

    assert {payload: faults for payload, faults in faults_by_payload.items() if faults} == {}


async def test_a_finished_block_stays_the_same_element_while_the_answer_grows(
    answer: Answer,
) -> None:
    finished_blocks = "# Head\n\ntext\n\n- a\n- b\n\n| a |\n|---|\n| b |\n\n"

    assert await answer.call(
        "areKept", finished_blocks + "more", finished_blocks + "more *words*"
    ) == [
        *[True] * 4,
        False,
    ]


async def test_items_and_rows_stay_the_same_elements_while_others_follow(answer: Answer) -> None:
    items, rows = "- a\n- b", "| a |\n|---|\n| b |\n| c"

    assert await answer.call("areKept", items, items + "c\n- d", "li") == [True, False]
    assert await answer.call("areKept", items, items + "\n\n- d", "li") == [False, False]
    assert await answer.call("areKept", rows, rows + "d |\n| e |", "td") == [True, False]
    assert await answer.call("areKept", "> a\n>\n> b", "> a\n>\n> bc", "blockquote p") == [
        True,
        False,
    ]


async def test_code_stays_the_same_element_from_its_first_line_to_its_colours(
    answer: Answer,
) -> None:
    code = "```python\nimport this\n"

    assert await answer.call("areKept", code, code + "x = 1\n```\n\ntext") == [True]
    await answer.page.wait_for_selector(".hljs-keyword")
    assert await answer.page.text_content("pre") == "import this\nx = 1"


async def test_many_pieces_of_one_frame_are_drawn_once(answer: Answer) -> None:
    result = await answer.call("countDrawings", "a **bold** word")

    assert result == {"drawings": 1, "words": "a bold word"}


async def test_a_name_that_is_defined_at_the_end_is_a_link_in_the_beginning(
    answer: Answer,
) -> None:
    await answer.call("show", "See [there][it].\n\nText.\n\n[it]: https://example.org/a")

    assert await answer.page.get_attribute("a", "href") == "https://example.org/a"


async def test_a_link_says_where_it_leads_if_its_words_do_not(answer: Answer) -> None:
    await answer.call("show", "\n\n".join(LINKS))

    links = await answer.page.locator("a").all()
    assert [await link.inner_text() for link in links] == list(LINKS.values())
    assert {await link.get_attribute("rel") for link in links} == {"noopener noreferrer nofollow"}
    assert {await link.get_attribute("target") for link in links} == {"_blank"}


async def test_a_picture_of_this_server_is_shown(answer: Answer) -> None:
    await answer.call("show", "![a chart](/api/files/file_1?inline=1)")

    assert await answer.page.get_attribute("img", "alt") == "a chart"


async def test_nothing_makes_the_page_wider_than_a_phone(answer: Answer) -> None:
    await answer.page.set_viewport_size({"width": 360, "height": 700})
    cells = "|".join("word" * 4 for _ in range(20))
    wide_text = f"{'x' * 900}\n\n```\n{'y' * 900}\n```\n\n|{cells}|\n|{'-|' * 20}\n\n"

    await answer.call("show", wide_text + "$$" + "z+" * 300 + "z$$\n\n" + "> - " * 4 + "w" * 900)

    width = "document.documentElement.scrollWidth"
    assert await answer.page.evaluate(width) <= 360
    assert await answer.page.evaluate("document.querySelector('pre').scrollWidth") > 360


HARD_TO_LAY_OUT = {
    "marks without end on one letter": "a" + "\u0301" * 60_000,
    "a script without blanks": "\u0628" * 60_000,
    "words of two directions in turn": "(a \u05d0) " * 15_000,
    "letters of two directions in turn, some emphasized": "a*\u05d0*" * 15_000,
}
BLOCKS = {
    "paragraph": "",
    "list": "- ",
    "quotation": "> ",
    "heading": "# ",
    "code": "```\n",
    "table": "| a |\n|---|\n| ",
}


@pytest.mark.parametrize("name", HARD_TO_LAY_OUT)
@pytest.mark.parametrize("kind", BLOCKS)
async def test_a_text_that_would_freeze_the_page_is_laid_out_in_pieces(
    answer: Answer, name: str, kind: str
) -> None:
    text = HARD_TO_LAY_OUT[name]

    await answer.call("show", BLOCKS[kind] + text)

    drawn_text = await answer.page.text_content(".markdown")
    longest = (
        "Math.max(...[...document.querySelectorAll('.piece')]"
        ".filter((piece) => !piece.querySelector('.piece'))"
        ".map((piece) => piece.textContent.length))"
    )
    assert text.replace("*", "").strip() in (drawn_text or "").replace("*", "")
    assert await answer.page.evaluate(longest) <= 1000


async def test_a_long_text_that_people_write_is_not_cut_into_pieces(answer: Answer) -> None:
    await answer.call("show", "Ein \u05e9\u05dc\u05d5\u05dd word. " * 400 + "x" * 20_000)

    assert await answer.page.locator(".piece").count() == 0


async def test_text_from_right_to_left_stands_at_the_right(answer: Answer) -> None:
    await answer.call("show", "שלום עולם\n\n- שלום\n\n```\nשלום\n```")

    directions = (
        "[...document.querySelectorAll('p, ul, pre')].map((e) => getComputedStyle(e).direction)"
    )
    assert await answer.page.evaluate(directions) == ["rtl", "rtl", "ltr"]


async def test_the_button_of_a_block_of_code_copies_the_code(answer: Answer) -> None:
    await answer.call("show", "1. Run:\n   ```sh\n   make run && echo '<b>'\n   ```")

    await answer.page.click("button.copy")

    await answer.page.wait_for_selector("button.copy:text('Copied')")
    clipboard_text = await answer.page.evaluate("navigator.clipboard.readText()")
    assert clipboard_text == "make run && echo '<b>'"


async def test_code_can_be_wrapped_or_numbered_and_saved_as_a_file(answer: Answer) -> None:
    await answer.call("show", f"```python\nprint('{'long ' * 60}')\nprint(2)\n```")
    pre = answer.page.locator("pre")
    overflow_check = "(it) => it.scrollWidth > it.clientWidth"
    wrap = answer.page.get_by_role("button", name="Wrap")
    numbers = answer.page.get_by_role("button", name="Numbers")
    assert await pre.evaluate(overflow_check)

    await wrap.click()
    assert await wrap.get_attribute("aria-pressed") == "true"
    assert not await pre.evaluate(overflow_check)
    await numbers.click()
    assert await wrap.get_attribute("aria-pressed") == "false"
    assert await answer.page.locator(".code-numbers").inner_text() == "1\n2"
    await answer.page.click("button.copy")
    await answer.page.wait_for_selector("button.copy:text('Copied')")
    clipboard_text = await answer.page.evaluate("navigator.clipboard.readText()")
    assert clipboard_text.endswith("print(2)")
    assert not clipboard_text.startswith("1")
    async with answer.page.expect_download() as download_info:
        await answer.page.get_by_role("button", name="Save").click()
    download = await download_info.value
    assert download.suggested_filename == "code.py"
    assert Path(await download.path()).read_text() == clipboard_text


async def test_a_footnote_is_a_mark_that_leads_to_its_note_and_back(answer: Answer) -> None:
    notes = "[^1]: By [NOAA](https://example.org),\n  page 2.\n[^ä]: A *friend*."
    await answer.call("show", f"Tides[^1] and more[^ä].\n\n{notes}")
    page = answer.page
    mark = page.get_by_role("button", name="Footnote 1")
    note = page.get_by_role("button", name="Back to the text at 1")

    assert await page.locator("p.footnote").count() == 2
    assert await page.locator("p.footnote a").get_attribute("href") == "https://example.org"
    assert "page 2" in (await mark.get_attribute("title") or "")
    await mark.press("Enter")
    assert await note.evaluate("(it) => it === document.activeElement")
    await note.press("Enter")
    assert await mark.evaluate("(it) => it === document.activeElement")


@pytest.mark.parametrize(
    "text",
    [
        "All but vowels: [^aeiou] and [^1]",
        "[a link [^1] here](https://ok.example)\n\n[^1]: Note",
        "`[^1]`\n\n[^1]: Note",
    ],
)
async def test_text_that_only_looks_like_a_footnote_stays_text(answer: Answer, text: str) -> None:
    await answer.call("show", text)

    assert await answer.page.locator("button.footnote-mark").count() == 0
    first = text.split("\n", 1)[0].replace("`", "")
    drawn_text = await answer.page.locator("main").inner_text()
    assert "[^" in drawn_text
    assert first.split("](")[0].strip("[") in drawn_text


async def test_a_formula_that_is_wrong_stays_as_it_was_written(answer: Answer) -> None:
    await answer.call("show", "$\\frac{<b>}{$ and $x^2$")

    await answer.page.wait_for_selector("math")
    assert await answer.page.text_content("code.maths.wrong") == "\\frac{<b>}{"
    assert await answer.page.locator("math").count() == 1


async def test_an_answer_is_an_element_with_buttons_in_the_words_of_the_page(
    answer: Answer,
) -> None:
    markup = await answer.call("renderElement", "```\nx\n```")

    assert markup.startswith('<div class="markdown">')
    assert "Copy it</button>" in markup

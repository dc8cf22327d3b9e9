"""A server sends the person to a page: they see the whole address before anything opens it."""

from __future__ import annotations

import asyncio
import os
import webbrowser
from urllib.parse import urlsplit

from antiphon.clean import clean
from antiphon.terminal.keyboard import Box, Choice, Rows, in_rows
from antiphon.terminal.spans import Line, Span
from antiphon.terminal.surface import Surface
from antiphon.tools.mcp.hosting import AddressAsked, Answer
from antiphon.tools.mcp.pages import openable


async def sent(surface: Surface, asked: AddressAsked) -> Answer:
    """Whether the person goes to the page, which they may have opened."""
    surface.say(f"{asked.server} sends you to a page: {asked.message}")
    surface.show([_address(asked.url)])
    may_open = openable(asked.url)
    choices = [
        Choice("n", "no"),
        *([Choice("o", "open it in the browser")] if may_open else []),
        Choice("y", "I open it myself"),
    ]
    key = await surface.keyboard.choose(
        Box(rows=_page_rows(asked), choices=tuple(choices), default="n")
    )
    if key == "n":
        return Answer("decline")
    if key == "o" and not await asyncio.to_thread(_browsed, asked.url):
        surface.say("No browser could be opened here: open the page yourself.", "warning")
    return Answer("accept")


def _address(url: str) -> Line:
    """The whole address, its host standing out: what stands before an @ is none."""
    host = urlsplit(url).hostname or ""
    shown = clean(url, "approval")
    at = shown.lower().find(host, shown.rfind("@", 0, _path_at(shown)) + 1) if host else -1
    if at < 0:
        return (Span(shown),)
    end = at + len(host)
    return (Span(shown[:at]), Span(shown[at:end], "strong"), Span(shown[end:]))


def _path_at(url: str) -> int:
    """Where the part behind the host begins."""
    begins = url.find("//") + 2
    ends = [at for mark in "/?#" if (at := url.find(mark, begins)) >= 0]
    return min(ends, default=len(url))


def _page_rows(asked: AddressAsked) -> Rows:
    parts = urlsplit(asked.url)
    lines: list[Line] = [
        (
            Span(clean(asked.server), "strong"),
            Span(" sends you to a page of "),
            Span(clean(parts.hostname or asked.url, "approval"), "strong"),
            Span(". The whole address stands above."),
        )
    ]
    if parts.username is not None:
        said = "What stands before the @ is a name, and not where the page is."
        lines.append((Span(said, "warning"),))
    return in_rows(lines)


def _browsed(url: str) -> bool:
    """Whether a browser has taken it; one that would take the terminal is not asked."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    chosen = "BROWSER" in os.environ
    in_terminal = not chosen and type(browser) is webbrowser.GenericBrowser
    return not in_terminal and browser.open(url)

"""Render a model's Markdown as HTML that is safe to open: no script runs, nothing is loaded.

HTML is shown as source, pictures become links, and links lead to the web or to a mail address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from antiphon.types.terminal_safe import clean

NEVER_FOLLOWED = "noopener noreferrer nofollow"
_LEADS_OUT = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_ALIGNED = re.compile(r"text-align:(right|center)")


class _SafeRenderer(RendererHTML):
    """markdown-it's renderer, without anything that acts, loads, or needs a style."""

    def image(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Return a link to the picture; its text alone within a link."""
        source = str(tokens[idx].attrs.get("src", ""))
        named = self.renderInlineAsText(tokens[idx].children or [], options, env)
        shown = escapeHtml(f"[image: {named or source}]")
        opened = sum(each.type == "link_open" for each in tokens[:idx])
        if opened > sum(each.type == "link_close" for each in tokens[:idx]):
            return shown
        return f'<a href="{escapeHtml(source)}" rel="{NEVER_FOLLOWED}">{shown}</a>'


def render_html(markdown: str) -> str:
    """Return the HTML of a whole text."""
    tokens = _READER.parse(clean(markdown, "code"))
    _sanitize(tokens)
    html: str = _READER.renderer.render(tokens, _READER.options, {})
    return html


def _sanitize(tokens: Iterable[Token]) -> None:
    for token in tokens:
        # Cleaned again: an entity such as &#x202e; has become a character.
        token.content = clean(token.content, "code")
        token.attrs = _attributes(token)
        token.info = ""
        _sanitize(token.children or ())


def _attributes(token: Token) -> dict[str, str | int | float]:
    match token.type:
        case "link_open":
            return {"href": token.attrs.get("href", ""), "rel": NEVER_FOLLOWED}
        case "image":
            return {"src": token.attrs.get("src", "")}
        case "ordered_list_open":
            return {name: value for name, value in token.attrs.items() if name == "start"}
        case "th_open" | "td_open":
            aligned = _ALIGNED.search(str(token.attrs.get("style", "")))
            return {"class": aligned[1]} if aligned else {}
        case _:
            return {}


class _Reader(MarkdownIt):
    """Parser that keeps links to anything but web and mail as text."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - markdown-it's name
        """Return True if a link or a picture may have this address."""
        return _LEADS_OUT.match(url) is not None


_READER = _Reader("commonmark", {"html": False}, renderer_cls=_SafeRenderer)
_READER.enable(["table", "strikethrough"])

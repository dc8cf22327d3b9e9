"""Write an answer to a terminal as formatted Markdown, line by line.

It needs the extra `terminal`, so it is imported by name, and only for a terminal.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TextIO

from antiphon.settings.settings import Settings
from antiphon.terminal.compact_streaming_display import CompactStreamingDisplay
from antiphon.terminal.spans import Line
from antiphon.terminal.themes import BARE, Ink, Theme, choose_theme


class MarkdownOutput:
    """Writes each line once, when it is complete; nothing is redrawn."""

    on_terminal = True

    def __init__(self, out: TextIO, settings: Settings, environ: Mapping[str, str]) -> None:
        self._out = out
        self._theme = _theme(settings, environ)
        self._ink = Ink(self._theme, links=settings.links and not settings.screen_reader)
        self._display = CompactStreamingDisplay(self._theme)
        self._mid_text = False
        self.used = False

    def write(self, text: str) -> None:
        """Write the next piece; complete lines are shown at once."""
        if text:
            self.used = self._mid_text = True
            self._print(self._display.feed(text, _columns()))

    def end(self) -> None:
        """Write the incomplete rest; the next text starts a new document."""
        if self._mid_text:
            self._mid_text = False
            self._print(self._display.close(_columns()))
            self._display = CompactStreamingDisplay(self._theme)

    def blank(self) -> None:
        """Leave a line blank."""
        self.end()
        self._print([()])

    def _print(self, lines: list[Line]) -> None:
        shown = "".join(f"{self._ink.render(line)}\n" for line in lines)
        self._out.buffer.write(shown.encode("utf-8", "replace"))
        self._out.buffer.flush()


def _theme(settings: Settings, environ: Mapping[str, str]) -> Theme:
    if settings.screen_reader:
        return BARE.in_words()
    theme = choose_theme(settings.theme, environ, color=settings.color)
    return theme.in_ascii() if settings.ascii else theme


def _columns() -> int:
    # The last column stays free: some terminals wrap in it.
    return max(1, shutil.get_terminal_size().columns - 1)

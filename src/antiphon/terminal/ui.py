"""The user interface as the chat and its commands see it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from antiphon.terminal.chat_display_manager import ChatDisplayManager
from antiphon.terminal.input.keyboard import Keyboard
from antiphon.terminal.spans import Line
from antiphon.terminal.themes import Theme
from antiphon.types.terminal_safe import Place


class Ui(Protocol):
    """Prints above the input line and asks through `keyboard`.

    A caller that puts several questions that belong together holds `question_lock` meanwhile.
    """

    @property
    def keyboard(self) -> Keyboard:
        """The source of messages and of answers to questions."""
        ...

    @property
    def display(self) -> ChatDisplayManager:
        """The display of the run that streams."""
        ...

    @property
    def question_lock(self) -> asyncio.Lock:
        """Lock held while questions that belong together are asked."""
        ...

    @property
    def theme(self) -> Theme:
        """The theme in use."""
        ...

    @property
    def busy(self) -> bool:
        """True while something runs that the user can stop."""
        ...

    def size(self) -> tuple[int, int]:
        """Return columns and rows of the terminal."""
        ...

    def clock(self) -> float:
        """Return seconds of a monotonic clock."""
        ...

    def say(self, text: str, style: str = "", place: Place = "notice") -> None:
        """Print a text above, cleaned so that it cannot control the terminal."""
        ...

    def show(self, lines: Iterable[Line]) -> None:
        """Print lines above, wrapped to the terminal."""
        ...

    def show_rows(self, lines: Iterable[Line]) -> None:
        """Print lines above, each cut to one row."""
        ...

    def hint(self, text: str) -> None:
        """Show a text beside the input line for a moment."""
        ...

    def repaint(self) -> None:
        """Redraw the rows below."""
        ...

    def working(self) -> AbstractContextManager[None]:
        """Mark that something runs that the user can stop."""
        ...

    def set_theme(self, theme: Theme) -> None:
        """Change the theme of what is printed from now on."""
        ...

    def set_clipboard(self, encoded: str) -> bool:
        """Have the terminal copy this base64 to its clipboard; return False if it cannot."""
        ...

    def leave(self) -> None:
        """End the chat."""
        ...

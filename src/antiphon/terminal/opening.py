"""Opens the terminal for a chat: the prompt is painted before anything that is slow is loaded."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from prompt_toolkit.input import create_input

from antiphon.terminal.editor import Editor
from antiphon.terminal.region import Region
from antiphon.terminal.surface import Surface
from antiphon.terminal.themes import Ink, themed

Chatting = Callable[[Surface], Coroutine[Any, Any, None]]
"""What goes on once the prompt is there; it ends when the person leaves."""


def opened(chatting: Chatting) -> int:
    """Paint the prompt and chat; returns the exit code."""
    return asyncio.run(_opened(chatting))


async def _opened(chatting: Chatting) -> int:
    theme = themed("dark", os.environ)
    painter = Region(sys.stdout, Ink(theme))
    source = create_input(sys.stdin)

    def editor(surface: Surface) -> Editor:
        return Editor(
            surface,
            source=source,
            changed=surface.changed,
            aside=surface.display.aside,
            clock=time.monotonic,
        )

    async with Surface(painter, theme, editor, size=_size, clock=time.monotonic) as surface:
        await chatting(surface)
    return 0


def _size() -> tuple[int, int]:
    columns, rows = shutil.get_terminal_size()
    return columns, rows

"""What a program prints while the chat has the terminal: shown as lines above, not across it.

Tools print, libraries warn, logs go to stderr; from any thread.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress


@contextmanager
def overheard(say: Callable[[str], None]) -> Generator[None]:
    """Have each line that is printed to stdout and stderr said on this loop instead."""
    out, err = (_Overheard(asyncio.get_running_loop(), say) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield
        finally:
            for each in (out, err):
                each.rest()


class _Overheard(io.TextIOBase):
    """A text file of nothing but lines that are passed on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, say: Callable[[str], None]) -> None:
        self._loop = loop
        self._say = say
        self._begun = ""
        self._one_at_a_time = threading.Lock()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._one_at_a_time:
            whole, feed, self._begun = (self._begun + text).rpartition("\n")
        if feed:
            with suppress(RuntimeError):  # the chat is over
                self._loop.call_soon_threadsafe(self._pass_on, whole)
        return len(text)

    def rest(self) -> None:
        """Pass on what has no end of a line."""
        begun, self._begun = self._begun, ""
        if begun:
            self._pass_on(begun)

    def _pass_on(self, text: str) -> None:
        with suppress(OSError):  # where nobody reads, a report of that would be the next such line
            self._say(text)

"""Where an answer is written: a pipe gets it as it is, a terminal what cannot act on it."""

from __future__ import annotations

from typing import Protocol, TextIO

from antiphon.clean import Cleaner


class Page(Protocol):
    """Where an answer is written."""

    on_terminal: bool

    @property
    def used(self) -> bool:
        """Whether anything was written."""
        ...

    def write(self, text: str) -> None:
        """The next piece of the answer."""
        ...

    def end(self) -> None:
        """End the line, if one is begun."""
        ...

    def blank(self) -> None:
        """Leave a line blank; what follows is another paragraph."""
        ...


class Paper:
    """Where bytes are written at once: as they are into a pipe, cleaned on a terminal.

    `raw`: as they are on a terminal too.
    """

    def __init__(self, out: TextIO, *, raw: bool = False) -> None:
        self.on_terminal = out.isatty()
        self._out = out
        self._cleaner = Cleaner() if self.on_terminal and not raw else None
        self._last = ""

    @property
    def used(self) -> bool:
        """Whether anything was written."""
        return bool(self._last)

    def write(self, text: str) -> None:
        """The next piece; it is seen at once."""
        if not text:
            return
        self._last = text[-1]
        shown = self._cleaner.feed(text) if self._cleaner else text
        self._out.buffer.write(shown.encode("utf-8", "replace"))
        self._out.buffer.flush()

    def end(self) -> None:
        """End the line, if one is begun."""
        if self._last and self._last != "\n":
            self.write("\n")

    def blank(self) -> None:
        """Leave a line blank."""
        self.end()
        self.write("\n")

"""What is said beside an answer: lines on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol, TextIO

import msgspec

from antiphon.types.terminal_safe import Cleaner, clean, json_text, one_line


def note(text: str) -> None:
    """Print a line to stderr; foreign words in it cannot act on the terminal.

    An answer is not lost because nobody reads the notes. Raises `BrokenPipeError` where stdout is
    the same pipe, so that its reader has left as well.
    """
    try:
        print(clean(text), file=sys.stderr, flush=True)
    except BrokenPipeError:
        if _same_stream(sys.__stdout__, sys.__stderr__):
            raise
    except OSError:
        pass


def _same_stream(stdout: TextIO | None, stderr: TextIO | None) -> bool:
    """Return whether both lead to the same place, as after `2>&1`."""
    try:
        return bool(stdout and stderr and os.path.sameopenfile(stdout.fileno(), stderr.fileno()))
    except (OSError, ValueError):  # one of them is closed
        return False


# Lists for people: columns as wide as they must be, and nothing that acts on a terminal.


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of columns under their names."""
    lines = [[one_line(text) for text in row] for row in (head, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def format_time(milliseconds: int | None) -> str:
    """A time in milliseconds since 1970, in this machine's zone; empty for none."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


# JSON on stdout, for programs: valid JSON that does nothing to a terminal.


def print_json(value: object) -> None:
    """Print the value as one line of JSON."""
    print(json_text(msgspec.json.encode(value)))


# Where an answer is written: a pipe gets it as it is, a terminal what cannot act on it.


class TextOutput(Protocol):
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


class StreamOutput:
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

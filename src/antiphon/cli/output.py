"""Output of the commands: notes on stderr, tables, JSON, and answers on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol, TextIO

import msgspec

from antiphon.types.terminal_safe import Cleaner, clean, json_text, one_line


def note(text: str) -> None:
    """Print a line to stderr, with control characters made visible.

    An error of stderr is ignored, so that it does not end an answer. Raises `BrokenPipeError` if
    stdout is the same pipe, so that its reader has left too.
    """
    try:
        print(clean(text), file=sys.stderr, flush=True)
    except BrokenPipeError:
        if _same_stream(sys.__stdout__, sys.__stderr__):
            raise
    except OSError:
        pass


def _same_stream(stdout: TextIO | None, stderr: TextIO | None) -> bool:
    """Return whether both are the same file, as after `2>&1`."""
    try:
        return bool(stdout and stderr and os.path.sameopenfile(stdout.fileno(), stderr.fileno()))
    except (OSError, ValueError):  # one of them is closed
        return False


# Lists for people: columns as wide as they must be, and nothing that acts on a terminal.


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows as aligned columns below a head."""
    lines = [[one_line(text) for text in row] for row in (head, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def format_time(milliseconds: int | None) -> str:
    """Return a time in ms since 1970 in the local zone; empty for None."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


# JSON on stdout, for programs: valid JSON that does nothing to a terminal.


def print_json(value: object) -> None:
    """Print the value as one line of JSON."""
    print(json_text(msgspec.json.encode(value)))


# Where an answer is written: a pipe gets it as it is, a terminal what cannot act on it.


class TextOutput(Protocol):
    """Interface of the output of an answer."""

    on_terminal: bool

    @property
    def used(self) -> bool:
        """True if anything was written."""
        ...

    def write(self, text: str) -> None:
        """Write the next piece of the answer."""
        ...

    def end(self) -> None:
        """End the current line, if there is one."""
        ...

    def blank(self) -> None:
        """Write a blank line."""
        ...


class StreamOutput:
    """Unbuffered output: raw into a pipe, made safe on a terminal.

    `raw` writes raw text to a terminal too.
    """

    def __init__(self, out: TextIO, *, raw: bool = False) -> None:
        self.on_terminal = out.isatty()
        self._out = out
        self._cleaner = Cleaner() if self.on_terminal and not raw else None
        self._last = ""

    @property
    def used(self) -> bool:
        """True if anything was written."""
        return bool(self._last)

    def write(self, text: str) -> None:
        """Write and flush the next piece."""
        if not text:
            return
        self._last = text[-1]
        shown = self._cleaner.feed(text) if self._cleaner else text
        self._out.buffer.write(shown.encode("utf-8", "replace"))
        self._out.buffer.flush()

    def end(self) -> None:
        """End the current line, if there is one."""
        if self._last and self._last != "\n":
            self.write("\n")

    def blank(self) -> None:
        """Write a blank line."""
        self.end()
        self.write("\n")

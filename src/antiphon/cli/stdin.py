"""Read piped input, without waiting for a pipe that is merely open; and secrets."""

from __future__ import annotations

import getpass
import select
import sys
from typing import TextIO

from antiphon.cli.output import note
from antiphon.types.errors import InvalidRequest

PATIENCE = 1.0  # seconds; an inherited pipe that nobody writes to looks like a slow writer's


def read_piped(stdin: TextIO | None, *, awaited: bool) -> bytes:
    """Return all of stdin; empty if it is closed, empty or a terminal.

    Unless it is `awaited`, an open stdin without data is not read, with a note on stderr. After the
    first byte it is read to its end.
    """
    if stdin is None or stdin.closed or stdin.isatty():
        return b""
    if not awaited and not _has_input(stdin):
        note(
            f"antiphon: stdin is open but said nothing for {PATIENCE:g} s, so it is not read;"
            " a further argument `-` waits for it"
        )
        return b""
    return stdin.buffer.read()


def _has_input(stdin: TextIO) -> bool:
    try:
        readable, _, _ = select.select([stdin], [], [], PATIENCE)
    except OSError:  # Windows can ask this of sockets only
        return False
    return bool(readable)


# A secret is typed without being seen, or comes by stdin; never by the command line.


def read_secret(prompt: str, name: str) -> str:
    """Return what a person types at this prompt. Raises `InvalidRequest` at end of input."""
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise InvalidRequest(f"No {name} was typed.", hint="Try again.") from None


def read_first_line(name: str) -> str:
    """Return the first line of stdin. Raises `InvalidRequest` if it is not UTF-8."""
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidRequest(f"The {name} is no text.", expected="text in UTF-8") from None

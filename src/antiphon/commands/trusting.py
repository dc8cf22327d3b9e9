"""Show a person what a folder's file says, and have them trust it or not."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

import msgspec

from antiphon.clean import clean
from antiphon.commands.notes import note
from antiphon.configuration import refuse
from antiphon.errors import BadSettings, InvalidRequest
from antiphon.tools.mcp import approvals, places
from antiphon.tools.mcp.references import references
from antiphon.trust import FolderFile, digest, read_regular

try:
    import termios
except ImportError:  # Windows, where what was typed before the question cannot be dropped
    termios = None  # type: ignore[assignment]

GUTTER = "  | "
"""In front of every row of a file, so that none can pass for a word of ours."""


class Seen(msgspec.Struct, frozen=True):
    """A file as it is shown: its text, a summary, and the digest that trust is bound to."""

    path: Path
    text: str
    summary: str
    digest: str


def leave(file: FolderFile) -> bool:
    """Decide for a command that looks at things: go on without the file, and say so."""
    note(f"antiphon: {explain_ignored(file)}")
    return False


def explain_ignored(file: FolderFile) -> str:
    """Return why a file does not count, and what to type."""
    if file.fault is not None:
        return f"{file.path} is ignored: {file.fault.message}"
    return (
        f"{file.path} is ignored, for it is not trusted, or has changed since"
        f" ({', '.join(file.wants)}): antiphon trust {file.path}"
    )


def explain_counted(file: FolderFile) -> str:
    """Return why a file counts."""
    if file.wants:
        return f"{file.path} counts: it is trusted as it stands"
    return f"{file.path} counts: it sets nothing that needs trust"


def ask(file: FolderFile) -> bool:
    """Decide for a chat: show the file, ask, and remember a yes. Without a terminal, raise."""
    if not somebody_there():
        return refuse(file)
    if file.fault is not None:
        raise file.fault
    seen = _settings(file.path, file.content, file.wants)
    show(seen)
    note(
        "antiphon: The folder brings these settings. Trusted, they say where your words go and what"
        " is used, until the file changes."
    )
    if not confirm("antiphon: Type yes to trust this file; anything else goes on without it:"):
        note(f"antiphon: {file.path} does not count in this chat.")
        return False
    places.approved(os.environ).trust(seen.path, seen.digest)
    return True


def somebody_there() -> bool:
    """Return whether a question can be asked on this terminal."""
    streams = (sys.stdin, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)


def confirm(question: str) -> bool:
    """Ask on the terminal; only the whole word yes is one, and none that was typed before."""
    if termios is not None:
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    note(question)
    return sys.stdin.readline().strip().lower() == "yes"


def look(file: Path) -> Seen:
    """Read a file that a folder brings, once. Raises `BadSettings` for one that cannot be used."""
    if file.name == places.PROJECTS:
        return _servers(file)
    if file.name != places.TOML:
        raise InvalidRequest(
            "Only files that are found in a working folder need trust.",
            expected=f"a folder, or its {places.TOML} or {places.PROJECTS}",
            received=str(file),
            hint="A file that you name, by --config-file or --config, counts as it is.",
        )
    try:
        content = read_regular(file)
        return _settings(file, content, tuple(tomllib.loads(content.decode("utf-8"))))
    except OSError as error:
        raise BadSettings(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadSettings(f"{file} cannot be read: {error}") from error


def show(seen: Seen) -> None:
    """Print all of it to stderr, with nothing hidden, and what it comes to below."""
    note(f"antiphon: {seen.path}:")
    for row in _rows(clean(seen.text, "approval")):
        note(GUTTER + row)
    note(f"antiphon: {seen.summary}")


def _settings(path: Path, content: bytes, names: tuple[str, ...]) -> Seen:
    text = content.decode("utf-8", "backslashreplace")
    return Seen(path, text, f"It sets: {_listed(names)}", digest(content))


def _servers(path: Path) -> Seen:
    tables: dict[str, dict[str, Any]] = places.foreign_tables(path)
    # All of it: a variable, or a folder, may matter as much as the program.
    text = msgspec.json.format(msgspec.json.encode(tables), indent=2).decode()
    summary = f"It starts or asks the MCP servers: {_listed(tuple(tables))}"
    if wanted := sorted({reference.name for reference in references(tables)}):
        summary += f"; they are given {_listed(tuple(wanted))}, as it is here"
    return Seen(path, text, summary, approvals.digest(tables))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(clean(name, "approval") for name in names) or "nothing"


def _rows(text: str) -> Iterator[str]:
    """The rows of a text, none of them wider than the terminal: the gutter is before each."""
    columns = max(20, get_terminal_size().columns - len(GUTTER) - 1)
    for line in text.replace("\t", "    ").split("\n"):
        width = columns if line.isascii() else columns // 2
        yield from (line[at : at + width] for at in range(0, max(1, len(line)), width))

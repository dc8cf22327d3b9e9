"""Show what a folder brings, and trust it.

An antiphon.toml or a .mcp.json in the working folder may come from anybody, and decides where texts
are sent and what is started; its AGENTS.md, skills and slash commands tell the model what to do. So
they count only after you have seen and trusted them, until they change. Without PATH it is
everything that the working folder brings.
"""

from __future__ import annotations

import os
import shlex
import sys
import tomllib
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from shutil import get_terminal_size
from typing import Any, Literal

import msgspec

from antiphon.cli.console import drop_typed_input, note, print_list
from antiphon.cli.exit_codes import DONE, FAILED
from antiphon.mcp.config import discovery
from antiphon.mcp.config.server_config import find_references
from antiphon.settings.loading import LoadedSettings, read_folder_file, refuse_untrusted
from antiphon.settings.trust import FolderFile, digest, place
from antiphon.skills.discovery import Finder, find_file
from antiphon.skills.review import review_found
from antiphon.skills.skill import FILE as SKILL
from antiphon.types.errors import AntiphonError, InvalidRequest
from antiphon.types.terminal_safe import clean, one_line

# Show a file of a folder to a person, and ask whether to trust it.

GUTTER = "  | "
"""In front of every row of a file, so that none can pass for a word of ours."""


class ReviewedFile(msgspec.Struct, frozen=True):
    """A file as shown to the person: its text, a summary, and the digest that is trusted.

    `more` are names and texts of further files that are trusted with it, `others` names of files
    that are not shown.
    """

    path: Path
    text: str
    summary: str
    digest: str
    more: Sequence[tuple[str, str]] = ()
    others: Sequence[str] = ()


def ignore_file(file: FolderFile) -> bool:
    """Decide for a command that only shows things: ignore the file with a note."""
    note(f"antiphon: {explain_ignored(file)}")
    return False


def explain_ignored(file: FolderFile) -> str:
    """Return why a file does not count, and what to type."""
    if file.fault is not None:
        return f"{file.path} is ignored: {file.fault.message}"
    return (
        f"{file.path} is ignored, for it is not trusted, or has changed since"
        f" ({', '.join(file.wants)}): antiphon trust {shlex.quote(str(file.path))}"
    )


def explain_counted(file: FolderFile) -> str:
    """Return why a file counts."""
    if file.wants:
        return f"{file.path} counts: it is trusted as it stands"
    return f"{file.path} counts: it sets nothing that needs trust"


def ask_trust(file: FolderFile) -> bool:
    """Decide for a chat: show the file, ask, and store a yes. Raises without a terminal."""
    if not can_ask():
        return refuse_untrusted(file)
    if file.fault is not None:
        raise file.fault
    seen = _review_settings(file.path, file.content, file.wants)
    show(seen)
    note(
        "antiphon: The folder brings these settings. Trusted, they say where your words go and what"
        " is used, until the file changes."
    )
    if not ask_yes("antiphon: Type yes to trust this file; anything else continues without it:"):
        note(f"antiphon: {file.path} does not count in this chat.")
        return False
    discovery.open_approvals(os.environ).trust(seen.path, seen.digest)
    return True


def can_ask() -> bool:
    """Return whether a question can be asked on this terminal."""
    streams = (sys.stdin, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)


def ask_yes(question: str) -> bool:
    """Ask on the terminal; only a newly typed `yes` counts."""
    drop_typed_input()
    note(question)
    return sys.stdin.readline().strip().lower() == "yes"


def review(file: Path) -> ReviewedFile:
    """Read a file that a folder brings.

    Raises `BadSettings` for a file that cannot be used.
    """
    if file.name == discovery.PROJECTS:
        return _review_servers(file)
    if file.name != discovery.TOML:
        return _review_guidance(file)
    content = read_folder_file(file, os.environ).content
    return _review_settings(file, content, tuple(tomllib.loads(content.decode("utf-8"))))


def show(seen: ReviewedFile) -> None:
    """Print all of the file to stderr, with nothing hidden, and the summary."""
    for name, text in ((str(seen.path), seen.text), *seen.more):
        show_text(name, text)
    if seen.others:
        note("antiphon: Its other files, which `antiphon skills show` shows:")
        for other in seen.others:
            note(GUTTER + one_line(other, "approval"))
    note(f"antiphon: {seen.summary}")


def show_text(name: str, text: str) -> None:
    """Print a text to stderr under its name, with nothing hidden."""
    note(f"antiphon: {one_line(name, 'approval')}:")
    columns = max(20, get_terminal_size().columns - len(GUTTER) - 1)
    for line in clean(text, "approval").replace("\t", "    ").split("\n"):
        width = columns if line.isascii() else columns // 2
        for at in range(0, max(1, len(line)), width):
            note(GUTTER + line[at : at + width])


def _review_settings(path: Path, content: bytes, names: tuple[str, ...]) -> ReviewedFile:
    text = content.decode("utf-8", "backslashreplace")
    return ReviewedFile(path, text, f"It sets: {_join_names(names)}", digest(content))


def _review_servers(path: Path) -> ReviewedFile:
    tables: dict[str, dict[str, Any]] = discovery.read_foreign_tables(path)
    # All of it: a variable, or a folder, may matter as much as the program.
    text = msgspec.json.format(msgspec.json.encode(tables), indent=2).decode()
    summary = f"It starts or asks the MCP servers: {_join_names(tuple(tables))}"
    if wanted := sorted({reference.name for reference in find_references(tables)}):
        summary += f"; they are given {_join_names(tuple(wanted))}, as it is here"
    return ReviewedFile(path, text, summary, discovery.tables_digest(tables))


def _review_guidance(path: Path) -> ReviewedFile:
    """Read a skill, a file of instructions or a slash command of a project."""
    found = find_file(os.environ, path)
    if found is None:
        raise InvalidRequest(
            "Only files that are found in a working folder need trust.",
            expected=f"a folder, or its {discovery.TOML}, {discovery.PROJECTS}, AGENTS.md, skills"
            " or slash commands",
            received=str(path),
            hint="A file that you name, by --config-file or --config, counts as it is.",
        )
    seen = review_found(found, Finder(os.environ, path.parent).find_replaced(found))
    (_, text), *more = seen.files
    return ReviewedFile(seen.file, text, seen.summary, seen.digest, more, seen.others)


def _join_names(names: tuple[str, ...]) -> str:
    return ", ".join(clean(name, "approval") for name in names) or "nothing"


FLAGS = ()


class TrustedRow(msgspec.Struct, frozen=True):
    """A file that was trusted, and whether it still counts."""

    file: str
    state: Literal["trusted", "changed", "gone"]


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the arguments: the file, or another action."""
    parser.add_argument("path", nargs="?", metavar="PATH", help="the file, or its folder")
    parser.add_argument("--yes", action="store_true", help="trust without asking")
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--list", action="store_true", help="list trusted files, and whether they still count"
    )
    other.add_argument("--revoke", action="store_true", help="revoke the trust in the file")
    parser.add_argument("--json", action="store_true", help="with --list: as one JSON list")


def decide(args: Namespace, file: FolderFile) -> bool:
    """Ignore the file: this command makes it count."""
    return False


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Show and ask, list, or revoke; return the exit code."""
    if args.list:
        return _list(as_json=args.json)
    given = Path(args.path or ".")
    return _revoke(given) if args.revoke else review_and_trust(_find_files(given), yes=args.yes)


def review_and_trust(files: Sequence[Path], *, yes: bool) -> int:
    """Show each file and ask about it; trust exactly what was shown."""
    record = discovery.open_approvals(os.environ)
    code = DONE
    for file in files:
        seen = review(file)
        show(seen)
        if record.covers(seen.path, seen.digest):
            note("antiphon: It is trusted as it stands.")
        elif yes or _confirm(file):
            record.trust(seen.path, seen.digest)
            name = one_line(str(file), "approval")
            note(f"antiphon: {name} counts from now on, as long as it says the same.")
        else:
            note("antiphon: It is not trusted.")
            code = FAILED
    return code


def _confirm(file: Path) -> bool:
    if not can_ask():
        raise InvalidRequest(
            "nobody can be asked whether this file is trusted",
            hint=f"look at it, then: antiphon trust {shlex.quote(str(file))} --yes",
        )
    return ask_yes("antiphon: Type yes to trust this file:")


def _find_files(given: Path) -> Sequence[Path]:
    if not given.is_dir() or os.path.lexists(given / SKILL):
        return [given]
    names = (discovery.TOML, discovery.PROJECTS)
    found = [given / name for name in names if os.path.lexists(given / name)]
    if found := [*found, *find_guidance(given)]:
        return found
    raise InvalidRequest(
        "there is nothing to trust here",
        expected=f"{', '.join(names)}, AGENTS.md, skills or slash commands",
        received=str(given),
    )


def find_guidance(folder: Path) -> list[Path]:
    """Return the skills, instructions and slash commands of a project that can be trusted."""
    finder = Finder(os.environ, folder)
    found = (*finder.instructions(), *finder.skills(), *finder.commands())
    return [each.file for each in found if each.digest]


def _revoke(given: Path) -> int:
    record = discovery.open_approvals(os.environ)
    names = [given / name for name in (discovery.TOML, discovery.PROJECTS, SKILL)]
    if given.is_dir():
        names += find_guidance(given)
    revoked = record.revoke({place(file) for file in (given, *names)})
    if not revoked:
        raise InvalidRequest(
            "this was not trusted",
            received=str(given),
            hint="`antiphon trust --list` lists what is.",
        )
    for each in revoked:
        note(f"antiphon: {each} counts no more.")
    return DONE


def _list(*, as_json: bool) -> int:
    known = discovery.open_approvals(os.environ).all()
    listed = [
        TrustedRow(file, _state(Path(file), digest)) for file, digest in sorted(known.items())
    ]
    none = "No file of a folder is trusted; `antiphon trust --help` says how."
    row = attrgetter("file", "state")
    print_list(listed, ("file", "state"), row, none, as_json=as_json)
    return DONE


def _state(file: Path, digest: str) -> Literal["trusted", "changed", "gone"]:
    if not os.path.lexists(file):
        return "gone"
    try:
        return "trusted" if review(file).digest == digest else "changed"
    except AntiphonError:
        return "changed"

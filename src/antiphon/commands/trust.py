"""Show a file that a folder brings, and have it count from now on.

An antiphon.toml or a .mcp.json in the working folder may come from anybody: it says where words go
and what is started, so it counts only once you have seen and trusted it, and no longer than it
stays as it was. Without PATH it is those of the working folder; a chat asks by itself.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from antiphon.commands import trusting
from antiphon.commands.exit_codes import DONE, FAILED
from antiphon.commands.json_output import print_json
from antiphon.commands.notes import note
from antiphon.commands.tables import table
from antiphon.configuration import Loaded
from antiphon.errors import AntiphonError, InvalidRequest
from antiphon.tools.mcp import places
from antiphon.trust import FolderFile, place

FLAGS = ()


class Listed(msgspec.Struct, frozen=True):
    """A file that was trusted once, and whether it still counts."""

    file: str
    state: Literal["trusted", "changed", "gone"]


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Take the file, or what else is to be done."""
    parser.add_argument("path", nargs="?", metavar="PATH", help="the file, or its folder")
    parser.add_argument("--yes", action="store_true", help="trust what is shown without asking")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--list", action="store_true", help="what is trusted, and whether it counts")
    other.add_argument("--revoke", action="store_true", help="trust the file no more")
    parser.add_argument("--json", action="store_true", help="with --list: as one JSON list")


def decide(asked: Namespace, file: FolderFile) -> bool:
    """Go on without it: this command is how a file comes to count."""
    return False


def run(asked: Namespace, loaded: Loaded) -> int:
    """Show and ask, list, or take back; returns the exit code."""
    if asked.list:
        return _list(as_json=asked.json)
    given = Path(asked.path or ".")
    return _revoke(given) if asked.revoke else look_and_trust(_files(given), yes=asked.yes)


def look_and_trust(files: Sequence[Path], *, yes: bool) -> int:
    """Show each file and ask about it; what was shown is what is trusted."""
    record = places.approved(os.environ)
    code = DONE
    for file in files:
        seen = trusting.look(file)
        trusting.show(seen)
        if record.covers(seen.path, seen.digest):
            note("antiphon: It is trusted as it stands.")
        elif yes or _confirm(file):
            record.trust(seen.path, seen.digest)
            note(f"antiphon: {file} counts from now on, as long as it says the same.")
        else:
            note("antiphon: It is not trusted.")
            code = FAILED
    return code


def _confirm(file: Path) -> bool:
    if not trusting.somebody_there():
        raise InvalidRequest(
            "nobody can be asked whether this file is trusted",
            hint=f"look at it, then: antiphon trust {file} --yes",
        )
    return trusting.confirm("antiphon: Type yes to trust this file:")


def _files(given: Path) -> Sequence[Path]:
    if not given.is_dir():
        return [given]
    names = (places.TOML, places.PROJECTS)
    if found := [given / name for name in names if os.path.lexists(given / name)]:
        return found
    raise InvalidRequest(
        "there is nothing to trust here", expected=" or ".join(names), received=str(given)
    )


def _revoke(given: Path) -> int:
    record = places.approved(os.environ)
    names = [given / name for name in (places.TOML, places.PROJECTS)]
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
    known = places.approved(os.environ).all()
    listed = [Listed(file, _state(Path(file), digest)) for file, digest in sorted(known.items())]
    if as_json:
        print_json(listed)
    elif listed:
        print(table(("file", "state"), [(each.file, each.state) for each in listed]))
    else:
        note("No file of a folder is trusted; `antiphon trust --help` says how.")
    return DONE


def _state(file: Path, digest: str) -> Literal["trusted", "changed", "gone"]:
    if not os.path.lexists(file):
        return "gone"
    try:
        return "trusted" if trusting.look(file).digest == digest else "changed"
    except AntiphonError:
        return "changed"

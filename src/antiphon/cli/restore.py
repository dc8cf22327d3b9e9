"""Make an SQLite database of a backup, where there is none yet.

Stop the users of the old database and move it away first, with the files beside it: nothing is
overwritten. A backup of an older version is migrated by the next start, or by `antiphon migrate`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from antiphon.cli.console import note
from antiphon.runtime.wiring import restore
from antiphon.settings.loading import LoadedSettings
from antiphon.types.terminal_safe import one_line

FLAGS = ("database",)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Take the name of the backup."""
    parser.add_argument("file", metavar="FILE", help="a file made by `antiphon backup`")


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Check, copy, and say what is there now."""
    copy = restore(Path(args.file).absolute(), loaded.settings.database)
    note(f"{one_line(str(copy.path))} has {copy.threads:,} threads; its check was good.")
    return 0

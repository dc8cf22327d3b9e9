"""Make a SQLite database of a backup, where there is none yet.

End what uses the old database, and move that away first, with the files beside it: nothing is
overwritten. A backup of an older version is brought up by the next start, or `antiphon migrate`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from antiphon.cli.output import note
from antiphon.runtime.wiring import restore
from antiphon.settings.loading import LoadedSettings
from antiphon.types.terminal_safe import one_line

FLAGS = ("database",)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Take the name of the backup."""
    parser.add_argument("file", metavar="FILE", help="what `antiphon backup` made")


def run(asked: Namespace, loaded: LoadedSettings) -> int:
    """Check, copy, and say what is there now."""
    copy = restore(Path(asked.file).absolute(), loaded.settings.database)
    note(f"{one_line(str(copy.path))} has {copy.threads:,} threads; its check was good.")
    return 0

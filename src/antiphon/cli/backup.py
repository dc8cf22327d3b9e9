"""Copy the SQLite database to a new file and check the copy, while servers may go on.

The copy is the database at one instant; copying the file itself would miss what is only in the log
beside it. The copy is readable only by you, and never overwrites a file. `antiphon restore` makes a
database of it. For PostgreSQL use pg_dump.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from antiphon.cli.console import note
from antiphon.runtime.wiring import back_up
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import database_file
from antiphon.types.terminal_safe import one_line

FLAGS = ("database",)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Take the name of the file."""
    parser.add_argument("file", metavar="FILE", help="the copy, a new file")


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Copy, check, and say what the copy holds."""
    settings = loaded.settings
    copy = back_up(settings.database, Path(args.file).absolute())
    size = f"{copy.size / 1e6:,.1f} MB"
    note(f"{one_line(str(copy.path))} has {copy.threads:,} threads, {size}; its check was good.")
    if copy.sealed and settings.secret_key is None:
        secret = f"{database_file(settings)}.key"
        note(f"{copy.sealed} keys at providers are sealed by {one_line(secret)}: keep that, too.")
    return 0

"""The commands on the database as a whole: migrate, move, back up, restore."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from contextlib import AsyncExitStack
from pathlib import Path

from antiphon.cli.console import ProgressBar, note
from antiphon.runtime.runtime import open_store
from antiphon.runtime.wiring import back_up, open_dump, restore
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import TABLE, Settings, database_file, mask_value
from antiphon.stores.dump import Plan, copy_database, plan_copy
from antiphon.types.errors import BadSettings, InvalidRequest
from antiphon.types.terminal_safe import one_line


class Migrate:
    """Migrate the database to this version, or move it between SQLite and PostgreSQL.

    `antiphon serve` and other commands migrate the database when they start, except for `doctor`
    and for long migrations; this command does it beforehand.

    With --from and --to, everything is moved into an empty database: conversations, files, people,
    keys, usage, the audit log. Stop the servers of the old one first. An interrupted move continues
    when it is repeated. At the end all rows of both are compared. The old database is not changed.
    """

    FLAGS = ("database",)

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the databases of a move."""
        parser.add_argument(
            "--from",
            dest="source",
            metavar="DATABASE",
            help="the database to move; it is only read",
        )
        parser.add_argument(
            "--to", dest="target", metavar="DATABASE", help="the new database, which must be empty"
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="only show what would be moved, and check that it can be",
        )

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Migrate the database and check that it can be written, or move it."""
        match args.source, args.target:
            case None, None if not args.check:
                asyncio.run(self._migrate(loaded.settings))
            case str(source), str(target):
                asyncio.run(_move(source, target, check=args.check))
            case _:
                raise InvalidRequest(
                    "A move needs both databases.", expected="--from DATABASE --to DATABASE"
                )
        return 0

    async def _migrate(self, settings: Settings) -> None:
        async with open_store(settings, all_migrations=True) as store:
            await store.check()
        note(f"{_display_name(settings.database)} has this version's form.")


async def _move(source: str, target: str, *, check: bool) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(open_dump(source))
        if here is None:
            raise BadSettings(
                "There is nothing to move.",
                expected="--from with a database that is there",
                received=_display_name(source),
            )
        there = await stack.enter_async_context(open_dump(target, new=not check))
        if there is None:
            _print_plan(Plan(await here.count_rows(), 0), source, target)
        elif check:
            _print_plan(await plan_copy(here, there), source, target)
        else:
            with ProgressBar(sys.stderr, "rows") as bar:
                plan = await copy_database(here, there, lambda step: bar.show(*step))
            there_now = f"{plan.rows:,} rows are in {_display_name(target)}"
            note(f"{there_now}, and equal to those they came from.")
            note(_describe_next_step(plan, target))


def _print_plan(plan: Plan, source: str, target: str) -> None:
    for name, count in plan.counts.items():
        if count:
            print(f"{name:14} {count:,}")
    begun = f", of which {plan.done:,} are there" if plan.done else ""
    names = f"from {_display_name(source)} to {_display_name(target)}"
    note(f"{plan.rows:,} rows can be moved {names}{begun}.")


def _describe_next_step(plan: Plan, target: str) -> str:
    advice = f"Name it from now on: --database {_display_name(target)}, or ANTIPHON_DATABASE."
    if plan.counts["provider_keys"] or plan.counts["webhooks"]:
        advice += (
            " Keys at providers and secrets of webhooks stay sealed by the same secret: see"
            " secret_key in the page about moving."
        )
    return advice


def _display_name(database: str) -> str:
    return one_line(mask_value(TABLE["database"], database))


class Backup:
    """Copy the SQLite database to a new file and check the copy, while servers may go on.

    The copy is the database at one instant; copying the file itself would miss what is only in the
    log beside it. The copy is readable only by you, and never overwrites a file. `antiphon restore`
    makes a database of it. For PostgreSQL use pg_dump.
    """

    FLAGS = ("database",)

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the argument: the name of the file."""
        parser.add_argument("file", metavar="FILE", help="the copy, a new file")

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Copy, check, and note what the copy holds."""
        settings = loaded.settings
        copy = back_up(settings.database, Path(args.file))
        contents = f"{copy.threads:,} threads, {copy.size / 1e6:,.1f} MB"
        note(f"{one_line(str(copy.path.absolute()))} has {contents}; its check was good.")
        if copy.sealed and settings.secret_key is None:
            secret = f"{database_file(settings)}.key"
            note(
                f"Keys at providers and secrets of webhooks, {copy.sealed} in all, are sealed by"
                f" {one_line(secret)}: keep that, too."
            )
        return 0


class Restore:
    """Make an SQLite database of a backup, where there is none yet.

    Stop the users of the old database and move it away first, with the files beside it: nothing is
    overwritten. A backup of an older version is migrated by the next start, or by `antiphon
    migrate`.
    """

    FLAGS = ("database",)

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the argument: the name of the backup."""
        parser.add_argument("file", metavar="FILE", help="a file made by `antiphon backup`")

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Check, copy, and note what is there now."""
        copy = restore(Path(args.file).absolute(), loaded.settings.database)
        note(f"{one_line(str(copy.path))} has {copy.threads:,} threads; its check was good.")
        return 0

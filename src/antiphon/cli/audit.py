"""List the actions of administrators on this database, newest first.

Actions on this machine are by `local`, with the name of the system account.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator

from antiphon.cli.console import format_table, format_time, note, print_json
from antiphon.ports import AdminStore
from antiphon.runtime.runtime import open_store
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import Settings
from antiphon.types.accounts import AuditEntry

FLAGS = ("database",)
NONE = "Nothing is written down."

_PAGE = 100


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the owner and the limits."""
    parser.add_argument("--owner", help="only actions on objects of this owner")
    parser.add_argument(
        "--limit", type=int, default=_PAGE, metavar="N", help="the maximum number, 100 by default"
    )
    parser.add_argument(
        "--json", action="store_true", help="one line of JSON for each, without a limit"
    )


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Read the database of the settings."""
    asyncio.run(_print(args, loaded.settings))
    return 0


async def _print(args: Namespace, settings: Settings) -> None:
    async with open_store(settings) as store:
        if args.json:
            async for act in _iterate_entries(store, args.owner):
                print_json(act)
            return
        rows: list[tuple[str, ...]] = []
        async for act in _iterate_entries(store, args.owner):
            if len(rows) >= args.limit:
                break
            rows.append(_row(act))
    if rows:
        print(format_table(("when", "who", "what", "to", "owner", "details"), rows))
    else:
        note(NONE)


async def _iterate_entries(store: AdminStore, owner: str | None) -> AsyncGenerator[AuditEntry]:
    after: str | None = None
    while True:
        page = await store.audit_entries(_PAGE, after, owner)
        for act in page.data:
            yield act
        if not page.has_more:
            return
        after = page.data[-1].id


def _row(entry: AuditEntry) -> tuple[str, ...]:
    details = " ".join(f"{name}={value}" for name, value in entry.details.items())
    return (
        format_time(entry.at),
        entry.actor,
        entry.what,
        entry.target,
        entry.owner or "",
        details,
    )

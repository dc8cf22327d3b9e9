"""The commands on owners: all data of one, owners' keys for providers, and the audit log."""

from __future__ import annotations

import asyncio
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from antiphon.api import operations
from antiphon.cli.console import (
    ProgressBar,
    drop_typed_input,
    format_table,
    format_time,
    note,
    print_json,
    print_list,
    read_first_line,
    read_secret,
)
from antiphon.client.formatting import count_noun
from antiphon.ports import AdminStore
from antiphon.runtime.admin.export import file_name
from antiphon.runtime.admin.owners import OwnerService
from antiphon.runtime.runtime import open_admin, open_store
from antiphon.runtime.wiring import new_secret_key
from antiphon.settings.deprecated import explain_renamed
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.private_files import create_private_file
from antiphon.settings.settings import Settings
from antiphon.types.accounts import LOCAL, AuditEntry, OwnerTotals, Principal, ProviderKey
from antiphon.types.errors import InvalidRequest, NotFound

_KINDS = ("threads", "runs", "files", "assistants")


class Owners:
    """List the owners of data on this database, and export, import or erase all data of one.

    The owner of a thread is `local`, the id of a person or a project, or the owner of a key.

    An export can be imported here or into another installation. The file is checked completely
    before anything is written, and nothing of it is visible before all of it is there. Repeating an
    import changes nothing; an interrupted import continues when it is repeated. Keys and webhooks
    are not imported. Schedules are imported as paused, and runs that had not ended as cancelled.
    """

    FLAGS = ("database", "redis")
    NONE = "Nobody has anything yet."

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the actions and their arguments."""
        actions = parser.add_subparsers(
            dest="action", required=True, metavar="list|show|export|import|erase"
        )
        listing = actions.add_parser("list", parents=[flags], help="list the owners of data")
        listing.add_argument("--json", action="store_true", help="as one JSON list")
        show = actions.add_parser("show", parents=[flags], help="count the objects of an owner")
        _owner_argument(show)
        show.add_argument("--json", action="store_true", help="as one JSON object")
        export = actions.add_parser(
            "export", parents=[flags], help="write an owner's data to a zip"
        )
        _owner_argument(export)
        export.add_argument("-o", "--output", help="the file; by default named after owner and day")
        export.add_argument("--force", action="store_true", help="overwrite the file")
        imports = actions.add_parser("import", parents=[flags], help="import an export")
        imports.add_argument("file", metavar="FILE", help="a zip of `antiphon owners export`")
        imports.add_argument(
            "--owner", metavar="ID", help="import for this owner instead of the export's own"
        )
        imports.add_argument(
            "--new-ids",
            action="store_true",
            help="create new ids, beside objects with the old ones",
        )
        imports.add_argument(
            "--check",
            action="store_true",
            help="only show what would be imported, and check that it can be",
        )
        imports.add_argument("--json", action="store_true", help="as one JSON object")
        erase = actions.add_parser(
            "erase", parents=[flags], help="delete an owner's data, for good"
        )
        _owner_argument(erase)
        erase.add_argument("--yes", action="store_true", help="do not ask to type the owner")

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Run the action on the database of the settings."""
        asyncio.run(self._run_action(args, loaded.settings))
        return 0

    async def _run_action(self, args: Namespace, settings: Settings) -> None:
        async with open_admin(settings) as owners:
            match args.action:
                case "list":
                    await self._list(owners, as_json=args.json)
                case "show":
                    totals = await _find_totals(owners, args.owner)
                    if totals is None:
                        raise NotFound(
                            f"There is nothing of the owner {args.owner!r}.",
                            hint="`antiphon owners list` shows them.",
                        )
                    if args.json:
                        print_json(totals)
                    else:
                        print(format_table(("owner", *_KINDS), [_row(totals)]))
                case "export":
                    await _export(owners, args)
                case "import":
                    await _import(owners, args)
                case _:
                    await _erase(owners, args)

    async def _list(self, owners: OwnerService, *, as_json: bool) -> None:
        rows: list[OwnerTotals] = []
        more, after = True, None
        while more:
            page = await owners.dispatch(operations.ListOwners(after=after), Principal())
            rows += page.data
            more, after = page.has_more, page.next
        print_list(rows, ("owner", *_KINDS), _row, self.NONE, as_json=as_json)


def _owner_argument(parser: ArgumentParser) -> None:
    parser.add_argument("owner", help="the owner, as in `antiphon owners list`")


async def _export(owners: OwnerService, args: Namespace) -> None:
    place = Path(args.output or file_name(args.owner, int(time.time() * 1000)))
    written = 0
    # The file comes first: an export that cannot be written is not one for the audit log.
    with create_private_file(
        place, over=args.force, hint="--force puts this in its place."
    ) as file:
        archive = await owners.export(operations.ExportOwner(args.owner), Principal())
        async with aclosing(archive.pieces) as pieces:
            async for piece in pieces:
                written += file.buffer.write(piece)
    note(f"All of {args.owner} is in {place}: {written:,} bytes.")


async def _import(owners: OwnerService, args: Namespace) -> None:
    operation = operations.ImportOwner(args.owner, args.new_ids, args.check)
    path = Path(args.file)
    if not await asyncio.to_thread(path.is_file):
        raise NotFound(
            f"There is no file {args.file}.", hint="`antiphon owners export` writes one."
        )
    with ProgressBar(sys.stderr) as bar, await asyncio.to_thread(path.open, "rb") as file:
        result = await owners.import_owner(
            operation, file, Principal(), lambda step: bar.show(*step)
        )
    if args.json:
        print_json(result)
        return
    for counts, word in (
        (result.added, "to add" if args.check else "added"),
        (result.unchanged, "unchanged"),
        (result.skipped, "left out"),
    ):
        for kind, count in counts.items():
            print(f"{kind:14} {count:>10,} {word}")
    note(_summary(result))


def _summary(result: operations.OwnerImport) -> str:
    if not result.added:
        return f"All of it is there already for {result.owner}: nothing was changed."
    if result.checked_only:
        return f"This can be imported for {result.owner}; nothing was written."
    summary = f"All of it is there for {result.owner}."
    if result.ended_runs:
        summary += f" Runs that had not ended are cancelled: {result.ended_runs:,}."
    if result.skipped.keys() & {"keys", "provider_keys", "webhooks"}:
        summary += " Keys and webhooks are not imported: make new ones."
    if result.added.get("schedules"):
        summary += " Schedules are paused: `antiphon schedules resume ID` starts one."
    return summary


async def _erase(owners: OwnerService, args: Namespace) -> None:
    totals = await _find_totals(owners, args.owner)
    if not args.yes:
        _confirm(args.owner, totals or OwnerTotals(owner=args.owner))
    erased, done = 0, False
    while not done:
        progress = await owners.dispatch(operations.EraseOwner(args.owner), Principal())
        erased, done = erased + progress.erased, progress.done
        if not done:
            note(f"{erased:,} things of {args.owner} are gone, and there are more.")
    note(f"All of {args.owner} is gone: {erased:,} things.")


def _confirm(owner: str, totals: OwnerTotals) -> None:
    """Raise `InvalidRequest` unless a person types the owner."""
    if not sys.stdin.isatty():
        raise InvalidRequest(
            "Nobody can be asked here whether all of this may be deleted.",
            expected="a terminal, or --yes",
        )
    counts = ", ".join(f"{kind} {getattr(totals, kind):,}" for kind in _KINDS)
    note(f"This deletes all of {owner}, for good: {counts}.")
    note("What must be kept, `antiphon owners export` writes into a file first.")
    drop_typed_input()
    if input("Type the owner to go on: ") != owner:
        raise InvalidRequest("That is not the owner: nothing was deleted.")


async def _find_totals(owners: OwnerService, owner: str) -> OwnerTotals | None:
    found = await owners.dispatch(operations.ListOwners(owner=owner), Principal())
    return found.data[0] if found.data else None


def _row(totals: OwnerTotals) -> tuple[str, ...]:
    return (totals.owner, *(f"{getattr(totals, kind):,}" for kind in _KINDS))


class ProviderKeys:
    """Owners' own keys for the providers of models, on this database.

    Only the owner's runs use such a key. Keys are stored encrypted, by the setting secret_key or a
    file beside an SQLite database, and are never shown again.
    """

    FLAGS = ("database", "redis")
    NONE = "No owner has a key of their own. `antiphon provider-keys set PROVIDER --owner OWNER`"
    OLD_NAME = "seal-anew"
    HEAD = ("owner", "provider", "ends", "asked at", "since")

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the actions and their arguments."""
        action_names = "set|list|remove|secret|reencrypt"
        actions = parser.add_subparsers(dest="action", required=True, metavar=action_names)
        put = actions.add_parser(
            "set", parents=[flags], help="store a key, which is typed or read from stdin"
        )
        listing = actions.add_parser(
            "list", parents=[flags], help="list owners with keys, and the last characters of these"
        )
        listing.add_argument("--owner", help="only this owner's")
        listing.add_argument("--json", action="store_true", help="as one JSON list")
        remove = actions.add_parser("remove", parents=[flags], help="delete a key")
        for action in (put, remove):
            action.add_argument(
                "provider", help="the provider, such as openai, as in the names of models"
            )
            action.add_argument(
                "--owner", default=LOCAL, help="the owner; by default that of this machine"
            )
        put.add_argument(
            "--base-url",
            dest="address",
            help="the base URL of another server, to use the key there",
        )
        actions.add_parser("secret", help="print a new value for the setting secret_key")
        actions.add_parser(
            "reencrypt",
            aliases=[self.OLD_NAME],
            parents=[flags],
            help="encrypt with secret_key what one of old_secret_keys has encrypted",
        )

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Run the action on the database of the settings."""
        if args.action == "secret":
            print(new_secret_key())
        else:
            asyncio.run(self._run_action(args, loaded.settings))
        return 0

    async def _run_action(self, args: Namespace, settings: Settings) -> None:
        key = ""
        if args.action == "set":
            is_typed = sys.stdin.isatty()
            key = (
                read_secret(f"Key for {args.provider}: ", "key")
                if is_typed
                else read_first_line("key")
            )
        async with open_admin(settings) as owners:
            match args.action:
                case "set":
                    put = operations.SetOwnersProviderKey(
                        args.owner, args.provider, key, args.address
                    )
                    kept = await owners.dispatch(put, Principal())
                    which = f"the key that ends {kept.hint}" if kept.hint else "this key"
                    note(f"Runs of {kept.owner} ask {kept.provider} with {which}")
                case "list":
                    every = await owners.dispatch(operations.ListAllProviderKeys(), Principal())
                    keys = [each for each in every.data if args.owner in (None, each.owner)]
                    print_list(keys, self.HEAD, self._row, self.NONE, as_json=args.json)
                case "remove":
                    gone = operations.DeleteProviderKey(args.provider)
                    await owners.dispatch(gone, Principal(owner=args.owner))
                    note(f"{args.owner} has no key for {args.provider} any more.")
                case _:
                    if args.action == self.OLD_NAME:
                        note(explain_renamed(self.OLD_NAME, "reencrypt", both=False))
                    renewed = await owners.reencrypt_keys(Principal())
                    note(f"Encrypted again: {count_noun(renewed, 'key')}. The others were already.")

    def _row(self, key: ProviderKey) -> tuple[str, ...]:
        since = format_time(key.created_at)
        return (key.owner, key.provider, key.hint, key.base_url or "", since)


class Audit:
    """List the actions of administrators on this database, newest first.

    Actions on this machine are by `local`, with the name of the system account.
    """

    FLAGS = ("database",)
    NONE = "Nothing is written down."
    PAGE = 100

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the owner and the limits."""
        parser.add_argument("--owner", help="only actions on objects of this owner")
        parser.add_argument(
            "--limit",
            type=int,
            default=self.PAGE,
            metavar="N",
            help="the maximum number, 100 by default",
        )
        parser.add_argument(
            "--json", action="store_true", help="one line of JSON for each, without a limit"
        )

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Read the database of the settings."""
        asyncio.run(self._print(args, loaded.settings))
        return 0

    async def _print(self, args: Namespace, settings: Settings) -> None:
        entries: list[AuditEntry] = []
        async with open_store(settings) as store:
            async for entry in self._iterate_entries(store, args.owner):
                if args.json:
                    print_json(entry)
                elif len(entries) < args.limit:
                    entries.append(entry)
                else:
                    break
        if not args.json:
            head = ("when", "who", "what", "to", "owner", "details")
            print_list(entries, head, self._row, self.NONE, as_json=False)

    async def _iterate_entries(
        self, store: AdminStore, owner: str | None
    ) -> AsyncGenerator[AuditEntry]:
        after: str | None = None
        while True:
            page = await store.audit_entries(self.PAGE, after, owner)
            for entry in page.data:
                yield entry
            if not page.has_more:
                return
            after = page.data[-1].id

    def _row(self, entry: AuditEntry) -> tuple[str, ...]:
        details = " ".join(f"{name}={value}" for name, value in entry.details.items())
        return (
            format_time(entry.at),
            entry.actor,
            entry.what,
            entry.target,
            entry.owner or "",
            details,
        )

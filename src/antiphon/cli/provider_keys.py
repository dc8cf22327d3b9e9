"""Owners' own keys for the providers of models, on this database.

Only the owner's runs use such a key. Keys are stored encrypted, by the setting secret_key or a file
beside an SQLite database, and are never shown again.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace

from antiphon.api import operations
from antiphon.cli.console import (
    format_table,
    format_time,
    note,
    print_json,
    read_first_line,
    read_secret,
)
from antiphon.client.formatting import count_noun
from antiphon.deprecated import explain_renamed
from antiphon.runtime.admin.owners import OwnerService
from antiphon.runtime.runtime import open_admin
from antiphon.runtime.wiring import new_secret_key
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import Settings
from antiphon.types.accounts import LOCAL, Principal

FLAGS = ("database", "redis")
_OLD_NAME = "seal-anew"
NONE = "No owner has a key of their own. `antiphon provider-keys set PROVIDER --owner OWNER`"


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    said = "set|list|remove|secret|reencrypt"
    actions = parser.add_subparsers(dest="action", required=True, metavar=said)
    put = actions.add_parser(
        "set", parents=[flags], help="store a key, which is typed or read from stdin"
    )
    _which_arguments(put)
    put.add_argument(
        "--base-url", dest="address", help="the base URL of another server, to use the key there"
    )
    listing = actions.add_parser(
        "list", parents=[flags], help="list owners with keys, and the last characters of these"
    )
    listing.add_argument("--owner", help="only this owner's")
    listing.add_argument("--json", action="store_true", help="as one JSON list")
    remove = actions.add_parser("remove", parents=[flags], help="delete a key")
    _which_arguments(remove)
    actions.add_parser("secret", help="print a new value for the setting secret_key")
    actions.add_parser(
        "reencrypt",
        aliases=[_OLD_NAME],
        parents=[flags],
        help="encrypt with secret_key what one of old_secret_keys has encrypted",
    )


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Run the action on the database of the settings."""
    if args.action == "secret":
        print(new_secret_key())
    else:
        asyncio.run(_run_action(args, loaded.settings))
    return 0


def _which_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("provider", help="the provider, such as openai, as in the names of models")
    parser.add_argument("--owner", default=LOCAL, help="the owner; by default that of this machine")


async def _run_action(args: Namespace, settings: Settings) -> None:
    key = _read_key(args.provider) if args.action == "set" else ""
    async with open_admin(settings) as owners:
        match args.action:
            case "set":
                put = operations.SetOwnersProviderKey(args.owner, args.provider, key, args.address)
                kept = await owners.dispatch(put, Principal())
                which = f"the key that ends {kept.hint}" if kept.hint else "this key"
                note(f"Runs of {kept.owner} ask {kept.provider} with {which}")
            case "list":
                await _list(owners, args)
            case "remove":
                gone = operations.DeleteProviderKey(args.provider)
                await owners.dispatch(gone, Principal(owner=args.owner))
                note(f"{args.owner} has no key for {args.provider} any more.")
            case _:
                if args.action == _OLD_NAME:
                    note(explain_renamed(_OLD_NAME, "reencrypt", both=False))
                renewed = await owners.reencrypt_keys(Principal())
                note(f"Encrypted again: {count_noun(renewed, 'key')}. The others were already.")


async def _list(owners: OwnerService, args: Namespace) -> None:
    listed = (await owners.dispatch(operations.ListAllProviderKeys(), Principal())).data
    keys = [key for key in listed if args.owner in (None, key.owner)]
    if args.json:
        print_json(keys)
    elif keys:
        head = ("owner", "provider", "ends", "asked at", "since")
        rows = [
            (key.owner, key.provider, key.hint, key.base_url or "", format_time(key.created_at))
            for key in keys
        ]
        print(format_table(head, rows))
    else:
        note(NONE)


def _read_key(provider: str) -> str:
    if sys.stdin.isatty():
        return read_secret(f"Key for {provider}: ", "key")
    return read_first_line("key")

"""Make, list or revoke the keys of a server that runs on this database.

The first key locks the server: from then on nothing under /v1 is answered without one.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace

import msgspec

from antiphon.commands.tables import moment, table
from antiphon.keys import SCOPES, make_key
from antiphon.ports import LOCAL, Store
from antiphon.runtime import stored
from antiphon.settings import Loaded, Settings

FLAGS = ("database",)
NONE = "There is no key: only this machine is answered. `antiphon keys create NAME` makes one."


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """One action, and what it is about."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
    create = actions.add_parser("create", parents=[flags], help="make a key and print it once")
    create.add_argument("name", help="what it is for, in your own words")
    create.add_argument(
        "--owner", default=LOCAL, help="whose threads it opens; by default those of this machine"
    )
    create.add_argument(
        "--scope", action="append", choices=SCOPES, help="what it may do; by default read and write"
    )
    listing = actions.add_parser("list", parents=[flags], help="all keys, without their secrets")
    listing.add_argument("--json", action="store_true", help="as one JSON list")
    withdraw = actions.add_parser("revoke", parents=[flags], help="close what a key opened")
    withdraw.add_argument("id", help="as `antiphon keys list` shows it")


def run(asked: Namespace, loaded: Loaded) -> int:
    """Do it on the database of the settings."""
    asyncio.run(_act(asked, loaded.settings))
    return 0


async def _act(asked: Namespace, settings: Settings) -> None:
    async with stored(settings) as store:
        match asked.action:
            case "create":
                await _create(store, asked)
            case "list":
                await _list(store, as_json=asked.json)
            case _:
                key = await store.revoke_key(asked.id)
                print(f"{key.id} ({key.name}) opens nothing any more.", file=sys.stderr)


async def _create(store: Store, asked: Namespace) -> None:
    key, token = await make_key(store, asked.owner, asked.name, asked.scope or ("read", "write"))
    print(token)
    print(
        f"{key.id} for owner {key.owner}: {', '.join(key.scopes)}. Keep the key: it is not shown"
        " again.",
        file=sys.stderr,
    )


async def _list(store: Store, *, as_json: bool) -> None:
    keys = await store.keys()
    if as_json:
        print(msgspec.json.encode(keys).decode())
        return
    if not keys:
        print(NONE, file=sys.stderr)
        return
    head = ("id", "name", "owner", "scopes", "created", "revoked")
    rows = [
        (
            key.id,
            key.name,
            key.owner,
            ",".join(key.scopes),
            moment(key.created_at),
            moment(key.revoked_at),
        )
        for key in keys
    ]
    print(table(head, rows))

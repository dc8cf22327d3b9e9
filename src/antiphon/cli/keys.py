"""Create, list, limit or revoke the keys of a server on this database.

Once there is a key, every request under /v1 needs one.
"""

from __future__ import annotations

import asyncio
import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace

import msgspec

from antiphon.api import operations
from antiphon.cli.console import format_table, format_time, note, print_json
from antiphon.ports import AdminStore
from antiphon.runtime.admin.keys import SCOPES, KeyService
from antiphon.runtime.runtime import mint, open_store
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import Settings
from antiphon.types.accounts import LOCAL, Key, Limits, Principal
from antiphon.types.runs import DAY

FLAGS = ("database",)
NONE = "There is no key: only this machine is answered. `antiphon keys create NAME` makes one."

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY, "w": 7 * DAY}
_LIMITS = {
    "requests_per_minute": ("how many requests a minute", "a minute"),
    "runs_at_once": ("how many runs at once", "runs"),
    "tokens_per_day": ("how many tokens a day (UTC), read and written", "tokens a day"),
}


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    said = "create|list|limit|revoke"
    actions = parser.add_subparsers(dest="action", required=True, metavar=said)
    create = actions.add_parser("create", parents=[flags], help="create a key and print it once")
    create.add_argument("name", help="a name of your choice")
    create.add_argument(
        "--owner", default=LOCAL, help="the owner of the data; by default that of this machine"
    )
    create.add_argument(
        "--scope", action="append", choices=SCOPES, help="a scope; by default read and write"
    )
    create.add_argument(
        "--expires-in", type=_seconds, metavar="TIME", help="the lifetime, such as 90d"
    )
    _limit_arguments(create, "; by default as many as it likes")
    listing = actions.add_parser(
        "list", parents=[flags], help="list all keys, without their secrets"
    )
    listing.add_argument("--json", action="store_true", help="as one JSON list")
    limit = actions.add_parser(
        "limit", parents=[flags], help="change the limits of a key; others stay"
    )
    _id_argument(limit)
    _limit_arguments(limit, ", or `none`")
    withdraw = actions.add_parser("revoke", parents=[flags], help="revoke a key")
    _id_argument(withdraw)


def _id_argument(parser: ArgumentParser) -> None:
    parser.add_argument("id", help="the key's id, as in `antiphon keys list`")


def _limit_arguments(parser: ArgumentParser, more: str) -> None:
    for name, (meaning, _) in _LIMITS.items():
        flag = "--" + name.replace("_", "-")
        parser.add_argument(
            flag, type=_parse_limit, default=msgspec.UNSET, metavar="N", help=meaning + more
        )


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Run the action on the database of the settings."""
    asyncio.run(_run_action(args, loaded.settings))
    return 0


async def _run_action(args: Namespace, settings: Settings) -> None:
    async with open_store(settings) as store:
        keys = KeyService(store, mint)
        match args.action:
            case "create":
                await _create(keys, args)
            case "list":
                await _list(store, as_json=args.json)
            case "limit":
                limits = operations.NewLimits(**_limits(args))
                key = await keys.update(operations.UpdateKey(args.id, limits=limits), Principal())
                limited = _describe_limits(key.limits) or "whatever it likes"
                note(f"{key.id} ({key.name}) may: {limited}.")
            case _:
                key = await keys.revoke(args.id, Principal())
                note(f"{key.id} ({key.name}) opens nothing any more.")


async def _create(keys: KeyService, args: Namespace) -> None:
    given = {name: each for name, each in _limits(args).items() if each is not msgspec.UNSET}
    call = operations.CreateKey(
        args.name,
        args.owner,
        tuple(args.scope or ("read", "write")),
        limits=Limits(**given),
        expires_in=args.expires_in,
    )
    key, token = await keys.create(call, Principal())
    print(token)
    until = f" Good until {format_time(key.expires_at)}." if key.expires_at else ""
    note(
        f"{key.id} for owner {key.owner}: {', '.join(key.scopes)}.{until} Keep the key: it is not"
        " shown again."
    )


async def _list(store: AdminStore, *, as_json: bool) -> None:
    keys = await store.keys()
    if as_json:
        print_json(keys)
        return
    if not keys:
        note(NONE)
        return
    head = ("id", "name", "owner", "scopes", "limits", "created", "expires", "revoked")
    print(format_table(head, map(_row, keys)))


def _row(key: Key) -> tuple[str, ...]:
    return (
        key.id,
        key.name,
        key.owner,
        ",".join(key.scopes),
        _describe_limits(key.limits),
        format_time(key.created_at),
        format_time(key.expires_at),
        format_time(key.revoked_at),
    )


def _limits(args: Namespace) -> dict[str, int | msgspec.UnsetType | None]:
    return {name: getattr(args, name) for name in _LIMITS}


def _describe_limits(limits: Limits) -> str:
    """Return the limits in a few words."""
    bounds = {unit: getattr(limits, name) for name, (_, unit) in _LIMITS.items()}
    return ", ".join(f"{bound} {unit}" for unit, bound in bounds.items() if bound is not None)


def _parse_limit(text: str) -> int | None:
    if text == "none":
        return None
    if not re.fullmatch("[1-9][0-9]{0,14}", text):
        raise ArgumentTypeError(f"wanted a number from 1 on, or none; got {text!r}")
    return int(text)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhdw])", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= operations.MAX_KEY_LENGTH:
        raise ArgumentTypeError(
            f"wanted a number and s, m, h, d or w, ten years at most; got {text!r}"
        )
    return seconds

"""List, show, export, rename, fork or delete conversations, here or on a server."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator

import msgspec

from antiphon.calls import ListMessages
from antiphon.clean import clean
from antiphon.client.sync import Client
from antiphon.commands.tables import moment, table
from antiphon.commands.usage import CLIENT
from antiphon.messages import Message
from antiphon.settings import Loaded

FLAGS = ("database", *CLIENT)
PAGE = 100


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """One action, and what it is about."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="list|show|export|rename|fork|delete"
    )
    listing = actions.add_parser("list", parents=[flags], help="conversations, newest first")
    listing.add_argument("--search", metavar="WORDS", help="only those that hold these words")
    listing.add_argument(
        "--limit", type=_limit, default=20, metavar="N", help="1 to 100, 20 by default"
    )
    listing.add_argument("--json", action="store_true", help="as one JSON list")
    show = actions.add_parser("show", parents=[flags], help="what was said, to be read")
    show.add_argument("id")
    export = actions.add_parser("export", parents=[flags], help="everything, as one JSON object")
    export.add_argument("id")
    rename = actions.add_parser("rename", parents=[flags], help="give it another title")
    rename.add_argument("id")
    rename.add_argument("title")
    fork = actions.add_parser("fork", parents=[flags], help="a new one that begins as this one did")
    fork.add_argument("id")
    fork.add_argument("--message", metavar="ID", help="the last that is taken along; else all are")
    fork.add_argument("--title", help="of the new one; else the same")
    delete = actions.add_parser(
        "delete", parents=[flags], help="for good, with all that belongs to it"
    )
    delete.add_argument("id", nargs="+")


def run(asked: Namespace, loaded: Loaded) -> int:
    """Do it through a client, as any program would."""
    with Client(settings=loaded.settings) as client:
        match asked.action:
            case "list":
                _list(client, asked)
            case "show":
                _show(client, asked.id)
            case "export":
                _export(client, asked.id)
            case "rename":
                client.update_thread(asked.id, title=asked.title)
                print(f"{clean(asked.id)} is renamed.", file=sys.stderr)
            case "fork":
                print(client.fork_thread(asked.id, message_id=asked.message, title=asked.title).id)
            case _:
                for thread_id in asked.id:
                    client.delete_thread(thread_id)
                    print(f"{thread_id} is deleted.", file=sys.stderr)
    return 0


def _list(client: Client, asked: Namespace) -> None:
    threads = client.list_threads(limit=asked.limit, q=asked.search).data
    if asked.json:
        print(msgspec.json.encode(threads).decode())
        return
    if not threads:
        print("There are no such conversations.", file=sys.stderr)
        return
    rows = [
        (thread.id, moment(thread.updated_at), str(thread.messages), thread.title)
        for thread in threads
    ]
    print(table(("id", "changed", "messages", "title"), rows))


def _show(client: Client, thread_id: str) -> None:
    for message in client.every(ListMessages(thread_id, limit=PAGE)):
        print(clean("\n".join(_told(message))), end="\n\n")


def _told(message: Message) -> Iterator[str]:
    yield f"{message.role}, {moment(message.created_at)}"
    if message.text:
        yield message.text
    yield from (f"calls {call.name}({call.arguments})" for call in message.tool_calls)
    if message.status == "incomplete":
        yield "(cut off here)"


def _export(client: Client, thread_id: str) -> None:
    whole = {
        "thread": client.get_thread(thread_id),
        "messages": list(client.every(ListMessages(thread_id, limit=PAGE))),
    }
    print(msgspec.json.encode(whole).decode())


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= PAGE:
        raise ArgumentTypeError(f"wanted a whole number from 1 to {PAGE}, got {text!r}")
    return int(text)

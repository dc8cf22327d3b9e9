"""Folders of conversations: each has a name, and instructions that models read in all of them.

`antiphon threads move` puts a conversation into a folder. Without --server it is about the database
of this machine.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from typing import Any

from antiphon.cli.console import format_time, note, print_json, print_list, read_text_option
from antiphon.cli.flags import CLIENT, add_actions
from antiphon.client.async_client import AsyncClient
from antiphon.client.folders import find_folder, list_folders
from antiphon.settings.loading import LoadedSettings
from antiphon.types.errors import InvalidRequest
from antiphon.types.folders import Folder
from antiphon.types.terminal_safe import clean

FLAGS = ("database", "redis", *CLIENT)
HEAD = ("id", "name", "instructions", "changed")
NO_FOLDERS = "There is no folder. `antiphon folders create NAME` creates one."
SHOWN_INSTRUCTIONS = 60
"""Characters of instructions in a list."""
MEANT = "its name, the beginning of it, or its id"

ACTIONS = {
    "list": "list the folders",
    "show": "show the instructions of a folder",
    "create": "create a folder",
    "update": "change the name, the instructions or the files of a folder",
    "delete": "delete a folder; its conversations stay",
}


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    of = add_actions(parser, flags, ACTIONS)
    of["create"].add_argument("name", help="up to 128 characters")
    for name in ("show", "update", "delete"):
        of[name].add_argument("folder", help=MEANT)
    of["update"].add_argument("--name", metavar="NAME", help="the new name")
    for name in ("create", "update"):
        given = of[name].add_mutually_exclusive_group()
        given.add_argument("--instructions", metavar="TEXT", help="what models read; '' for none")
        given.add_argument(
            "--instructions-file", metavar="FILE", help="the same from a file; - reads stdin"
        )
    for name in ("list", "show", "create", "update"):
        of[name].add_argument("--json", action="store_true", help="as JSON")
    of["update"].add_argument(
        "--add-file", action="append", default=[], metavar="FILE", help="upload it to the folder"
    )
    of["update"].add_argument(
        "--remove-file", action="append", default=[], metavar="ID", help="the id of a file"
    )
    of["delete"].add_argument(
        "--threads", action="store_true", help="delete its conversations too, for good"
    )


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Run the action through a client."""
    asyncio.run(_run_action(args, loaded))
    return 0


async def _run_action(args: Namespace, loaded: LoadedSettings) -> None:
    async with AsyncClient(settings=loaded.settings) as client:
        match args.action:
            case "list":
                folders = await list_folders(client)
                print_list(folders, HEAD, _row, NO_FOLDERS, as_json=args.json)
            case "show":
                folder = await find_folder(client, args.folder)
                if args.json:
                    print_json(folder)
                else:
                    print(clean(folder.instructions) or "(no instructions)")
                    for file_id in folder.file_ids:
                        note(f"file {file_id}")
            case "create":
                text = read_text_option(args.instructions, args.instructions_file) or ""
                _print_result(args, await client.create_folder(args.name, text), "created")
            case "update":
                await _update(client, args)
            case _:
                folder = await find_folder(client, args.folder)
                await client.delete_folder(folder.id, delete_threads=args.threads)
                note(f"{folder.id} is deleted{', with its conversations' if args.threads else ''}.")


async def _update(client: AsyncClient, args: Namespace) -> None:
    instructions = read_text_option(args.instructions, args.instructions_file)
    changes: dict[str, Any] = {"name": args.name, "instructions": instructions}
    changes = {name: value for name, value in changes.items() if value is not None}
    if not (changes or args.add_file or args.remove_file):
        raise InvalidRequest(
            "nothing is to be changed", expected="--name, --instructions, --add-file or the like"
        )
    folder = await find_folder(client, args.folder)
    if args.add_file or args.remove_file:
        changes["file_ids"] = await _change_files(client, folder, args)
    _print_result(args, await client.update_folder(folder.id, **changes), "changed")


async def _change_files(client: AsyncClient, folder: Folder, args: Namespace) -> tuple[str, ...]:
    """Upload the files that are added; return the ids of all files that the folder will have."""
    if missing := [each for each in args.remove_file if each not in folder.file_ids]:
        raise InvalidRequest(
            f"The folder has no file {missing[0]!r}.",
            expected=", ".join(folder.file_ids) or "a folder with files",
        )
    kept = [each for each in folder.file_ids if each not in args.remove_file]
    added = [(await client.upload_file(file)).id for file in args.add_file]
    return (*kept, *added)


def _print_result(args: Namespace, folder: Folder, how: str) -> None:
    if args.json:
        print_json(folder)
    else:
        print(folder.id)
        note(f"The folder {folder.name!r} is {how}.")


def _row(folder: Folder) -> tuple[str, ...]:
    line = " ".join(folder.instructions.split())
    short = line if len(line) <= SHOWN_INSTRUCTIONS else f"{line[:SHOWN_INSTRUCTIONS]}…"
    return (folder.id, folder.name, short, format_time(folder.updated_at))

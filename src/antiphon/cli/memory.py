"""Show and change what assistants know about you: instructions for all of them, and memories.

Models read both in every conversation but temporary ones. Without --server it is about the database
of this machine.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace

from antiphon.cli.console import format_time, note, print_json, print_list, read_text_option
from antiphon.cli.flags import CLIENT, add_actions
from antiphon.client.async_client import AsyncClient
from antiphon.client.formatting import count_noun
from antiphon.settings.loading import LoadedSettings
from antiphon.types.errors import InvalidRequest
from antiphon.types.personal import Memory
from antiphon.types.terminal_safe import clean, one_line

FLAGS = ("database", "redis", *CLIENT)
HEAD = ("id", "memory", "source", "changed")
NO_MEMORIES = "Nothing is remembered about you. `antiphon memory add TEXT` adds a memory."

ACTIONS = {
    "list": "list the memories",
    "add": "add a memory",
    "edit": "replace the text of a memory",
    "delete": "delete a memory",
    "clear": "delete all memories",
    "on": "let models read memories, and add some after you were asked",
    "off": "let models read and add no memories; those that are there stay",
    "instructions": "show, write or switch your instructions for every assistant",
}


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    of = add_actions(parser, flags, ACTIONS)
    of["list"].add_argument("words", nargs="?", default="", help="only those with these words")
    for name in ("edit", "delete"):
        of[name].add_argument("id", help="the id of a memory, as in `antiphon memory list`")
    for name in ("add", "edit"):
        of[name].add_argument("text", help="one line of up to 300 characters")
    of["clear"].add_argument("--yes", action="store_true", help="delete them without a question")
    given = of["instructions"].add_mutually_exclusive_group()
    given.add_argument("--set", metavar="TEXT", help="write these; '' removes them")
    given.add_argument("--file", metavar="FILE", help="the same from a file; - reads stdin")
    given.add_argument("--on", action="store_true", help="let models read them")
    given.add_argument("--off", action="store_true", help="let no model read them")
    for name in ("list", "add", "edit", "instructions"):
        of[name].add_argument("--json", action="store_true", help="as JSON")


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Run the action through a client."""
    asyncio.run(_run_action(args, loaded))
    return 0


async def _run_action(args: Namespace, loaded: LoadedSettings) -> None:
    async with AsyncClient(settings=loaded.settings) as client:
        match args.action:
            case "list":
                memories = (await client.list_memories()).data
                found = [each for each in memories if args.words.casefold() in each.text.casefold()]
                print_list(found, HEAD, _row, NO_MEMORIES, as_json=args.json)
                if not (await client.get_personal_settings()).memory_enabled:
                    note("Memory is off: models read none of it. `antiphon memory on` turns it on.")
            case "add":
                _print_result(args, await client.create_memory(args.text), "remembered")
            case "edit":
                _print_result(args, await client.update_memory(args.id, args.text), "changed")
            case "delete":
                await client.delete_memory(args.id)
                note(f"{one_line(args.id)} is deleted.")
            case "clear":
                await _clear(client, args)
            case "on" | "off":
                await client.update_personal_settings(memory_enabled=args.action == "on")
                note(f"Memory is {args.action}.")
            case _:
                await _instructions(client, args)


async def _clear(client: AsyncClient, args: Namespace) -> None:
    if not args.yes:
        count = len((await client.list_memories()).data)
        raise InvalidRequest(
            f"nothing was deleted; there are {count_noun(count, 'memory', 'memories')}",
            expected="--yes",
            hint="This cannot be undone.",
        )
    gone = (await client.delete_memories()).deleted
    note(f"{count_noun(gone, 'memory', 'memories')} deleted.")


async def _instructions(client: AsyncClient, args: Namespace) -> None:
    if (text := read_text_option(args.set, args.file)) is not None:
        settings = await client.update_personal_settings(instructions=text)
    elif args.on or args.off:
        settings = await client.update_personal_settings(instructions_enabled=args.on)
    else:
        settings = await client.get_personal_settings()
    if args.json:
        print_json(settings)
        return
    print(clean(settings.instructions, "approval") or "(no instructions)")
    if not settings.instructions_enabled:
        note("They are off: no model reads them.")


def _print_result(args: Namespace, memory: Memory, how: str) -> None:
    if args.json:
        print_json(memory)
    else:
        print(memory.id)
        note(f"The memory is {how}.")


def _row(memory: Memory) -> tuple[str, ...]:
    text = one_line(memory.text, "approval")
    return (memory.id, text, memory.source, format_time(memory.updated_at))

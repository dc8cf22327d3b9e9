"""List, show, export, rename, fork or delete conversations, here or on a server."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TextIO

from msgspec.structs import replace

from antiphon.api.operations import ListTags, SearchHit
from antiphon.cli.console import format_time, is_styled_terminal, note, print_json, print_list, take
from antiphon.cli.flags import CLIENT, parse_number
from antiphon.client.async_client import AsyncClient
from antiphon.client.export import FORMS, Form, export_thread, guess_form, load_messages
from antiphon.client.folders import find_folder
from antiphon.client.formatting import count_noun, format_indexing, split_highlights
from antiphon.client.thread_families import (
    change_tags,
    delete_family,
    find_newest_run,
    find_threads_by_id,
    latest_threads,
)
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.private_files import create_private_file
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.folders import NO_FOLDER
from antiphon.types.messages import ToolCall
from antiphon.types.runs import DAY, Thread
from antiphon.types.terminal_safe import clean, one_line
from antiphon.types.thread_view import (
    AttachmentsView,
    CallView,
    ChangedCallView,
    MessageView,
    NoteView,
    PartView,
    ReasoningView,
    RefusalView,
    RunSummary,
    SourcesView,
    TextView,
    ThreadReader,
)

PAGE = 100
SETS_MARKDOWN = "markdown_it"
LAST = "last"
PREFIX = "thread_"


def _find_html_renderer() -> Callable[[str], str] | None:
    """Return the renderer of Markdown as HTML; None without the extra `terminal`."""
    try:
        hypertext = import_module("antiphon.terminal.markdown.html")
    except ModuleNotFoundError as missing:
        if missing.name != SETS_MARKDOWN:
            raise
        return None
    render: Callable[[str], str] = hypertext.render_html
    return render


FLAGS = ("database", "redis", "search_timeout", *CLIENT)
MOST = 1_000_000  # conversations of one list
SHORT = 300
"""Letters of reasoning and of a tool's output that are shown: `export` has them whole."""
BOLD, NOT_BOLD = "\x1b[1m", "\x1b[22m"
MEANT = "the id, its beginning, or `last`"
PINS = {"pin": "list a conversation before all others", "unpin": "list it in its place again"}
ARCHIVE = {
    "archive": "leave a conversation out of lists until it goes on",
    "unarchive": "list it again",
}


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list", parents=[flags], help="list conversations, the last changed first"
    )
    listing.add_argument("--search", metavar="WORDS", help="only those with these words")
    listing.add_argument(
        "--limit",
        type=partial(parse_number, MOST),
        default=20,
        metavar="N",
        help="the maximum number, 20 by default",
    )
    listing.add_argument("--pinned", action="store_true", help="only pinned ones")
    listing.add_argument("--archived", action="store_true", help="only those of the archive")
    listing.add_argument("--tag", metavar="TAG", help="only those with this tag")
    listing.add_argument(
        "--folder", metavar="NAME", help="only those of this folder, by name or id; none: of none"
    )
    listing.add_argument("--all", action="store_true", help="also empty ones, and earlier versions")
    listing.add_argument("--json", action="store_true", help="as one JSON list")
    search = actions.add_parser(
        "search",
        parents=[flags],
        help="find words in conversations",
        description="Find messages and titles with all of these words, the best first. A word also"
        " finds longer ones that begin with it; text in quotation marks, as '\"two words\"', is"
        " found as it stands.",
    )
    search.add_argument("words", nargs="+", metavar="WORD")
    search.add_argument(
        "--limit",
        type=partial(parse_number, MOST),
        default=20,
        metavar="N",
        help="the maximum number of results, 20 by default",
    )
    search.add_argument("--json", action="store_true", help="as one JSON list")
    show = actions.add_parser("show", parents=[flags], help="show a conversation")
    show.add_argument("id", help=MEANT)
    _export_arguments(actions.add_parser("export", parents=[flags], help="export a conversation"))
    rename = actions.add_parser("rename", parents=[flags], help="rename a conversation")
    rename.add_argument("id", help=MEANT)
    rename.add_argument("title")
    tag = actions.add_parser("tag", parents=[flags], help="add tags to a conversation")
    tag.add_argument("id", help=MEANT)
    tag.add_argument("tags", nargs="+", metavar="TAG")
    tag.add_argument("--remove", action="store_true", help="remove these tags")
    tags = actions.add_parser("tags", parents=[flags], help="list the tags, with counts")
    tags.add_argument("--json", action="store_true", help="as one JSON list")
    for name, meaning in {**PINS, **ARCHIVE}.items():
        actions.add_parser(name, parents=[flags], help=meaning).add_argument("id", help=MEANT)
    move = actions.add_parser(
        "move", parents=[flags], help="put a conversation into a folder, or out of its folder"
    )
    move.add_argument("id", help=MEANT)
    move.add_argument("folder", help="the name or id of the folder; `none` takes it out")
    _add_share_actions(partial(actions.add_parser, parents=[flags]))
    fork = actions.add_parser("fork", parents=[flags], help="copy a conversation, or its beginning")
    fork.add_argument("id", help=MEANT)
    fork.add_argument("--message", metavar="ID", help="the last message to copy; by default all")
    fork.add_argument("--title", help="the new title; by default the same")
    delete = actions.add_parser(
        "delete", parents=[flags], help="delete conversations with all their versions, for good"
    )
    delete.add_argument("id", nargs="+", help="whole ids")
    delete.add_argument("--alone", action="store_true", help="only this version")


def _add_share_actions(add_action: Callable[..., ArgumentParser]) -> None:
    share = add_action("share", help="make a link under which a conversation can be read")
    share.add_argument("id", help=MEANT)
    share.add_argument(
        "--days",
        type=partial(parse_number, 3650),
        metavar="N",
        help="days for which the link works; by default 30, or the server's limit if that is less",
    )
    share.add_argument("--tools", action="store_true", help="with tool calls and their results")
    share.add_argument("--reasoning", action="store_true", help="with reasoning")
    share.add_argument("--json", action="store_true", help="as JSON")
    shares = add_action("shares", help="list the links")
    shares.add_argument("--json", action="store_true", help="as one JSON list")
    unshare = add_action("unshare", help="revoke links")
    unshare.add_argument("id", nargs="+", help="ids of links, as `shares` lists them")


def _export_arguments(export: ArgumentParser) -> None:
    export.add_argument("id", help=MEANT)
    export.add_argument(
        "--format",
        choices=FORMS,
        help="json is complete, md and html are for reading; by default by FILE's name, else json",
    )
    export.add_argument(
        "-o", "--output", metavar="FILE", help="the file, readable only by you; by default stdout"
    )
    export.add_argument("--force", action="store_true", help="overwrite FILE")


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Run the action through a client."""
    asyncio.run(_run_action(args, loaded))
    return 0


async def _run_action(args: Namespace, loaded: LoadedSettings) -> None:
    async with AsyncClient(settings=loaded.settings) as client:
        match args.action:
            case "list":
                await _list(client, args)
            case "search":
                await _search(client, args)
            case "show":
                await _show(client, args.id)
            case "export":
                await _export(client, args)
            case "rename" | "pin" | "unpin" | "archive" | "unarchive":
                await _change(client, args)
            case "tag" | "tags":
                await _tag(client, args)
            case "move":
                await _move(client, args)
            case "share" | "shares" | "unshare":
                await _share(client, args)
            case "fork":
                source = await resolve_thread(client, args.id)
                fork = await client.fork_thread(
                    source.id, message_id=args.message, title=args.title
                )
                print(fork.id)
            case _:
                await _delete(client, args)


async def _change(client: AsyncClient, args: Namespace) -> None:
    """Change the field of a thread that the action is about."""
    thread = await resolve_thread(client, args.id)
    match args.action:
        case "pin" | "unpin":
            await client.update_thread(thread.id, pinned=args.action == "pin")
            done = f"{args.action}ned"
        case "archive" | "unarchive":
            archived = args.action == "archive"
            await client.update_thread(thread.id, archived=archived)
            done = "in the archive" if archived else "listed again"
        case _:
            await client.update_thread(thread.id, title=args.title)
            done = "renamed"
    note(f"{thread.id} is {done}.")


async def resolve_thread(client: AsyncClient, reference: str) -> Thread:
    """Return the thread of `last`, an id, or the beginning of one, with or without its prefix.

    Raises `NotFound` for none, `InvalidRequest` for several.
    """
    if reference == LAST:
        if (newest := await find_newest_run(client)) is None:
            raise NotFound("nothing was answered here yet", hint="`antiphon ask` begins a thread.")
        return await client.get_thread(newest.thread_id)
    try:
        return await client.get_thread(reference)
    except NotFound:
        wanted = reference.removeprefix(PREFIX)
        match await find_threads_by_id(client, PREFIX + wanted) if wanted else ():
            case [thread]:
                return thread
            case []:
                raise
            case _:
                raise InvalidRequest(
                    f"more than one thread begins with {reference}",
                    expected="more letters of the id",
                ) from None


async def _move(client: AsyncClient, args: Namespace) -> None:
    """Move a thread with all its versions."""
    thread = await resolve_thread(client, args.id)
    folder = None if args.folder == NO_FOLDER else await find_folder(client, args.folder)
    folder_id = folder.id if folder else None
    moved = await client.change_threads((thread.id,), "move", family=True, folder_id=folder_id)
    if not moved.data[0].done:
        raise NotFound(moved.data[0].message or f"{thread.id} was not moved.")
    note(f"{thread.id} is in {f'the folder {folder.name!r}' if folder else 'no folder'}.")


async def _tag(client: AsyncClient, args: Namespace) -> None:
    if args.action == "tags":
        counts = [each async for each in client.paginate(ListTags())]
        print_list(
            counts,
            ("tag", "listed", "archived"),
            lambda each: (each.tag, str(each.threads), str(each.archived)),
            "No conversation has a tag.",
            as_json=args.json,
        )
        return
    thread = await resolve_thread(client, args.id)
    tags = change_tags(thread.tags, args.tags, remove=args.remove)
    thread = await client.update_thread(thread.id, tags=tags)
    note(f"{thread.id} has {', '.join(thread.tags) or 'no tags'}.")


async def _share(client: AsyncClient, args: Namespace) -> None:
    if args.action == "shares":
        shares = (await client.list_shares()).data
        head = ("id", "until", "messages", "title")
        print_list(
            shares,
            head,
            lambda each: (each.id, format_time(each.expires_at), str(each.messages), each.title),
            "You share nothing.",
            as_json=args.json,
        )
        return
    if args.action == "unshare":
        for share_id in args.id:
            await client.delete_share(share_id)
            note(f"{share_id} is revoked.")
        return
    thread = await resolve_thread(client, args.id)
    new = await client.create_share(
        thread.id,
        expires_in=args.days * DAY if args.days else None,
        include_tools=args.tools,
        include_reasoning=args.reasoning,
    )
    if args.json:
        print_json(new)
        return
    note(
        f"{new.share.id} shows {count_noun(new.share.messages, 'message')} until"
        f" {format_time(new.share.expires_at)}. Its link is the web chat's address and"
    )
    print(f"/shared/{new.token}")


async def _delete(client: AsyncClient, args: Namespace) -> None:
    """Delete threads with all their versions, or one version with --alone."""
    gone: set[str] = set()
    for thread_id in args.id:
        if thread_id in gone:
            continue
        if args.alone:
            await client.delete_thread(thread_id)
            versions = {thread_id}
        else:
            versions = await delete_family(client, await client.get_thread(thread_id))
        gone |= versions
        several = f", in all {len(versions)} versions" if len(versions) > 1 else ""
        note(f"{thread_id} is deleted{several}.")


async def _list(client: AsyncClient, args: Namespace) -> None:
    folder_id: str | None = args.folder
    if folder_id not in (None, NO_FOLDER):
        folder_id = (await find_folder(client, str(folder_id))).id
    listing = latest_threads(
        args.search or "",
        hidden=args.all,
        limit=min(args.limit, PAGE),
        archived=args.archived,
        tag=args.tag,
        folder_id=folder_id,
    )
    listing = replace(listing, pinned=True) if args.pinned else listing
    threads = await take(client.paginate(listing), args.limit)
    head = ("id", "changed", "messages", "pinned", "title")
    none = "There are no such conversations."
    print_list(threads, head, _row, none, as_json=args.json)


def _row(thread: Thread) -> tuple[str, ...]:
    pinned = "yes" if thread.pinned else ""
    changed = format_time(thread.updated_at)
    notes = [*(f"#{tag}" for tag in thread.tags), *(["(archived)"] if thread.archived else ())]
    title = "  ".join(filter(None, (thread.title, " ".join(notes))))
    return (thread.id, changed, str(thread.messages), pinned, title)


async def _search(client: AsyncClient, args: Namespace) -> None:
    hits: list[SearchHit] = []
    after = None
    while True:
        limit = min(args.limit - len(hits), PAGE)
        page = await client.search(" ".join(args.words), limit=limit, after=after)
        hits += page.data
        after = page.next
        if not page.has_more or len(hits) == args.limit:
            break
    if page.indexing is not None:
        note(format_indexing(page.indexing))
    if args.json:
        print_json(hits)
        return
    if not hits:
        note("No message and no title has these words.")
    for hit in hits:
        print("\n".join(_format_hit(hit, marked=is_styled_terminal())), end="\n\n")


def _format_hit(hit: SearchHit, *, marked: bool) -> Iterator[str]:
    """Yield the lines of a result; `marked` writes the words that were found in bold."""
    title = one_line(hit.title) or "(no title)"
    title += "  (archived)" if hit.archived else ""
    yield f"{hit.thread_id}  {format_time(hit.created_at)}  {title}"
    if hit.message_id is not None:
        pieces = split_highlights(hit.snippet, hit.highlights)
        found = "".join(
            f"{BOLD}{clean(text)}{NOT_BOLD}" if marked and highlighted else clean(text)
            for text, highlighted in pieces
        )
        yield f"  {hit.role}: {found}"


async def _show(client: AsyncClient, reference: str) -> None:
    thread = await resolve_thread(client, reference)
    names: dict[str, str] = {}
    runs: dict[str, RunSummary] = {}
    reader = ThreadReader(names, runs)
    async for message in load_messages(client, thread.id, names, runs):
        view = reader.read(message)
        if view is not None:
            print(clean("\n".join(format_message(view))), end="\n\n")
    run = await find_newest_run(client, thread.id)
    if run is not None and run.waiting_for is not None:
        note(
            f"Run {run.id} has not ended: it waits for {run.waiting_for}. It continues where a "
            f"program uses {run.model} there, with the settings with which the run was created."
        )


def format_message(view: MessageView) -> Iterator[str]:
    """Yield the lines of one message."""
    model = f" ({view.model})" if view.model else ""
    yield f"{view.speaker}{model}, {format_time(view.at)}"
    yield from map(_format_part, view.parts)


def _format_part(part: PartView) -> str:
    match part:
        case TextView() | RefusalView() | SourcesView():
            return part.text
        case ReasoningView(text, seconds):
            took = f" for {seconds} s" if seconds else ""
            return f"(thought{took}: {_short(text)})"
        case ToolCall(name=name, arguments=arguments) | ChangedCallView(name, arguments):
            return f"calls {name}({arguments})"
        case CallView():
            became = f"gave no result ({part.reason})" if part.is_error else "gave"
            return f"{part.call.name} {became}: {_short(part.text)}"
        case AttachmentsView(attachments):
            return f"(with {', '.join(each.name for each in attachments)})"
        case NoteView(text):
            return f"({text})"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= SHORT else f"{words[:SHORT]}…"


async def _export(client: AsyncClient, args: Namespace) -> None:
    thread = await resolve_thread(client, args.id)
    if args.output in (None, "-"):
        await _write_export(client, thread, args.format or "json", sys.stdout)
        return
    file = Path(args.output)
    form = args.format or guess_form(file.name) or "json"
    with create_private_file(
        file, over=args.force, hint="--force puts this in its place."
    ) as written:
        await _write_export(client, thread, form, written)
    count = count_noun(thread.messages, "message")
    note(f"{count} of {thread.id} written to {file}")


async def _write_export(client: AsyncClient, thread: Thread, form: Form, file: TextIO) -> None:
    render = _find_html_renderer() if form == "html" else None
    async for piece in export_thread(client, thread, form, render=render):
        file.write(piece)

"""List, show, export, rename, fork or delete conversations, here or on a server."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path

from antiphon.api.operations import ListMessages, ListRuns, ListThreads
from antiphon.cli.flags import CLIENT
from antiphon.cli.output import format_table, format_time, note, print_json
from antiphon.cli.resolve_thread import resolve_thread
from antiphon.client.export import FORMS, Form, exported, guess_form
from antiphon.client.formatting import count_noun
from antiphon.client.sync_client import Client
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.private_files import create_private_file
from antiphon.types.errors import NotFound
from antiphon.types.messages import Message, ToolCall
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import clean
from antiphon.types.thread_view import (
    AttachmentsPart,
    CallView,
    ChangedCallPart,
    MessageView,
    NotePart,
    Part,
    ReasoningPart,
    RefusalPart,
    RunSummary,
    TextPart,
    ThreadReader,
    file_ids,
    summarize_run,
)

# A thread read to be written down: its messages page by page, and what else is told of them.


PAGE = 100
SETS_MARKDOWN = "markdown_it"


class ThreadLoader:
    """Reads a thread page by page, with the names of its files and the data of its runs."""

    def __init__(self, client: Client, thread_id: str) -> None:
        self._client = client
        self._thread_id = thread_id
        self.names: dict[str, str] = {}
        self.runs: dict[str, RunSummary] = {}
        self.reader = ThreadReader(self.names, self.runs)

    def messages(self) -> Iterator[Message]:
        """Yield all messages in order; file names and runs of a message are read before it."""
        for run in self._client.paginate(ListRuns(self._thread_id, limit=PAGE)):
            self.runs[run.id] = summarize_run(run)
        for message in self._client.paginate(ListMessages(self._thread_id, limit=PAGE)):
            for file_id in file_ids(message):
                self._note_name(file_id)
            yield message

    def _note_name(self, file_id: str) -> None:
        if file_id in self.names:
            return
        try:
            self.names[file_id] = self._client.get_file(file_id).name
        except NotFound:  # it was deleted since
            self.names[file_id] = file_id


def export_thread(client: Client, thread: Thread, form: Form) -> Iterator[str]:
    """Yield the thread in this form, in pieces."""
    if form == "json":  # as the messages are: there is nothing to be known beside
        return exported(thread, client.paginate(ListMessages(thread.id, limit=PAGE)), form)
    noted = ThreadLoader(client, thread.id)
    render = _find_html_renderer() if form == "html" else None
    return exported(
        thread, noted.messages(), form, names=noted.names, runs=noted.runs, render=render
    )


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
MEANT = "the id, its beginning, or `last`"


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="list|show|export|rename|fork|delete"
    )
    listing = actions.add_parser(
        "list", parents=[flags], help="list conversations, the last changed first"
    )
    listing.add_argument("--search", metavar="WORDS", help="only those with these words")
    listing.add_argument(
        "--limit", type=_limit, default=20, metavar="N", help="the maximum number, 20 by default"
    )
    listing.add_argument("--all", action="store_true", help="also empty ones, and earlier versions")
    listing.add_argument("--json", action="store_true", help="as one JSON list")
    show = actions.add_parser("show", parents=[flags], help="show a conversation")
    show.add_argument("id", help=MEANT)
    _export_arguments(actions.add_parser("export", parents=[flags], help="export a conversation"))
    rename = actions.add_parser("rename", parents=[flags], help="rename a conversation")
    rename.add_argument("id", help=MEANT)
    rename.add_argument("title")
    fork = actions.add_parser("fork", parents=[flags], help="copy a conversation, or its beginning")
    fork.add_argument("id", help=MEANT)
    fork.add_argument("--message", metavar="ID", help="the last message to copy; by default all")
    fork.add_argument("--title", help="the new title; by default the same")
    delete = actions.add_parser(
        "delete", parents=[flags], help="delete conversations with all their versions, for good"
    )
    delete.add_argument("id", nargs="+", help="whole ids")
    delete.add_argument("--alone", action="store_true", help="only this version")


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


def run(asked: Namespace, loaded: LoadedSettings) -> int:
    """Run the action through a client."""
    with Client(settings=loaded.settings) as client:
        match asked.action:
            case "list":
                _list(client, asked)
            case "show":
                _show(client, asked.id)
            case "export":
                _export(client, asked)
            case "rename":
                thread = resolve_thread(client, asked.id)
                client.update_thread(thread.id, title=asked.title)
                note(f"{thread.id} is renamed.")
            case "fork":
                source = resolve_thread(client, asked.id)
                print(client.fork_thread(source.id, message_id=asked.message, title=asked.title).id)
            case _:
                _delete(client, asked)
    return 0


def _delete(client: Client, asked: Namespace) -> None:
    """Delete threads with all their versions, or one version with --alone."""
    gone: set[str] = set()
    for thread_id in asked.id:
        if thread_id in gone:
            continue
        versions = {thread_id}
        if not asked.alone:
            family = client.paginate(ListThreads(limit=PAGE, family=thread_id))
            versions |= {thread.id for thread in family}
        for each in versions:
            client.delete_thread(each)
        gone |= versions
        several = f", in all {len(versions)} versions" if len(versions) > 1 else ""
        note(f"{thread_id} is deleted{several}.")


def _list(client: Client, asked: Namespace) -> None:
    listing = ListThreads(
        limit=min(asked.limit, PAGE),
        q=asked.search,
        order="activity",
        branches="all" if asked.all else "latest",
    )
    threads = list(islice(client.paginate(listing), asked.limit))
    if asked.json:
        print_json(threads)
        return
    if not threads:
        note("There are no such conversations.")
        return
    rows = [
        (thread.id, format_time(thread.updated_at), str(thread.messages), thread.title)
        for thread in threads
    ]
    print(format_table(("id", "changed", "messages", "title"), rows))


def _show(client: Client, said: str) -> None:
    thread = resolve_thread(client, said)
    noted = ThreadLoader(client, thread.id)
    for message in noted.messages():
        view = noted.reader.read(message)
        if view is not None:
            print(clean("\n".join(format_message(view))), end="\n\n")
    _show_waiting(client, thread.id)


def _show_waiting(client: Client, thread_id: str) -> None:
    """Note what the thread's newest run waits for, if anything."""
    for run in client.list_runs(thread_id=thread_id, limit=1).data:
        if run.waiting_for is not None:
            note(
                f"Run {run.id} is not over: it waits for {run.waiting_for}. It goes on where a "
                f"program asks {run.model} there with the settings that it was begun with."
            )


def format_message(view: MessageView) -> Iterator[str]:
    """Yield the lines of one message."""
    model = f" ({view.model})" if view.model else ""
    yield f"{view.speaker}{model}, {format_time(view.at)}"
    yield from map(_format_part, view.parts)


def _format_part(part: Part) -> str:
    match part:
        case TextPart(text) | RefusalPart(text):
            return text
        case ReasoningPart(text):
            return f"(thought: {_short(text)})"
        case ToolCall(name=name, arguments=arguments) | ChangedCallPart(name, arguments):
            return f"calls {name}({arguments})"
        case CallView():
            became = f"gave no result ({part.reason})" if part.is_error else "gave"
            return f"{part.call.name} {became}: {_short(part.text)}"
        case AttachmentsPart(attachments):
            return f"(with {', '.join(each.name for each in attachments)})"
        case NotePart(text):
            return f"({text})"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= SHORT else f"{words[:SHORT]}…"


def _export(client: Client, asked: Namespace) -> None:
    thread = resolve_thread(client, asked.id)
    if asked.output in (None, "-"):
        sys.stdout.writelines(export_thread(client, thread, asked.format or "json"))
        return
    file = Path(asked.output)
    form = asked.format or guess_form(file.name) or "json"
    with create_private_file(
        file, over=asked.force, hint="--force puts this in its place."
    ) as written:
        written.writelines(export_thread(client, thread, form))
    count = count_noun(thread.messages, "message")
    note(f"{count} of {thread.id} written to {file}")


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise ArgumentTypeError(f"wanted a whole number from 1 to {MOST}, got {text!r}")
    return int(text)

"""Threads as the page shows them: list, read, rename, delete, branch, export."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence, Set
from contextlib import suppress
from functools import partial
from typing import Annotated

import msgspec
from flask import Blueprint, Response
from msgspec import Meta

from antiphon.api import operations
from antiphon.api.operations import ListActions, ListMessages, ListRuns, ListTags, ListThreads
from antiphon.client import export, thread_families
from antiphon.client.async_client import AsyncClient
from antiphon.client.export import Form, file_name
from antiphon.client.formatting import split_highlights
from antiphon.client.thread_families import Fork, latest_threads, predecessor_id
from antiphon.limits.unsent_bytes import PIECE
from antiphon.types.errors import NotFound
from antiphon.types.messages import IndexProgress, Message, Upload
from antiphon.types.runs import Action, Run, Thread, ThreadOptions
from antiphon.types.terminal_safe import clean, one_line
from antiphon.types.thread_view import Entry, file_ids, group_entries
from antiphon.web.http import json_response, read_json, read_query
from antiphon.web.session import current_client, current_site, respond_with
from antiphon.web.site import VIA, Relays
from antiphon.web.streamed_responses import respond_in_turn, send_file
from antiphon.wires.ai_sdk.history import UIMessage, as_ui_message

routes = Blueprint("threads", __name__)

TYPES: dict[Form, str] = {
    "md": "text/markdown; charset=utf-8",
    "json": "application/json",
    "html": "text/html; charset=utf-8",
}
PAGE = 100
MAX_OPEN_FAMILIES = 20
"""Most threads with an open run, not on the page, whose families are read."""
MAX_RUNS_SEARCHED = 100
"""Number of the user's newest runs that are searched for open ones."""


class ThreadQuery(msgspec.Struct, frozen=True):
    """Page of threads to list, and words to search for; only the archive, one tag or one folder.

    `folder_id` of `none` lists only the threads in no folder.
    """

    q: operations.Name = ""
    after: Annotated[str, Meta(max_length=200)] | None = None
    limit: operations.Limit = 30
    archived: bool = False
    tag: operations.Tag | None = None
    folder_id: operations.Id | None = None


class SearchQuery(msgspec.Struct, frozen=True):
    """Words to find in messages."""

    q: operations.Name = ""
    limit: operations.Limit = 100


class MessageQuery(msgspec.Struct, frozen=True):
    """Messages to read: the last of those before a number."""

    before: Annotated[int, Meta(ge=1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class ThreadChange(msgspec.Struct, frozen=True):
    """New title of a thread, its tags and folder, and whether it is pinned, archived or temporary.

    A thread is put into its folder, or taken out of it by null, with all its versions.
    """

    title: operations.Title | msgspec.UnsetType = msgspec.UNSET
    pinned: bool | msgspec.UnsetType = msgspec.UNSET
    archived: bool | msgspec.UnsetType = msgspec.UNSET
    tags: operations.Tags | msgspec.UnsetType = msgspec.UNSET
    temporary: bool | msgspec.UnsetType = msgspec.UNSET
    options: ThreadOptions | msgspec.UnsetType = msgspec.UNSET
    folder_id: operations.Id | msgspec.UnsetType | None = msgspec.UNSET


class ThreadBatch(msgspec.Struct, frozen=True):
    """Threads to change, each with all its versions: their ids, and what is done with them."""

    thread_ids: operations.ThreadIds
    action: operations.ThreadAction
    tags: operations.Tags = ()
    folder_id: operations.Id | None = None


class NewBranch(msgspec.Struct, frozen=True):
    """First message that the branch leaves out, and whether it will be sent again as it is.

    With `beside` it will be sent to another model, whose answers stand beside those of the thread.
    The same request again with the same `key` returns the branch that it has created.
    """

    message_id: operations.Id
    repeat: bool = False
    beside: bool = False
    key: operations.Id | None = None


class ExportQuery(msgspec.Struct, frozen=True):
    """Format of an export."""

    form: Form = msgspec.field(default="md", name="as")


@routes.get("/api/threads")
def list_threads() -> Response:
    """List the user's threads, last changed first."""
    query = read_query(ThreadQuery)
    site = current_site()
    listing = latest_threads(
        query.q,
        limit=query.limit,
        after=query.after,
        archived=query.archived,
        tag=query.tag,
        folder_id=query.folder_id,
    )
    return json_response(site.run(list_thread_rows(current_client(), site.relays, listing)))


@routes.get("/api/tags")
def list_tags() -> Response:
    """Return all tags of the user's threads, with counts."""

    async def collect(client: AsyncClient) -> TagCounts:
        return TagCounts([each async for each in client.paginate(ListTags())])

    return respond_with(collect(current_client()))


@routes.get("/api/search")
def search_messages() -> Response:
    """Return the messages with these words, the best first."""
    query = read_query(SearchQuery)
    return respond_with(_find_messages(current_client(), query.q, query.limit))


@routes.get("/api/threads/<thread_id>")
def get_thread(thread_id: str) -> Response:
    """Return a thread as in the list."""
    return respond_with(_read_thread_row(current_client(), thread_id))


@routes.patch("/api/threads/<thread_id>")
def update_thread(thread_id: str) -> Response:
    """Rename, pin, archive, tag or move the thread, or undo that; keep a temporary one."""
    body = read_json(ThreadChange)

    async def update(client: AsyncClient) -> ThreadRow:
        if body.temporary is False:
            await thread_families.keep_family(client, await client.get_thread(thread_id))
        await client.update_thread(thread_id, **msgspec.structs.asdict(body))
        if body.folder_id is not msgspec.UNSET:  # after its own, of which the errors are told
            kin = (thread_id,)
            await client.change_threads(kin, "move", family=True, folder_id=body.folder_id)
        return await _read_thread_row(client, thread_id)

    return respond_with(update(current_client()))


@routes.post("/api/threads/batch")
def change_threads() -> Response:
    """Archive, tag, move or delete several threads; returns a result for each."""
    body = read_json(ThreadBatch)
    change = operations.ChangeThreads(**msgspec.structs.asdict(body), family=True)
    return respond_with(current_client().transport.send(change))


@routes.delete("/api/threads/<thread_id>")
def delete_thread(thread_id: str) -> Response:
    """Delete the thread and all threads that it replaces, so that none reappears."""

    async def delete(client: AsyncClient) -> None:
        await thread_families.delete_family(client, await client.get_thread(thread_id))

    current_site().run(delete(current_client()))
    return json_response(operations.Deleted(thread_id))


@routes.get("/api/threads/<thread_id>/messages")
def list_messages(thread_id: str) -> Response:
    """Return the thread as the page shows it, from its end."""
    query, by = read_query(MessageQuery), current_client()

    async def make() -> bytes:
        opened = await read_thread(by, thread_id, query.before, query.limit)
        return msgspec.json.encode(opened)

    return respond_in_turn(make)


@routes.post("/api/threads/<thread_id>/branch")
def create_branch(thread_id: str) -> Response:
    """Create a branch that ends before a message, to edit or repeat it."""
    body = read_json(NewBranch)

    async def branch(client: AsyncClient) -> ThreadRow:
        message = await client.get_message(body.message_id)
        if message.thread_id != thread_id:
            raise NotFound("There is no such message in this thread.")
        branch = await thread_families.branch_before(
            client, message, repeat=body.repeat, beside=body.beside, key=body.key
        )
        return thread_row(branch, running=False)

    return respond_with(branch(current_client()), 201)


@routes.get("/api/threads/<thread_id>/export")
def export_thread(thread_id: str) -> Response:
    """Send the thread as a file, made while it is sent."""
    form, by = read_query(ExportQuery).form, current_client()
    thread = current_site().run(by.get_thread(thread_id))
    return send_file(
        file_name(thread, form), partial(_export_pieces, by, thread, form), TYPES[form]
    )


async def _export_pieces(
    client: AsyncClient, thread: Thread, form: Form
) -> AsyncGenerator[bytes, None]:
    """Yield the file in pieces large enough to send."""
    gathered = bytearray()
    async for piece in export.export_thread(client, thread, form):
        gathered += piece.encode("utf-8", "replace")
        if len(gathered) >= PIECE:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


async def _read_thread_row(client: AsyncClient, thread_id: str) -> ThreadRow:
    thread = await client.get_thread(thread_id)
    newest = await thread_families.find_newest_run(client, thread_id)
    return thread_row(thread, running=newest is not None and not newest.status.ended)


# Rows of the list.


class ThreadRow(msgspec.Struct, frozen=True, kw_only=True):
    """Thread in the list; `running` is true if it, or a thread it stands for, has an open run.

    `waiting` is true if that run waits for an answer of the user. A branch `replaces` another
    thread, from its message number `branch_begins` on.
    """

    id: str
    title: str
    messages: int
    created_at: int
    updated_at: int
    running: bool
    waiting: bool = False
    pinned: bool = False
    archived: bool = False
    tags: Sequence[str] = ()
    folder_id: str | None = None
    temporary: bool = False
    title_from: str | None = None
    options: ThreadOptions = ThreadOptions()
    replaces: str | None
    branch_begins: int | None


class TagCounts(msgspec.Struct, frozen=True):
    """All tags, in the order of their characters."""

    data: Sequence[operations.TagCount]


class ThreadRowPage(msgspec.Struct, frozen=True):
    """Page of rows; `next` is the cursor of the page after it. The first one begins with pins."""

    data: Sequence[ThreadRow]
    has_more: bool
    next: str | None


def thread_row(thread: Thread, *, running: bool, waiting: bool = False) -> ThreadRow:
    """Return the thread as a row."""
    return ThreadRow(
        id=thread.id,
        title=one_line(thread.title),
        messages=thread.messages,
        created_at=thread.created_at,
        updated_at=thread.updated_at,
        running=running,
        waiting=waiting,
        pinned=thread.pinned,
        archived=thread.archived,
        tags=tuple(map(one_line, thread.tags)),
        folder_id=thread.folder_id,
        temporary=thread.temporary,
        title_from=thread.title_from,
        options=thread.options,
        replaces=predecessor_id(thread),
        branch_begins=thread_families.first_own_message(thread) or None,
    )


async def list_thread_rows(
    client: AsyncClient, relays: Relays, listing: ListThreads
) -> ThreadRowPage:
    """Return a page of threads as rows, the pinned ones first. Raises `NotFound`."""
    page = await thread_families.list_page(client, listing)
    waits = await _waits_by_thread(client, relays, {thread.id for thread in page.data})
    shown = [
        thread_row(thread, running=thread.id in waits, waiting=waits.get(thread.id, False))
        for thread in page.data
    ]
    return ThreadRowPage(shown, page.has_more, page.next)


async def _waits_by_thread(
    client: AsyncClient, relays: Relays, listed: Set[str]
) -> dict[str, bool]:
    """Return the threads that have an open run, and their families; true if it waits for the user.

    A listed thread is the only listed one of its family, so its family is not read.
    """
    newest = (await client.list_runs(limit=MAX_RUNS_SEARCHED)).data
    waits: dict[str, bool] = {}
    for run in newest:
        if not run.status.ended:
            relay = relays.find(run.id)
            waits[run.thread_id] = relay is not None and relay.is_waiting_for_user
    elsewhere = sorted(each for each in waits.items() if each[0] not in listed)
    for thread_id, is_waiting in elsewhere[:MAX_OPEN_FAMILIES]:
        kin = await client.list_threads(family=thread_id, limit=PAGE)
        for thread in kin.data:
            waits[thread.id] = waits.get(thread.id, False) or is_waiting
    return waits


# Messages that a search has found.


class FoundMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Message with the words of a search.

    `number` is its place in the thread. `snippet` is in pieces, of which the true ones are
    highlighted.
    """

    id: str
    thread_id: str
    title: str
    number: int
    snippet: Sequence[tuple[str, bool]]


class FoundMessages(msgspec.Struct, frozen=True):
    """Result of a search; `indexing` while older messages cannot be found yet."""

    data: Sequence[FoundMessage]
    indexing: IndexProgress | None


async def _find_messages(client: AsyncClient, words: str, limit: int) -> FoundMessages:
    page = await client.search(words, limit=limit)
    found = [
        FoundMessage(
            id=hit.message_id,
            thread_id=hit.thread_id,
            title=one_line(hit.title),
            number=hit.number,
            snippet=[
                (clean(text), highlighted)
                for text, highlighted in split_highlights(hit.snippet, hit.highlights)
            ],
        )
        for hit in page.data
        if hit.message_id is not None and hit.number is not None
    ]
    return FoundMessages(found, page.indexing)


# A thread as a page opens it: its last messages, and what belongs to them.


TRIES = 3


class ActiveRun(msgspec.Struct, frozen=True):
    """Run that has not ended; `via` names the face that carries it on."""

    id: str
    status: str
    via: str


class OpenedThread(msgspec.Struct, frozen=True, kw_only=True):
    """Part of a thread as a page shows it, without the reply of the active run.

    `system`, `model` and `assistant_id` are those of the last run. `lineage` has the thread and
    those that it branches from, each with the number of its first own message.
    """

    thread: ThreadRow
    messages: Sequence[UIMessage]
    has_earlier: bool
    active_run: ActiveRun | None
    branches: Sequence[Fork]
    lineage: Sequence[tuple[str, int]]
    system: str | None
    model: str | None
    assistant_id: str | None


async def read_thread(
    client: AsyncClient, thread_id: str, before: int | None, limit: int
) -> OpenedThread:
    """Return the last messages of the thread, or the last before that number.

    Returns at least `limit` stored messages if there are so many: a page begins with a user's
    message. Raises `NotFound`.
    """
    thread = await client.get_thread(thread_id)
    snapshot = await _read_snapshot(client, thread_id, before, limit)
    relatives = await thread_families.list_family(client, thread)
    entries = group_entries(snapshot.messages, snapshot.runs)
    last = snapshot.runs[0] if snapshot.runs else None
    active = None if last is None or last.status.ended else last
    return OpenedThread(
        thread=thread_row(thread, running=active is not None),
        messages=await _ui_messages(
            client,
            [each for each in entries if each.number in snapshot.piece and not each.is_active],
        ),
        has_earlier=snapshot.piece.start > 1,
        active_run=(
            ActiveRun(active.id, active.status.value, active.metadata.get(VIA, "other"))
            if active
            else None
        ),
        branches=thread_families.find_forks(thread, relatives),
        lineage=thread_families.find_lineage(thread, relatives),
        system=last.instructions if last and last.assistant_id is None else None,
        model=last.model if last else None,
        assistant_id=last.assistant_id if last else None,
    )


class _ThreadSnapshot(msgspec.Struct, frozen=True):
    """Messages of a thread, its runs (newest first), and the message numbers to show."""

    messages: Sequence[Message]
    runs: Sequence[Run]
    piece: range


async def _read_snapshot(
    client: AsyncClient, thread_id: str, before: int | None, limit: int
) -> _ThreadSnapshot:
    """Read messages and runs as they were at one moment.

    If a run starts or ends during the read, its reply would be there twice or in part, so it is
    read again.
    """
    tries = TRIES
    while True:
        newest = (await client.list_runs(thread_id, limit=1)).data
        messages, piece = await _read_messages(client, thread_id, before, limit)
        runs = await _runs(client, thread_id, piece.start)
        tries -= 1
        if _newest_run_state(newest) == _newest_run_state(runs) or not tries:
            return _ThreadSnapshot(messages, runs, piece)


def _newest_run_state(runs: Sequence[Run]) -> list[tuple[str, bool]]:
    """Return the newest run's id, and true if it has ended."""
    return [(run.id, run.status.ended) for run in runs[:1]]


async def _read_messages(
    client: AsyncClient, thread_id: str, before: int | None, limit: int
) -> tuple[Sequence[Message], range]:
    """Return the messages to show, and all after them, with the numbers to show.

    The first page starts at 0, before any message. What comes before the page is not read, so that
    a thread opens at its end as fast as a short one.
    """
    messages: list[Message] = []
    start, end = 0, 1
    async for message in client.paginate(ListMessages(thread_id, order="newest", limit=PAGE)):
        if not messages:
            end = min(before or message.number + 1, message.number + 1)
        messages.append(message)
        if message.role == "user" and 1 < message.number <= end - limit:
            start = message.number
            break
    return messages[::-1], range(start, end)


async def _runs(client: AsyncClient, thread_id: str, begin: int) -> list[Run]:
    """Return the runs that may belong to messages from `begin` on, newest first."""
    runs: list[Run] = []
    async for run in client.paginate(ListRuns(thread_id, limit=PAGE)):
        runs.append(run)
        if run.messages_before + 1 < begin:
            break
    return runs


async def _ui_messages(client: AsyncClient, entries: Sequence[Entry]) -> list[UIMessage]:
    messages = [message for entry in entries for message in entry.messages]

    async def get_files() -> dict[str, Upload]:
        files: dict[str, Upload] = {}
        for file_id in {file_id for message in messages for file_id in file_ids(message)}:
            with suppress(NotFound):  # deleted since
                files[file_id] = await client.get_file(file_id)
        return files

    async def list_actions(entry: Entry) -> list[Action]:
        return [
            action
            for run in entry.runs
            if run.mcp_servers  # else no tools of MCP servers in the backend
            async for action in client.paginate(ListActions(run.id))
        ]

    files, actions = await asyncio.gather(get_files(), asyncio.gather(*map(list_actions, entries)))
    return [
        as_ui_message(entry, actions=done, files=files)
        for entry, done in zip(entries, actions, strict=True)
    ]

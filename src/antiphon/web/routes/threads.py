"""Threads: list, read, rename, delete, branch, export."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated

import msgspec
from flask import Blueprint, Response
from msgspec import Meta

from antiphon.api import operations
from antiphon.client import export, thread_families
from antiphon.client.async_client import AsyncClient
from antiphon.client.export import Form, file_name
from antiphon.limits import PIECE
from antiphon.types.errors import NotFound
from antiphon.types.runs import Thread
from antiphon.web import thread_views
from antiphon.web.http import json_response, read_json, read_query
from antiphon.web.session import current_client, current_site, respond_with
from antiphon.web.streamed_responses import respond_in_turn, send_file
from antiphon.web.thread_views import ThreadRow, thread_row

routes = Blueprint("threads", __name__)

TYPES: dict[Form, str] = {
    "md": "text/markdown; charset=utf-8",
    "json": "application/json",
    "html": "text/html; charset=utf-8",
}


class ThreadQuery(msgspec.Struct, frozen=True):
    """Page of threads to list, and words to search for."""

    q: operations.Name = ""
    after: Annotated[str, Meta(max_length=200)] | None = None
    limit: operations.Limit = 30


class MessageQuery(msgspec.Struct, frozen=True):
    """Messages to read: the last of those before a number."""

    before: Annotated[int, Meta(ge=1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class NewTitle(msgspec.Struct, frozen=True):
    """New title of a thread."""

    title: operations.Title


class NewBranch(msgspec.Struct, frozen=True):
    """First message that the branch leaves out."""

    message_id: operations.Id


class ExportQuery(msgspec.Struct, frozen=True):
    """Format of an export."""

    form: Form = msgspec.field(default="md", name="as")


@routes.get("/api/threads")
def list_threads() -> Response:
    """List the user's threads, last changed first."""
    query = read_query(ThreadQuery)
    site = current_site()
    rows = thread_views.list_thread_rows(
        current_client(), site.relays, query.q, query.after, query.limit
    )
    return json_response(site.run(rows))


@routes.get("/api/threads/<thread_id>")
def get_thread(thread_id: str) -> Response:
    """Return a thread as in the list."""
    return respond_with(_read_thread_row(current_client(), thread_id))


@routes.patch("/api/threads/<thread_id>")
def rename_thread(thread_id: str) -> Response:
    """Set the thread's title."""
    body = read_json(NewTitle)

    async def rename(client: AsyncClient) -> ThreadRow:
        await client.update_thread(thread_id, title=body.title)
        return await _read_thread_row(client, thread_id)

    return respond_with(rename(current_client()))


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
        opened = await thread_views.read_thread(by, thread_id, query.before, query.limit)
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
        return thread_row(await thread_families.branch_before(client, message), running=False)

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

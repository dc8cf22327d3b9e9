"""Artifacts of answers: signed addresses for the page, and previews of the second origin."""

from __future__ import annotations

import gzip
import secrets
import time
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from flask import Blueprint, Response, request
from msgspec import Meta

from antiphon.api.operations import ListMessages
from antiphon.client.async_client import AsyncClient
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Message
from antiphon.types.thread_view import join_replies
from antiphon.web import session
from antiphon.web.artifacts import (
    DIAGRAM_SCRIPT,
    LIFETIME,
    Block,
    Ticket,
    digest,
    document_policy,
    find_block,
    read_lines,
    read_ticket,
    render_document,
    sign,
)
from antiphon.web.http import read_json
from antiphon.web.session import current_client, current_site, current_user, respond_with
from antiphon.web.streamed_responses import respond_when_made

routes = Blueprint("artifacts", __name__)

PAGE = 100
LONGEST = 1_000_000
"""Most characters of an artifact that is shown."""


class WantedPreview(msgspec.Struct, frozen=True):
    """Code of the block to show, and true if its scripts are to run."""

    code: Annotated[str, Meta(min_length=1, max_length=LONGEST)]
    scripts: bool = False


class Preview(msgspec.Struct, frozen=True):
    """Address of a preview at the second origin, for a frame; it expires after `seconds`."""

    address: str
    seconds: int


@routes.post("/api/threads/<thread_id>/previews/<shown_id>")
def create_preview(thread_id: str, shown_id: str) -> Response:
    """Return an address at which the second origin shows a code block of a shown answer.

    An answer is shown with the id of its run, a copied one with that of its first message.
    """
    wanted, client, owner = read_json(WantedPreview), current_client(), current_user().owner
    origin, site = session.artifact_origin(), current_site()
    page = session.base_url(request, site.policy)
    if origin is None:
        raise InvalidRequest(
            "This web chat has no second origin, which shows artifacts.",
            expected="the setting `artifact_origin`",
        )

    async def create() -> Preview:
        message, block = await _find_message(client, thread_id, shown_id, wanted.code)
        ticket = Ticket(
            owner=owner,
            thread_id=message.thread_id,
            message_id=message.id,
            start=block.start,
            end=block.end,
            digest=digest(block.text),
            kind=block.kind,
            scripts=wanted.scripts and block.kind == "html",
            page=page,
            expires_at=int(time.time()) + LIFETIME,
        )
        return Preview(f"{origin}/artifact/{sign(ticket, site.secret)}", LIFETIME)

    return respond_with(create())


@routes.get("/artifact/<signed>")
def get_preview(signed: str) -> Response:
    """Return the document of a signed address, at the second origin only."""
    site = current_site()
    ticket = read_ticket(signed, site.secret, time.time())
    nonce = secrets.token_urlsafe(16)
    client = site.client_for_owner(ticket.owner)

    async def make() -> bytes:
        message = await client.get_message(ticket.message_id)
        if message.role == "assistant" and message.status != "completed":  # its rest is elsewhere
            adjacent = await _list_adjacent_replies(client, message)
            message = next(join_replies([message, *adjacent]))
        text = read_lines(message.text, ticket.start, ticket.end)
        if message.thread_id != ticket.thread_id or digest(text) != ticket.digest:
            raise NotFound("The message no longer has this artifact.")
        return render_document(ticket, text, nonce)

    response = respond_when_made(make, "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = document_policy(ticket, nonce)
    if ticket.kind == "mermaid":
        response.headers["Connection-Allowlist"] = "(response-origin)"
    return response


@routes.get(DIAGRAM_SCRIPT)
def get_diagram_script() -> Response:
    """Return the library that draws diagrams, at the second origin only."""
    headers = {"cross-origin-resource-policy": "cross-origin"}  # the frame's origin is none
    response = Response(headers=headers, content_type="text/javascript; charset=utf-8")
    if request.accept_encodings.quality("gzip"):
        response.data, response.content_encoding = _diagram_script(), "gzip"
    else:
        response.data = gzip.decompress(_diagram_script())
    return response


@cache
def _diagram_script() -> bytes:
    library = files("antiphon.web") / "static" / "chat" / "vendor" / "mermaid.js"
    return gzip.compress(library.read_bytes(), mtime=0)


async def _find_message(
    client: AsyncClient, thread_id: str, shown_id: str, code: str
) -> tuple[Message, Block]:
    """Return the message of a shown answer that has this code in a block. Raises `NotFound`."""
    for message in join_replies(await _list_replies(client, thread_id, shown_id)):
        if block := find_block(message.text, code):
            return message, block
    raise NotFound(
        "This answer has no such artifact.",
        expected="a code block of HTML, SVG or Mermaid of a stored answer",
        hint="While an answer is being written, its artifacts cannot be shown yet.",
    )


async def _list_replies(client: AsyncClient, thread_id: str, shown_id: str) -> Sequence[Message]:
    """Return the model's messages of a shown answer, in order; those of earlier runs too.

    An answer that was cut and went on is shown with the id of the run that wrote its rest.
    """
    if not shown_id.startswith("run_"):
        first = await client.get_message(shown_id)
        if first.thread_id != thread_id:
            return ()
        return [first, *await _list_adjacent_replies(client, first)]
    listing = ListMessages(thread_id, run_id=shown_id, role="assistant", limit=PAGE)
    replies = [message async for message in client.paginate(listing)]
    if not replies or replies[0].continues is not True:
        return replies
    return [*reversed(await _list_adjacent_replies(client, replies[0], "newest")), *replies]


async def _list_adjacent_replies(
    client: AsyncClient, message: Message, order: Literal["oldest", "newest"] = "oldest"
) -> Sequence[Message]:
    """Return the replies after a reply, or before it, newest first, up to the next question."""
    replies: list[Message] = []
    listing = ListMessages(message.thread_id, after=message.id, order=order, limit=PAGE)
    async for each in client.paginate(listing):
        if each.role not in ("assistant", "tool"):
            break
        if each.role == "assistant":
            replies.append(each)
    return replies

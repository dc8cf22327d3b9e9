"""Imports of the user's chats elsewhere: an upload in pieces, and the job that reads it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from flask import Blueprint, Response

from antiphon.api.chat_imports import Base64, FileName, FileSize, Offset
from antiphon.client.chat_files import PIECE
from antiphon.types.chat_imports import ChatImport, ChatSource
from antiphon.types.errors import NotFound
from antiphon.web.http import read_json
from antiphon.web.session import current_client, current_site, respond_with

routes = Blueprint("chat_imports", __name__)


class ChatFile(msgspec.Struct, frozen=True):
    """An export that the browser is about to send."""

    name: FileName
    size: FileSize
    source: ChatSource | None = None


class FilePiece(msgspec.Struct, frozen=True):
    """The next bytes of the file as base64."""

    offset: Offset
    content: Base64


class ChatImportList(msgspec.Struct, frozen=True):
    """The user's imports, newest first; the largest file, and the bytes of a piece.

    `max_bytes` is 0 where the servers import no chats.
    """

    data: Sequence[ChatImport]
    max_bytes: int
    piece_bytes: int


@routes.get("/api/chat_imports")
def list_chat_imports() -> Response:
    """List the user's imports of chats."""
    client, most = current_client(), current_site().settings.max_chat_import

    async def read() -> ChatImportList:
        try:
            return ChatImportList((await client.list_chat_imports()).data, most, PIECE)
        except NotFound:  # of servers of an earlier version
            return ChatImportList((), 0, PIECE)

    return respond_with(read())


@routes.post("/api/chat_imports")
def create_chat_import() -> Response:
    """Begin an import; its file follows in pieces."""
    body = read_json(ChatFile)
    return respond_with(
        current_client().create_chat_import(body.size, name=body.name, source=body.source), 201
    )


@routes.post("/api/chat_imports/<import_id>/pieces")
def add_import_piece(import_id: str) -> Response:
    """Add the next bytes of the file."""
    body = read_json(FilePiece)
    return respond_with(current_client().add_import_piece(import_id, body.offset, body.content))


@routes.get("/api/chat_imports/<import_id>")
def get_chat_import(import_id: str) -> Response:
    """Return the import with its progress."""
    return respond_with(current_client().get_chat_import(import_id))


@routes.post("/api/chat_imports/<import_id>/start")
def start_chat_import(import_id: str) -> Response:
    """Write the conversations of an import that was checked."""
    return respond_with(current_client().start_chat_import(import_id))


@routes.post("/api/chat_imports/<import_id>/cancel")
def cancel_chat_import(import_id: str) -> Response:
    """Cancel the import, and delete its file."""
    return respond_with(current_client().cancel_chat_import(import_id))


@routes.delete("/api/chat_imports/<import_id>")
def delete_chat_import(import_id: str) -> Response:
    """Delete an import that has ended from the list."""
    return respond_with(current_client().delete_chat_import(import_id))

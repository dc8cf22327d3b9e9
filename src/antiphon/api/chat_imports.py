"""Operations on imports of other chats' exports."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from antiphon.api.operation import Deleted, Id, Listed, Operation
from antiphon.types.chat_imports import MAX_PIECE, ChatImport, ChatSource

FileSize = Annotated[int, Meta(ge=1)]
FileName = Annotated[str, Meta(max_length=200)]
Offset = Annotated[int, Meta(ge=0)]
Base64 = Annotated[str, Meta(min_length=1, max_length=4 * -(-MAX_PIECE // 3))]


class CreateChatImport(Operation[ChatImport], frozen=True):
    """Create an import of an export of ChatGPT, Claude or Open WebUI: a zip or JSON file.

    `size` is the number of its bytes, at most the setting `max_chat_import`; `add_import_piece`
    uploads them. After the last one, a server checks the file and counts its conversations. Then
    the import is `ready`, or with `start` continues by itself. Without `source`, the server
    recognizes the chat that wrote the file. An owner has one import at a time (409).
    """

    route: ClassVar[str] = "POST /v1/chat_imports"
    answer: ClassVar[Any] = ChatImport
    http_status: ClassVar[int] = 201

    size: FileSize
    name: FileName = ""
    source: ChatSource | None = None
    start: bool = False


class AddImportPiece(Operation[ChatImport], frozen=True):
    """Upload the next bytes of the file, at most 4 MiB, as base64.

    `offset` is the number of bytes before them and must equal the import's `received` (409).
    """

    route: ClassVar[str] = "POST /v1/chat_imports/{import_id}/pieces"
    answer: ClassVar[Any] = ChatImport

    import_id: Id
    offset: Offset
    content: Base64


class ListChatImports(Operation[Listed[ChatImport]], frozen=True):
    """List the caller's imports of chats, newest first: the active one and the last ended ones."""

    route: ClassVar[str] = "GET /v1/chat_imports"
    answer: ClassVar[Any] = Listed[ChatImport]


class GetChatImport(Operation[ChatImport], frozen=True):
    """Get one import of chats, with its progress."""

    route: ClassVar[str] = "GET /v1/chat_imports/{import_id}"
    answer: ClassVar[Any] = ChatImport

    import_id: Id


class StartChatImport(Operation[ChatImport], frozen=True):
    """Start to write the conversations of an import that is `ready`.

    Conversations that were imported before are not changed. The work is done in the background, and
    another server continues it after a crash.
    """

    route: ClassVar[str] = "POST /v1/chat_imports/{import_id}/start"
    answer: ClassVar[Any] = ChatImport

    import_id: Id


class CancelChatImport(Operation[ChatImport], frozen=True):
    """Cancel an import, and delete its file and what it wrote; an ended one is not changed.

    An import whose conversations are becoming visible is completed instead. The file of a cancelled
    import can be imported again.
    """

    route: ClassVar[str] = "POST /v1/chat_imports/{import_id}/cancel"
    answer: ClassVar[Any] = ChatImport

    import_id: Id


class DeleteChatImport(Operation[Deleted], frozen=True):
    """Delete an import that has ended from the list, with what is left of its file.

    The conversations that it wrote stay. One that goes on has to be cancelled first (409).
    """

    route: ClassVar[str] = "DELETE /v1/chat_imports/{import_id}"
    answer: ClassVar[Any] = Deleted

    import_id: Id

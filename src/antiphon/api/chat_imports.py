"""Operations on imports of other chats' exports."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from antiphon.api.operation import Id, Listed, Operation
from antiphon.types.chat_imports import MAX_PIECE, ChatImport, ChatSource

FileSize = Annotated[int, Meta(ge=1)]
FileName = Annotated[str, Meta(max_length=200)]
Offset = Annotated[int, Meta(ge=0)]
Base64 = Annotated[str, Meta(min_length=1, max_length=4 * -(-MAX_PIECE // 3))]


class CreateChatImport(Operation[ChatImport], frozen=True):
    """Begin to import an export of ChatGPT, Claude or Open WebUI: a zip or JSON of `size` bytes.

    Its bytes follow by `add_import_piece`, at most the setting `max_chat_import`. With the last one
    the file is checked, and what it has is counted. Then the import is `ready`, or goes on at once
    with `start`. The chat that wrote the file is recognized, or else `source`. An owner has one
    import at a time (409).
    """

    route: ClassVar[str] = "POST /v1/chat_imports"
    answer: ClassVar[Any] = ChatImport
    http_status: ClassVar[int] = 201

    size: FileSize
    name: FileName = ""
    source: ChatSource | None = None
    start: bool = False


class AddImportPiece(Operation[ChatImport], frozen=True):
    """Add the next bytes of the file, 4 MiB at most, as base64.

    `offset` is the number of bytes before them, the import's `received`; another one is 409.
    """

    route: ClassVar[str] = "POST /v1/chat_imports/{import_id}/pieces"
    answer: ClassVar[Any] = ChatImport

    import_id: Id
    offset: Offset
    content: Base64


class ListChatImports(Operation[Listed[ChatImport]], frozen=True):
    """List the caller's imports of chats, newest first: the one that goes on and the last ones."""

    route: ClassVar[str] = "GET /v1/chat_imports"
    answer: ClassVar[Any] = Listed[ChatImport]


class GetChatImport(Operation[ChatImport], frozen=True):
    """Get one import of chats, with its progress."""

    route: ClassVar[str] = "GET /v1/chat_imports/{import_id}"
    answer: ClassVar[Any] = ChatImport

    import_id: Id


class StartChatImport(Operation[ChatImport], frozen=True):
    """Write the conversations of an import that is `ready`. Those that are here stay as they are.

    The work goes on in the background, after a crash of its server too.
    """

    route: ClassVar[str] = "POST /v1/chat_imports/{import_id}/start"
    answer: ClassVar[Any] = ChatImport

    import_id: Id


class CancelChatImport(Operation[ChatImport], frozen=True):
    """Cancel an import and delete its file; one that has ended stays as it is.

    Nothing of a cancelled import is visible. It can be made again.
    """

    route: ClassVar[str] = "POST /v1/chat_imports/{import_id}/cancel"
    answer: ClassVar[Any] = ChatImport

    import_id: Id

"""Operations on uploaded files."""

from __future__ import annotations

from typing import Any, ClassVar

from antiphon.api.fields import ListOrder
from antiphon.api.operation import Deleted, Id, Limit, Listed, Name, Operation
from antiphon.types.messages import Upload


class ListFiles(Operation[Listed[Upload]], frozen=True):
    """List uploaded files, newest first, with `order` of `oldest` the oldest first.

    `purpose` selects those that were uploaded for it; `thread_id` and `assistant_id` those that are
    attached to a message of the thread or files of its folder, and those of the assistant.
    """

    route: ClassVar[str] = "GET /v1/files"
    answer: ClassVar[Any] = Listed[Upload]

    limit: Limit = 20
    after: Id | None = None
    purpose: Name | None = None
    thread_id: Id | None = None
    assistant_id: Id | None = None
    order: ListOrder | None = None


class GetFile(Operation[Upload], frozen=True):
    """Get the record of one file; its bytes are at `/v1/files/{file_id}/content`."""

    route: ClassVar[str] = "GET /v1/files/{file_id}"
    answer: ClassVar[Any] = Upload

    file_id: Id


class DeleteFile(Operation[Deleted], frozen=True):
    """Delete a file. Messages that it is attached to stay; models read that it is gone."""

    route: ClassVar[str] = "DELETE /v1/files/{file_id}"
    answer: ClassVar[Any] = Deleted

    file_id: Id

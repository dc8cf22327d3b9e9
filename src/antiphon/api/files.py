"""Operations on uploaded files."""

from __future__ import annotations

from typing import Any, ClassVar

from antiphon.api.operation import Deleted, Id, Limit, Listed, Operation
from antiphon.types.messages import Upload


class ListFiles(Operation[Listed[Upload]], frozen=True):
    """List uploaded files, newest first."""

    route: ClassVar[str] = "GET /v1/files"
    answer: ClassVar[Any] = Listed[Upload]

    limit: Limit = 20
    after: Id | None = None


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

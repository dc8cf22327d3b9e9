"""Operations on folders of threads."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from antiphon.api.fields import FileIds
from antiphon.api.operation import Deleted, Id, Limit, Listed, Operation
from antiphon.types.folders import Folder

FolderName = Annotated[str, Meta(min_length=1, max_length=128)]
FolderInstructions = Annotated[str, Meta(max_length=32_768)]


class CreateFolder(Operation[Folder], frozen=True):
    """Create a folder of threads; an owner has at most 200.

    Models read its `instructions` behind those of the assistant, in each run of its threads that
    begins from then on. `file_ids` are uploads whose text these runs may search. The name is text
    on one line; blanks around it are removed.
    """

    route: ClassVar[str] = "POST /v1/folders"
    answer: ClassVar[Any] = Folder
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    name: FolderName
    instructions: FolderInstructions = ""
    file_ids: FileIds = ()


class ListFolders(Operation[Listed[Folder]], frozen=True):
    """List folders, newest first."""

    route: ClassVar[str] = "GET /v1/folders"
    answer: ClassVar[Any] = Listed[Folder]

    limit: Limit = 20
    after: Id | None = None


class GetFolder(Operation[Folder], frozen=True):
    """Get one folder."""

    route: ClassVar[str] = "GET /v1/folders/{folder_id}"
    answer: ClassVar[Any] = Folder

    folder_id: Id


class UpdateFolder(Operation[Folder], frozen=True):
    """Change the given fields of a folder; the others stay.

    Runs that have begun keep the instructions that they began with.
    """

    route: ClassVar[str] = "PATCH /v1/folders/{folder_id}"
    answer: ClassVar[Any] = Folder

    folder_id: Id
    name: FolderName | msgspec.UnsetType = msgspec.UNSET
    instructions: FolderInstructions | msgspec.UnsetType = msgspec.UNSET
    file_ids: FileIds | msgspec.UnsetType = msgspec.UNSET


class DeleteFolder(Operation[Deleted], frozen=True):
    """Delete a folder. Its threads are taken out of it, and stay.

    With `delete_threads` they are deleted with it, archived ones too. A request that breaks off
    has changed some threads, and can be repeated: the folder is deleted last.
    """

    route: ClassVar[str] = "DELETE /v1/folders/{folder_id}"
    answer: ClassVar[Any] = Deleted

    folder_id: Id
    delete_threads: bool = False

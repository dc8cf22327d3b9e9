"""Folders of the user's threads."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from flask import Blueprint, Response

from antiphon.api import operations
from antiphon.api.operations import CreateFolder, DeleteFolder, ListFolders, UpdateFolder
from antiphon.client.async_client import AsyncClient
from antiphon.types.terminal_safe import one_line
from antiphon.web.http import read_json, read_query
from antiphon.web.session import current_client, respond_with

routes = Blueprint("folders", __name__)

PAGE = 100


class FolderRow(msgspec.Struct, frozen=True):
    """Folder in the list."""

    id: str
    name: str


class FolderRows(msgspec.Struct, frozen=True):
    """All folders of the user, newest first."""

    data: Sequence[FolderRow]


class NewFolder(msgspec.Struct, frozen=True):
    """Name of a folder, instructions for its threads, and files that these may search."""

    name: operations.FolderName
    instructions: operations.FolderInstructions = ""
    file_ids: operations.FileIds = ()


class FolderChange(msgspec.Struct, frozen=True):
    """New name, instructions and files of a folder."""

    name: operations.FolderName | msgspec.UnsetType = msgspec.UNSET
    instructions: operations.FolderInstructions | msgspec.UnsetType = msgspec.UNSET
    file_ids: operations.FileIds | msgspec.UnsetType = msgspec.UNSET


class DeletionQuery(msgspec.Struct, frozen=True):
    """True if the folder's threads are deleted with it."""

    delete_threads: bool = False


@routes.get("/api/folders")
def list_folders() -> Response:
    """Return all folders, without their instructions."""

    async def collect(client: AsyncClient) -> FolderRows:
        found = client.paginate(ListFolders(limit=PAGE))
        return FolderRows([FolderRow(each.id, one_line(each.name)) async for each in found])

    return respond_with(collect(current_client()))


@routes.post("/api/folders")
def create_folder() -> Response:
    """Create a folder."""
    body = read_json(NewFolder)
    create = CreateFolder(body.name, body.instructions, body.file_ids)
    return respond_with(current_client().transport.send(create), 201)


@routes.get("/api/folders/<folder_id>")
def get_folder(folder_id: str) -> Response:
    """Return a folder with its instructions and files."""
    return respond_with(current_client().get_folder(folder_id))


@routes.patch("/api/folders/<folder_id>")
def update_folder(folder_id: str) -> Response:
    """Rename a folder, or give it other instructions or files."""
    change = UpdateFolder(folder_id, **msgspec.structs.asdict(read_json(FolderChange)))
    return respond_with(current_client().transport.send(change))


@routes.delete("/api/folders/<folder_id>")
def delete_folder(folder_id: str) -> Response:
    """Delete a folder; its threads stay, unless they are to be deleted too."""
    query = read_query(DeletionQuery)
    delete = DeleteFolder(folder_id, query.delete_threads)
    return respond_with(current_client().transport.send(delete))

"""Folders of threads, as people name them."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.api.operations import ListFolders
from antiphon.client.async_client import AsyncClient
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.folders import Folder
from antiphon.types.terminal_safe import one_line

PAGE = 100
PREFIX = "folder_"


async def list_folders(client: AsyncClient) -> Sequence[Folder]:
    """Return all folders, ordered by name; case does not count."""
    found = [each async for each in client.paginate(ListFolders(limit=PAGE))]
    return sorted(found, key=lambda folder: (folder.name.casefold(), folder.id))


async def find_folder(client: AsyncClient, reference: str) -> Folder:
    """Return the folder of this id or name, or the only one whose id or name begins so.

    The case of a name does not count. Raises `NotFound` for none, `InvalidRequest` for several.
    """
    folders = await list_folders(client)
    wanted = " ".join(reference.split()).casefold()
    for matches in (
        [each for each in folders if each.id == reference],
        [each for each in folders if each.name.casefold() == wanted],
        [each for each in folders if wanted and each.name.casefold().startswith(wanted)],
        [each for each in folders if len(wanted) > len(PREFIX) and each.id.startswith(reference)],
    ):
        if len(matches) > 1:
            raise InvalidRequest(
                f"More than one folder is meant by {one_line(reference)!r}.",
                expected="a whole name that only one has, or an id",
                received=", ".join(f"{one_line(each.name)} ({each.id})" for each in matches[:5]),
            )
        if matches:
            return matches[0]
    raise NotFound(f"There is no folder {one_line(reference)!r}.")

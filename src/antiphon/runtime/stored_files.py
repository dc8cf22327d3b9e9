"""Stored files: those of a conversation, their documents, and the bytes of one in pieces."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import suppress

from msgspec.structs import replace

from antiphon.ports import DocumentStore, RunStore, Store
from antiphon.runtime.published import find_published
from antiphon.types.documents import Document
from antiphon.types.errors import NotFound
from antiphon.types.folders import Folder
from antiphon.types.messages import UPLOAD_PREFIX, Upload
from antiphon.types.runs import Assistant, Thread

MAX_SCOPE = 500
"""Files that one search considers; of more, those that were attached last."""

READ_BYTES = 131_072
"""Bytes of a file that are read from the store, and held in memory, at once."""

_ATTACHED = re.compile(
    rf'(?:"file":\{{"file_id"|"image_url":\{{"url"):"{UPLOAD_PREFIX}([A-Za-z0-9_-]{{1,128}})"'.encode()
)
"""An attachment in a conversation's JSON, with its keys; quotation marks of text are escaped.

A text that is nothing but such an address has other keys.
"""


async def find_scope(
    store: Store, owner: str, thread_id: str | None, assistant_id: str | None
) -> Sequence[str]:
    """Return ids of the files of an assistant, a thread and its folder, attached ones last.

    A file may be gone. A published assistant of another owner has none here. Raises `NotFound` for
    any other assistant of another owner, and for their threads.
    """
    found: dict[str, None] = {}
    if assistant_id is not None:
        try:
            assistant = await store.get(Assistant, owner, assistant_id)
        except NotFound:  # files of a published one are its author's
            await find_published(store, assistant_id)
        else:
            found |= dict.fromkeys(assistant.file_ids)
    if thread_id is not None:
        thread = await store.get(Thread, owner, thread_id)
        if thread.folder_id is not None:
            with suppress(NotFound):  # it is being deleted
                folder = await store.get(Folder, owner, thread.folder_id)
                found |= dict.fromkeys(folder.file_ids)
        chat = (await store.context(thread_id)).chat
        found |= dict.fromkeys(match.decode() for match in _ATTACHED.findall(chat))
    return list(found)[-MAX_SCOPE:]


async def check_files(store: RunStore, owner: str, file_ids: Iterable[str]) -> None:
    """Check that each file belongs to the owner. Raises `NotFound`."""
    for file_id in file_ids:
        await store.get(Upload, owner, file_id)


async def find_files(store: RunStore, owner: str, file_ids: Iterable[str]) -> Sequence[Upload]:
    """Return the owner's files of these ids, without those that are gone."""
    found: list[Upload] = []
    for file_id in file_ids:
        with suppress(NotFound):
            found.append(await store.get(Upload, owner, file_id))
    return found


async def add_documents(store: DocumentStore, uploads: Sequence[Upload]) -> Sequence[Upload]:
    """Return the files with the state of the reading of their text."""
    known: Mapping[str, Document] = await store.documents([each.id for each in uploads])
    return [replace(each, document=known.get(each.id)) for each in uploads]


async def read_pieces(
    store: RunStore, owner: str | None, upload: Upload
) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of a file of this owner, or of any, each piece read on demand.

    Raises `NotFound` if the file is deleted meanwhile.
    """
    for start in range(0, upload.size, READ_BYTES):
        yield await store.content(owner, upload.id, start, READ_BYTES)

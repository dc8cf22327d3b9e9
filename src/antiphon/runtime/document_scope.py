"""Files whose text a conversation may search: its attachments, and files of its assistant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from msgspec.structs import replace

from antiphon.ports import DocumentStore, RunStore
from antiphon.types.documents import Document
from antiphon.types.errors import NotFound
from antiphon.types.messages import UPLOAD_PREFIX, Upload
from antiphon.types.runs import Assistant, Thread

MAX_SCOPE = 500
"""Files that one search considers; of more, those that were attached last."""

_ATTACHED = re.compile(rf':"{UPLOAD_PREFIX}([A-Za-z0-9_-]{{1,128}})"'.encode())
"""An attachment in a conversation's JSON; quotation marks of text in it are escaped."""


async def find_scope(
    store: RunStore, owner: str, thread_id: str | None, assistant_id: str | None
) -> Sequence[str]:
    """Return ids of the files attached in a thread and of an assistant, the newest of them last.

    A file may be gone. Raises `NotFound` for a thread or an assistant of another owner.
    """
    found: dict[str, None] = {}
    if assistant_id is not None:
        assistant = await store.get(Assistant, owner, assistant_id)
        found |= dict.fromkeys(assistant.file_ids)
    if thread_id is not None:
        await store.get(Thread, owner, thread_id)
        chat = (await store.context(thread_id)).chat
        found |= dict.fromkeys(match.decode() for match in _ATTACHED.findall(chat))
    return list(found)[-MAX_SCOPE:]


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

"""Operations on files, and the bytes of files, which come and go in other forms than JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Listed, Operation, field_values
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.ports import DOCUMENTS, Bus, Store
from antiphon.runtime.responses import OperationHandler, Response, delete_record, paginate
from antiphon.runtime.stored_files import add_documents, find_files, find_scope, read_pieces
from antiphon.types.accounts import Principal
from antiphon.types.documents import Document
from antiphon.types.errors import NotFound
from antiphon.types.ids import Mint
from antiphon.types.messages import Upload


class FileService:
    """Stores, reads and deletes files; with `documents` it says how far their text is read."""

    def __init__(self, store: Store, mint: Mint, bus: Bus, *, documents: bool = True) -> None:
        self._store = store
        self._mint = mint
        self._bus = bus
        self._documents = documents
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.ListFiles: self._list_files,
            operations.GetFile: self._get_file,
            operations.DeleteFile: lambda operation, by, _: delete_record(
                store, Upload, by.owner, operation.file_id
            ),
        }

    async def upload(
        self,
        owner: str,
        name: str,
        media_type: str,
        content: bytes,
        key: str | None = None,
        *,
        purpose: str | None = None,
        expires_in: int | None = None,
    ) -> Response:
        """Store a file. `name` is only displayed, never used as a path; `expires_in` is seconds."""
        once = None
        if key is not None:
            about = [name, media_type, *([] if purpose is None else [purpose, expires_in])]
            digest = blake2b(msgspec.json.encode(about), digest_size=32)
            digest.update(content)
            once = IdempotencyKey(owner, "POST /v1/files", key, digest.digest())
        now = await self._store.now()
        upload = Upload(
            id=self._mint("file"),
            name=name,
            media_type=media_type,
            size=len(content),
            created_at=now,
            purpose=purpose,
            expires_at=None if expires_in is None else now + expires_in * 1000,
        )
        value = await self._store.put(owner, upload, once, content)
        if self._documents:
            self._bus.notify(DOCUMENTS)
            if isinstance(value, Upload):
                value = replace(value, document=Document(status="pending"))
        return Response(value, 201, replayed=isinstance(value, msgspec.Raw))

    async def _get_file(
        self, operation: operations.GetFile, by: Principal, _: IdempotencyKey | None
    ) -> Upload:
        upload = await self._store.get(Upload, by.owner, operation.file_id)
        (described,) = await self._describe([upload])
        return described

    async def _list_files(
        self, operation: operations.ListFiles, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Upload]:
        if operation.thread_id is None and operation.assistant_id is None:
            where = field_values(operation)
            del where["thread_id"], where["assistant_id"]
            listed = await paginate(self._store, Upload, by.owner, **where)
        else:
            listed = await self._list_scope(operation, by.owner)
        return Listed(await self._describe(listed.data), has_more=listed.has_more, next=listed.next)

    async def _list_scope(self, operation: operations.ListFiles, owner: str) -> Listed[Upload]:
        ids = await find_scope(self._store, owner, operation.thread_id, operation.assistant_id)
        found = await find_files(self._store, owner, ids)
        files = sorted(
            (each for each in found if operation.purpose in (None, each.purpose)),
            key=lambda each: (each.created_at, each.id),
            reverse=operation.order != "oldest",
        )
        if operation.after is not None:
            places = [place for place, each in enumerate(files, 1) if each.id == operation.after]
            if not places:
                raise NotFound(f"No file {operation.after[:64]} is in this list.", where="after")
            files = files[places[0] :]
        page, has_more = files[: operation.limit], len(files) > operation.limit
        return Listed(page, has_more=has_more, next=page[-1].id if has_more else None)

    async def _describe(self, uploads: Sequence[Upload]) -> Sequence[Upload]:
        return await add_documents(self._store, uploads) if self._documents else uploads

    async def download(self, owner: str, upload_id: str) -> tuple[Upload, bytes]:
        """Return a file and its bytes. Raises `NotFound`."""
        upload = await self._store.get(Upload, owner, upload_id)
        return upload, await self._store.content(owner, upload_id)

    async def open_file(
        self, owner: str, upload_id: str
    ) -> tuple[Upload, AsyncGenerator[bytes, None]]:
        """Return a file and its pieces, each of which is read on demand.

        Raises `NotFound`, as do the pieces of a file that is deleted meanwhile.
        """
        upload = await self._store.get(Upload, owner, upload_id)
        return upload, read_pieces(self._store, owner, upload)

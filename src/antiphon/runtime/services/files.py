"""Operations on files, and the bytes of files, which come and go in other forms than JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from antiphon.api import operations
from antiphon.api.operations import Operation, field_values
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.ports import RunStore
from antiphon.runtime.responses import OperationHandler, Response, delete_record, paginate
from antiphon.types.ids import Mint
from antiphon.types.messages import Upload

READ_BYTES = 131_072
"""Bytes of a file that are read, and held in memory, at once during a download."""


class FileService:
    """Stores, reads and deletes files."""

    def __init__(self, store: RunStore, mint: Mint) -> None:
        self._store = store
        self._mint = mint
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.ListFiles: lambda call, by, _: paginate(
                store, Upload, by.owner, **field_values(call)
            ),
            operations.GetFile: lambda call, by, _: store.get(Upload, by.owner, call.file_id),
            operations.DeleteFile: lambda call, by, _: delete_record(
                store, Upload, by.owner, call.file_id
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
        return Response(value, 201, replayed=isinstance(value, msgspec.Raw))

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
        return upload, self._pieces(owner, upload)

    async def _pieces(self, owner: str, upload: Upload) -> AsyncGenerator[bytes, None]:
        for start in range(0, upload.size, READ_BYTES):
            yield await self._store.content(owner, upload.id, start, READ_BYTES)

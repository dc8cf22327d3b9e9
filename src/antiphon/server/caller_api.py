"""The API as one caller sees it, without HTTP in between."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from antiphon.api.operations import (
    CancelRun,
    Complete,
    DeleteFile,
    DeleteThread,
    Follow,
    GetRun,
    Listed,
    NewToolOutput,
    Operation,
    Process,
    SubmitToolOutputs,
)
from antiphon.api.threads import PastMessage
from antiphon.engine import sanitize
from antiphon.runtime.event_reader import RunEventReader
from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.types.accounts import Principal
from antiphon.types.errors import InvalidRequest, NotFound, TryAgain
from antiphon.types.messages import File, Upload, parts
from antiphon.wires.framing import InlineFile
from antiphon.wires.openai.chat_request import SentMessage
from antiphon.wires.openai.continuation import FILES, digest_files

T = TypeVar("T")

PAGE = 100
"""Records on a page of a list that is read to its end."""
MAX_OUTPUTS = 128
"""Outputs in one submission."""


class CallerApi:
    """Executes operations for one caller. `uploaded` are the ids of files that came inline."""

    def __init__(self, dispatcher: Dispatcher, by: Principal) -> None:
        self.uploaded: list[str] = []
        self._dispatcher = dispatcher
        self._by = by

    @property
    def owner(self) -> str:
        """The owner whose data the caller sees."""
        return self._by.owner

    async def ask(self, operation: Operation[T]) -> T:
        """Execute the operation. Raises `AntiphonError`."""
        value: T = (await self._dispatcher.dispatch(operation, self._by)).value
        return value

    async def ask_once(self, operation: Operation[Any], key: str | None) -> Any:
        """Execute an operation that creates, once for this idempotency key, if there is one.

        The answer to a repeated request is `msgspec.Raw`.
        """
        return (await self._dispatcher.dispatch(operation, self._by, key)).value

    async def create(self, operation: Operation[Any], kind: type[T], key: str | None) -> T:
        """Execute an operation as `ask_once`; the answer is of `kind`."""
        value = await self.ask_once(operation, key)
        if isinstance(value, msgspec.Raw):
            return msgspec.json.decode(value, type=kind)
        answer: T = value
        return answer

    async def list_all(self, listing: Operation[Listed[T]]) -> list[T]:
        """Return the items of all pages."""
        found: list[T] = []
        while True:
            page = await self.ask(listing)
            found += page.data
            if not page.has_more:
                return found
            listing = replace(listing, after=page.next)

    async def list_some(self, listing: Operation[Listed[T]], limit: int) -> tuple[list[T], bool]:
        """Return at most `limit` items of the first pages, and whether there are more."""
        found: list[T] = []
        while True:
            page = await self.ask(listing)
            found += page.data
            if not page.has_more or len(found) > limit:
                return found[:limit], page.has_more or len(found) > limit
            listing = replace(listing, after=page.next)

    async def open_turn(
        self, operation: Process | Complete | Follow, key: str | None = None
    ) -> RunEventReader:
        """Start a turn, or follow a run, and return the reader of its events."""
        reader = await self._dispatcher.open_stream(operation, self._by, key)
        if not isinstance(reader, RunEventReader):
            raise TypeError("A run in the foreground is answered by its events.")
        return reader

    async def submit_outputs(self, run_id: str, outputs: Sequence[NewToolOutput]) -> None:
        """Submit outputs of a run's calls, and answers to those that wait for approval."""
        for start in range(0, len(outputs), MAX_OUTPUTS):
            part = tuple(outputs[start : start + MAX_OUTPUTS])
            await self.ask(SubmitToolOutputs(run_id, part))

    @asynccontextmanager
    async def inline_files(
        self, messages: Sequence[SentMessage], key: str | None = None
    ) -> AsyncGenerator[list[PastMessage]]:
        """Yield the messages with the ids of their inline files, which an error deletes again.

        With an idempotency key they stay, since the repeated request finds them by it.
        """
        try:
            yield await self.keep_files(messages, key)
        except BaseException:
            if key is None:
                await self.delete_files()
            raise

    async def keep_files(
        self, messages: Sequence[SentMessage], key: str | None = None
    ) -> list[PastMessage]:
        """Store the files that came inline; return the messages with their ids.

        With an idempotency key, a repeated request stores them once.
        """
        return [await self._keep_files_of(sent, key) for sent in messages]

    async def _keep_files_of(self, sent: SentMessage, key: str | None) -> PastMessage:
        if not sent.files:
            return sent.message
        files = iter(sent.files)
        content = list(parts(sent.message.content))
        for place, part in enumerate(content):
            if isinstance(part, File) and not part.file_id:
                file = next(files)
                media_type, stored = _decode_file(file)
                file_id = await self._upload(file.name, media_type, stored, key)
                self.uploaded.append(file_id)
                content[place] = File(file_id)
        metadata = {**sent.message.metadata, FILES: digest_files(sent.files)}
        return replace(sent.message, content=tuple(content), metadata=metadata)

    async def _upload(self, name: str, media_type: str, content: bytes, key: str | None) -> str:
        name = sanitize.validate_file_name(name)
        if key is not None:
            digest = blake2b(f"{key} {len(self.uploaded)}".encode(), digest_size=16)
            key = f"inline-{digest.hexdigest()}"
        response = await self._dispatcher.files.upload(
            self._by.owner, name, media_type, content, key
        )
        if isinstance(response.value, msgspec.Raw):
            return msgspec.json.decode(response.value, type=Upload).id
        uploaded: Upload = response.value
        return uploaded.id

    async def delete_run(self, run_id: str) -> None:
        """Cancel a run if it goes on, and delete its thread and the files that came inline.

        What fails here is deleted later by a worker, as every temporary thread is.
        """
        with suppress(NotFound, TryAgain):
            run = await self.ask(GetRun(run_id))
            if not run.status.ended:
                await self.ask(CancelRun(run.id))
            await self.ask(DeleteThread(run.thread_id))
        await self.delete_files()

    async def read_file(self, file_id: str) -> tuple[Upload, bytes]:
        """Return a file and its bytes. Raises `NotFound`."""
        return await self._dispatcher.files.download(self._by.owner, file_id)

    async def delete_files(self) -> None:
        """Delete the files that came inline."""
        while self.uploaded:
            with suppress(NotFound, TryAgain):
                await self.ask(DeleteFile(self.uploaded.pop()))


_DATA_URL = re.compile(r"data:([^;,]{1,128})(?:;[^,]{0,128})?,", re.ASCII)


def _decode_file(file: InlineFile) -> tuple[str, bytes]:
    """Return media type and bytes of an inline file. Raises `InvalidRequest`."""
    data = file.data
    head = _DATA_URL.match(data)
    media_type = sanitize.parse_media_type(head[1]) if head else "application/octet-stream"
    try:
        return media_type, base64.b64decode(data[head.end() :] if head else data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            "The data of a file is not base64.",
            expected="base64, with or without data:MEDIA/TYPE;base64, before it",
            received=data[:40],
            where=file.where,
        ) from error

"""The API as one caller sees it, without HTTP in between."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar

from msgspec.structs import replace

from antiphon.api.operations import (
    CancelRun,
    Complete,
    DeleteFile,
    DeleteThread,
    Follow,
    GetRun,
    Listed,
    Operation,
    Process,
)
from antiphon.api.threads import PastMessage
from antiphon.engine import sanitize
from antiphon.runtime.event_reader import RunEventReader
from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.types.accounts import Principal
from antiphon.types.errors import InvalidRequest, NotFound, TryAgain
from antiphon.types.messages import File, parts
from antiphon.wires.openai.chat_request import SentMessage
from antiphon.wires.openai.continuation import FILES, digest_files

T = TypeVar("T")


class CallerApi:
    """Executes operations for one caller. `uploaded` are the ids of files that came inline."""

    def __init__(self, dispatcher: Dispatcher, by: Principal) -> None:
        self.uploaded: list[str] = []
        self._dispatcher = dispatcher
        self._by = by

    async def ask(self, call: Operation[T]) -> T:
        """Execute the operation. Raises `AntiphonError`."""
        value: T = (await self._dispatcher.dispatch(call, self._by)).value
        return value

    async def ask_once(self, call: Operation[Any], key: str) -> Any:
        """Execute an operation that creates, once for this idempotency key."""
        return (await self._dispatcher.dispatch(call, self._by, key)).value

    async def list_all(self, listing: Operation[Listed[T]]) -> list[T]:
        """Return the items of all pages."""
        found: list[T] = []
        while True:
            page = await self.ask(listing)
            found += page.data
            if not page.has_more:
                return found
            listing = replace(listing, after=page.next)

    async def open_turn(
        self, call: Process | Complete | Follow, key: str | None = None
    ) -> RunEventReader:
        """Start a turn, or follow a run, and return the reader of its events."""
        reader = await self._dispatcher.open_stream(call, self._by, key)
        if not isinstance(reader, RunEventReader):
            raise TypeError("A run in the foreground is answered by its events.")
        return reader

    async def keep_files(self, messages: Sequence[SentMessage]) -> list[PastMessage]:
        """Store the files that came inline; return the messages with their ids."""
        return [await self._keep_files_of(sent) for sent in messages]

    async def _keep_files_of(self, sent: SentMessage) -> PastMessage:
        if not sent.files:
            return sent.message
        files = iter(sent.files)
        content = list(parts(sent.message.content))
        for place, part in enumerate(content):
            if isinstance(part, File) and not part.file_id:
                name, data = next(files)
                media_type, stored = _decode_file(data)
                response = await self._dispatcher.upload(
                    self._by.owner, sanitize.validate_file_name(name), media_type, stored
                )
                self.uploaded.append(response.value.id)
                content[place] = File(response.value.id)
        digests = {FILES: digest_files(sent.files)}
        return replace(sent.message, content=tuple(content), metadata=digests)

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

    async def delete_files(self) -> None:
        """Delete the files that came inline."""
        for file_id in self.uploaded:
            with suppress(NotFound, TryAgain):
                await self.ask(DeleteFile(file_id))


_DATA_URL = re.compile(r"data:([^;,]{1,128})(?:;[^,]{0,128})?,", re.ASCII)


def _decode_file(data: str) -> tuple[str, bytes]:
    """Return media type and bytes of an inline file. Raises `InvalidRequest`."""
    head = _DATA_URL.match(data)
    media_type = sanitize.parse_media_type(head[1]) if head else "application/octet-stream"
    try:
        return media_type, base64.b64decode(data[head.end() :] if head else data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            "The data of a file is not base64.",
            expected="base64, with or without data:MEDIA/TYPE;base64, before it",
            received=data[:40],
            where="$.messages",
        ) from error

"""The entry for other protocols: it carries their requests out as operations of our API."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from starlette.types import Receive, Scope, Send

from antiphon.engine import sanitize
from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.server.auth import AdmittedCaller
from antiphon.server.caller_api import CallerApi
from antiphon.server.requests import RequestContext, parse_json_object, read_body
from antiphon.server.streaming import EventEncoder, EventPages, StreamTimeouts
from antiphon.settings.settings import Settings

T = TypeVar("T")

DELETION_PAUSE = 0.1
"""Seconds for which deletions are collected."""


class Connections(Protocol):
    """The server's ways to work for a client, and to stop when it leaves."""

    async def run_in_slot(self, context: RequestContext, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of work that waits for its turn among that of other callers."""
        ...

    async def run_while_connected(self, context: RequestContext, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of work that is cancelled when the client disconnects."""
        ...

    async def send_pages(
        self, context: RequestContext, pages: EventPages, encoder: EventEncoder
    ) -> None:
        """Send pages to the client until they end."""
        ...

    async def send_file(self, context: RequestContext, file_id: str) -> None:
        """Send the bytes of a file. Raises `NotFound`."""
        ...

    @property
    def timeouts(self) -> StreamTimeouts:
        """Timeouts of streams and WebSockets."""
        ...

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that came in a message of a WebSocket."""
        ...

    async def check_admitted(self, caller: AdmittedCaller) -> None:
        """Raise `Unavailable` while this process ends, and `Unauthorized` for a revoked key."""
        ...


class Gateway:
    """Reads requests of other protocols, and runs their work for the caller."""

    def __init__(
        self, dispatcher: Dispatcher, settings: Settings, connections: Connections
    ) -> None:
        self.dispatcher = dispatcher
        self.settings = settings
        self.connections = connections
        self._deletions: list[Coroutine[Any, Any, None]] = []  # that have not begun
        self._deleting: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    def api(self, context: RequestContext) -> CallerApi:
        """Return the API as the request's caller sees it."""
        return CallerApi(self.dispatcher, context.caller.principal)

    async def read_body(self, context: RequestContext, limit: int | None = None) -> bytes:
        """Return the body, of `max_body` bytes at most or this limit. Raises `TooLarge`."""
        return await read_body(context.scope, context.receive, limit or self.settings.max_body)

    async def read_object(self, context: RequestContext) -> dict[str, Any]:
        """Return the JSON object in the body. Raises `CallerError`."""
        return self.parse_object(context, await self.read_body(context))

    def parse_object(self, context: RequestContext, body: bytes) -> dict[str, Any]:
        """Return the JSON object, which holds only text that a store can hold."""
        fields = parse_json_object(body, context.scope, self.settings.max_depth)
        sanitize.validate_text(fields)
        return fields

    async def start_run(
        self, context: RequestContext, api: CallerApi, work: Coroutine[Any, Any, T]
    ) -> T:
        """Return the result of work that starts a run; if it fails, its inline files are deleted.

        The work is not cancelled when the client disconnects: a run that has started must be known,
        to be deleted.
        """
        try:
            return await self.connections.run_in_slot(context, work)
        except BaseException:
            self.delete_later(api.delete_files())
            raise

    def delete_later(self, deletion: Coroutine[Any, Any, None]) -> None:
        """Run a deletion in a task of its own, which outlives the request.

        Deletions are begun together, since a store commits together what comes together. A commit
        of its own costs each of them some 0.4 ms of the processor on SQLite.
        """
        self._deletions.append(deletion)
        if self._deleting is None:
            self._deleting = asyncio.create_task(self._delete_together())

    async def _delete_together(self) -> None:
        await asyncio.sleep(DELETION_PAUSE)
        self._deleting = None
        deletions, self._deletions = self._deletions, []
        tasks = {asyncio.create_task(each) for each in deletions}
        self._running |= tasks
        for task in tasks:
            task.add_done_callback(self._running.discard)

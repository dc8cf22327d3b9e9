"""Chats of pages: requests, streams, history and stop, whatever the protocol of the page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from antiphon.api.operations import CancelRun, Follow, ListMessages, ListRuns
from antiphon.api.problems import Malformed
from antiphon.server.caller_api import PAGE, CallerApi
from antiphon.server.gateway import Gateway
from antiphon.server.page_wires.page_requests import PageRequest, PageRun, own_content
from antiphon.server.page_wires.page_runs import PageRuns
from antiphon.server.page_wires.page_streams import PageEncoder, PageWire, RestingPages
from antiphon.server.page_wires.page_threads import PageThreads, ThreadNames
from antiphon.server.requests import (
    RequestContext,
    parse_query,
    path_parameters,
    read_body,
)
from antiphon.telemetry.logs import log_context
from antiphon.types.errors import InvalidEventId, InvalidRequest
from antiphon.types.runs import Run
from antiphon.types.thread_view import Entry, group_entries
from antiphon.wires.framing import Cursor, parse_cursor

LAST_EVENT_ID = b"last-event-id"
CHAT = "chat_id"
"""Field of the path with the page's name of the chat."""
MAX_NAME = 128
READS = 3
"""Times that a history is read, at most, until no run has begun or ended meanwhile."""

MakeWire = Callable[[PageRun, Cursor | None], PageWire]
"""Makes the encoder of a run for a reader that has what the cursor names."""


class Visit(NamedTuple):
    """One request of a page: the API as its caller sees it, and the page's threads and runs."""

    api: CallerApi
    threads: PageThreads
    runs: PageRuns


class PageChats(ABC):
    """Answers the requests of pages in one protocol."""

    headers: Mapping[str, str]
    """Header fields of a stream."""

    def __init__(self, gateway: Gateway, names: ThreadNames) -> None:
        self._gateway = gateway
        self._names = names

    @abstractmethod
    def parse(
        self, body: Mapping[str, Any], path: Mapping[str, str]
    ) -> tuple[PageRequest, MakeWire]:
        """Return the request, and how its run is encoded. Raises `CallerError`.

        `path` are the fields of the request's path.
        """

    @abstractmethod
    def make_wire(self, path: Mapping[str, str]) -> MakeWire:
        """Return how a run is encoded for a page that joins it. Raises `CallerError`."""

    @abstractmethod
    async def as_history(self, visit: Visit, entries: Sequence[Entry]) -> Sequence[Any]:
        """Return these entries as messages of the page."""

    async def read_earlier(self, context: RequestContext, visit: Visit, run: Run) -> Sequence[Any]:
        """Return the messages before those of the run if the encoder needs them."""
        return ()

    async def post(self, context: RequestContext) -> None:
        """Answer a message, outputs or answers with the run's stream."""
        fields = await self._gateway.read_object(context)
        request, make_wire = self.parse(fields, _read_path(context))
        visit = self._visit(context)
        run = await self._gateway.start_run(context, visit.api, visit.runs.handle(request))
        await self._send(context, visit, run, make_wire(run, None))

    async def stream(self, context: RequestContext) -> None:
        """Stream the chat's active run from its beginning, or after `Last-Event-ID`.

        The response is 204 if no run is active.
        """
        path = _read_path(context)
        make_wire = self.make_wire(path)
        visit = self._visit(context)
        run = await visit.runs.newest(path[CHAT])
        cursor = None
        given = [value for key, value in context.scope["headers"] if key == LAST_EVENT_ID]
        if given and run is not None:
            if len(given) > 1:
                raise InvalidEventId("Last-Event-ID is given more than once.", expected="one")
            cursor = parse_cursor(given[0].decode("utf-8", "replace"), run.id)
        if run is None or (run.status.ended and cursor is None):
            await context.respond(204, b"", b"text/plain")
            return
        log = await visit.runs.read_log(run)
        last = log[-1][0] if log else 0
        if cursor is not None and cursor.number > last:
            raise InvalidEventId(
                "The run has no such event.",
                expected=f"the id of a frame of run {run.id}",
                received=str(cursor.number),
                hint="Leave it out to be sent the whole message.",
            )
        earlier = await self.read_earlier(context, visit, run)
        page_run = PageRun(run, cursor.number if cursor else 0, last, history=earlier)
        await self._send(context, visit, page_run, make_wire(page_run, cursor))

    async def messages(self, context: RequestContext) -> None:
        """Answer with the chat's messages, without those of a run that has not ended."""
        path = _read_path(context)
        self.make_wire(path)
        reading = self._read_history(self._visit(context), path[CHAT])
        history = await self._gateway.connections.run_in_slot(context, reading)
        await context.respond_unless_known(history)

    async def stop(self, context: RequestContext) -> None:
        """Cancel the chat's active run; the answer names it, or null."""
        await read_body(context.scope, context.receive, 64)
        path = _read_path(context)
        self.make_wire(path)
        visit = self._visit(context)
        run = await visit.runs.newest(path[CHAT])
        if run is None or run.status.ended:
            await context.respond_json(200, {"runId": None})
            return
        await visit.api.ask(CancelRun(run.id))
        await context.respond_json(202, {"runId": run.id})

    async def _read_history(self, visit: Visit, name: str) -> Mapping[str, Any]:
        thread = await visit.threads.find(name)
        if thread is None:
            return {"threadId": None, "messages": [], "active": False}
        entries = await read_entries(visit.api, thread.id)
        run = await visit.threads.newest_run(thread)
        ended = [entry for entry in entries if not entry.is_active]
        return {
            "threadId": thread.id,
            "messages": await self.as_history(visit, ended),
            "active": run is not None and not run.status.ended,
        }

    def _visit(self, context: RequestContext) -> Visit:
        api = self._gateway.api(context)
        threads = PageThreads(api, context.caller.grant, self._names)
        return Visit(api, threads, PageRuns(api, context.caller.grant, threads))

    async def _send(
        self, context: RequestContext, visit: Visit, run: PageRun, wire: PageWire
    ) -> None:
        encoder = PageEncoder(wire, run, self.headers.items())
        with log_context(run_id=run.run.id):
            reader = await visit.api.open_turn(Follow(run.run.id))
            await self._gateway.connections.send_pages(
                context, RestingPages(reader, encoder), encoder
            )


def _read_path(context: RequestContext) -> Mapping[str, str]:
    """Return the fields of the path. Raises `InvalidRequest` beside a query."""
    if parse_query(context.scope):
        raise Malformed("This address has no query.", expected="no query", received="a query")
    path = path_parameters(context.scope)
    if CHAT in path and not 1 <= len(path[CHAT]) <= MAX_NAME:
        raise InvalidRequest(
            "This is no name of a chat.",
            expected=f"1 to {MAX_NAME} characters",
            received=str(len(path[CHAT])),
        )
    return path


async def read_entries(api: CallerApi, thread_id: str) -> list[Entry]:
    """Return a thread's entries as they were at one moment."""
    reads = READS
    while True:
        reads -= 1
        runs = await api.list_all(ListRuns(thread_id, limit=PAGE))
        messages = await api.list_all(ListMessages(thread_id, limit=PAGE))
        newest = (await api.ask(ListRuns(thread_id, limit=1))).data
        is_same = [(run.id, run.status) for run in runs[:1]] == [
            (run.id, run.status) for run in newest
        ]
        if is_same or not reads:
            seen = [replace(each, content=own_content(each)) for each in messages]
            return group_entries(seen, runs)

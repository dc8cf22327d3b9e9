"""Responses that are stored: read, followed, cancelled, deleted; and the items they came from."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl

from antiphon.api.operations import CancelRun, DeleteThread, GetThread, ListRuns
from antiphon.runtime.event_reader import RunEventReader, SendNow
from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.server.openai.caller_api import CallerApi
from antiphon.server.openai.chat import RUN_HEADER, Connections
from antiphon.server.openai.response_heads import (
    input_items,
    make_head,
    read_state,
    response_records,
)
from antiphon.server.openai.response_threads import find_response
from antiphon.server.openai.responses import ResponseEncoder
from antiphon.server.requests import RequestContext, path_parameters, read_body
from antiphon.types import events
from antiphon.types.errors import EventExpired, InvalidEventId, InvalidRequest
from antiphon.types.runs import Run, Status
from antiphon.wires.openai.items import Item
from antiphon.wires.openai.response_object import ResponseHead, response_id, response_object
from antiphon.wires.openai.response_stream import ResponseFrames
from antiphon.wires.openai.stored_items import select_fields

MAX_LIMIT = 100
DEFAULT_LIMIT = 20


class StoredResponses:
    """Answers requests about responses that are stored."""

    def __init__(self, dispatcher: Dispatcher, connections: Connections) -> None:
        self._dispatcher = dispatcher
        self._connections = connections

    async def retrieve(self, context: RequestContext) -> None:
        """Answer `GET /responses/{response_id}`."""
        query = _Query(context, "stream", "starting_after", "include", "include_obfuscation")
        api, run, place = await self._find(context)
        head = await make_head(api, run.id, place=place)
        if query.flag("stream"):
            await self._follow(context, api, head, run, place, query.number("starting_after"))
            return
        if "starting_after" in query.values:
            raise InvalidRequest(
                "`starting_after` is for streams.",
                expected="stream=true with it",
                where="$.starting_after",
            )
        state = await read_state(api, head, run, place)
        await context.respond_json(200, response_object(head, state), _run_header(run))

    async def _follow(
        self,
        context: RequestContext,
        api: CallerApi,
        head: ResponseHead,
        run: Run,
        place: int,
        starting_after: int | None,
    ) -> None:
        """Send the events of a response after a number, stored and new ones."""
        after = -1 if starting_after is None else starting_after
        try:
            reader = await self._dispatcher.read_turn(
                run.id, response_records(run)[place].after, context.caller.principal
            )
        except EventExpired as error:
            raise EventExpired(
                "The events of this response are past retention.",
                hint="Retrieve it without stream: the whole response is stored.",
                where="$.starting_after",
            ) from error
        frames = ResponseFrames(head, after)
        pages = CheckedPages(reader, frames, after)
        async with aclosing(pages):
            await self._connections.run_while_connected(context, pages.check())
            encoder = ResponseEncoder(frames, _run_header(run))
            await self._connections.send_pages(context, pages, encoder)

    async def delete(self, context: RequestContext) -> None:
        """Answer `DELETE /responses/{response_id}`.

        A response is no longer found, and its thread is deleted with the last one, unless it is a
        conversation: a later response may need what was said.
        """
        await read_body(context.scope, context.receive, 0)
        api, run, place = await self._find(context)
        if not run.status.ended and place == len(response_records(run)) - 1:
            await api.ask(CancelRun(run.id))
        await self._dispatcher.forget_response(run.id, place, context.caller.principal)
        if await _is_unused(api, run.thread_id):
            await api.ask(DeleteThread(run.thread_id))
        deleted = {"id": response_id(run.id, place), "object": "response", "deleted": True}
        await context.respond_json(200, deleted)

    async def cancel(self, context: RequestContext) -> None:
        """Answer `POST /responses/{response_id}/cancel`; a response that is over stays as it is."""
        await read_body(context.scope, context.receive, 1000)
        api, run, place = await self._find(context)
        goes_on = run.status in (Status.QUEUED, Status.IN_PROGRESS)
        if goes_on and place == len(response_records(run)) - 1:
            run = await api.ask(CancelRun(run.id))
        head = await make_head(api, run.id, place=place)
        state = await read_state(api, head, run, place)
        await context.respond_json(200, response_object(head, state), _run_header(run))

    async def list_input_items(self, context: RequestContext) -> None:
        """Answer `GET /responses/{response_id}/input_items`."""
        query = _Query(context, "limit", "order", "after", "before", "include")
        api, run, place = await self._find(context)
        head = await make_head(api, run.id, place=place)
        items = list(await input_items(api, head, run, place))
        await context.respond_json(200, page_of_items(items, query))

    async def _find(self, context: RequestContext) -> tuple[CallerApi, Run, int]:
        api = CallerApi(self._dispatcher, context.caller.principal)
        run, place = await find_response(api, path_parameters(context.scope)["response_id"])
        return api, run, place


class CheckedPages:
    """Pages of a response, the stored ones of which are read first to check the reader's number."""

    def __init__(self, reader: RunEventReader, frames: ResponseFrames, after: int) -> None:
        self.run_id = reader.run_id
        self._send_now: SendNow | None = None
        self._pages = reader.pages(self._try_to_send)
        self._frames = frames
        self._after = after
        self._held: list[tuple[int, Sequence[bytes]]] = []
        self._head = frames.head

    async def check(self) -> None:
        """Read until the number is reached. Raises `InvalidEventId` for one of the future."""
        counted = ResponseFrames(self._head)
        while counted.count <= self._after:
            page = await anext(self._pages, None)
            if page is not None:
                self._held.append(page)
                for line in page[1]:
                    counted.encode(events.decode(line))
            is_short = counted.count <= self._after
            if is_short and (page is None or not page[1] or counted.fold.ended):
                raise InvalidEventId(
                    f"This response has no event {self._after} yet.",
                    expected=f"at most {counted.count - 1}",
                    received=str(self._after),
                    where="$.starting_after",
                )

    async def pages(self, send_now: SendNow | None = None) -> AsyncGenerator[Any, None]:
        """Yield the pages that were read, then the others."""
        for first, lines in self._held:
            if lines:
                yield first, lines
        self._held.clear()
        self._send_now = send_now
        async for page in self._pages:
            yield page

    async def aclose(self) -> None:
        """Stop reading."""
        await self._pages.aclose()

    def _try_to_send(self, first: int, lines: Sequence[bytes]) -> bool:
        return self._send_now is not None and self._send_now(first, lines)


async def _is_unused(api: CallerApi, thread_id: str) -> bool:
    """Return whether a thread has nothing but deleted responses."""
    await api.ask(GetThread(thread_id))
    for run in await api.list_all(ListRuns(thread_id, MAX_LIMIT)):
        records = response_records(run)
        if not records or not all(each.deleted for each in records):
            return False
        if any(each.request.get("conversation") for each in records):
            return False
    return True


def _run_header(run: Run) -> Sequence[tuple[bytes, bytes]]:
    return [(RUN_HEADER, run.id.encode())]


class _Query:
    """The fields of a query; `include` may come several times, as `include[]` too."""

    def __init__(self, context: RequestContext, *known: str) -> None:
        self.values: dict[str, str] = {}
        self.include: list[str] = []
        try:
            pairs = parse_qsl(
                context.scope["query_string"].decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=100,
            )
        except ValueError as error:
            raise InvalidRequest(
                "The query cannot be read.", expected="percent-encoded UTF-8"
            ) from error
        for written, value in pairs:
            name = written.removesuffix("[]")
            if name == "include" and name in known:
                self.include.append(value)
            elif name not in known or name in self.values:
                raise InvalidRequest(
                    f"`{name[:64]}` is not a field of this query, or is given twice.",
                    expected=", ".join(known),
                    received=name[:64],
                )
            else:
                self.values[name] = value

    def flag(self, name: str) -> bool:
        """Return a field that is true or false."""
        return self.choice(name, ("true", "false"), "false") == "true"

    def choice(self, name: str, words: Sequence[str], default: str) -> str:
        """Return a field that is one of these words."""
        value = self.values.get(name, default)
        if value not in words:
            raise InvalidRequest(
                f"This is no value of `{name}`.",
                expected=" or ".join(words),
                received=value[:64],
                where=f"$.{name}",
            )
        return value

    def number(self, name: str, most: int | None = None) -> int | None:
        """Return a field that is a number from 0."""
        value = self.values.get(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdecimal() and len(value) < _DIGITS):
            raise InvalidRequest(
                f"`{name}` is no number from 0.",
                expected="decimal digits",
                received=value[:64],
                where=f"$.{name}",
            )
        if most is not None and not 1 <= int(value) <= most:
            raise InvalidRequest(
                f"`{name}` is too small or too large.",
                expected=f"1 to {most}",
                received=value,
                where=f"$.{name}",
            )
        return int(value)


_DIGITS = 16


def page_of_items(items: list[Item], query: _Query) -> dict[str, Any]:
    """Return a page of these items in the original's form; the newest come first by default."""
    if query.choice("order", ("asc", "desc"), "desc") == "desc":
        items = [*reversed(items)]
    after = query.values.get("after")
    if after is not None:
        place = next((at for at, item in enumerate(items) if item.id == after), None)
        if place is None:
            raise InvalidRequest(
                f"There is no item with id '{after[:128]}'.",
                expected="the last_id of a page",
                where="$.after",
            )
        items = items[place + 1 :]
    limit = query.number("limit", MAX_LIMIT) or DEFAULT_LIMIT
    some = [select_fields(item, query.include) for item in items[:limit]]
    return {
        "object": "list",
        "data": some,
        "first_id": some[0].id if some else None,
        "last_id": some[-1].id if some else None,
        "has_more": len(items) > limit,
    }

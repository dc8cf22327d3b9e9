"""Responses that are stored: read, followed, cancelled, deleted; and the items they came from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from antiphon.api.operations import CancelRun, DeleteThread, GetThread, ListRuns
from antiphon.server.caller_api import PAGE, CallerApi
from antiphon.server.gateway import Gateway
from antiphon.server.openai.answer_headers import RUN_HEADER
from antiphon.server.openai.conversations import ITEMS, ItemList, item_list
from antiphon.server.openai.pages import HeldPages
from antiphon.server.openai.pictures import pages_with_pictures
from antiphon.server.openai.queries import Query
from antiphon.server.openai.response_reader import (
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


class StoredResponses:
    """Answers requests about responses that are stored."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def retrieve(self, context: RequestContext) -> None:
        """Answer `GET /responses/{response_id}`."""
        query = Query(context.scope)
        api, run, place = await self._find(context)
        head = await make_head(api, run, place, query.include)
        if query.flag("stream"):
            await self._follow(context, head, run, place, _starting_after(query))
            return
        if query.text("starting_after") is not None:
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
        head: ResponseHead,
        run: Run,
        place: int,
        after: int,
    ) -> None:
        """Send the events of a response after this number, stored and new ones."""
        try:
            reader = await self._gateway.dispatcher.runs.read_turn(
                run.id, response_records(run)[place].after, context.caller.owner
            )
        except EventExpired as error:
            raise EventExpired(
                "The events of this response are past retention.",
                hint="Retrieve it without stream: the whole response is stored.",
                where="$.starting_after",
            ) from error
        api = self._gateway.api(context)
        pages = HeldPages(pages_with_pictures(api, head.hosted, reader))
        async with aclosing(pages):
            checking = _hold_until_event(pages, head, after)
            await self._gateway.connections.run_while_connected(context, checking)
            encoder = ResponseEncoder(ResponseFrames(head, after), _run_header(run))
            await self._gateway.connections.send_pages(context, pages, encoder)

    async def delete(self, context: RequestContext) -> None:
        """Answer `DELETE /responses/{response_id}`.

        A response is no longer found, and its thread is deleted with the last one, unless it is a
        conversation: a later response may need what was said.
        """
        await read_body(context.scope, context.receive, 0)
        api, run, place = await self._find(context)
        if not run.status.ended and place == len(response_records(run)) - 1:
            await api.ask(CancelRun(run.id))
        await self._gateway.dispatcher.runs.forget_response(
            run.id, place, context.caller.owner, keep="conversation"
        )
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
        head = await make_head(api, run, place)
        state = await read_state(api, head, run, place)
        await context.respond_json(200, response_object(head, state), _run_header(run))

    async def list_input_items(self, context: RequestContext) -> None:
        """Answer `GET /responses/{response_id}/input_items`."""
        query = Query(context.scope)
        api, run, place = await self._find(context)
        head = await make_head(api, run, place)
        items = list(await input_items(api, head, run, place))
        await context.respond_json(200, _page_of(items, query))

    async def _find(self, context: RequestContext) -> tuple[CallerApi, Run, int]:
        api = self._gateway.api(context)
        run, place = await find_response(api, path_parameters(context.scope)["response_id"])
        return api, run, place


async def _hold_until_event(pages: HeldPages, head: ResponseHead, number: int) -> None:
    """Hold pages until this event of the response. Raises `InvalidEventId` for a future one."""
    counted = ResponseFrames(head)
    while counted.count <= number:
        lines = await pages.hold_next()
        for line in lines or ():
            counted.encode(events.decode(line))
        if counted.count <= number and (not lines or counted.fold.ended):
            raise InvalidEventId(
                f"This response has no event {number} yet.",
                expected=f"at most {counted.count - 1}",
                received=str(number),
                where="$.starting_after",
            )


async def _is_unused(api: CallerApi, thread_id: str) -> bool:
    """Return whether a thread has nothing but deleted responses."""
    await api.ask(GetThread(thread_id))
    for run in await api.list_all(ListRuns(thread_id, PAGE)):
        records = response_records(run)
        if not records or not all(each.deleted for each in records):
            return False
        if any(each.request.get("conversation") for each in records):
            return False
    return True


def _run_header(run: Run) -> Sequence[tuple[bytes, bytes]]:
    return [(RUN_HEADER, run.id.encode())]


def _starting_after(query: Query) -> int:
    """Return the number of the event that a reader has; -1 without one."""
    given = query.text("starting_after")
    if given is None:
        return -1
    if not (given.isascii() and given.isdecimal() and len(given) < _DIGITS):
        raise InvalidRequest(
            "`starting_after` is no number of an event.",
            expected="decimal digits",
            received=given[:64],
            where="$.starting_after",
        )
    return int(given)


_DIGITS = 16


def _page_of(items: list[Item], query: Query) -> ItemList:
    """Return a page of these items; the newest come first by default."""
    if query.descending:
        items = [*reversed(items)]
    if query.after is not None:
        place = next((at for at, item in enumerate(items) if item.id == query.after), None)
        if place is None:
            raise InvalidRequest(
                f"There is no item with id '{query.after[:128]}'.",
                expected="the last_id of a page",
                where="$.after",
            )
        items = items[place + 1 :]
    limit = query.limit(ITEMS)
    return item_list(items[:limit], query.include, has_more=len(items) > limit)

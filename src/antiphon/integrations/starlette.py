"""Streams of runs from a Starlette or FastAPI application.

    app.add_exception_handler(AntiphonError, problem_response)

    async def chat(request: Request) -> Response:
        question = (await request.json())["question"]
        return await stream_events(client.converse(question, tools=[get_flight_times]))

    async def run(request: Request) -> Response:
        mine = client.on_behalf_of(request.user.identity)
        return await stream_run(mine, request.path_params["run_id"], request)

A stream holds no thread, and ends when its reader leaves.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from antiphon.client.async_client import AsyncClient
from antiphon.client.async_events import AsyncEvents
from antiphon.integrations.encoding import (
    ProblemResponse,
    Wire,
    create_encoder,
    encode_events,
    read_earlier,
    response_headers,
)
from antiphon.types.errors import AntiphonError
from antiphon.wires.ag_ui.events import Json


async def stream_events(
    events: AsyncEvents, *, wire: Wire = "events", history: Sequence[Json] = ()
) -> Response:
    """Return a response with these events, such as those of `client.converse`.

    A reader that leaves ends them, and cancels the tools that run for them. Raises `AntiphonError`
    if there is no first event.

    `history` are the messages that an AG-UI client sent: a turn that begins again is followed by a
    snapshot, which replaces all of the client's messages.
    """
    frames = await encode_events(events, create_encoder(wire, history=history)[0])
    return StreamingResponse(frames, headers=response_headers(wire))


async def stream_run(
    client: AsyncClient, run_id: str, request: Request, *, wire: Wire = "events"
) -> Response:
    """Return a response with the events of any run, after the reader's `Last-Event-ID`.

    Any number of readers may read a run. Raises `NotFound` for a run that is not there or belongs
    to another owner than the client acts for, and `InvalidEventId`.
    """
    last_event_id = request.headers.get("last-event-id")
    earlier = await read_earlier(client, run_id, wire)
    encoder, after = create_encoder(wire, run_id, last_event_id, earlier)
    events = client.events(run_id, after=after)
    frames = await encode_events(events, encoder)
    return StreamingResponse(frames, headers=response_headers(wire))


async def problem_response(request: Request, error: Exception) -> Response:
    """Return an `AntiphonError` as a problem document (RFC 9457): a handler of exceptions."""
    if not isinstance(error, AntiphonError):
        raise error
    problem = ProblemResponse.of(error)
    return Response(problem.body, problem.status, problem.headers)

"""Streams of runs from a Flask application.

    app.register_error_handler(AntiphonError, problem_response)

    @app.post("/chat")
    def chat() -> Response:
        question = request.get_json()["question"]
        return stream_events(client.converse(question, tools=[get_flight_times]))

    @app.get("/runs/<run_id>/events")
    def run(run_id: str) -> Response:
        return stream_run(client.on_behalf_of(current_user.id), run_id)

Each stream holds a thread of the WSGI server while it lasts.
"""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response, request

from antiphon.client.sync_client import Client
from antiphon.client.sync_events import Events
from antiphon.integrations.encoding import (
    ProblemResponse,
    Wire,
    create_encoder,
    encode_sync_events,
    read_earlier_sync,
    response_headers,
)
from antiphon.types.errors import AntiphonError
from antiphon.wires.ag_ui.events import Json


def stream_events(
    events: Events, *, wire: Wire = "events", history: Sequence[Json] = ()
) -> Response:
    """Return a response with these events, such as those of `client.converse`.

    A reader that leaves ends them, and cancels the tools that run for them. Raises `AntiphonError`
    if there is no first event.

    `history` are the messages that an AG-UI client sent: a turn that begins again is followed by a
    snapshot, which replaces all of the client's messages.
    """
    encoder, _ = create_encoder(wire, history=history)
    return Response(encode_sync_events(events, encoder), headers=response_headers(wire))


def stream_run(client: Client, run_id: str, *, wire: Wire = "events") -> Response:
    """Return a response with the events of any run, after the reader's `Last-Event-ID`.

    Any number of readers may read a run. Raises `NotFound` for a run that is not there or belongs
    to another owner than the client acts for, and `InvalidEventId`.
    """
    last_event_id = request.headers.get("last-event-id")
    earlier = read_earlier_sync(client, run_id, wire)
    encoder, after = create_encoder(wire, run_id, last_event_id, earlier)
    events = client.events(run_id, after=after)
    return Response(encode_sync_events(events, encoder), headers=response_headers(wire))


def problem_response(error: AntiphonError) -> Response:
    """Return an error as a problem document (RFC 9457): a handler of errors."""
    problem = ProblemResponse.of(error)
    return Response(problem.body, problem.status, problem.headers)

"""Streams of runs from a Django project, from sync views and from async ones.

    def chat(request):
        question = request.POST["question"]
        return stream_events(client.converse(question, tools=[get_flight_times]))

    async def run(request, run_id):
        return await astream_run(client.on_behalf_of(str(request.user.pk)), run_id, request)

`ProblemMiddleware` in `MIDDLEWARE` answers errors of Antiphon with problem documents. Async views
need an ASGI server; under WSGI, each stream holds a thread while it lasts.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from antiphon.client.async_client import AsyncClient
from antiphon.client.async_events import AsyncEvents
from antiphon.client.sync_client import Client
from antiphon.client.sync_events import Events
from antiphon.integrations.encoding import (
    ProblemResponse,
    Wire,
    create_encoder,
    encode_events,
    encode_sync_events,
    read_earlier,
    read_earlier_sync,
    response_headers,
)
from antiphon.types.errors import AntiphonError
from antiphon.wires.ag_ui.events import Json

_http: Any = importlib.import_module("django.http")  # Any: Django declares no types


def stream_events(events: Events, *, wire: Wire = "events", history: Sequence[Json] = ()) -> Any:
    """Return a `StreamingHttpResponse` with these events, such as those of `client.converse`.

    A reader that leaves ends them, and cancels the tools that run for them. Raises `AntiphonError`
    if there is no first event.

    `history` are the messages that an AG-UI client sent: a turn that begins again is followed by a
    snapshot, which replaces all of the client's messages.
    """
    encoder, _ = create_encoder(wire, history=history)
    return _respond(encode_sync_events(events, encoder), wire)


async def astream_events(
    events: AsyncEvents, *, wire: Wire = "events", history: Sequence[Json] = ()
) -> Any:
    """Return the same from an async view, for events of an `AsyncClient`."""
    encoder, _ = create_encoder(wire, history=history)
    return _respond(await encode_events(events, encoder), wire)


def stream_run(client: Client, run_id: str, request: Any, *, wire: Wire = "events") -> Any:
    """Return a response with the events of any run, after the reader's `Last-Event-ID`.

    Any number of readers may read a run. Raises `NotFound` for a run that is not there or belongs
    to another owner than the client acts for, and `InvalidEventId`.
    """
    last_event_id = request.headers.get("last-event-id")
    earlier = read_earlier_sync(client, run_id, wire)
    encoder, after = create_encoder(wire, run_id, last_event_id, earlier)
    events = client.events(run_id, after=after)
    return _respond(encode_sync_events(events, encoder), wire)


async def astream_run(
    client: AsyncClient, run_id: str, request: Any, *, wire: Wire = "events"
) -> Any:
    """Return the same from an async view, for an `AsyncClient`."""
    last_event_id = request.headers.get("last-event-id")
    earlier = await read_earlier(client, run_id, wire)
    encoder, after = create_encoder(wire, run_id, last_event_id, earlier)
    events = client.events(run_id, after=after)
    return _respond(await encode_events(events, encoder), wire)


class ProblemMiddleware:
    """Answers an `AntiphonError` of a view with a problem document (RFC 9457)."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        if importlib.import_module("asgiref.sync").iscoroutinefunction(get_response):
            importlib.import_module("asgiref.sync").markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        """Pass the request on."""
        return self._get_response(request)

    def process_exception(self, request: Any, error: Exception) -> Any:
        """Return the response to an error; None leaves it to others."""
        if not isinstance(error, AntiphonError):
            return None
        problem = ProblemResponse.of(error)
        return _http.HttpResponse(problem.body, status=problem.status, headers=problem.headers)


def _respond(frames: Any, wire: Wire) -> Any:
    return _http.StreamingHttpResponse(frames, headers=response_headers(wire))

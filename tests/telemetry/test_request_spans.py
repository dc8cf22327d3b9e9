"""Spans of requests, at the server and at the client."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.client.http_messages import request_span
from antiphon.telemetry.asgi_spans import Message, Receive, Scope, Send, trace_request
from antiphon.telemetry.tracing import route_template
from tests.support.telemetry.recording_tracer import RecordingTracer

TOKEN = "M3t6kQ-secret_of-a-link"
LINK = f"/v1/shared/{TOKEN}/copies"


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})


async def receive() -> Message:
    return {"type": "http.request"}


async def send(_message: Message) -> None:
    pass


@pytest.mark.parametrize("place", ["/v1/shared", "/api/links"])
async def test_the_token_of_a_shared_link_is_in_no_span_of_a_server(place: str):
    tracer = RecordingTracer()
    path = f"{place}/{TOKEN}/copies"
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "headers": []}

    await trace_request(tracer, answer, scope, receive, send)

    ((name, _, attributes),) = tracer.spans
    assert name == "POST"
    assert attributes["url.path"] == f"{place}/{{token}}/copies"
    assert route_template(path) == f"{place}/{{token}}/copies"


def test_the_token_of_a_shared_link_is_in_no_span_of_a_client():
    tracer = RecordingTracer()

    with request_span(tracer, None, {"method": "POST", "url": LINK}):
        pass

    ((name, _, attributes),) = tracer.spans
    assert name == "POST /v1/shared/{token}/copies"
    assert attributes["url.path"] == "/v1/shared/{token}/copies"


def test_ids_stay_in_the_path_of_a_span_and_are_left_out_of_its_name():
    tracer = RecordingTracer()

    with request_span(tracer, None, {"method": "GET", "url": "/v1/threads/thread_01ab"}):
        pass

    ((name, _, attributes),) = tracer.spans
    assert name == "GET /v1/threads/{id}"
    assert attributes["url.path"] == "/v1/threads/thread_01ab"

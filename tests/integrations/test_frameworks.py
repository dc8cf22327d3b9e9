"""Runs are streamed from other frameworks as from Antiphon's own server."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import fastapi
import flask
import httpx2
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from antiphon.client.async_client import AsyncClient
from antiphon.client.sync_client import Client
from antiphon.integrations import fastapi as for_fastapi
from antiphon.integrations import flask as for_flask
from antiphon.integrations import starlette as for_starlette
from antiphon.integrations.encoding import create_encoder, encode_events
from antiphon.testing import Script
from antiphon.types.errors import AntiphonError
from antiphon.wires.framing import HEARTBEAT
from antiphon.wires.sse import Decoder

QUESTION = "When does it leave?"


def get_flight_times() -> str:
    """Flight times."""
    return "16:35"


def add_flight_turns(script: Script) -> Script:
    return script.call("get_flight_times").reply("It leaves at 16:35.")


class Reply(msgspec.Struct):
    """The response to a request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def events(self) -> list[tuple[str | None, str, Any]]:
        """Return the id, name and data of each frame."""
        return [
            (frame.id, frame.event, json.loads(frame.data)) for frame in Decoder().feed(self.body)
        ]


Ask = Callable[..., Any]
"""Sends a request to the application: method, path, headers; returns a `Reply`."""


def create_django_client(client: Client) -> Any:
    """Create a client of a Django project with two views and the middleware for problems."""
    conf: Any = importlib.import_module("django.conf")
    if not conf.settings.configured:
        conf.settings.configure(
            ROOT_URLCONF=__name__,
            ALLOWED_HOSTS=["*"],
            SECRET_KEY="for a test",
            MIDDLEWARE=["antiphon.integrations.django.ProblemMiddleware"],
        )
        importlib.import_module("django").setup()
    for_django: Any = importlib.import_module("antiphon.integrations.django")
    path = importlib.import_module("django.urls").path

    def chat(request: Any, wire: str) -> Any:
        events = client.converse(QUESTION, tools=[get_flight_times])
        return for_django.stream_events(events, wire=wire)

    def run(request: Any, run_id: str, wire: str) -> Any:
        return for_django.stream_run(client, run_id, request, wire=wire)

    importlib.import_module("django.urls").clear_url_caches()
    globals()["urlpatterns"] = [
        path("chat/<wire>", chat),
        path("runs/<run_id>/<wire>", run),
    ]
    return importlib.import_module("django.test").Client(raise_request_exception=False)


@pytest.fixture(params=["starlette", "fastapi", "flask", "django"])
async def ask(request: pytest.FixtureRequest, antiphon_script: Script) -> AsyncIterator[Ask]:
    """Ask the same application, written in each framework."""
    settings = add_flight_turns(add_flight_turns(antiphon_script)).settings()
    if request.param in ("starlette", "fastapi"):
        async with AsyncClient(settings=settings) as client:
            build = (
                create_starlette_application
                if request.param == "starlette"
                else create_fastapi_application
            )
            transport = httpx2.ASGITransport(build(client))
            async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:

                async def ask(method: str, path: str, **headers: str) -> Reply:
                    answer = await http.request(method, path, headers=headers)
                    return Reply(answer.status_code, dict(answer.headers), answer.content)

                yield ask
    else:
        build_sync = create_flask_ask if request.param == "flask" else create_django_ask
        with Client(settings=settings) as sync_client:
            ask_now = build_sync(sync_client)

            async def ask_in_thread(*arguments: str, **headers: str) -> Reply:
                return await asyncio.to_thread(ask_now, *arguments, **headers)

            yield ask_in_thread


def create_starlette_application(client: AsyncClient) -> Starlette:
    async def chat(request: Request) -> Response:
        wire = request.path_params["wire"]
        events = client.converse(QUESTION, tools=[get_flight_times])
        return await for_starlette.stream_events(events, wire=wire)

    async def run(request: Request) -> Response:
        params = request.path_params
        return await for_starlette.stream_run(
            client, params["run_id"], request, wire=params["wire"]
        )

    return Starlette(
        routes=[
            Route("/chat/{wire}", chat, methods=["POST"]),
            Route("/runs/{run_id}/{wire}", run),
        ],
        exception_handlers={AntiphonError: for_starlette.problem_response},
    )


def create_fastapi_application(client: AsyncClient) -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    app.add_exception_handler(AntiphonError, for_fastapi.problem_response)

    async def chat(wire: str) -> Response:
        events = client.converse(QUESTION, tools=[get_flight_times])
        return await for_fastapi.stream_events(events, wire=wire)  # type: ignore[arg-type]

    async def run(run_id: str, wire: str, request: fastapi.Request) -> Response:
        return await for_fastapi.stream_run(client, run_id, request, wire=wire)  # type: ignore[arg-type]

    for function in (chat, run):
        function.__annotations__ = {
            name: {"str": str, "Response": Response, "fastapi.Request": fastapi.Request}[kind]
            for name, kind in function.__annotations__.items()
        }
    app.post("/chat/{wire}", response_class=Response)(chat)
    app.get("/runs/{run_id}/{wire}", response_class=Response)(run)
    return app


def create_flask_ask(client: Client) -> Callable[..., Reply]:
    app = flask.Flask(__name__)
    app.register_error_handler(AntiphonError, for_flask.problem_response)

    @app.post("/chat/<wire>")
    def chat(wire: Any) -> flask.Response:
        return for_flask.stream_events(
            client.converse(QUESTION, tools=[get_flight_times]), wire=wire
        )

    @app.get("/runs/<run_id>/<wire>")
    def run(run_id: str, wire: Any) -> flask.Response:
        return for_flask.stream_run(client, run_id, wire=wire)

    def ask(method: str, path: str, **headers: str) -> Reply:
        answer = app.test_client().open(path, method=method, headers=headers)
        response_headers = {name.lower(): value for name, value in answer.headers}
        return Reply(answer.status_code, response_headers, answer.get_data())

    return ask


def create_django_ask(client: Client) -> Callable[..., Reply]:
    http = create_django_client(client)

    def ask(method: str, path: str, **headers: str) -> Reply:
        answer = http.generic(method, path, headers=headers)
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        response_headers = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(answer.status_code, response_headers, body)

    return ask


async def test_a_conversation_is_streamed_with_the_tools_run_there(ask: Ask) -> None:
    reply = await ask("POST", "/chat/events")

    names = [name for _, name, _ in reply.events]
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-cache, no-transform"
    assert names[0] == "run.status"
    assert "tool_output.added" in names
    assert reply.events[-1][2] | {"run_id": ""} == {
        "type": "turn.ended",
        "run_id": "",
        "status": "completed",
    }
    assert [int(number or 0) for number, _, _ in reply.events] == list(range(1, len(names) + 1))


async def test_a_run_is_read_again_from_where_its_reader_stopped(ask: Ask) -> None:
    events = (await ask("POST", "/chat/events")).events
    run_id = events[0][2]["run_id"]

    second = await ask("GET", f"/runs/{run_id}/events")
    rest = await ask("GET", f"/runs/{run_id}/events", **{"Last-Event-ID": str(events[4][0])})

    assert second.events == events
    assert rest.events == events[5:]


@pytest.mark.parametrize(
    ("wire", "last"), [("ai-sdk", {"type": "finish"}), ("ag-ui", {"type": "RUN_FINISHED"})]
)
async def test_foreign_wires_are_spoken_and_resumed(
    ask: Ask, wire: str, last: dict[str, str]
) -> None:
    frames = (await ask("POST", f"/chat/{wire}")).body.split(b"\n\n")
    data_frames = [frame for frame in frames if b"data: {" in frame]
    run_id = (await ask("POST", "/chat/events")).events[0][2]["run_id"]
    run_frames = (await ask("GET", f"/runs/{run_id}/{wire}")).body.split(b"\n\n")
    numbered_frames = [frame for frame in run_frames if frame.startswith(b"id: ")]
    middle = numbered_frames[3].split(b"\n")[0].removeprefix(b"id: ").decode()
    rest = (await ask("GET", f"/runs/{run_id}/{wire}", **{"Last-Event-ID": middle})).body

    assert last.items() <= json.loads(data_frames[-1].split(b"data: ")[1]).items()
    assert b"It leaves" in b"".join(data_frames)
    assert numbered_frames[2] not in rest
    assert numbered_frames[-1] in rest


async def test_a_snapshot_for_an_ag_ui_reader_has_the_messages_before_the_run(ask: Ask) -> None:
    run_id = (await ask("POST", "/chat/events")).events[0][2]["run_id"]
    frames = (await ask("GET", f"/runs/{run_id}/ag-ui")).events
    first_id = next(event_id for event_id, _, _ in frames if event_id)

    rest = (await ask("GET", f"/runs/{run_id}/ag-ui", **{"Last-Event-ID": first_id})).events

    [snapshot] = [data for _, _, data in rest if data["type"] == "MESSAGES_SNAPSHOT"]
    assert snapshot["messages"][0]["role"] == "user"
    assert snapshot["messages"][0]["content"] == QUESTION


async def test_what_cannot_be_streamed_is_a_problem_of_the_request(ask: Ask) -> None:
    unknown_run = await ask("GET", "/runs/run_none/events")
    invalid_id = await ask(
        "GET", "/runs/run_none/events", **{"Last-Event-ID": "x\u202ey".encode().hex()}
    )

    assert (unknown_run.status, invalid_id.status) == (404, 400)
    assert unknown_run.headers["content-type"] == "application/problem+json"
    assert json.loads(unknown_run.body)["code"] == "not_found"
    assert json.loads(invalid_id.body)["code"] == "invalid_event_id"


async def test_silence_is_filled_and_a_reader_that_leaves_ends_its_tools(
    antiphon_script: Script,
) -> None:
    was_cancelled = asyncio.Event()

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            was_cancelled.set()

    antiphon_script.call("wait_for_ever")
    async with AsyncClient(settings=antiphon_script.settings()) as client, asyncio.timeout(60):
        events = client.converse(QUESTION, tools=[wait_for_ever])
        encoder, _ = create_encoder("events")
        frames = await encode_events(events, encoder, heartbeat=0.01)
        received = b""
        async for frame in frames:
            if frame == HEARTBEAT and b"turn.ended" in received:
                break
            received += frame
        await frames.aclose()
        await was_cancelled.wait()


@pytest.fixture
def failing_client(antiphon_script: Script) -> Iterator[Client]:
    with Client(settings=antiphon_script.settings()) as client:
        yield client


def test_a_run_that_fails_ends_with_an_event_that_says_so(failing_client: Client) -> None:
    app = flask.Flask(__name__)
    app.add_url_rule(
        "/", view_func=lambda: for_flask.stream_events(failing_client.converse("Hello"))
    )
    reply = Reply(200, {}, app.test_client().get("/").get_data())

    assert reply.events[-1][2]["status"] == "failed"

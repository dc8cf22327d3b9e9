"""Responses over a WebSocket, as the official Python client and raw frames see them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import websockets
from msgspec.structs import replace
from openai.lib.responses_websocket import (
    AsyncResponsesWebSocketSession,
    ResponsesWebSocketError,
    ResponsesWebSocketLimits,
)

from antiphon import AsyncClient
from antiphon.limits.unsent_bytes import UnsentBytes
from antiphon.server.streaming import StreamTimeouts
from antiphon.server.websocket import WebSocketConnection
from antiphon.testing.script import Script
from antiphon.types.ids import response_id
from tests.server.openai_place import Place
from tests.support.server.served import SETTINGS, asgi, eventually, serve

ENDS = {"response.completed", "response.failed", "response.incomplete", "error"}
LIMITS = ResponsesWebSocketLimits(
    max_lanes=8,
    max_events_per_lane=1000,
    max_events=1000,
    max_bytes_per_lane=10**7,
    max_bytes=10**7,
)
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@asynccontextmanager
async def open_place(
    script: Script, settings: Mapping[str, Any] | None = None, **options: Any
) -> AsyncIterator[Place]:
    own_settings = replace(SETTINGS, model=script.model, **(settings or {}))
    async with (
        serve(own_settings, **options) as server,
        AsyncClient(server.url) as native_client,
    ):
        place = Place(server, script, native_client)
        async with place.client:
            yield place


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with open_place(Script()) as place:
        yield place


async def read_events(socket: Any) -> list[Any]:
    """Return the events of one response, or of one error."""
    events = [await socket.recv()]
    while events[-1].type not in ENDS:
        events.append(await socket.recv())
    return events


async def ask(socket: Any, place: Place, input: Any, **options: Any) -> Any:
    """Return the response that is over, or the error."""
    await socket.response.create(model=place.script.model, input=input, **options)
    last = (await read_events(socket))[-1]
    return last.error if last.type == "error" else last.response


@asynccontextmanager
async def connect_raw(place: Place, **options: Any) -> AsyncIterator[Any]:
    url = place.server.url.replace("http", "ws") + "/openai/v1/responses"
    async with websockets.connect(url, proxy=None, close_timeout=1, **options) as socket:
        yield socket


async def send_frame(socket: Any, message: Any) -> Any:
    """Send a frame; return the first answer to it."""
    await socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
    return json.loads(await socket.recv())


async def read_until_closed(socket: Any) -> list[Any]:
    """Return what comes until the socket is closed."""
    events: list[Any] = []
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            events.append(json.loads(await socket.recv()))
    return events


def create(place: Place, **fields: Any) -> dict[str, Any]:
    return {"type": "response.create", "model": place.script.model, "input": "Hello?", **fields}


# Answers.


@pytest.mark.slow
async def test_a_response_comes_in_the_events_of_its_stream(place: Place) -> None:
    place.script.reply("Hello, you.", reasoning="A greeting.", tokens=(7, 2))

    async with place.client.responses.connect() as socket:
        await socket.response.create(model=place.script.model, input="Hello?")
        events = await read_events(socket)

    assert [event.sequence_number for event in events] == list(range(len(events)))
    response = events[-1].response
    stream = await place.client.responses.retrieve(response.id, stream=True)
    assert [event.to_dict() for event in events] == [each.to_dict() async for each in stream]
    assert response.output_text == "Hello, you."


async def test_one_socket_continues_a_response_whether_or_not_it_is_stored(place: Place) -> None:
    async with place.client.responses.connect() as socket:
        for store in (True, False):
            place.script.reply("Noted.").reply("Ember.")
            first = await ask(socket, place, "The word is ember.", store=store)
            second = await ask(socket, place, "Which?", store=store, previous_response_id=first.id)

            assert (second.output_text, second.store) == ("Ember.", store)
            assert second.previous_response_id == first.id
            messages = place.script.messages
            assert [message["content"] for message in messages] == [
                "The word is ember.",
                "Noted.",
                "Which?",
            ]


async def test_an_unstored_call_is_answered_over_its_socket(place: Place) -> None:
    place.script.call("weather", city="Rome").reply("Sunny.")

    async with place.client.responses.connect() as socket:
        first = await ask(socket, place, "Weather?", tools=[WEATHER], store=False)
        (call,) = first.output
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "Sun"}
        answer = await ask(
            socket,
            place,
            [output],
            tools=[WEATHER],
            store=False,
            previous_response_id=first.id,
        )

    assert answer.output_text == "Sunny."
    await place.wait_for_deletion()


async def test_an_unstored_response_is_known_on_its_socket_alone(place: Place) -> None:
    place.script.reply("Noted.")

    async with place.client.responses.connect() as socket:
        first = await ask(socket, place, "The word is ember.", store=False)
        async with place.client.responses.connect() as other:
            error = await ask(other, place, "Which?", store=False, previous_response_id=first.id)

    assert (error.code, error.param) == ("previous_response_not_found", "previous_response_id")
    await place.wait_for_deletion()


async def test_a_continuation_that_fails_forgets_what_it_continued(place: Place) -> None:
    place.script.reply("Noted.")
    orphan = {"type": "function_call_output", "call_id": "call_orphan", "output": "x"}

    async with place.client.responses.connect() as socket:
        first = await ask(socket, place, "The word is ember.", store=False)
        error = await ask(socket, place, [orphan], store=False, previous_response_id=first.id)
        second_error = await ask(
            socket, place, "Which?", store=False, previous_response_id=first.id
        )

    assert "No tool call found" in error.message
    assert second_error.code == "previous_response_not_found"


async def test_a_stored_response_continues_an_unstored_one_in_a_thread_that_stays(
    place: Place,
) -> None:
    place.script.reply("Noted.").reply("Ember.")

    async with place.client.responses.connect() as socket:
        first = await ask(socket, place, "The word is ember.", store=False)
        second = await ask(socket, place, "Which?", previous_response_id=first.id)

    await place.wait_for_deletion()
    assert (await place.client.responses.retrieve(second.id)).output_text == "Ember."


async def test_a_prepared_response_has_no_output_and_gives_its_input(place: Place) -> None:
    place.script.reply("Ember.")

    async with connect_raw(place) as socket:
        await socket.send(
            json.dumps(create(place, input="The word is ember.", generate=False, store=False))
        )
        events = [json.loads(await socket.recv()) for _ in range(3)]
        prepared_response = events[-1]["response"]
        await socket.send(
            json.dumps(
                create(
                    place, input="Which?", store=False, previous_response_id=prepared_response["id"]
                )
            )
        )
        while (event := json.loads(await socket.recv()))["type"] not in ENDS:
            pass

    assert [each["type"] for each in events] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    assert (prepared_response["output"], prepared_response["usage"]["total_tokens"]) == ([], 0)
    assert event["type"] == "response.completed"
    messages = place.script.messages
    assert [message["content"] for message in messages] == ["The word is ember.", "Which?"]


# Lanes.


async def test_lanes_are_answered_at_the_same_time_and_each_in_order() -> None:
    async with open_place(Script(), settings={"demo_delay": 1000.0}) as place:
        place.script.reply("First.").reply("Second.")
        async with (
            place.client.responses.connect() as connection,
            AsyncResponsesWebSocketSession(connection, limits=LIMITS) as session,
        ):
            stalled_lane, quick_lane = session.lane("never"), session.lane("quick")
            for _ in range(2):  # past the session, which would not send the second one
                request = create(place, model="demo", input="60 words", stream_id="never")
                await connection.send(request)  # type: ignore[arg-type]
            for text in ("First.", "Second."):
                await quick_lane.send(create(place))
                assert (await quick_lane.get_final_response()).output_text == text
            first_event = await stalled_lane.recv()

        assert (first_event.type, first_event.stream_id) == ("response.created", "never")
        runs = (await place.native_client.list_runs()).data
        assert len(runs) == 3  # the second one of the lane has not begun


async def test_requests_that_are_sent_at_once_are_answered_one_after_the_other(
    place: Place,
) -> None:
    place.script.reply("First.").reply("Second.")

    async with place.client.responses.connect() as socket:
        for _ in range(2):
            await socket.response.create(model=place.script.model, input="Hello?")
        first, second = await read_events(socket), await read_events(socket)

    assert [events[-1].response.output_text for events in (first, second)] == ["First.", "Second."]
    assert {event.response.id for event in first if hasattr(event, "response")} == {
        first[-1].response.id
    }


async def test_a_fork_on_another_lane_leaves_the_first_as_it_is(place: Place) -> None:
    place.script.reply("Noted.").reply("Fork.").reply("Main.")

    async with (
        place.client.responses.connect() as connection,
        AsyncResponsesWebSocketSession(connection, limits=LIMITS) as session,
    ):
        main, critic = session.lane("main"), session.lane("critic")
        await main.send(create(place, store=False))
        first = await main.get_final_response()
        for lane in (critic, main):
            await lane.send(create(place, store=False, previous_response_id=first.id))
        texts = [(await lane.get_final_response()).output_text for lane in (critic, main)]

    assert sorted(texts) == ["Fork.", "Main."]
    assert all(len(request.decode_messages()) == 3 for request in place.script.requests[1:])


# Failures.


async def test_a_model_that_fails_ends_its_response_and_the_next_one_is_answered(
    place: Place,
) -> None:
    place.script.fail("provider_rejected", "No.").reply("Hello.")
    async with (
        place.client.responses.connect() as connection,
        AsyncResponsesWebSocketSession(connection, limits=LIMITS) as session,
    ):
        lane = session.lane("main")
        await lane.send(create(place))
        failed_response = await lane.get_final_response()
        await lane.send(create(place))
        answer = await lane.get_final_response()

    assert (failed_response.status, answer.output_text) == ("failed", "Hello.")


async def test_a_request_that_is_refused_names_its_lane_and_what_is_wrong(place: Place) -> None:
    async with (
        place.client.responses.connect() as connection,
        AsyncResponsesWebSocketSession(connection, limits=LIMITS) as session,
    ):
        lane = session.lane("main")
        await lane.send(create(place, previous_response_id="resp_missing"))
        with pytest.raises(ResponsesWebSocketError) as excinfo:
            await lane.get_final_response()

    event: Any = excinfo.value.event
    assert (event.status, event.stream_id) == (400, "main")
    assert event.error.code == "previous_response_not_found"
    assert event.error.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        (b"{}", "invalid_request", None),
        ("not JSON", "invalid_request", None),
        ("[]", "invalid_type", None),
        ("{}", "invalid_request", "type"),
        ('{"type": "response.cancel"}', "invalid_request", "type"),
        ('{"type": "response.create", "stream_id": ""}', "invalid_stream_id", "stream_id"),
        ('{"type": "response.create", "stream_id": "a b"}', "invalid_stream_id", "stream_id"),
        ('{"type": "response.create", "background": true}', "invalid_request", "background"),
        ('{"type": "response.create"}', "missing_required_parameter", "model"),
        ('{"type": "response.create", "model": "demo", "input": 1}', "invalid_type", "input"),
        ('{"type": "response.create", "model": "demo", "input": "\\ud800"}', None, None),
    ],
)
async def test_a_message_that_is_no_request_is_refused_and_the_socket_goes_on(
    place: Place, frame: str | bytes, code: str | None, param: str | None
) -> None:
    async with connect_raw(place) as socket:
        error = await send_frame(socket, frame)
        first_event = await send_frame(socket, create(place))

    assert (error["type"], error["status"]) == ("error", 400)
    assert error["error"]["type"] == "invalid_request_error"
    if code is not None:
        assert (error["error"]["code"], error["error"]["param"]) == (code, param)
    assert first_event["type"] == "response.created"


async def test_a_message_that_is_too_deep_is_refused(place: Place) -> None:
    async with connect_raw(place) as socket:
        error = await send_frame(socket, '{"input":' + "[" * 5000 + "]" * 5000 + "}")

    assert error["status"] == 413


async def test_a_steer_is_refused_with_its_input(place: Place) -> None:
    steer = {"type": "response.steer", "previous_response_id": "resp_1", "input": "Stop."}

    async with connect_raw(place) as socket:
        error = await send_frame(socket, steer)

    assert error["type"] == "response.steer.failed"
    assert error["error"]["code"] == "steering_not_supported"
    assert error["steer"] == {"previous_response_id": "resp_1", "input": "Stop."}


async def test_a_socket_has_at_most_32_lanes(place: Place) -> None:
    async with connect_raw(place) as socket:
        for number in range(32):
            wrong_request = create(place, stream_id=f"lane-{number}", input=1)
            assert (await send_frame(socket, wrong_request))["stream_id"] == f"lane-{number}"
        error = await send_frame(socket, create(place, stream_id="one-more"))

    assert error["error"]["code"] == "websocket_stream_limit_reached"


async def test_requests_that_wait_are_limited() -> None:
    async with (
        open_place(Script(), settings={"demo_delay": 1000.0}) as place,
        connect_raw(place) as socket,
    ):
        for _ in range(128):
            await socket.send(json.dumps(create(place, model="demo", input="60 words")))
        answer = await send_frame(socket, create(place, model="demo"))
        while answer["type"] != "error":
            answer = json.loads(await socket.recv())

    assert answer["status"] == 429


async def test_a_message_beyond_the_largest_body_ends_the_socket(place: Place) -> None:
    async with connect_raw(place) as socket:
        with contextlib.suppress(websockets.ConnectionClosed):
            await socket.send("x" * 50_000_000)
        assert await read_until_closed(socket) == []

    assert socket.close_code in {1006, 1009}  # the client may write while the socket is closed


async def test_a_message_in_many_fragments_is_one(place: Place) -> None:
    text = json.dumps(create(place))

    async with connect_raw(place) as socket:
        await socket.send(list(text))
        first_event = json.loads(await socket.recv())
        await socket.send([text])
        second_event = json.loads(await socket.recv())

    assert first_event["type"] == "response.created"
    assert second_event["type"] != "error"


@pytest.mark.parametrize("opcode", [b"\x81", b"\x01"], ids=["frame", "fragment"])
async def test_a_message_that_comes_too_slowly_ends_the_socket(opcode: bytes) -> None:
    class HastyConnection(WebSocketConnection):
        message_patience = 0.05

    def open_connection(**options: Any) -> Any:
        return HastyConnection(**options, unsent=UnsentBytes(1000))

    async def accept(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    async with asgi(accept, ws=open_connection) as url:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(
            b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        size = 10 if opcode == b"\x81" else 5
        writer.write(opcode + bytes([0x80 + size]) + bytes(4) + b"hello")

        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


# The end of a socket.


async def test_a_stored_response_survives_its_socket_and_one_that_is_not_ends() -> None:
    async with open_place(Script(), settings={"demo_delay": 0.01}) as place:
        for store in (True, False):
            async with connect_raw(place) as socket:
                request = create(place, model="demo", input="60 words", store=store)
                response = (await send_frame(socket, request))["response"]
            if store:
                stream = await place.client.responses.retrieve(response["id"], stream=True)
                assert [event async for event in stream][-1].type == "response.completed"
        await place.wait_for_deletion()
        assert len((await place.native_client.list_runs()).data) == 1


async def test_an_old_socket_takes_no_request_and_is_closed() -> None:
    timeouts = StreamTimeouts(lifetime=0.0, recheck=0.1)
    async with open_place(Script(), timeouts=timeouts) as place, connect_raw(place) as socket:
        error = await send_frame(socket, create(place))
        last = (await read_until_closed(socket))[-1]

    assert error["error"]["code"] == "websocket_connection_limit_reached"
    assert (last, socket.close_code) == (error, 1001)


async def test_a_process_that_ends_lets_its_clients_connect_to_another() -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with open_place(Script()) as place:
            socket = await stack.enter_async_context(connect_raw(place))
            place.script.reply("Hello.")
            await send_frame(socket, create(place))
        assert (await read_until_closed(socket))[-1]["type"] == "response.completed"

    assert socket.close_code == 1012


@pytest.mark.slow
async def test_a_reader_that_is_too_slow_loses_its_socket(
    quick_send_timeouts: StreamTimeouts,
) -> None:
    async with open_place(Script(), timeouts=quick_send_timeouts) as place:
        place.script.reply("x" * 900_000)
        async with connect_raw(place, max_size=None, max_queue=1) as socket:
            socket.transport.pause_reading()
            await socket.send(json.dumps(create(place)))
            client = await place.server.client()

            async def is_cut() -> bool:
                requests = (await client.get("/metrics")).text
                return 'route="/openai/v1/responses",status="101"' in requests

            await eventually(is_cut)
        (run,) = (await place.native_client.list_runs()).data
        stream = await place.client.responses.retrieve(response_id(run.id, 0), stream=True)
        assert [event async for event in stream][-1].type == "response.completed"


# Access.


async def test_a_socket_needs_a_key_as_every_request_does(place: Place) -> None:
    key = await place.server.key("ann")
    for headers in ({}, {"authorization": "Bearer sk-wrong"}, {"cookie": f"session={key}"}):
        with pytest.raises(websockets.InvalidStatus) as excinfo:
            async with connect_raw(place, additional_headers=headers):
                pass
        assert excinfo.value.response.status_code == 401
        assert json.loads(excinfo.value.response.body)["error"]["code"] == "invalid_api_key"


async def test_the_responses_of_another_owner_are_not_found(place: Place) -> None:
    place.script.reply("Hello.").reply("Hello.")
    keys = [await place.server.key(owner) for owner in ("ann", "bob")]
    async with (
        place.client.with_options(api_key=keys[0]).responses.connect() as ann,
        place.client.with_options(api_key=keys[1]).responses.connect() as bob,
    ):
        for store in (True, False):
            first = await ask(ann, place, "Hello?", store=store)
            error = await ask(bob, place, "Hello?", previous_response_id=first.id)
            assert error.code == "previous_response_not_found"


async def test_a_key_that_is_revoked_ends_its_socket(quick_timeouts: StreamTimeouts) -> None:
    async with open_place(Script(), timeouts=quick_timeouts) as place:
        key = await place.server.key("ann")
        headers = {"authorization": f"Bearer {key}"}
        async with connect_raw(place, additional_headers=headers) as socket:
            await place.server.runtime.store.revoke_key(place.server.keys[key])
            (error,) = await read_until_closed(socket)

    assert error["error"]["code"] == "invalid_api_key"
    assert socket.close_code == 1008


async def test_a_page_of_another_origin_opens_no_socket(place: Place) -> None:
    with pytest.raises(websockets.InvalidStatus) as excinfo:
        async with connect_raw(place, origin="https://elsewhere.example"):
            pass

    assert excinfo.value.response.status_code == 403


async def test_other_addresses_have_no_socket_and_this_one_no_list(place: Place) -> None:
    for path in ("/openai/v1/models", "/v1/threads", "/healthz", "/nothing"):
        with pytest.raises(websockets.InvalidStatus) as excinfo:
            async with websockets.connect(
                place.server.url.replace("http", "ws") + path, proxy=None
            ):
                pass
        assert excinfo.value.response.status_code == 404

    client = await place.server.client()
    assert (await client.get("/openai/v1/responses")).status_code == 405

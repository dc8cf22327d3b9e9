"""A run's events over HTTP: what a stream holds, how it is resumed, and how it ends.

Guarantees G14, G17 and G18.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress

import httpx2
import msgspec
import pytest
from msgspec.structs import replace
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from antiphon.server.auth import AdmittedCaller
from antiphon.server.requests import RequestContext
from antiphon.server.streaming import (
    SessionCheck,
    StreamTimeouts,
    _EventStreamSender,
    send_events,
)
from antiphon.telemetry.metrics import Metrics
from antiphon.types import events
from antiphon.types.accounts import Principal
from antiphon.types.errors import Unavailable
from antiphon.wires import sse
from tests.support.server.served import DEADLINE, SETTINGS, Served, asgi, eventually, serve

TOOLS = [{"name": "get_flight_times", "parameters": {"type": "object", "properties": {}}}]
FLIGHT = {"role": "user", "content": "When does the next LAX-JFK flight leave?"}


async def _frames(stream: httpx2.Response) -> AsyncGenerator[sse.SseFrame, None]:
    decoder = sse.Decoder()
    async for piece in stream.aiter_raw():
        for frame in decoder.feed(piece):
            yield frame


def _parse_frames(text: bytes) -> list[sse.SseFrame]:
    return sse.Decoder().feed(text)


async def _turn(client: httpx2.AsyncClient, **fields: object) -> list[sse.SseFrame]:
    answer = await client.post("/v1/process", json=fields)
    assert answer.status_code == 200, answer.text
    return _parse_frames(answer.content)


async def _begin_resting_run(client: httpx2.AsyncClient) -> str:
    """Begin a run that no worker starts: its stream is silent and does not end."""
    thread = (await client.post("/v1/threads")).json()["id"]
    return (await client.post("/v1/runs", json={"thread_id": thread})).json()["id"]


async def test_a_turn_is_streamed_as_numbered_events_up_to_its_end(
    client: httpx2.AsyncClient,
) -> None:
    frames = await _turn(client, message={"content": "hi"})
    sent_events = [events.decode(frame.data) for frame in frames]

    assert [int(frame.id or 0) for frame in frames] == list(range(1, len(frames) + 1))
    assert [frame.event for frame in frames] == [event.type for event in sent_events]
    assert (frames[0].event, frames[-1].event) == ("run.status", "turn.ended")


async def test_a_stream_is_for_reading_at_once_and_for_nobody_to_keep(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.post(
        "/v1/process",
        json={"message": {"content": "hi"}},
        headers={"accept-encoding": "gzip, br, zstd"},
    )

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in answer.headers


async def test_the_first_event_does_not_wait_for_the_second() -> None:
    async with serve(replace(SETTINGS, demo_delay=10 * DEADLINE)) as server:
        client = await server.client()
        turn = client.stream("POST", "/v1/process", json={"message": FLIGHT})
        async with asyncio.timeout(DEADLINE), turn as stream, aclosing(_frames(stream)) as frames:
            first = await anext(frames)

    assert first.event == "run.status"


async def test_a_run_goes_through_a_hand_off_under_one_numbering(
    client: httpx2.AsyncClient,
) -> None:
    first = await _turn(client, message=FLIGHT, tools=TOOLS)
    manifest = events.decode(next(f.data for f in first if f.event == "action.required"))
    assert isinstance(manifest, events.ActionRequired)
    for action in manifest.actions:
        output = {"tool_call_id": action.tool_call_id, "output": '{"departs": "17:00"}'}
        answer = await client.post(
            "/v1/submit_tool_output", json={"run_id": manifest.run_id} | output
        )
        assert answer.status_code == 200
    second = await _turn(client, run_id=manifest.run_id)
    all_frames = _parse_frames((await client.get(f"/v1/runs/{manifest.run_id}/events")).content)
    outputs = [frame for frame in all_frames if frame.event == "tool_output.added"]

    numbers = [int(frame.id or 0) for frame in all_frames]
    assert numbers == list(range(1, len(all_frames) + 1))
    assert outputs
    assert [frame for frame in all_frames if frame in first] == first
    assert all_frames[-len(second) :] == second


@pytest.mark.parametrize("form", ["header", "query"])
async def test_a_stream_is_resumed_behind_any_event(client: httpx2.AsyncClient, form: str) -> None:
    run = events.decode((await _turn(client, message={"content": "hi"}))[0].data)
    assert isinstance(run, events.RunStatus)
    target = f"/v1/runs/{run.run_id}/events"
    all_frames = _parse_frames((await client.get(target)).content)

    for number in range(len(all_frames) + 1):
        cursor = (
            {"headers": {"last-event-id": str(number)}}
            if form == "header"
            else {"params": {"after": str(number)}}
        )
        later_frames = _parse_frames((await client.get(target, **cursor)).content)
        assert later_frames == all_frames[number:]


async def test_the_header_of_a_returning_reader_is_stronger_than_the_query(
    client: httpx2.AsyncClient,
) -> None:
    run = events.decode((await _turn(client, message={"content": "hi"}))[0].data)
    assert isinstance(run, events.RunStatus)

    answer = await client.get(
        f"/v1/runs/{run.run_id}/events?after=0", headers={"last-event-id": "2"}
    )

    assert _parse_frames(answer.content)[0].id == "3"


GARBAGE = ["", "-1", "+1", "1.0", "0x1", "1e3", "one", "1 2", "9" * 19, "1,2", "\u0661", "%31"]


@pytest.mark.parametrize("garbage", [*GARBAGE, "999999"])
async def test_an_event_number_that_is_none_is_refused(
    client: httpx2.AsyncClient, garbage: str
) -> None:
    run = await _begin_resting_run(client)
    target = f"/v1/runs/{run}/events"
    by_header = await client.get(target, headers=[(b"last-event-id", garbage.encode())])
    by_query = await client.get(target, params={"after": garbage})

    for answer in (by_header, by_query):
        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid_event_id"


async def test_two_event_numbers_are_none(client: httpx2.AsyncClient) -> None:
    run = await _begin_resting_run(client)

    answer = await client.get(
        f"/v1/runs/{run}/events", headers=[("last-event-id", "1"), ("last-event-id", "1")]
    )

    assert answer.json()["code"] == "invalid_event_id"


async def test_the_events_of_an_unknown_run_are_not_found(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/v1/runs/run_x/events")).status_code == 404


async def test_a_run_in_the_background_is_answered_at_once(client: httpx2.AsyncClient) -> None:
    answer = await client.post(
        "/v1/process", json={"message": {"content": "hi"}, "background": True}
    )

    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/json")
    assert answer.json()["id"].startswith("run_")


async def test_a_silent_stream_gets_comments(quick_timeouts: StreamTimeouts) -> None:
    async with serve(timeouts=quick_timeouts) as server:
        client = await server.client()
        run = await _begin_resting_run(client)
        decoder = sse.Decoder()
        async with client.stream("GET", f"/v1/runs/{run}/events") as stream:
            async with asyncio.timeout(DEADLINE):
                async for piece in stream.aiter_raw():
                    decoder.feed(piece)
                    if decoder.comments >= 2:
                        break

    assert decoder.comments >= 2


async def test_a_reader_who_leaves_ends_its_stream_and_not_the_run() -> None:
    async with serve(replace(SETTINGS, demo_delay=0.05)) as server:
        client = await server.client()
        turn = client.stream("POST", "/v1/process", json={"message": FLIGHT})
        async with turn as stream, aclosing(_frames(stream)) as frames:
            run = events.decode((await anext(frames)).data)
        assert isinstance(run, events.RunStatus)
        await eventually(lambda: _no_streams(client))
        left_at = (await client.get(f"/v1/runs/{run.run_id}")).json()["status"]
        later_frames = _parse_frames((await client.get(f"/v1/runs/{run.run_id}/events")).content)

    assert left_at == "in_progress"
    assert later_frames[-1].event == "turn.ended"
    assert events.decode(later_frames[-1].data).status == "completed"  # type: ignore[union-attr]


async def _no_streams(client: httpx2.AsyncClient) -> bool:
    return "antiphon_streams_open 0" in (await client.get("/metrics")).text


async def test_a_key_that_is_revoked_ends_the_stream(server: Served) -> None:
    key = await server.key("ann")
    client = await server.client(key)
    run = await _begin_resting_run(client)
    async with client.stream("GET", f"/v1/runs/{run}/events") as stream:
        pieces = stream.aiter_raw()
        await anext(pieces)
        await server.runtime.store.revoke_key(server.keys[key])
        async with asyncio.timeout(DEADLINE):  # five seconds are promised
            async for _ in pieces:
                pass
    answer = await client.get(f"/v1/runs/{run}/events", headers={"last-event-id": "1"})

    assert answer.status_code == 401


async def test_a_thread_that_is_deleted_ends_the_streams_of_its_runs(
    client: httpx2.AsyncClient,
) -> None:
    run = await _begin_resting_run(client)
    thread = (await client.get(f"/v1/runs/{run}")).json()["thread_id"]
    async with client.stream("GET", f"/v1/runs/{run}/events") as stream:
        pieces = stream.aiter_raw()
        await anext(pieces)
        assert (await client.delete(f"/v1/threads/{thread}")).status_code == 200
        async with asyncio.timeout(DEADLINE):
            async for _ in pieces:
                pass

    assert (await client.get(f"/v1/runs/{run}/events")).status_code == 404


# The stream's sender alone, behind a real connection: what no run does on demand.


class EndlessPages:
    """Pages without end; `count` of those that were taken."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.run_id = "run_endless"
        self.lines = lines
        self.count = 0
        self.closed = asyncio.Event()

    async def pages(self, _: object = None) -> AsyncGenerator[tuple[int, Sequence[bytes]], None]:
        try:
            while True:
                yield 1 + self.count * len(self.lines), self.lines
                self.count += 1
                await asyncio.sleep(0)
        finally:
            self.closed.set()


async def _is_valid() -> bool:
    return True


async def _is_not_valid() -> bool:
    return False


def _open_stream(
    pages: EndlessPages, timeouts: StreamTimeouts, still: Callable[[], Awaitable[bool]] = _is_valid
) -> object:
    async def application(scope, receive, send):  # type: ignore[no-untyped-def]
        await receive()
        exchange = RequestContext(
            scope, receive, send, AdmittedCaller(Principal(), frozenset()), time.monotonic()
        )
        await send_events(exchange, pages, SessionCheck(lambda: False, still), Metrics(), timeouts)

    return application


TEXT = events.encode(events.TextDelta(text="x" * 1000))


async def test_a_reader_who_does_not_read_is_cut_and_costs_a_fixed_buffer(
    quick_send_timeouts: StreamTimeouts,
) -> None:
    pages = EndlessPages([TEXT] * 64)
    async with asgi(_open_stream(pages, quick_send_timeouts)) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.setblocking(False)
            await asyncio.get_running_loop().sock_connect(reader, (host, int(port)))
            await asyncio.get_running_loop().sock_sendall(
                reader, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            async with asyncio.timeout(DEADLINE):
                await pages.closed.wait()
            # The connection is dropped, not closed in order: closing would wait for the reader.
            with suppress(ConnectionResetError):
                async with asyncio.timeout(DEADLINE):
                    while await asyncio.get_running_loop().sock_recv(reader, 2**20):
                        pass

    assert pages.count * len(TEXT) * 64 < 8_000_000


async def test_a_key_is_looked_at_while_the_stream_is_busy(quick_timeouts: StreamTimeouts) -> None:
    pages = EndlessPages([TEXT])
    async with (
        asgi(_open_stream(pages, quick_timeouts, _is_not_valid)) as url,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        answer = await client.get(url, timeout=DEADLINE)

    assert pages.closed.is_set()
    assert answer.status_code == 200


async def test_a_key_that_cannot_be_looked_at_just_now_ends_no_stream(
    quick_timeouts: StreamTimeouts,
) -> None:
    page_counts: list[int] = []

    async def fail_at_first() -> bool:
        page_counts.append(pages.count)
        if len(page_counts) < 4:
            raise Unavailable("The database does not answer.")
        return False

    pages = EndlessPages([TEXT])
    async with (
        asgi(_open_stream(pages, quick_timeouts, fail_at_first)) as url,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        await client.get(url, timeout=DEADLINE)

    assert len(page_counts) == 4
    assert page_counts == sorted(set(page_counts))  # pages were taken in between


@pytest.mark.parametrize(
    "line", [b'{"type":"text.delta"}\n', b'{"type":"a\\nid: 1"}', b'{"type":"x\r"}']
)
async def test_nothing_gets_into_a_stream_but_our_names_and_one_line(
    line: bytes, quick_timeouts: StreamTimeouts
) -> None:
    pages = EndlessPages([line])
    async with (
        asgi(_open_stream(pages, quick_timeouts)) as url,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(url)


async def test_line_ends_in_what_is_told_stay_inside_their_event(
    client: httpx2.AsyncClient,
) -> None:
    evil = "a\r\n\r\nevent: turn.ended\ndata: {}\n\n\u2028\u2029\u0085\rid: 7\n\n"
    first = await _turn(client, message=FLIGHT, tools=TOOLS)
    manifest = events.decode(next(f.data for f in first if f.event == "action.required"))
    assert isinstance(manifest, events.ActionRequired)
    call = manifest.actions[0].tool_call_id
    body = {"run_id": manifest.run_id, "tool_call_id": call, "output": evil}
    await client.post("/v1/submit_tool_output", json=body)
    await _turn(client, run_id=manifest.run_id)
    all_frames = _parse_frames((await client.get(f"/v1/runs/{manifest.run_id}/events")).content)
    sent_events = [events.decode(frame.data) for frame in all_frames]

    assert [int(frame.id or 0) for frame in all_frames] == list(range(1, len(all_frames) + 1))
    assert [event.output for event in sent_events if isinstance(event, events.ToolOutputAdded)] == [
        evil
    ]


@pytest.mark.parametrize("path", ["/v1/process", "/v1/runs"])
async def test_a_caller_that_leaves_while_it_waits_for_a_busy_thread_starts_nothing(
    server: Served, client: httpx2.AsyncClient, path: str
) -> None:
    thread = (await client.post("/v1/threads")).json()["id"]
    busy_run = (await client.post("/v1/runs", json={"thread_id": thread})).json()["id"]
    body = msgspec.json.encode({"thread_id": thread, "if_busy": "wait"})
    _, writer = await server.connect()
    writer.write(
        b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
    )
    await writer.drain()
    writer.close()

    async def has_left() -> bool:
        metrics = (await client.get("/metrics")).text
        return f'route="{path}",status="499"' in metrics

    await eventually(has_left)
    await client.post(f"/v1/runs/{busy_run}/cancel")

    runs = (await client.get("/v1/runs", params={"thread_id": thread})).json()["data"]
    assert [run["id"] for run in runs] == [busy_run]


async def test_a_key_that_is_revoked_may_not_wait_for_a_busy_thread(
    quick_timeouts: StreamTimeouts,
) -> None:
    async with serve(timeouts=quick_timeouts) as server:
        key = await server.key("ann")
        other_client = await server.client(await server.key("ann"))
        waiting_client = await server.client(key)
        thread = (await other_client.post("/v1/threads")).json()["id"]
        busy_run = (await other_client.post("/v1/runs", json={"thread_id": thread})).json()["id"]
        body = {"thread_id": thread, "if_busy": "wait"}
        waiting_request = asyncio.create_task(waiting_client.post("/v1/runs", json=body))

        async def is_waiting() -> bool:
            return server.runtime.bus.subscribers_of("run") > 0

        await eventually(is_waiting)
        await server.runtime.store.revoke_key(server.keys[key])
        async with asyncio.timeout(DEADLINE):
            answer = await waiting_request
        await other_client.post(f"/v1/runs/{busy_run}/cancel")

        runs = (await other_client.get("/v1/runs", params={"thread_id": thread})).json()["data"]
        assert answer.status_code == 401
        assert [run["id"] for run in runs] == [busy_run]


async def test_a_finished_request_leaves_nothing_for_the_cycle_collector() -> None:
    """Cycles of long streams outlive the young generations, and the old ones are seldom freed."""
    kinds = (RequestResponseCycle, _EventStreamSender, RequestContext)

    async def are_all_collected() -> bool:
        return not any(isinstance(each, kinds) for each in gc.get_objects())

    async with serve() as server:
        gc.collect()
        gc.disable()
        try:
            async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as client:
                await _turn(client, message={"content": "hi"})
                run = await _begin_resting_run(client)
                async with client.stream("GET", f"/v1/runs/{run}/events") as stream:
                    await anext(_frames(stream))
            await eventually(are_all_collected)
        finally:
            gc.enable()

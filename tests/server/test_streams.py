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


def _read(text: bytes) -> list[sse.SseFrame]:
    return sse.Decoder().feed(text)


async def _turn(client: httpx2.AsyncClient, **fields: object) -> list[sse.SseFrame]:
    answer = await client.post("/v1/process", json=fields)
    assert answer.status_code == 200, answer.text
    return _read(answer.content)


async def _resting(client: httpx2.AsyncClient) -> str:
    """A run that nobody has asked to begin: its stream is silent and does not end."""
    thread = (await client.post("/v1/threads")).json()["id"]
    return (await client.post("/v1/runs", json={"thread_id": thread})).json()["id"]


async def test_a_turn_is_streamed_as_numbered_events_up_to_its_end(
    client: httpx2.AsyncClient,
) -> None:
    frames = await _turn(client, message={"content": "hi"})
    told = [events.decode(frame.data) for frame in frames]

    assert [int(frame.id or 0) for frame in frames] == list(range(1, len(frames) + 1))
    assert [frame.event for frame in frames] == [event.type for event in told]
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
        saved = await client.post(
            "/v1/submit_tool_output", json={"run_id": manifest.run_id} | output
        )
        assert saved.status_code == 200
    second = await _turn(client, run_id=manifest.run_id)
    whole = _read((await client.get(f"/v1/runs/{manifest.run_id}/events")).content)
    outputs = [frame for frame in whole if frame.event == "tool_output.added"]

    numbers = [int(frame.id or 0) for frame in whole]
    assert numbers == list(range(1, len(whole) + 1))
    assert outputs
    assert [frame for frame in whole if frame in first] == first
    assert whole[-len(second) :] == second


@pytest.mark.parametrize("by", ["header", "query"])
async def test_a_stream_is_resumed_behind_any_event(client: httpx2.AsyncClient, by: str) -> None:
    run = events.decode((await _turn(client, message={"content": "hi"}))[0].data)
    assert isinstance(run, events.RunStatus)
    target = f"/v1/runs/{run.run_id}/events"
    whole = _read((await client.get(target)).content)

    for number in range(len(whole) + 1):
        cursor = (
            {"headers": {"last-event-id": str(number)}}
            if by == "header"
            else {"params": {"after": str(number)}}
        )
        rest = _read((await client.get(target, **cursor)).content)
        assert rest == whole[number:]


async def test_the_header_of_a_returning_reader_is_stronger_than_the_query(
    client: httpx2.AsyncClient,
) -> None:
    run = events.decode((await _turn(client, message={"content": "hi"}))[0].data)
    assert isinstance(run, events.RunStatus)

    answer = await client.get(
        f"/v1/runs/{run.run_id}/events?after=0", headers={"last-event-id": "2"}
    )

    assert _read(answer.content)[0].id == "3"


GARBAGE = ["", "-1", "+1", "1.0", "0x1", "1e3", "one", "1 2", "9" * 19, "1,2", "\u0661", "%31"]


@pytest.mark.parametrize("garbage", [*GARBAGE, "999999"])
async def test_an_event_number_that_is_none_is_refused(
    client: httpx2.AsyncClient, garbage: str
) -> None:
    run = await _resting(client)
    target = f"/v1/runs/{run}/events"
    by_header = await client.get(target, headers=[(b"last-event-id", garbage.encode())])
    by_query = await client.get(target, params={"after": garbage})

    for answer in (by_header, by_query):
        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid_event_id"


async def test_two_event_numbers_are_none(client: httpx2.AsyncClient) -> None:
    run = await _resting(client)

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


async def test_silence_is_told_by_comments(impatient: StreamTimeouts) -> None:
    async with serve(timeouts=impatient) as server:
        client = await server.client()
        run = await _resting(client)
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
        rest = _read((await client.get(f"/v1/runs/{run.run_id}/events")).content)

    assert left_at == "in_progress"
    assert rest[-1].event == "turn.ended"
    assert events.decode(rest[-1].data).status == "completed"  # type: ignore[union-attr]


async def _no_streams(client: httpx2.AsyncClient) -> bool:
    return "antiphon_streams_open 0" in (await client.get("/metrics")).text


async def test_a_key_that_is_revoked_ends_the_stream(server: Served) -> None:
    key = await server.key("ann")
    client = await server.client(key)
    run = await _resting(client)
    async with client.stream("GET", f"/v1/runs/{run}/events") as stream:
        pieces = stream.aiter_raw()
        await anext(pieces)
        await server.runtime.store.revoke_key(server.keys[key])
        async with asyncio.timeout(DEADLINE):  # five seconds are promised
            async for _ in pieces:
                pass
    again = await client.get(f"/v1/runs/{run}/events", headers={"last-event-id": "1"})

    assert again.status_code == 401


async def test_a_thread_that_is_deleted_ends_the_streams_of_its_runs(
    client: httpx2.AsyncClient,
) -> None:
    run = await _resting(client)
    thread = (await client.get(f"/v1/runs/{run}")).json()["thread_id"]
    async with client.stream("GET", f"/v1/runs/{run}/events") as stream:
        pieces = stream.aiter_raw()
        await anext(pieces)
        assert (await client.delete(f"/v1/threads/{thread}")).status_code == 200
        async with asyncio.timeout(DEADLINE):
            async for _ in pieces:
                pass

    assert (await client.get(f"/v1/runs/{run}/events")).status_code == 404


# The teller alone, behind a real connection: what no run does on demand.


class Endless:
    """Pages without end; `told` counts those that were taken."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.run_id = "run_endless"
        self.lines = lines
        self.told = 0
        self.closed = asyncio.Event()

    async def pages(self, _: object = None) -> AsyncGenerator[tuple[int, Sequence[bytes]], None]:
        try:
            while True:
                yield 1 + self.told * len(self.lines), self.lines
                self.told += 1
                await asyncio.sleep(0)
        finally:
            self.closed.set()


async def _stands() -> bool:
    return True


async def _stands_no_more() -> bool:
    return False


def _telling(
    pages: Endless, timeouts: StreamTimeouts, still: Callable[[], Awaitable[bool]] = _stands
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
    hasty: StreamTimeouts,
) -> None:
    pages = Endless([TEXT] * 64)
    async with asgi(_telling(pages, hasty)) as url:
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
            # The connection is dropped, not closed in order: that would wait for who does not read.
            with suppress(ConnectionResetError):
                async with asyncio.timeout(DEADLINE):
                    while await asyncio.get_running_loop().sock_recv(reader, 2**20):
                        pass

    assert pages.told * len(TEXT) * 64 < 8_000_000


async def test_a_key_is_looked_at_while_the_stream_is_busy(impatient: StreamTimeouts) -> None:
    pages = Endless([TEXT])
    async with (
        asgi(_telling(pages, impatient, _stands_no_more)) as url,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        answer = await client.get(url, timeout=DEADLINE)

    assert pages.closed.is_set()
    assert answer.status_code == 200


async def test_a_key_that_cannot_be_looked_at_just_now_ends_no_stream(
    impatient: StreamTimeouts,
) -> None:
    told: list[int] = []

    async def away_at_first() -> bool:
        told.append(pages.told)
        if len(told) < 4:
            raise Unavailable("The database does not answer.")
        return False

    pages = Endless([TEXT])
    async with (
        asgi(_telling(pages, impatient, away_at_first)) as url,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        await client.get(url, timeout=DEADLINE)

    assert len(told) == 4
    assert told == sorted(set(told))  # it was told on in between


@pytest.mark.parametrize(
    "line", [b'{"type":"text.delta"}\n', b'{"type":"a\\nid: 1"}', b'{"type":"x\r"}']
)
async def test_nothing_gets_into_a_stream_but_our_names_and_one_line(
    line: bytes, impatient: StreamTimeouts
) -> None:
    pages = Endless([line])
    async with (
        asgi(_telling(pages, impatient)) as url,
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
    whole = _read((await client.get(f"/v1/runs/{manifest.run_id}/events")).content)
    told = [events.decode(frame.data) for frame in whole]

    assert [int(frame.id or 0) for frame in whole] == list(range(1, len(whole) + 1))
    assert [event.output for event in told if isinstance(event, events.ToolOutputAdded)] == [evil]


@pytest.mark.parametrize("path", ["/v1/process", "/v1/runs"])
async def test_who_leaves_while_waiting_for_a_busy_thread_starts_nothing(
    server: Served, client: httpx2.AsyncClient, path: str
) -> None:
    thread = (await client.post("/v1/threads")).json()["id"]
    busy = (await client.post("/v1/runs", json={"thread_id": thread})).json()["id"]
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
    await client.post(f"/v1/runs/{busy}/cancel")

    runs = (await client.get("/v1/runs", params={"thread_id": thread})).json()["data"]
    assert [run["id"] for run in runs] == [busy]


async def test_a_key_that_is_revoked_may_not_wait_for_a_busy_thread(
    impatient: StreamTimeouts,
) -> None:
    async with serve(timeouts=impatient) as server:
        key = await server.key("ann")
        other = await server.client(await server.key("ann"))
        waiting = await server.client(key)
        thread = (await other.post("/v1/threads")).json()["id"]
        busy = (await other.post("/v1/runs", json={"thread_id": thread})).json()["id"]
        body = {"thread_id": thread, "if_busy": "wait"}
        asked = asyncio.create_task(waiting.post("/v1/runs", json=body))

        async def waits() -> bool:
            return server.runtime.bus.subscribers_of("run") > 0

        await eventually(waits)
        await server.runtime.store.revoke_key(server.keys[key])
        async with asyncio.timeout(DEADLINE):
            answer = await asked
        await other.post(f"/v1/runs/{busy}/cancel")

        runs = (await other.get("/v1/runs", params={"thread_id": thread})).json()["data"]
        assert answer.status_code == 401
        assert [run["id"] for run in runs] == [busy]


async def test_a_finished_request_leaves_nothing_for_the_cycle_collector() -> None:
    """Cycles of long streams outlive the young generations, and the old ones are seldom freed."""
    kinds = (RequestResponseCycle, _EventStreamSender, RequestContext)

    async def nothing_is_left() -> bool:
        return not any(isinstance(each, kinds) for each in gc.get_objects())

    async with serve() as server:
        gc.collect()
        gc.disable()
        try:
            async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as client:
                await _turn(client, message={"content": "hi"})
                run = await _resting(client)
                async with client.stream("GET", f"/v1/runs/{run}/events") as left:
                    await anext(_frames(left))
            await eventually(nothing_is_left)
        finally:
            gc.enable()

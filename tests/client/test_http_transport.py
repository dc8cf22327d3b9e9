"""The HTTP transport, against a server that cuts its streams at any byte."""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.api import operations
from antiphon.api.operations import (
    Complete,
    Follow,
    NewMessage,
    Operation,
    Process,
    SubmitToolOutput,
)
from antiphon.client.async_http_transport import AsyncHttpTransport
from antiphon.client.http_messages import FIRST_PATIENCE, RetryPolicy, client_arguments
from antiphon.client.recovery import REPORT_SECONDS, RetrySchedule
from antiphon.client.sync_http_transport import HttpTransport
from antiphon.types import errors
from antiphon.types.events import Event, Numbered, RunStatus, TextDelta, TurnEnded, UsageAdded
from antiphon.types.runs import Action, Run, Status, Thread, Usage
from tests.support.client.cut_server import Cut, CutServer, Plain, Whole, frames, serving

RUN = "run_1"


def status(status: Status) -> RunStatus:
    return RunStatus(run_id=RUN, thread_id="thread_1", status=status)


TURN: list[Event] = [
    status(Status.QUEUED),
    status(Status.IN_PROGRESS),
    *(TextDelta(text=text) for text in ("When ", "the \u2028 haïku", " 👩‍🚀\n\n", "ends.")),
    UsageAdded(usage=Usage(input_tokens=3)),
    status(Status.COMPLETED),
    TurnEnded(run_id=RUN, status=Status.COMPLETED),
]
HANDED_OFF: list[Event] = [*TURN[:-2], TurnEnded(run_id=RUN, status=Status.ACTION_REQUIRED)]
PROCESS = Process(message=NewMessage("hi"))
ACTION = Action(
    id="act_1",
    run_id=RUN,
    thread_id="thread_1",
    turn=1,
    tool_call_id="c1",
    name="f",
    arguments={},
    created_at=1,
    expires_at=2,
)

Read = Callable[[str, Operation[Any]], list[Numbered]]
Send = Callable[[str, Operation[Any]], Any]


def read_now(address: str, call: Operation[Any]) -> list[Numbered]:
    transport = HttpTransport(address, patience=10)
    try:
        return [numbered for batch in transport.stream(call) for numbered in batch]
    finally:
        transport.close()


def read_later(address: str, call: Operation[Any]) -> list[Numbered]:
    async def read() -> list[Numbered]:
        transport = AsyncHttpTransport(address, patience=10)
        try:
            return [numbered async for batch in transport.stream(call) for numbered in batch]
        finally:
            await transport.close()

    return asyncio.run(read())


def send_now(address: str, call: Operation[Any]) -> Any:
    transport = HttpTransport(address, "the-key", patience=10)
    try:
        return transport.send(call)
    finally:
        transport.close()


def send_later(address: str, call: Operation[Any]) -> Any:
    async def send() -> Any:
        transport = AsyncHttpTransport(address, "the-key", patience=10)
        try:
            return await transport.send(call)
        finally:
            await transport.close()

    return asyncio.run(send())


both_read = pytest.mark.parametrize("read", [read_now, read_later])
both_send = pytest.mark.parametrize("send", [send_now, send_later])


@pytest.fixture(scope="module")
def server() -> Iterator[CutServer]:
    with serving() as server:
        yield server


def number_log(log: list[Event]) -> list[Numbered]:
    return list(enumerate(log, 1))


def run_response(status: Status, turn: int = 1) -> Plain:
    value = Run(id=RUN, thread_id="thread_1", model="demo", status=status, turn=turn, created_at=1)
    return Plain(200, msgspec.json.encode(value))


def problem(status: int, code: str, *headers: str, **members: Any) -> Plain:
    body = {"type": f"/problems/{code}", "title": "T", "status": status, "code": code, **members}
    return Plain(status, msgspec.json.encode(body), headers)


def stream_response(parts: list[bytes]) -> Plain:
    return Plain(200, b"".join(parts), ("Content-Type: text/event-stream",))


@both_read
def test_a_stream_is_read_to_the_end_of_its_turn(server: CutServer, read: Read):
    server.plays(TURN, [])

    assert read(server.address, PROCESS) == number_log(TURN)
    assert len(server.requests) == 1


EACH, SOME = 1, 7
"""Steps from one cut to the next; the soak tries each place."""
steps = pytest.mark.parametrize("step", [SOME, pytest.param(EACH, marks=pytest.mark.soak)])


def each_cut(server: CutServer, step: int) -> Iterator[int]:
    """Make the server cut its next stream at each of its places in turn, and yield the place."""
    for place in range(-1, len(b"".join(frames(TURN))), step):
        server.plays(TURN, [Cut(place, reset=place % 2 == 0)])
        yield place


@steps
def test_a_stream_cut_at_any_byte_is_joined_without_gap_or_repeat(server: CutServer, step: int):
    transport = HttpTransport(server.address)

    for place in each_cut(server, step):
        events = [numbered for batch in transport.stream(PROCESS) for numbered in batch]
        assert events == number_log(TURN), place
    transport.close()


@steps
async def test_a_stream_on_a_loop_cut_at_any_byte_is_joined_too(server: CutServer, step: int):
    transport = AsyncHttpTransport(server.address)

    for place in each_cut(server, step):
        events = [numbered async for batch in transport.stream(PROCESS) for numbered in batch]
        assert events == number_log(TURN), place
    await transport.close()


CUTS = st.lists(st.builds(Cut, st.integers(40, 900), st.booleans(), st.booleans()), max_size=4)


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(cuts=CUTS, read=st.sampled_from([read_now, read_later]))
def test_however_often_it_is_cut_each_event_comes_once(
    server: CutServer, cuts: list[Cut], read: Read
):
    server.plays(TURN, cuts)

    assert read(server.address, PROCESS) == number_log(TURN)


@both_read
def test_a_connection_that_ends_in_order_within_the_last_event_is_no_end(
    server: CutServer, read: Read
):
    server.plays(TURN, [Cut(519), Cut(184), Cut(40, orderly=True)])

    assert read(server.address, PROCESS) == number_log(TURN)


@both_read
def test_a_connection_that_ends_in_order_before_the_last_event_is_no_end(
    server: CutServer, read: Read
):
    server.plays(TURN, [Cut(519), Cut(184), Cut(0, orderly=True)])

    assert read(server.address, PROCESS) == number_log(TURN)


@both_read
def test_a_dropped_stream_is_resumed_by_the_last_number_seen(server: CutServer, read: Read):
    server.plays(TURN, [Cut(300)])

    read(server.address, PROCESS)
    first, second = server.requests

    assert (first.method, first.path) == ("POST", "/v1/process")
    assert (second.method, second.path) == ("GET", f"/v1/runs/{RUN}/events")
    assert int(second.headers["last-event-id"]) > 0


@both_read
def test_a_turn_without_any_answer_is_requested_again_under_the_same_key(
    server: CutServer, read: Read
):
    server.plays(TURN, [Cut(-1), Cut(0)])

    assert read(server.address, PROCESS) == number_log(TURN)
    assert {request.path for request in server.requests} == {"/v1/process"}
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


@both_read
def test_the_next_turn_goes_on_from_its_own_first_number(server: CutServer, read: Read):
    server.plays([*HANDED_OFF, *TURN], [Cut(200)], first=len(HANDED_OFF) + 1)

    assert (
        read(server.address, Complete(RUN)) == number_log([*HANDED_OFF, *TURN])[len(HANDED_OFF) :]
    )


@both_read
def test_a_refusal_of_the_first_try_is_the_callers(server: CutServer, read: Read):
    server.plays(TURN, [problem(409, "run_ended")])

    with pytest.raises(errors.RunEnded):
        read(server.address, Complete(RUN))


@both_read
def test_following_a_run_goes_on_through_its_turns(server: CutServer, read: Read):
    log = [*HANDED_OFF, *TURN]
    server.plays(log, [Cut(700), Cut(150, orderly=True)])

    assert read(server.address, Follow(RUN)) == number_log(log)


@both_read
def test_following_from_the_last_event_ends_when_the_run_says_so(server: CutServer, read: Read):
    server.plays(TURN, [Whole(), run_response(Status.COMPLETED)])

    assert read(server.address, Follow(RUN, after=len(TURN))) == []


@both_read
def test_a_silent_orderly_end_of_a_run_that_goes_on_is_not_believed(server: CutServer, read: Read):
    server.plays(TURN, [Cut(0, orderly=True), run_response(Status.IN_PROGRESS)])

    assert read(server.address, Follow(RUN)) == number_log(TURN)


@both_read
def test_a_run_cancelled_while_it_waited_ends_its_stream(server: CutServer, read: Read):
    log: list[Event] = [status(Status.QUEUED), status(Status.CANCELLED)]
    server.plays(log, [])

    assert read(server.address, PROCESS) == number_log(log)


@both_read
def test_an_event_that_only_newer_servers_know_is_passed_over(server: CutServer, read: Read):
    sent_frames = frames(TURN)
    sent_frames[2] = b'id: 3\nevent: moon.rose\ndata: {"type":"moon.rose"}\n\n'
    server.plays(TURN, [stream_response(sent_frames)])

    events = read(server.address, PROCESS)

    assert events == [each for each in number_log(TURN) if each[0] != 3]


@both_read
def test_a_gap_in_the_numbers_is_filled_from_the_log(server: CutServer, read: Read):
    sent_frames = frames(TURN)
    del sent_frames[3]
    server.plays(TURN, [stream_response(sent_frames)])

    assert read(server.address, PROCESS) == number_log(TURN)


@both_read
def test_a_page_of_html_is_no_stream(server: CutServer, read: Read):
    server.plays(TURN, [Plain(200, b"<html>", ("Content-Type: text/html",))])

    with pytest.raises(errors.BadSettings):
        read(server.address, PROCESS)


@both_send
def test_a_problem_document_is_raised_as_its_error(server: CutServer, send: Send):
    server.plays(
        [], [problem(409, "run_active", detail="It is busy.", hint="Wait.", run_id="run_2")]
    )

    with pytest.raises(errors.RunActive) as error_info:
        send(server.address, operations.CreateRun("thread_1"))

    assert str(error_info.value) == "It is busy."
    assert error_info.value.details == {"hint": "Wait.", "run_id": "run_2"}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(418, "of_a_later_version"), errors.CallerError),
        (Plain(404, b"<html>not here</html>"), errors.NotFound),
        (Plain(401, b""), errors.Unauthorized),
        (Plain(500, b"oops"), errors.AntiphonError),
        (Plain(403, '{"message": "für Sie nicht"}'.encode("latin-1")), errors.Forbidden),
        (Plain(404, b'{"a":' * 100_000), errors.NotFound),
        (Plain(302, b"", ("Location: /elsewhere",)), errors.BadSettings),
        (Plain(200, b"<html>"), errors.BadSettings),
    ],
)
@both_send
def test_what_is_no_problem_document_is_an_error_all_the_same(
    server: CutServer, send: Send, answer: Plain, kind: type[Exception]
):
    server.plays([], [answer])

    with pytest.raises(kind):
        send(server.address, operations.GetRun(RUN))
    assert len(server.requests) == 1


THREAD = Plain(201, msgspec.json.encode(Thread(id="thread_1", created_at=1, updated_at=1)))


@both_send
def test_a_call_whose_answer_was_lost_is_repeated_under_the_same_key(server: CutServer, send: Send):
    server.plays([], [Cut(-1), Cut(-1, reset=True), Plain(502, b"bad gateway"), THREAD])

    assert send(server.address, operations.CreateThread()).id == "thread_1"
    assert len(server.requests) == 4
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


@both_send
def test_two_calls_have_two_keys(server: CutServer, send: Send):
    server.plays([], [THREAD, THREAD])

    send(server.address, operations.CreateThread())
    send(server.address, operations.CreateThread())

    assert len({request.headers["idempotency-key"] for request in server.requests}) == 2


@both_send
def test_an_output_needs_no_key_to_be_sent_again(server: CutServer, send: Send):
    server.plays([], [Cut(-1), Plain(200, msgspec.json.encode(ACTION))])

    assert send(server.address, SubmitToolOutput(RUN, "c1", "x")) == ACTION
    assert len({request.body for request in server.requests}) == 1


@pytest.mark.parametrize(
    ("send", "status", "code"),
    [(send_now, 503, "overloaded"), (send_later, 429, "overloaded"), (send_later, 409, "x")],
)
def test_a_server_that_says_when_to_come_back_is_obeyed(
    server: CutServer, send: Send, status: int, code: str
):
    server.plays([], [problem(status, code, "Retry-After: 1"), THREAD])
    started = time.monotonic()

    assert send(server.address, operations.CreateThread()).id == "thread_1"
    assert time.monotonic() - started >= 1


@both_send
def test_a_server_that_was_there_once_is_waited_for_longer_than_a_wrong_address(
    server: CutServer, send: Send
):
    seconds = int(FIRST_PATIENCE) + 1
    server.plays([], [problem(503, "overloaded", f"Retry-After: {seconds}"), THREAD])

    assert send(server.address, operations.CreateThread()).id == "thread_1"


@both_send
def test_a_wait_beyond_all_patience_is_an_error_at_once(server: CutServer, send: Send):
    server.plays([], [problem(503, "overloaded", "Retry-After: 3600")])

    with pytest.raises(errors.Overloaded) as error_info:
        send(server.address, operations.CreateThread())
    assert error_info.value.details["retry_after"] == 3600


@both_send
def test_the_key_and_the_call_are_sent_as_the_api_has_them(server: CutServer, send: Send):
    server.plays([], [Plain(200, b'{"data":[],"has_more":false}')])

    send(server.address, operations.ListThreads(q="a b&c"))
    (request,) = server.requests

    assert request.headers["authorization"] == "Bearer the-key"
    assert request.path == "/v1/threads?limit=20&q=a+b%26c"


@pytest.mark.parametrize(
    ("server", "key"),
    [
        ("localhost:8000", None),
        ("http://[x", None),
        ("http://x:port", None),
        ("http://", None),
        ("http://x", "a\nb"),
    ],
)
@pytest.mark.parametrize("transport", [HttpTransport, AsyncHttpTransport])
def test_an_address_or_a_key_that_cannot_be_one_is_refused_at_once(
    transport: type[HttpTransport], server: str, key: str | None
):
    with pytest.raises(errors.BadSettings):
        transport(server, key)


@both_read
def test_a_stream_that_asks_for_a_pause_gets_it(server: CutServer, read: Read):
    server.plays(TURN, [stream_response([b"retry: 300\n\n", *frames(TURN)[:2]])])

    started = time.monotonic()

    assert read(server.address, PROCESS) == number_log(TURN)
    assert time.monotonic() - started >= 0.3


def test_tries_end_when_patience_does():
    tries = RetrySchedule(patience=10)
    failure = errors.ConnectionLost("gone")
    tries.pause(failure, now=0)
    tries.pause(failure, now=9)

    with pytest.raises(errors.ConnectionLost):
        tries.pause(failure, now=10)


def test_patience_may_grow_while_a_call_is_tried():
    tries = RetrySchedule(patience=1)
    failure = errors.ConnectionLost("gone")
    tries.pause(failure, now=0)
    tries.patience = 60

    tries.pause(failure, now=50)
    with pytest.raises(errors.ConnectionLost):
        tries.pause(failure, now=60)


def test_success_restores_patience():
    tries = RetrySchedule(patience=1)
    tries.pause(errors.ConnectionLost("gone"), now=0)
    tries.reset()

    assert tries.pause(errors.ConnectionLost("gone"), now=100) == 0


def test_a_loss_is_reported_once_until_the_server_is_back():
    tries = RetrySchedule(patience=60)
    failure = errors.ConnectionLost("gone")

    def fail(now: float, pause: float) -> float | None:
        tries.pause(failure, now=now)
        return tries.report_loss(now, pause)

    assert [fail(0, 0.1), fail(1, 1), fail(2, 2), fail(4, 5)] == [None, None, 58, None]
    tries.reset()
    assert [fail(100, 0), fail(101, 5)] == [None, 59]


@pytest.mark.parametrize("has_answered", [True, False])
def test_only_a_server_that_has_answered_can_be_reported_as_lost(has_answered: bool):
    losses: list[float] = []
    retries = RetryPolicy(60)
    retries.answered, retries.on_loss = has_answered, losses.append

    retries.pause(RetrySchedule(60), errors.Overloaded("busy"), REPORT_SECONDS)
    retries.pause(RetrySchedule(60), errors.ConnectionLost("gone"), REPORT_SECONDS)

    assert losses == ([60] if has_answered else [])


def test_what_another_try_would_not_mend_is_raised():
    with pytest.raises(errors.NotFound):
        RetrySchedule(patience=60).pause(errors.NotFound("no"), now=0)


@pytest.mark.parametrize("transport", [HttpTransport, AsyncHttpTransport])
@pytest.mark.parametrize("path", ["/v1", "/v1/", "/behind/a/proxy/v1"])
def test_an_address_with_the_path_of_the_api_is_refused_with_the_right_one(
    transport: Any, path: str
) -> None:
    with pytest.raises(errors.BadSettings, match="/v1") as error_info:
        transport(f"http://127.0.0.1:8000{path}")

    address = f"http://127.0.0.1:8000{path.removesuffix('/').removesuffix('/v1')}"
    assert error_info.value.details["hint"] == f"Leave it out: {address}"


def test_a_client_of_an_address_without_tls_reads_and_trusts_no_certificates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)

    context = client_arguments("http://127.0.0.1:8000")["verify"]

    assert context.cert_store_stats()["x509_ca"] == 0
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert "verify" not in client_arguments("https://antiphon.example")


def test_a_proxy_may_be_spoken_to_with_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "https://proxy.example")

    assert "verify" not in client_arguments("http://antiphon.example")

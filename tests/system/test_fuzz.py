"""Whatever bytes come as a reply, the run ends: soon, by a name that is known, and truthfully.

A whole runtime in this process before a server that speaks bytes alone: heads, encodings and bodies
of every kind of wrong, then an end, a reset or silence. Guarantee G25.
"""

from __future__ import annotations

import gzip
import itertools
import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon import Client
from antiphon.api.operations import NewMessage
from antiphon.engine.turn import Turn
from antiphon.providers.quirks import Quirks
from antiphon.providers.stream_parser import ChatCompletionsParser
from antiphon.settings.settings import Settings
from antiphon.types import events
from antiphon.types.chunks import Chunk
from antiphon.types.errors import ProviderError
from antiphon.types.messages import Message, ToolSpec
from antiphon.types.runs import Reason, Status
from tests.support.providers.replies import BODIES

IDLE = 0.2
SOON = 10.0  # seconds for a run of up to three attempts, on a machine that does other things
CODES = {
    "invalid_tool_call",
    *(f"provider_{why}" for why in ("error", "protocol", "auth", "rejected")),
    *(f"provider_{why}" for why in ("rate_limited", "unavailable")),
}
RESTING_STATUSES = {Status.COMPLETED, Status.ACTION_REQUIRED, Status.INCOMPLETE, Status.FAILED}


@dataclass(frozen=True)
class Answer:
    """Bytes to send on a connection, in these writes, and how the connection ends."""

    writes: tuple[bytes, ...]
    ending: str = "close"


class BytesServer:
    """Server that answers any request with the same bytes."""

    def __init__(self) -> None:
        self.answer = Answer(())
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> BytesServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer, suppress(OSError):
                peer.settimeout(SOON)
                self._reply(peer, self.answer)

    def _reply(self, peer: socket.socket, answer: Answer) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _read_request(peer)
        for piece in answer.writes:
            peer.sendall(piece)
        if answer.ending == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif answer.ending == "hold":
            peer.recv(1)


def _read_request(peer: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += peer.recv(65_536) or b"\r\n\r\n"
    head, _, body = head.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower()[:15] == b"content-length:"),
        0,
    )
    while len(body) < length:
        body += peer.recv(65_536)


TYPES = st.sampled_from(
    [b"text/event-stream", b"application/json", b"text/html", b"image/png; charset=nonsense", b""]
)
STATUSES = st.sampled_from(
    [b"200 OK"] * 30 + [b"204 No", b"299 Odd", b"400 Bad", b"401 No", b"429 Busy", b"500 Oh"]
)
ENCODINGS = st.sampled_from(
    [b""] * 24 + [b"gzip", b"gzip!", b"deflate", b"br", b"zstd", b"nonsense"]
)


NO_HTTP = st.builds(Answer, st.tuples(st.binary(max_size=200)))


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Draw a head, a body as it may be encoded, delimited and cut, and an ending."""
    body, encoding = draw(BODIES), draw(ENCODINGS)
    if encoding == b"gzip":
        body = gzip.compress(body)[: draw(st.sampled_from([-1, None]))]
    head = b"HTTP/1.1 " + draw(STATUSES) + b"\r\nContent-Type: " + draw(TYPES) + b"\r\n"
    if encoding:
        head += b"Content-Encoding: " + encoding.rstrip(b"!") + b"\r\n"
    match draw(st.sampled_from(["close", "close", "chunked", "length", "too_long", "broken"])):
        case "chunked":
            head += b"Transfer-Encoding: chunked\r\n\r\n"
            body = b"%x\r\n%b\r\n" % (len(body), body) + b"0\r\n\r\n" if body else b"0\r\n\r\n"
        case "length":
            head += b"Content-Length: %d\r\n\r\n" % len(body)
        case "too_long":
            head += b"Content-Length: %d\r\n\r\n" % (len(body) + 5)
        case "broken":
            head += b"Transfer-Encoding: chunked\r\n\r\n"
            body = b"%x\r\n%b" % (len(body) + 1, body)
        case _:
            head += b"Connection: close\r\n\r\n"
    all_bytes = head + body
    cuts = sorted(draw(st.lists(st.integers(0, len(all_bytes)), max_size=3)))
    pieces = [all_bytes[a:b] for a, b in itertools.pairwise([0, *cuts, len(all_bytes)])]
    ending = draw(st.sampled_from(["close"] * 10 + ["reset", "reset", "hold"]))
    return Answer(tuple(filter(None, pieces)), ending)


ANSWERS = st.integers(0, 20).flatmap(lambda at: answers() if at else NO_HTTP)


class Complaints(logging.Handler):
    """Handler that keeps log records of faults of our own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record."""
        self.lines.append(self.format(record))


@dataclass
class FuzzTarget:
    """Runtime, the server before which it stands, and the faults that it logged."""

    client: Client
    upstream: BytesServer
    complaints: Complaints


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuzzTarget]:
    folder, complaints = tmp_path_factory.mktemp("fuzz"), Complaints()
    with BytesServer() as upstream:
        server = {"base_url": f"http://127.0.0.1:{upstream.port}/v1", "retries": 0}
        limits = Settings(
            database=f"sqlite:///{folder}/antiphon.db",
            chunk_timeout=IDLE,
            providers={
                "auto": {**server, "quirks": {"cumulative": "auto"}},
                "tags": {**server, "quirks": {"think_tags": True, "leaked_calls": True}},
            },
        )
        logging.getLogger().addHandler(complaints)
        try:
            with Client(settings=limits) as client:
                yield FuzzTarget(client, upstream, complaints)
        finally:
            logging.getLogger().removeHandler(complaints)


def _check_run_ends(target: FuzzTarget, answer: Answer, provider: str) -> None:
    target.upstream.answer = answer
    target.complaints.lines.clear()
    start = time.monotonic()

    turn = target.client.process(
        message=NewMessage("go"), model=f"{provider}:m", tools=[ToolSpec("f")]
    )
    sent_events = list(turn)

    run = target.client.get_run(str(turn.run_id))
    assert time.monotonic() - start < SOON
    assert isinstance(sent_events[-1], events.TurnEnded)
    assert turn.status == run.status
    assert run.status in RESTING_STATUSES
    assert (run.error.code in CODES) if run.error else run.status != Status.FAILED
    assert run.reason is None or run.reason in get_args(Reason)
    assert target.complaints.lines == []
    messages = target.client.list_messages(run.thread_id).data
    _check_messages_match(sent_events, [each for each in messages if each.role == "assistant"])


def _check_messages_match(sent_events: Sequence[events.Event], messages: Sequence[Message]) -> None:
    """Check that deltas joined, less what was voided, are the messages, as sent and as stored."""
    restarts = [at for at, each in enumerate(sent_events) if isinstance(each, events.TurnRestarted)]
    valid_events = list(sent_events)
    for at in reversed(restarts):
        restart: Any = sent_events[at]
        del valid_events[restart.after : at + 1]
    text = "".join(each.text for each in valid_events if isinstance(each, events.TextDelta))
    thought = "".join(each.text for each in valid_events if isinstance(each, events.ReasoningDelta))
    completed = [each.message for each in valid_events if isinstance(each, events.MessageCompleted)]
    assert completed == list(messages)
    assert text == "".join(message.text for message in messages)
    assert thought == "".join(message.reasoning or "" for message in messages)
    for call in (call for message in messages for call in message.tool_calls):
        pieces = [each.arguments for each in valid_events if _belongs(each, call.id)]
        assert "".join(pieces) == call.arguments


def _belongs(event: events.Event, call_id: str) -> bool:
    return isinstance(event, events.ToolCallDelta) and event.tool_call_id == call_id


PROVIDERS = st.sampled_from(["auto", "tags"])
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=4 * settings.default.max_examples, deadline=None, suppress_health_check=SLOW)
@given(ANSWERS, PROVIDERS)
def test_whatever_comes_a_run_ends_soon_and_truthfully(
    target: FuzzTarget, answer: Answer, provider: str
) -> None:
    _check_run_ends(target, answer, provider)


@pytest.mark.soak
@settings(max_examples=5_000, deadline=None, suppress_health_check=SLOW)
@given(ANSWERS, PROVIDERS)
def test_whatever_comes_for_hours_a_run_ends_soon_and_truthfully(
    target: FuzzTarget, answer: Answer, provider: str
) -> None:
    _check_run_ends(target, answer, provider)


QUIRKS = st.builds(
    Quirks,
    cumulative=st.sampled_from([False, True, "auto"]),
    think_tags=st.booleans(),
    leaked_calls=st.booleans(),
)


def _check_cuts_change_nothing(body: bytes, quirks: Quirks, cuts: Sequence[int]) -> None:
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in itertools.pairwise(edges)]

    result, uncut_result = _parse(pieces, quirks), _parse([body], quirks)

    assert result == uncut_result


def _parse(pieces: Sequence[bytes], quirks: Quirks) -> Any:
    """Parse the reply; check that its deltas are its text."""
    ids = map("call_{}".format, itertools.count())
    reply, turn = ChatCompletionsParser(quirks), Turn(["f"], lambda: next(ids))
    sent_events: list[events.Event] = []
    fault: ProviderError | None = None
    try:
        for piece in pieces:
            sent_events += turn.feed(reply.feed(piece) or [])
            if reply.done:
                break
        last_chunks: list[Chunk] = reply.close()
        sent_events += turn.feed(last_chunks)
        reply.check()
    except ProviderError as error:
        fault = error
    result = turn.close(fault)
    text = "".join(each.text for each in sent_events if isinstance(each, events.TextDelta))
    thought = "".join(each.text for each in sent_events if isinstance(each, events.ReasoningDelta))
    assert (text, thought or None) == (result.text, result.reasoning)
    assert result.fault is None or result.fault.code in CODES
    assert bool(result.calls) == (result.outcome == "calls")
    return result


@settings(max_examples=500, deadline=None, suppress_health_check=SLOW)
@given(BODIES, QUIRKS, st.lists(st.integers(0, 3_000), max_size=5))
def test_whatever_is_read_however_it_is_cut_comes_to_one_end(
    body: bytes, quirks: Quirks, cuts: list[int]
) -> None:
    _check_cuts_change_nothing(body, quirks, cuts)


@pytest.mark.soak
@settings(max_examples=100_000, deadline=None, suppress_health_check=SLOW)
@given(BODIES, QUIRKS, st.lists(st.integers(0, 3_000), max_size=5))
def test_whatever_is_read_for_hours_comes_to_one_end(
    body: bytes, quirks: Quirks, cuts: list[int]
) -> None:
    _check_cuts_change_nothing(body, quirks, cuts)

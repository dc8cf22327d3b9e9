"""A faulty upstream: chat completions on raw sockets, with all known faults of such servers.

`async with Upstream() as upstream` serves at `upstream.url`; `model="quirk:NAME"` chooses a
scenario, `model="quirk:NAME@3"` sends it in writes of three bytes. A request whose history ends
with tool outputs is answered with plain text, so that a run ends.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Ending = Literal["end", "close", "reset", "hold"]

DRIP_SECONDS = 0.1

TEXT = "Hi 👩‍👩‍👧‍👦 世界\u2028done"
AFTER_TOOLS = "All done."
BOOM = {"message": "boom", "type": "server_error"}
ERROR_FIELD = b"error: " + json.dumps({"code": 500, **BOOM}).encode() + b"\n\n"


@dataclass(frozen=True)
class Scenario:
    """Reply to send, the end of its connection, and the expected result of the run.

    `refusal` is the text of the model's refusal, `details` the reasoning details to send back.
    `expect` is a status, the reason of an incomplete run, or the code of a failed one. `calls` are
    the arguments of the calls of the result, all of the tool `f`; `ids` their ids, None for an id
    by Antiphon; `tokens` the usage, None if none was reported. The result is expected if the
    provider is declared to have the quirk `declared`, if any.

    `ending`: `end` is an orderly end of the body, `close` a FIN in the middle of it, `reset` an
    RST, `hold` silence until the client disconnects. `drip` follows the body in slow single bytes;
    `size` is the size of writes; writes from `gated_from` on wait for the gate. `first` answers the
    first requests of a scenario; with `whole_only` a request for a stream with tools is refused.
    """

    body: bytes
    expect: str = "completed"
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    details: tuple[dict[str, Any], ...] = ()
    calls: tuple[str, ...] = ()
    ids: tuple[str | None, ...] = ()
    tokens: tuple[int, int] | None = None
    declared: str = ""
    ending: Ending = "end"
    drip: bytes = b""
    size: int | None = None
    whole_only: bool = False
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/event-stream"),)
    gated: bool = False
    gated_from: bytes = b""
    repeat: bool = False
    first: tuple[Scenario, ...] = ()


@dataclass
class Request:
    """A request, whether it was answered, and how the client closed the connection meanwhile."""

    path: str
    headers: dict[str, str]
    body: Any
    answered: bool = False
    closed: Literal["fin", "rst"] | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Upstream:
    """The server. With `strict` it answers 400 to a history that no provider accepts."""

    def __init__(self, *, strict: bool = True) -> None:
        self.requests: list[Request] = []
        self.rejected: list[str] = []
        self.connections = 0
        self.gate = asyncio.Event()
        self.scenarios = dict(SCENARIOS)
        self.models: object = {
            "object": "list",
            "data": [{"id": f"quirk:{name}"} for name in SCENARIOS],
        }
        self._strict = strict
        self._request_counts: Counter[str] = Counter()
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}/v1"

    async def __aenter__(self) -> Upstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_for_request(self, count: int) -> Request:
        """Wait for the request number `count`, from 1, and return it."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.requests) >= count)
        return self.requests[count - 1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            while request := await _read_request(reader):
                async with self._news:
                    self.requests.append(request)
                    self._news.notify_all()
                try:
                    keep_open = await self._answer(request, reader, writer)
                finally:
                    request.done.set()
                if not keep_open:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()  # at once: the loop may end before a client has read all
        finally:
            writer.close()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if request.path.partition("?")[0].endswith("/models"):
            body = self.models if isinstance(self.models, bytes) else _dump(self.models)
            writer.write(head(200, JSON) + frame_body(body, None, end=True))
            return True
        fault = illegal(request.body.get("messages")) if self._strict else None
        if fault:
            self.rejected.append(fault)
            body = json.dumps({"error": {"message": fault}}).encode()
            writer.write(head(400, JSON) + frame_body(body, None, end=True))
            return True
        name, size = self._read_name(request)
        scenario = self.next_of(name, self.scenarios)
        if scenario.whole_only and request.body.get("stream") and request.body.get("tools"):
            scenario = REFUSED
        return await self._play(scenario, request, reader, writer, size)

    def next_of(self, name: str, scenarios: Mapping[str, Scenario]) -> Scenario:
        """Return the scenario of this name, or for its first requests an entry of `first`."""
        scenario = scenarios[name]
        self._request_counts[name] += 1
        if self._request_counts[name] <= len(scenario.first):
            scenario = scenario.first[self._request_counts[name] - 1]
        return scenario

    async def _play(
        self,
        scenario: Scenario,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        size: int | None = None,
    ) -> bool:
        if scenario.gated:
            await self.gate.wait()
        try:
            return await self._send(scenario, size, request, reader, writer)
        except ConnectionError:
            request.closed = "rst"
            return False

    def _read_name(self, request: Request) -> tuple[str, int | None]:
        model = request.body["model"].removeprefix("quirk:")
        name, _, size = model.partition("@")
        if request.body["messages"][-1]["role"] == "tool" and not name.startswith("always_"):
            return "after_tools", None
        return name.removeprefix("always_"), int(size) if size else None

    async def _send(
        self,
        scenario: Scenario,
        size: int | None,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        key = request.headers.get("authorization", "").encode()
        body = scenario.body.replace(b"{AUTHORIZATION}", key)
        body = body.replace(b"{PATH}", request.path.encode())
        size = size or scenario.size
        if scenario.status:
            writer.write(head(scenario.status, scenario.headers))
            free = body.index(scenario.gated_from) if scenario.gated_from else len(body)
            await _write(writer, body[:free], size)
            if scenario.gated_from:
                await self.gate.wait()
                await _write(writer, body[free:], size)
            if scenario.ending == "end" and not scenario.repeat:
                writer.write(frame_body(b"", None, end=True))
            await writer.drain()
        disconnect_task = asyncio.ensure_future(_wait_for_disconnect(reader))
        try:
            if size and scenario.ending == "reset":
                # An RST discards what its receiver has not read yet.
                await asyncio.wait([disconnect_task], timeout=DRIP_SECONDS)
            while scenario.repeat and not disconnect_task.done():
                await _write(writer, body, size)
                await asyncio.wait([disconnect_task], timeout=0.005)
            for at in range(len(scenario.drip)):
                if not disconnect_task.done():
                    writer.write(frame_body(scenario.drip[at : at + 1], None, end=False))
                    await asyncio.wait([disconnect_task], timeout=DRIP_SECONDS)
            if scenario.ending == "hold" or scenario.repeat:
                request.closed = await disconnect_task
                return False
        finally:
            disconnect_task.cancel()
        request.answered = True
        if scenario.ending == "reset":
            _reset(writer)
        return scenario.ending == "end"


_FIELDS = {"role", "content", "tool_calls", "tool_call_id", "reasoning", "reasoning_content"}
_FIELDS |= {"reasoning_details", "refusal"}


def illegal(messages: Any) -> str | None:
    """Return the error of a provider for a history; None if it is valid."""
    if not isinstance(messages, list) or not messages:
        return "messages must not be empty"
    open_calls: list[str] = []
    seen: set[str] = set()
    for at, message in enumerate(messages):
        role = message.get("role")
        if unknown := set(message) - _FIELDS:
            return f"messages[{at}]: unknown fields {sorted(unknown)}"
        if not any(map(message.get, ("content", "tool_calls", "refusal"))):
            return f"messages[{at}]: neither content nor tool calls"
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                return f"messages[{at}]: no preceding tool call {message.get('tool_call_id')!r}"
            open_calls.remove(message["tool_call_id"])
            continue
        if open_calls:
            return f"messages[{at}]: tool calls without a result: {open_calls}"
        if role not in ("system", "user", "assistant"):
            return f"messages[{at}]: unknown role {role!r}"
        calls = message.get("tool_calls") or []
        for call in calls:
            fault = _illegal_call(call)
            if fault:
                return f"messages[{at}]: {fault}"
        open_calls = [call["id"] for call in calls]
        if len({*open_calls} - seen) < len(open_calls):
            return f"messages[{at}]: repeated tool call ids {open_calls}"
        seen |= {*open_calls}
    return f"tool calls without a result: {open_calls}" if open_calls else None


def _illegal_call(call: Any) -> str | None:
    if not call.get("id") or not call["function"].get("name"):
        return "a tool call without id or name"
    if len(call["id"]) > 40:
        return f"tool call id {call['id']!r}: string too long, expected at most 40"
    try:
        arguments = json.loads(call["function"]["arguments"])
    except ValueError:
        return "tool call arguments are not JSON"
    return None if isinstance(arguments, dict) else "tool call arguments are not an object"


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.splitlines()
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(first.split(" ")[1], headers, json.loads(body) if body else None)


async def _wait_for_disconnect(reader: asyncio.StreamReader) -> Literal["fin", "rst"]:
    try:
        while await reader.read(65_536):
            pass
    except ConnectionError:
        return "rst"
    return "fin"


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with an RST, as a crashing server does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _write(writer: asyncio.StreamWriter, body: bytes, size: int | None) -> None:
    """Write the body in pieces of `size` bytes, if possible each in its own packet."""
    size = size or max(1, len(body))
    for at in range(0, len(body), size):
        writer.write(frame_body(body[at : at + size], None, end=False))
        await writer.drain()
        await asyncio.sleep(0)


def head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", "Transfer-Encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame_body(body: bytes, size: int | None, *, end: bool) -> bytes:
    """Return the body in chunks of the transfer encoding, `size` bytes each."""
    size = size or max(1, len(body))
    cuts = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(cut), cut) for cut in cuts)
    return framed + b"0\r\n\r\n" if end else framed


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def line(payload: Any) -> bytes:
    """Return a payload, or raw text, as an event."""
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def sse(*payloads: Any, done: bool = True) -> bytes:
    return b"".join(map(line, payloads)) + (b"data: [DONE]\n\n" if done else b"")


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}


def text_chunks(*pieces: str) -> list[dict[str, Any]]:
    return [chunk({"role": "assistant", "content": ""}), *(chunk({"content": p}) for p in pieces)]


def _of_choice(index: int, delta: Any, finish: str | None = None) -> dict[str, Any]:
    """Return a chunk of the choice with this index."""
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def _native(finish: str, native: str) -> dict[str, Any]:
    """Return the last chunk of a gateway, with the reason of the server behind it."""
    return {"choices": [{"delta": {}, "finish_reason": finish, "native_finish_reason": native}]}


def call_chunk(**piece: Any) -> dict[str, Any]:
    """Return a chunk with one piece of a call; `name` and `arguments` go into its function."""
    return chunk({"tool_calls": [call_piece(**piece)]})


def call_piece(**piece: Any) -> dict[str, Any]:
    names = ("name", "arguments")
    function = {name: piece.pop(name) for name in names if name in piece}
    return {**piece, "function": function}


STOP = chunk(finish="stop")
CALLS = chunk(finish="tool_calls")
JSON = (("Content-Type", "application/json"),)
HTML = (("Content-Type", "text/html"),)
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
COUNTS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
THOUGHT = {"reasoning_tokens": 8}
DETAIL = {"format": "google-gemini-v1", "index": 0}
SEALED = {"type": "reasoning.encrypted", "data": "EjQ=", **DETAIL}
SIGNED = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
SUMMARY = {"type": "reasoning.summary", "format": "openai-responses-v1", "index": 0, "id": "rs_1"}
PIECES = ("Hi ", "👩‍👩", "‍👧‍👦 世", "界\u2028", "done")
OK = sse(*text_chunks(*PIECES), STOP)
HI = sse(*text_chunks("h", "i"), STOP)
ONE = {"index": 0, "id": "c1", "type": "function", "name": "f"}
ARGUMENTS, SECOND = '{"x":1}', '{"x":2}'
X1 = {"arguments": ARGUMENTS}
WHOLE = {
    "object": "chat.completion",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    ],
    "usage": USAGE,
}


def failures(
    error: Callable[[str, str], bytes], whole_reply: bytes, half_reply: bytes
) -> dict[str, Scenario]:
    """Return scenarios of errors, breaks and silences of a provider, with its own messages."""
    now = ("Retry-After", "0")
    busy = _failure(429, error("Slow down.", "rate_limit"), "", now)
    down = _failure(529, error("Overloaded.", "overloaded"), "", now)
    return {
        "401": _failure(401, error("Bad key sk-vendor-0123456789.", "auth"), "provider_auth"),
        "400": _failure(400, error("No such field.", "invalid"), "provider_rejected"),
        "404": _failure(404, error("No such model.", "missing"), "provider_rejected"),
        "429": _failure(429, error("Slow down.", "rate_limit"), "provider_rate_limited", now),
        "429_once": Scenario(whole_reply, first=(busy,)),
        "529_twice": Scenario(whole_reply, first=(down, down)),
        "500": _failure(500, error("Boom.", "server"), "provider_unavailable", now),
        "html": Scenario(b"<html>bad gateway", "provider_unavailable", status=502, headers=HTML),
        "reset_first": Scenario(b"", "provider_unavailable", status=0, ending="reset"),
        "closed": Scenario(half_reply, "disconnected", ending="close"),
        "reset": Scenario(half_reply, "disconnected", ending="reset"),
        "stall": Scenario(half_reply, ending="hold"),
        "silent": Scenario(b"", ending="hold"),
        "ended_early": Scenario(half_reply),
    }


def _failure(status: int, body: bytes, expect: str, *headers: tuple[str, str]) -> Scenario:
    return Scenario(body, expect, status=status, headers=(*JSON, *headers))


def _raw_delta(escaped: str) -> bytes:
    """Return a text delta with this JSON string as it is."""
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % escaped.encode()


def _tools(*payloads: Any, **more: Any) -> Scenario:
    """Return a scenario that expects one call `f {"x":1}` by its id, unless `more` changes that."""
    expected = {"calls": (ARGUMENTS,), "ids": ("c1",)} | more
    return Scenario(sse(*payloads), expect="action_required", **expected)


def _two(*payloads: Any, ids: tuple[str | None, ...] = ("c1", "c2"), **more: Any) -> Scenario:
    return _tools(*payloads, calls=(ARGUMENTS, SECOND), ids=ids, **more)


def _broken(*payloads: Any, **more: Any) -> Scenario:
    return Scenario(sse(*payloads), expect="invalid_tool_call", **more)


def _framings() -> dict[str, Scenario]:
    pretty = "".join(
        f"data: {row}\n" for row in json.dumps(chunk({"content": TEXT}), indent=1).splitlines()
    ).encode()
    bodies = {
        "ok": OK,
        "frag1": OK,
        "crlf": OK.replace(b"\n", b"\r\n"),
        "cr_only": OK.replace(b"\n", b"\r"),
        "no_space": OK.replace(b"data: ", b"data:"),
        "bom": b"\xef\xbb\xbf" + OK,
        "comments": b": OPENROUTER PROCESSING\n\n: x\n" + OK.replace(b"\n\n", b"\n\n: ping\n\n"),
        "retry_only": b"retry: 3000\n\n" + OK,
        "event_field": OK.replace(b"data: ", b"event: message\nid: 1\ndata: "),
        "multi_data_line": pretty + b"\n" + sse(STOP),
        "last_event_no_blank": OK.rstrip(b"\n"),
        "mixed_lines": OK.replace(b"\n\n", b"\r\n\n", 2).replace(b"\n\n", b"\n\r", 1),
        "odd_fields": b"id: a\0b\nretry: soon\nnonsense\n\ndata\n\n" + OK,
        "done_then_more": OK + sse(*text_chunks("never")),
        "no_done": OK.removesuffix(b"data: [DONE]\n\n"),
        "done_no_finish": sse(*text_chunks(*PIECES)),
    }
    sizes = {"frag1": 1}
    return {name: Scenario(body, text=TEXT, size=sizes.get(name)) for name, body in bodies.items()}


def _endings() -> dict[str, Scenario]:
    half = sse(*text_chunks("h", "i"), done=False)
    cut = {"expect": "disconnected", "text": "hi"}
    return {
        "no_finish_no_done": Scenario(half, **cut),
        "truncated_json": Scenario(half + b'data: {"choices":[{"del', **cut),
        "truncated_close": Scenario(half + b'data: {"choices":[{"del', ending="close", **cut),
        "reset_mid": Scenario(half, ending="reset", **cut),
        "truncated_utf8": Scenario(
            half + 'data: {"choices":[{"delta":{"content":"界'.encode()[:-1], ending="close", **cut
        ),
        "half_done": Scenario(half + b"data: [DO", **cut),
        "page_midstream": Scenario(half + b"<html>bad gateway</html>\n\n", **cut),
        "finish_no_blank": Scenario(
            sse(*text_chunks("h", "i"), STOP, done=False).rstrip(b"\n"), text="hi"
        ),
        "stall_first": Scenario(b"", "stalled", status=0, ending="hold"),
        "stall_head": Scenario(b"", "stalled", ending="hold"),
        "drip": Scenario(
            half, "stalled", "hi", ending="hold", drip=line(chunk({"content": "x" * 60}))
        ),
        "stall": Scenario(half, expect="stalled", text="hi", ending="hold"),
        "endless": Scenario(sse(chunk({"content": "x"}), done=False), "cancelled", repeat=True),
        "comments_forever": Scenario(half + b": ping\n\n", "stalled", "hi", ending="hold"),
        "done_no_close": Scenario(HI, text="hi", ending="hold"),
        "finish_no_close": Scenario(
            sse(*text_chunks("h", "i"), STOP, done=False), text="hi", ending="hold"
        ),
        "finish_then_reset": Scenario(
            sse(*text_chunks("h", "i"), STOP, done=False), text="hi", ending="reset"
        ),
        "slow_first_byte": Scenario(HI, text="hi", gated=True),
    }


def _contents() -> dict[str, Scenario]:
    filters = {"choices": [], "id": "", "prompt_filter_results": [{"prompt_index": 0}]}
    late = {"choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {}}]}
    full = {"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}
    hi = {
        "azure_prefilter": sse(filters, *text_chunks("hi"), STOP),
        "azure_postfilter_nodelta": sse(*text_chunks("hi"), STOP, late),
        "usage_final": sse(*text_chunks("hi"), STOP, {"choices": [], "usage": USAGE}),
        "usage_every": sse(
            chunk({"content": "h"}, usage={**USAGE, "completion_tokens": 1}),
            chunk({"content": "i"}, usage=USAGE),
            STOP,
        ),
        "finish_with_content": sse(chunk({"content": "h"}), chunk({"content": "i"}, "stop")),
        "finish_empty_string": sse(chunk({"content": "h"}, ""), chunk({"content": "i"}, ""), STOP),
        "content_list": sse(
            chunk(
                {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}
            ),
            chunk({"content": [{"type": "text", "text": "hi"}]}),
            STOP,
        ),
        "final_full_message": sse(*text_chunks("h", "i"), full),
        "only_full_message": sse(chunk({"role": "assistant"}), full),
        "two_reasonings": sse(
            chunk(
                {
                    "reasoning": "hm",
                    "reasoning_content": "hm",
                    "reasoning_details": [{"text": "hm"}],
                }
            ),
            *text_chunks("hi"),
            STOP,
        ),
        "reasoning_content": sse(chunk({"reasoning_content": "hm"}), *text_chunks("hi"), STOP),
        "reasoning": sse(chunk({"reasoning": "hm"}), *text_chunks("hi"), STOP),
        "reasoning_details": sse(
            chunk({"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
            *text_chunks("hi"),
            STOP,
        ),
        "reasoning_turns_to_text": sse(
            chunk({"reasoning_content": "h"}),
            chunk({"reasoning_content": "m", "content": "h"}),
            chunk({"reasoning_content": "", "content": "i"}),
            STOP,
        ),
        "reasoning_not_there": sse(
            chunk({"reasoning_content": "", "reasoning": None, "content": "h"}),
            chunk({"reasoning_content": None, "reasoning_details": [], "content": "i"}),
            STOP,
        ),
        "usage_null": sse(
            chunk({"content": "hi"}, usage=None),
            chunk(finish="stop", usage=None),
            {"choices": [], "usage": USAGE},
        ),
        "usage_with_all": sse(chunk({"content": "hi"}, "stop", usage=USAGE)),
        "nothing_in_it": sse(
            {"choices": None},
            chunk({"content": None}),
            {"choices": [{"delta": None}]},
            *text_chunks("hi"),
            STOP,
        ),
        "late_text": sse(*text_chunks("h"), STOP, chunk({"content": "i"})),
        "finish_twice": sse(*text_chunks("hi"), STOP, STOP),
        "unknown_finish": sse(*text_chunks("hi"), chunk(finish="eos")),
        "duplicate_keys": sse(
            '{"choices":[],"choices":[{"delta":{"content":"x","content":"hi"}}]}', STOP
        ),
        "ping_events": sse({"type": "ping"}, *text_chunks("hi"), STOP),
        "other_choices": sse(
            chunk({"content": "h"}),
            _of_choice(1, {"content": "no", "tool_calls": [call_piece(**ONE, **X1)]}),
            _of_choice(1, {}, "length"),
            chunk({"content": "i"}),
            STOP,
            _of_choice(2, {"content": "no"}, "content_filter"),
        ),
        "http200_json_other_choices": json.dumps(
            {"choices": [*WHOLE["choices"], *_of_choice(1, {}, "length")["choices"]]}
        ).encode(),
        "usage_cached_mistral": sse(
            chunk({"content": "hi"}, "stop", usage={**COUNTS, "num_cached_tokens": 4})
        ),
        "usage_reasoning_in_total": sse(
            chunk({"content": "hi"}, "stop"),
            {"choices": [], "usage": {**COUNTS, "completion_tokens_details": THOUGHT}},
        ),
        "http200_json_completion": json.dumps(WHOLE).encode(),
        "json_ct_sse_body": HI,
    }
    stream = (("Content-Type", "text/event-stream"),)
    scenarios = {
        name: Scenario(
            body,
            text="hi",
            reasoning="hm" if b'"hm"' in body or "turns" in name else "",
            tokens=(10, 5) if b"prompt_tokens" in body else None,
            headers=JSON if "json" in name else stream,
        )
        for name, body in hi.items()
    }
    huge = "x" * 5_000_000
    growing_texts = ["one more word " * count for count in range(1, 20)]
    usage = {"choices": [], "usage": USAGE}
    return scenarios | {
        "huge_line": Scenario(sse(*text_chunks(huge), STOP), text=huge),
        "gzip": Scenario(
            gzip.compress(OK),
            text=TEXT,
            headers=(("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip")),
        ),
        "cumulative": Scenario(sse(*text_chunks("h", "he", "hel"), STOP), text="hhehel"),
        "cumulative_declared": Scenario(
            sse(*text_chunks("h", "he", "hel"), STOP), text="hel", declared="cumulative"
        ),
        "cumulative_long": Scenario(
            sse(*text_chunks(*growing_texts), STOP, usage), text=growing_texts[-1], tokens=(10, 5)
        ),
        "cumulative_reasoning": Scenario(
            sse(
                *(chunk({"reasoning_content": each}) for each in growing_texts),
                *text_chunks("hi"),
                STOP,
            ),
            text="hi",
            reasoning=growing_texts[-1],
        ),
        "repeats_itself": Scenario(
            sse(*text_chunks("ha", "haha", "hahaha", "!"), STOP), text="hahahahahaha!"
        ),
        "repeats_to_its_end": Scenario(sse(*text_chunks("ha", "haha"), STOP), text="hahaha"),
        "repeats_and_is_cut": Scenario(
            sse(*text_chunks("ha", "haha"), done=False), "disconnected", "hahaha", ending="close"
        ),
        "length_in_other_words": Scenario(
            sse(*text_chunks("hi"), chunk(finish="max_tokens")), "length", "hi"
        ),
        "length_after_stop": Scenario(
            sse(*text_chunks("hi"), STOP, chunk(finish="length")), "length", "hi"
        ),
        "length": Scenario(sse(*text_chunks("hi"), chunk(finish="length")), "length", "hi"),
        "content_filter": Scenario(
            sse(*text_chunks("hi"), chunk(finish="content_filter")), "content_filter", "hi"
        ),
        "bad_utf8": Scenario(_raw_delta("a#b").replace(b"#", b"\xff") + sse(STOP), text="a\ufffdb"),
        "lone_surrogate": Scenario(_raw_delta(r"a\ud83db") + sse(STOP), text="a\ufffdb"),
        "lone_surrogate_at_end": Scenario(_raw_delta(r"a\ud83d") + sse(STOP), text="a\ufffd"),
        "split_surrogates": Scenario(
            _raw_delta(r"a\ud83d") + _raw_delta(r"\ude00b") + sse(STOP), text="a😀b"
        ),
        "nul_and_esc": Scenario(
            _raw_delta(r"a\u0000b\u001b[2J") + sse(STOP), text="a\ufffdb\x1b[2J"
        ),
        "think_tags": Scenario(
            sse(*text_chunks("<th", "ink>h", "m</thi", "nk>h", "i"), STOP),
            text="<think>hm</think>hi",
        ),
        "think_tags_declared": Scenario(
            sse(*text_chunks("<th", "ink>h", "m</thi", "nk>h", "i"), STOP),
            text="hi",
            reasoning="hm",
            declared="think_tags",
        ),
        "think_prefilled": Scenario(
            sse(*text_chunks("h", "m</thi", "nk>h", "i"), STOP), text="hm</think>hi"
        ),
        "think_prefilled_declared": Scenario(
            sse(*text_chunks("h", "m</thi", "nk>h", "i"), STOP),
            text="hi",
            reasoning="hm",
            declared="think_prefilled",
        ),
        "think_prefilled_opened_too": Scenario(
            sse(*text_chunks("<thi", "nk>hm</think>", "hi"), STOP),
            text="hi",
            reasoning="hm",
            declared="think_prefilled",
        ),
        "think_prefilled_not_closed": Scenario(
            sse(*text_chunks("h", "i"), STOP), text="hi", reasoning="hi", declared="think_prefilled"
        ),
        "think_prefilled_cut": Scenario(
            sse(*text_chunks("h", "m"), chunk(finish="length")),
            "length",
            reasoning="hm",
            declared="think_prefilled",
        ),
        "content_object": Scenario(
            json.dumps(
                {"choices": [{"message": {"content": {"a": 1, "é": [None]}}, "finish_reason": ""}]}
            ).encode(),
            text='{"a":1,"é":[null]}',
            headers=JSON,
        ),
        "content_object_list": Scenario(
            sse(chunk({"content": [{"a": 1}, {"a": "x"}]}), STOP), text='[{"a":1},{"a":"x"}]'
        ),
        "content_object_streamed": Scenario(
            sse(chunk({"content": {"type": "cat"}}), STOP), text='{"type":"cat"}'
        ),
        "refusal": Scenario(
            sse(
                chunk({"role": "assistant", "content": None, "refusal": ""}),
                chunk({"refusal": "I'm sorry, "}),
                chunk({"refusal": "no 🙏."}),
                STOP,
            ),
            refusal="I'm sorry, no 🙏.",
        ),
        "refusal_whole": Scenario(
            json.dumps(
                {
                    "choices": [
                        {"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}
                    ]
                }
            ).encode(),
            refusal="No.",
            headers=JSON,
        ),
        "refusal_after_text": Scenario(
            sse(*text_chunks("hi"), chunk({"refusal": "No."}), STOP), text="hi", refusal="No."
        ),
        "refusal_part": Scenario(
            sse(chunk({"content": [{"type": "refusal", "refusal": "No."}]}), STOP), refusal="No."
        ),
        "refusal_then_cut": Scenario(
            sse(chunk({"refusal": "No"}), done=False), "disconnected", refusal="No"
        ),
        "refusal_null": Scenario(sse(chunk({"content": "hi", "refusal": None}), STOP), text="hi"),
        "hidden_length": Scenario(
            sse(*text_chunks("hi"), _native("stop", "max_output_tokens")), "length", "hi"
        ),
        "think_tags_in_one": Scenario(
            sse(*text_chunks("<think>hm</think>hi"), STOP),
            text="hi",
            reasoning="hm",
            declared="think_tags",
        ),
        "tags_later_are_text": Scenario(
            sse(*text_chunks("a <think>b</think>"), STOP),
            text="a <think>b</think>",
            declared="think_tags",
        ),
        "after_tools": Scenario(sse(*text_chunks(AFTER_TOOLS), STOP), text=AFTER_TOOLS),
    }


def _errors() -> dict[str, Scenario]:
    start = sse(*text_chunks("hi"), done=False)
    broken = "provider_protocol"
    bodies = {
        "err_midstream": start + sse({"error": BOOM}),
        "err_event_top": start + b'event: error\ndata: {"message":"boom"}\n\n',
        "err_event_text": start + b"event: error\ndata: boom\n\n",
        "err_object": start + sse({"object": "error", "message": "boom", "code": 500}),
        "err_raw_text": start + sse("boom"),
        "err_json_text": start + sse('"boom"'),
        "err_field": start + ERROR_FIELD,
        "err_field_done": start + ERROR_FIELD + sse(),
        "err_field_first": ERROR_FIELD + sse(),
        "err_field_text": start + b"error: boom\n\n" + sse(),
        "err_in_choice": start
        + sse({"choices": [{"index": 0, "error": BOOM, "finish_reason": "error"}]}),
    }
    json_bodies = {
        "http200_json_error": json.dumps({"error": BOOM}).encode(),
        "http200_json_list_error": json.dumps([{"error": BOOM}]).encode(),
        "http200_json_detail": b'{"detail":"boom"}',
    }
    pages = {
        "http200_html": b"<!doctype html><p>sk-secretsecret is wrong</p>",
        "http200_text": b"upstream connect error",
        "http200_empty": b"",
        "http200_deep": b'{"choices":[{"message":{"reasoning":' + b"[" * 900 + b"]" * 900 + b"}}]}",
        "deep_reasoning": sse(
            '{"choices":[{"delta":{"reasoning":' + "[" * 900 + "]" * 900 + "}}]}"
        ),
        "http200_blank": b"\n\n\n",
        "http200_other_json": b'{"status":"ok"}',
        "lone_done": sse(),
        "only_comments": b": ping\n\n: ping\n\n",
        "glued": start + line(json.dumps(STOP) + "data: " + json.dumps(STOP)),
        "broken_json": start + sse('{"choices":[}'),
        "deep": start + sse('{"choices":[],"z":' + "[" * 100_000 + "]" * 100_000 + "}"),
        "deep_content": start
        + sse(
            '{"choices":[{"delta":{"content":' + "[" * 900 + "]" * 900 + "}}]}", chunk("no delta")
        ),
        "big_integer": start + sse('{"choices":[],"usage":{"prompt_tokens":' + "1" * 5_000 + "}}"),
        "nan": start + sse('{"choices":[],"usage":{"prompt_tokens":NaN}}'),
        "over_cap": b"data: " + b"x" * 16_500_000,
        "no_choices_list": start + sse({"choices": "none"}),
    }
    bomb = (("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip"))
    return (
        {name: Scenario(body, "provider_error") for name, body in bodies.items()}
        | {
            name: Scenario(body, "provider_error", headers=JSON)
            for name, body in json_bodies.items()
        }
        | {name: Scenario(body, broken, headers=HTML) for name, body in pages.items()}
        | {
            "http200_html_no_close": Scenario(
                b"<html>" + b"x" * 2_000, broken, headers=HTML, ending="hold"
            ),
            "gzip_bomb": Scenario(
                gzip.compress(b"data: " + b"x" * 20_000_000), broken, headers=bomb
            ),
        }
    )


def _statuses() -> dict[str, Scenario]:
    error = json.dumps({"error": BOOM}).encode()
    echo = json.dumps({"error": {"message": "Incorrect key: {AUTHORIZATION} {PATH}"}}).encode()
    at_once, in_an_hour = ("Retry-After", "0"), ("Retry-After", "3600")
    date = ("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")
    too_many, down = _failure(429, error, "", at_once), _failure(503, error, "", date)
    reset_connection = Scenario(b"", status=0, ending="reset")
    return {
        "429": _failure(429, error, "provider_rate_limited", at_once),
        "429_late": _failure(429, error, "provider_rate_limited", in_an_hour),
        "429_once": Scenario(OK, text=TEXT, first=(too_many,)),
        "500": _failure(500, error, "provider_unavailable", at_once),
        "503_twice": Scenario(OK, text=TEXT, first=(down, down)),
        "502_html": Scenario(
            b"<html>bad gateway", "provider_unavailable", status=502, headers=(*HTML, at_once)
        ),
        "401": _failure(401, echo, "provider_auth"),
        "403": _failure(403, error, "provider_auth"),
        "400": _failure(400, error, "provider_rejected"),
        "404_text": Scenario(b"no such model", "provider_rejected", status=404, headers=HTML),
        "307": Scenario(
            b"", "provider_rejected", status=307, headers=(("Location", "http://127.0.0.1:1/"),)
        ),
        "reset_first": Scenario(b"", "provider_unavailable", status=0, ending="reset"),
        "reset_once": Scenario(OK, text=TEXT, first=(reset_connection,)),
    }


def _calls() -> dict[str, Scenario]:
    f1 = {**ONE, **X1}
    f2 = {"id": "c2", "name": "f", "arguments": SECOND}
    start, rest = {"arguments": '{"x"'}, {"arguments": ":1}"}
    whole_choice = {"message": {"tool_calls": [call_piece(**f1)]}, "finish_reason": "tool_calls"}
    leaked = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
    two_leaked = leaked + "\n" + leaked.replace("1", "2")
    bare = {"name": "f", **X1}
    return {
        "t_normal": _tools(
            call_chunk(**ONE, arguments=""),
            call_chunk(index=0, arguments='{"x"'),
            call_chunk(index=0, arguments=":1}"),
            CALLS,
        ),
        "t_one_piece": _tools(call_chunk(**f1), CALLS),
        "t_finish_stop": _tools(call_chunk(**f1), STOP),
        "t_no_finish": _tools(call_chunk(**f1)),
        "t_args_object": _tools(call_chunk(**ONE, arguments={"x": 1}), CALLS),
        "t_no_index_single": _tools(
            call_chunk(id="c1", name="f", arguments='{"x"'), call_chunk(arguments=":1}"), CALLS
        ),
        "t_empty_id_repeat": _tools(
            call_chunk(**ONE, arguments='{"x"'),
            call_chunk(index=0, id="", name="", arguments=":1}"),
            CALLS,
        ),
        "t_meta_repeat": _tools(
            call_chunk(**ONE, arguments='{"x"'), call_chunk(**ONE, arguments=":1}"), CALLS
        ),
        "t_index_starts_1": _tools(call_chunk(**{**f1, "index": 1}), CALLS),
        "t_after_finish": _tools(CALLS, call_chunk(**f1)),
        "t_args_on_finish": _tools(
            call_chunk(**ONE, arguments='{"x"'),
            chunk({"tool_calls": [call_piece(index=0, arguments=":1}")]}, "tool_calls"),
        ),
        "t_content_and_tool": _tools(*text_chunks("hi"), call_chunk(**f1), CALLS, text="hi"),
        "t_extra_content": _tools(
            call_chunk(**f1, extra_content={"google": {"thought_signature": "s\0"}}), CALLS
        ),
        "t_empty_args": _tools(call_chunk(**ONE, arguments=""), CALLS, calls=("{}",)),
        "t_null_args": _tools(call_chunk(**ONE, arguments=None), CALLS, calls=("{}",)),
        "t_null_text_args": _tools(call_chunk(**ONE, arguments="null"), CALLS, calls=("{}",)),
        "t_no_args": _tools(call_chunk(**ONE), CALLS, calls=("{}",)),
        "t_no_id": _tools(call_chunk(index=0, **bare), CALLS, ids=(None,)),
        "t_legacy_function_call": _tools(
            chunk({"function_call": {"name": "f", "arguments": '{"x"'}}),
            chunk({"function_call": {"arguments": ":1}"}}),
            chunk(finish="function_call"),
            ids=(None,),
        ),
        "t_whole_completion": Scenario(
            json.dumps(
                {
                    "choices": [
                        {
                            "message": {"content": None, "tool_calls": [call_piece(**f1)]},
                            "finish_reason": None,
                        }
                    ]
                }
            ).encode(),
            "action_required",
            calls=(ARGUMENTS,),
            ids=("c1",),
            headers=JSON,
        ),
        "t_no_index_parallel": _two(
            chunk({"tool_calls": [call_piece(**bare), call_piece(name="f", arguments=SECOND)]}),
            CALLS,
            ids=(None, None),
        ),
        "t_index0_all": _two(
            call_chunk(**f1), call_chunk(index=0, id="c2", name="f", arguments='{"x":2}'), CALLS
        ),
        "t_index0_all_frag": _two(
            call_chunk(**ONE, arguments='{"x"'),
            call_chunk(index=0, arguments=":1}"),
            call_chunk(index=0, id="c2", name="f", arguments='{"x"'),
            call_chunk(index=0, arguments=":2}"),
            CALLS,
        ),
        "t_interleaved": _two(
            call_chunk(**ONE, arguments='{"x"'),
            call_chunk(index=1, id="c2", name="f", arguments='{"x"'),
            call_chunk(index=0, arguments=":1}"),
            call_chunk(index=1, arguments=":2}"),
            CALLS,
        ),
        "t_index_gap": _two(
            call_chunk(**f1), call_chunk(index=5, id="c2", name="f", arguments='{"x":2}'), CALLS
        ),
        "t_dup_ids": _two(
            call_chunk(**f1),
            call_chunk(index=1, id="c1", name="f", arguments=SECOND),
            CALLS,
            ids=("c1", None),
        ),
        "t_truncated_args_length": Scenario(
            sse(call_chunk(**ONE, arguments='{"x"'), chunk(finish="length")), "length"
        ),
        "t_whole_then_cut": Scenario(sse(call_chunk(**f1), done=False), "disconnected"),
        "t_finish_without_call": Scenario(sse(CALLS), "provider_protocol"),
        "t_invalid_json": Scenario(
            sse(call_chunk(**ONE, arguments='{"x":1]'), CALLS), "invalid_tool_call"
        ),
        "t_second_args_on_first": Scenario(
            sse(call_chunk(**f1), call_chunk(index=0, arguments='{"x":2}'), CALLS),
            "invalid_tool_call",
        ),
        "t_bad_utf8": Scenario(
            sse(call_chunk(**ONE, arguments='{"x":"#"}')).replace(b"#", b"\xff"),
            "invalid_tool_call",
        ),
        "t_null_index": _tools(
            call_chunk(index=None, id="c1", name="f", **start),
            call_chunk(index=None, **rest),
            CALLS,
        ),
        "t_no_index_ids": _two(call_chunk(id="c1", name="f", **X1), call_chunk(**f2), CALLS),
        "t_no_index_frag_parallel": _two(
            chunk(
                {
                    "tool_calls": [
                        call_piece(id="c1", name="f", **start),
                        call_piece(id="c2", name="f", **start),
                    ]
                }
            ),
            chunk({"tool_calls": [call_piece(**rest), call_piece(arguments=":2}")]}),
            CALLS,
        ),
        "t_index0_names": _two(
            call_chunk(index=0, **bare),
            call_chunk(index=0, name="f", arguments=SECOND),
            CALLS,
            ids=(None, None),
        ),
        "t_null_id": _tools(
            call_chunk(index=0, id=None, name="f", **start),
            call_chunk(index=0, id=None, **rest),
            CALLS,
            ids=(None,),
        ),
        "t_late_id": _tools(
            call_chunk(index=0, name="f", **start),
            call_chunk(index=0, id="c1", **rest),
            CALLS,
            ids=(None,),
        ),
        "t_empty_ids_parallel": _two(
            call_chunk(index=0, id="", **bare),
            call_chunk(index=1, id="", name="f", arguments=SECOND),
            CALLS,
            ids=(None, None),
        ),
        "t_meta_on_last": _tools(
            call_chunk(**ONE, **start),
            call_chunk(index=0, **rest),
            call_chunk(**ONE, arguments=""),
            CALLS,
        ),
        "t_said_again_whole": _tools(
            call_chunk(**ONE, **start), call_chunk(index=0, **rest), call_chunk(**f1), CALLS
        ),
        "t_missing_closer": _tools(
            call_chunk(**ONE, arguments='{"x":1,"y":[true'), CALLS, calls=('{"x":1,"y":[true]}',)
        ),
        "t_spaced_args": _tools(
            call_chunk(**ONE, arguments=' {"x": 1.0}\n'), CALLS, calls=(' {"x": 1.0}\n',)
        ),
        "t_duplicate_keys": _tools(
            call_chunk(**ONE, arguments='{"x":2,"x":1}'), CALLS, calls=('{"x":2,"x":1}',)
        ),
        "t_content_filter": Scenario(
            sse(call_chunk(**f1), chunk(finish="content_filter")), "content_filter"
        ),
        "t_whole_then_length": Scenario(sse(call_chunk(**f1), chunk(finish="length")), "length"),
        "t_whole_then_close": Scenario(
            sse(call_chunk(**f1), done=False), "disconnected", ending="close"
        ),
        "t_whole_then_reset": Scenario(
            sse(call_chunk(**f1), done=False), "disconnected", ending="reset"
        ),
        "t_whole_then_error": Scenario(
            sse(call_chunk(**f1), {"error": BOOM}, done=False), "provider_error"
        ),
        "t_finish_without_call_but_text": Scenario(sse(*text_chunks("hi"), CALLS), text="hi"),
        "t_one_broken_of_two": _broken(
            call_chunk(**f1), call_chunk(index=1, id="c2", name="f", **start), CALLS
        ),
        "t_truncated_args": _broken(call_chunk(**ONE, arguments='{"x":"a'), CALLS),
        "t_args_no_object": _broken(call_chunk(**ONE, arguments="[1]"), CALLS),
        "t_no_name": _broken(call_chunk(index=0, id="c1", **X1), CALLS),
        "t_unknown_name": _broken(call_chunk(**{**f1, "name": "g"}), CALLS),
        "t_deep_args": _broken(
            call_chunk(**ONE, arguments='{"x":' + "[" * 200 + "]" * 200 + "}"), CALLS
        ),
        "t_nan_args": _broken(call_chunk(**ONE, arguments='{"x":NaN}'), CALLS),
        "t_big_integer_args": _broken(
            call_chunk(**ONE, arguments='{"x":' + "1" * 5_000 + "}"), CALLS
        ),
        "t_leaked_undeclared": Scenario(sse(*text_chunks(leaked), STOP), text=leaked),
        "t_leaked": _tools(
            *text_chunks("hi\n", *leaked), STOP, text="hi\n", ids=(None,), declared="leaked_calls"
        ),
        "t_leaked_parallel": _two(
            *text_chunks(two_leaked), STOP, ids=(None, None), declared="leaked_calls"
        ),
        "t_leaked_broken": _broken(
            *text_chunks(leaked.replace("}", "")), STOP, declared="leaked_calls"
        ),
        "t_leaked_cut": Scenario(
            sse(*text_chunks(leaked[:-20]), done=False), "disconnected", declared="leaked_calls"
        ),
        "t_leaked_too": _tools(
            *text_chunks(leaked), call_chunk(**f1), CALLS, declared="leaked_calls"
        ),
        "t_leaked_too_streamed": _two(
            call_chunk(**ONE, **start),
            *text_chunks(*two_leaked),
            call_chunk(index=0, **rest),
            STOP,
            ids=("c1", None),
            declared="leaked_calls",
        ),
        "t_leaked_twice": _tools(
            *text_chunks(leaked + leaked),
            call_chunk(**f1),
            CALLS,
            calls=(ARGUMENTS, ARGUMENTS),
            ids=("c1", None),
            declared="leaked_calls",
        ),
        "t_leaked_too_whole": Scenario(
            json.dumps(
                {
                    "choices": [
                        {
                            "message": {"content": leaked, "tool_calls": [call_piece(**f1)]},
                            "finish_reason": "tool_calls",
                        }
                    ]
                }
            ).encode(),
            "action_required",
            calls=(ARGUMENTS,),
            ids=("c1",),
            declared="leaked_calls",
            headers=JSON,
        ),
        "t_hidden_length": Scenario(
            sse(call_chunk(**ONE, arguments='{"x"'), _native("tool_calls", "length")), "length"
        ),
        "t_hidden_length_openai": Scenario(
            sse(call_chunk(**ONE, arguments=""), _native("tool_calls", "max_output_tokens")),
            "length",
        ),
        "t_hidden_length_gemini": Scenario(
            sse(call_chunk(**f1), _native("stop", "MAX_TOKENS")), "length"
        ),
        "t_details_gemini": _tools(
            chunk(
                {
                    "reasoning": "hm",
                    "reasoning_details": [{**DETAIL, "type": "reasoning.text", "text": "hm"}],
                }
            ),
            call_chunk(**f1),
            chunk({"content": "", "reasoning_details": [{**SEALED, "id": "c1"}]}),
            CALLS,
            reasoning="hm",
            details=(
                {**DETAIL, "type": "reasoning.text", "text": "hm"},
                {**SEALED, "id": "c1"},
            ),
        ),
        "t_details_claude": _tools(
            chunk({"reasoning_details": [{**SIGNED, "text": "h", "signature": ""}]}),
            chunk({"reasoning_details": [{**SIGNED, "text": "m", "signature": ""}]}),
            chunk({"reasoning_details": [{**SIGNED, "text": "", "signature": "Eq=="}]}),
            call_chunk(**f1),
            CALLS,
            reasoning="hm",
            details=({**SIGNED, "text": "hm", "signature": "Eq=="},),
        ),
        "t_details_openai": _tools(
            chunk({"reasoning_details": [{**SUMMARY, "summary": "h"}]}),
            chunk({"reasoning_details": [{**SUMMARY, "summary": "m"}]}),
            chunk({"reasoning_details": [{**SEALED, "id": "rs_1", "data": "gAA"}]}),
            call_chunk(**f1),
            CALLS,
            reasoning="hm",
            details=({**SUMMARY, "summary": "hm"}, {**SEALED, "id": "rs_1", "data": "gAA"}),
        ),
        "t_details_of_two_calls": _two(
            chunk({"reasoning_details": [{**SEALED, "id": "c1"}]}),
            chunk({"reasoning_details": [{**SEALED, "id": "c2"}]}),
            call_chunk(**f1),
            call_chunk(index=1, id="c2", name="f", arguments=SECOND),
            CALLS,
            details=({**SEALED, "id": "c1"}, {**SEALED, "id": "c2"}),
        ),
        "t_details_whole": Scenario(
            json.dumps(
                {
                    "choices": [
                        {
                            "message": {
                                "content": None,
                                "reasoning": "hm",
                                "reasoning_details": [{**SIGNED, "text": "hm"}, SEALED, SEALED],
                                "tool_calls": [call_piece(**f1)],
                            },
                            "finish_reason": "tool_calls",
                        }
                    ]
                }
            ).encode(),
            "action_required",
            reasoning="hm",
            details=({**SIGNED, "text": "hm"}, SEALED, SEALED),
            calls=(ARGUMENTS,),
            ids=("c1",),
            headers=JSON,
        ),
        "t_details_too_large": _tools(
            chunk({"reasoning_details": [{**SEALED, "data": "x" * 300_000}]}),
            call_chunk(**f1),
            CALLS,
        ),
        "t_native_word": _tools(call_chunk(**f1), _native("tool_calls", "completed")),
        "t_no_stream": Scenario(
            json.dumps({"choices": [whole_choice], "usage": USAGE}).encode(),
            "action_required",
            calls=(ARGUMENTS,),
            ids=("c1",),
            tokens=(10, 5),
            declared="stream",
            headers=JSON,
            whole_only=True,
        ),
        "t_no_stream_undeclared": Scenario(b"", "provider_unavailable", whole_only=True),
    }


REFUSED = _failure(
    500,
    json.dumps({"error": {"message": "boom: no streaming with tools"}}).encode(),
    "provider_unavailable",
    ("Retry-After", "0"),
)


_TABLES: tuple[Callable[[], dict[str, Scenario]], ...] = (
    _framings,
    _endings,
    _contents,
    _errors,
    _statuses,
    _calls,
)
SCENARIOS: dict[str, Scenario] = {
    name: scenario for table in _TABLES for name, scenario in table().items()
}

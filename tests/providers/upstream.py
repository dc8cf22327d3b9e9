"""The fault upstream: chat completions on raw sockets, with every known way to get them wrong.

`async with Upstream() as upstream` serves at `upstream.url`; `model="quirk:NAME"` chooses a
scenario, `model="quirk:NAME@3"` sends it in writes of three bytes. A request whose history ends
with tool outputs is answered by plain text, so that a run comes to its end.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Ending = Literal["end", "close", "reset", "hold"]

TEXT = "Hi 👩‍👩‍👧‍👦 世界\u2028done"
AFTER_TOOLS = "All done."
BOOM = {"message": "boom", "type": "server_error"}


@dataclass(frozen=True)
class Scenario:
    """What is sent, how the connection ends, and how a run should end (guarded by its tests).

    `ending`: `end` is an orderly end of the body, `close` a FIN in the middle of it, `reset` an
    RST, `hold` silence until the client leaves. `first` is for the first requests of a scenario.
    """

    body: bytes
    expect: str = "completed"
    text: str = ""
    ending: Ending = "end"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/event-stream"),)
    gated: bool = False
    repeat: bool = False
    first: tuple[Scenario, ...] = ()


@dataclass
class Request:
    """A request as it came, and what was seen of the client while it was answered."""

    path: str
    headers: dict[str, str]
    body: Any
    answered: bool = False
    closed: Literal["fin", "rst"] | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Upstream:
    """The server. `strict` answers 400 to a history that no provider would take."""

    def __init__(self, *, strict: bool = True) -> None:
        self.requests: list[Request] = []
        self.rejected: list[str] = []
        self.connections = 0
        self.gate = asyncio.Event()
        self.scenarios = dict(SCENARIOS)
        self._strict = strict
        self._asked: Counter[str] = Counter()
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

    async def asked(self, count: int) -> Request:
        """The request number `count`, from 1, once it is here."""
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
                    going_on = await self._answer(request, reader, writer)
                finally:
                    request.done.set()
                if not going_on:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if request.path.endswith("/models"):
            listed = {"object": "list", "data": [{"id": f"quirk:{name}"} for name in SCENARIOS]}
            writer.write(_head(200, JSON) + _framed(json.dumps(listed).encode(), None, end=True))
            return True
        fault = illegal(request.body.get("messages")) if self._strict else None
        if fault:
            self.rejected.append(fault)
            body = json.dumps({"error": {"message": fault}}).encode()
            writer.write(_head(400, JSON) + _framed(body, None, end=True))
            return True
        name, size = self._named(request)
        scenario = self.scenarios[name]
        self._asked[name] += 1
        if self._asked[name] <= len(scenario.first):
            scenario = scenario.first[self._asked[name] - 1]
        if scenario.gated:
            await self.gate.wait()
        try:
            return await self._send(scenario, size, request, reader, writer)
        except ConnectionError:
            request.closed = "rst"
            return False

    def _named(self, request: Request) -> tuple[str, int | None]:
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
        body = scenario.body.replace(
            b"{AUTHORIZATION}", request.headers.get("authorization", "").encode()
        )
        if scenario.status:
            writer.write(_head(scenario.status, scenario.headers))
            ends = scenario.ending == "end" and not scenario.repeat
            writer.write(_framed(body, size, end=ends))
            await writer.drain()
        leaving = asyncio.ensure_future(_leaving(reader))
        try:
            while scenario.repeat and not leaving.done():
                writer.write(_framed(body, size, end=False))
                await writer.drain()
                await asyncio.wait([leaving], timeout=0.005)
            if scenario.ending == "hold" or scenario.repeat:
                request.closed = await leaving
                return False
        finally:
            leaving.cancel()
        request.answered = True
        if scenario.ending == "reset":
            _reset(writer)
        return scenario.ending == "end"


_FIELDS = {"role", "content", "tool_calls", "tool_call_id", "reasoning", "reasoning_content"}


def illegal(messages: Any) -> str | None:
    """What is wrong with a history, in the words of a provider; None if it may be sent."""
    if not isinstance(messages, list) or not messages:
        return "messages must not be empty"
    open_calls: list[str] = []
    seen: set[str] = set()
    for at, message in enumerate(messages):
        role = message.get("role")
        if unknown := set(message) - _FIELDS:
            return f"messages[{at}]: unknown fields {sorted(unknown)}"
        if not message.get("content") and not message.get("tool_calls"):
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


async def _leaving(reader: asyncio.StreamReader) -> Literal["fin", "rst"]:
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


def _head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", "Transfer-Encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _framed(body: bytes, size: int | None, *, end: bool) -> bytes:
    """The body in chunks of the transfer encoding, `size` bytes each."""
    size = size or max(1, len(body))
    cuts = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(cut), cut) for cut in cuts)
    return framed + b"0\r\n\r\n" if end else framed


def line(payload: Any) -> bytes:
    """A payload, or raw text, as an event."""
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def sse(*payloads: Any, done: bool = True) -> bytes:
    return b"".join(map(line, payloads)) + (b"data: [DONE]\n\n" if done else b"")


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}


def said(*pieces: str) -> list[dict[str, Any]]:
    return [chunk({"role": "assistant", "content": ""}), *(chunk({"content": p}) for p in pieces)]


def called(**piece: Any) -> dict[str, Any]:
    """A chunk with one piece of a call; `name` and `arguments` go into its function."""
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
PIECES = ("Hi ", "👩‍👩", "‍👧‍👦 世", "界\u2028", "done")
OK = sse(*said(*PIECES), STOP)
HI = sse(*said("h", "i"), STOP)
ONE = {"index": 0, "id": "c1", "type": "function", "name": "f"}
X1 = {"arguments": '{"x":1}'}
WHOLE = {
    "object": "chat.completion",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    ],
    "usage": USAGE,
}


def _failed(status: int, body: bytes, expect: str, *headers: tuple[str, str]) -> Scenario:
    return Scenario(body, expect, status=status, headers=(*JSON, *headers))


def _raw_delta(escaped: str) -> bytes:
    """A text delta whose JSON string is given as it stands on the wire."""
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % escaped.encode()


def _tools(*payloads: Any, **more: Any) -> Scenario:
    return Scenario(sse(*payloads), expect="action_required", **more)


def _framings() -> dict[str, Scenario]:
    pretty = "".join(
        f"data: {row}\n" for row in json.dumps(chunk({"content": TEXT}), indent=1).splitlines()
    ).encode()
    bodies = {
        "ok": OK,
        "crlf": OK.replace(b"\n", b"\r\n"),
        "cr_only": OK.replace(b"\n", b"\r"),
        "no_space": OK.replace(b"data: ", b"data:"),
        "bom": b"\xef\xbb\xbf" + OK,
        "comments": b": OPENROUTER PROCESSING\n\n: x\n" + OK.replace(b"\n\n", b"\n\n: ping\n\n"),
        "retry_only": b"retry: 3000\n\n" + OK,
        "event_field": OK.replace(b"data: ", b"event: message\nid: 1\ndata: "),
        "multi_data_line": pretty + b"\n" + sse(STOP),
        "last_event_no_blank": OK.rstrip(b"\n"),
        "no_done": OK.removesuffix(b"data: [DONE]\n\n"),
        "done_no_finish": sse(*said(*PIECES)),
    }
    return {name: Scenario(body, text=TEXT) for name, body in bodies.items()}


def _endings() -> dict[str, Scenario]:
    half = sse(*said("h", "i"), done=False)
    cut = {"expect": "disconnected", "text": "hi"}
    return {
        "no_finish_no_done": Scenario(half, **cut),
        "truncated_json": Scenario(half + b'data: {"choices":[{"del', **cut),
        "truncated_close": Scenario(half + b'data: {"choices":[{"del', ending="close", **cut),
        "reset_mid": Scenario(half, ending="reset", **cut),
        "stall": Scenario(half, expect="stalled", text="hi", ending="hold"),
        "endless": Scenario(sse(chunk({"content": "x"}), done=False), "cancelled", repeat=True),
        "comments_forever": Scenario(half + b": ping\n\n", "stalled", "hi", "hold"),
        "done_no_close": Scenario(HI, text="hi", ending="hold"),
        "finish_no_close": Scenario(
            sse(*said("h", "i"), STOP, done=False), text="hi", ending="hold"
        ),
        "finish_then_reset": Scenario(
            sse(*said("h", "i"), STOP, done=False), text="hi", ending="reset"
        ),
        "slow_first_byte": Scenario(HI, text="hi", gated=True),
    }


def _contents() -> dict[str, Scenario]:
    filters = {"choices": [], "id": "", "prompt_filter_results": [{"prompt_index": 0}]}
    late = {"choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {}}]}
    full = {"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}
    hi = {
        "azure_prefilter": sse(filters, *said("hi"), STOP),
        "azure_postfilter_nodelta": sse(*said("hi"), STOP, late),
        "usage_final": sse(*said("hi"), STOP, {"choices": [], "usage": USAGE}),
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
        "final_full_message": sse(*said("h", "i"), full),
        "only_full_message": sse(chunk({"role": "assistant"}), full),
        "two_reasonings": sse(
            chunk(
                {
                    "reasoning": "hm",
                    "reasoning_content": "hm",
                    "reasoning_details": [{"text": "hm"}],
                }
            ),
            *said("hi"),
            STOP,
        ),
        "unknown_finish": sse(*said("hi"), chunk(finish="eos")),
        "duplicate_keys": sse(
            '{"choices":[],"choices":[{"delta":{"content":"x","content":"hi"}}]}', STOP
        ),
        "ping_events": sse({"type": "ping"}, *said("hi"), STOP),
        "http200_json_completion": json.dumps(WHOLE).encode(),
        "json_ct_sse_body": HI,
    }
    json_typed = {"http200_json_completion", "json_ct_sse_body"}
    scenarios = {
        name: Scenario(body, text="hi", headers=JSON)
        if name in json_typed
        else Scenario(body, text="hi")
        for name, body in hi.items()
    }
    huge = "x" * 5_000_000
    return scenarios | {
        "huge_line": Scenario(sse(*said(huge), STOP), text=huge),
        "gzip": Scenario(
            gzip.compress(OK),
            text=TEXT,
            headers=(("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip")),
        ),
        "cumulative": Scenario(sse(*said("h", "he", "hel"), STOP), text="hhehel"),
        "length": Scenario(sse(*said("hi"), chunk(finish="length")), "length", "hi"),
        "content_filter": Scenario(
            sse(*said("hi"), chunk(finish="content_filter")), "content_filter", "hi"
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
            sse(*said("<th", "ink>h", "m</thi", "nk>h", "i"), STOP), text="<think>hm</think>hi"
        ),
        "after_tools": Scenario(sse(*said(AFTER_TOOLS), STOP), text=AFTER_TOOLS),
    }


def _errors() -> dict[str, Scenario]:
    start = sse(*said("hi"), done=False)
    broken = "provider_protocol"
    bodies = {
        "err_midstream": start + sse({"error": BOOM}),
        "err_event_top": start + b'event: error\ndata: {"message":"boom"}\n\n',
        "err_event_text": start + b"event: error\ndata: boom\n\n",
        "err_object": start + sse({"object": "error", "message": "boom", "code": 500}),
        "err_raw_text": start + sse("boom"),
        "err_json_text": start + sse('"boom"'),
        "err_in_choice": start
        + sse({"choices": [{"index": 0, "error": BOOM, "finish_reason": "error"}]}),
    }
    whole = {
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
        | {name: Scenario(body, "provider_error", headers=JSON) for name, body in whole.items()}
        | {name: Scenario(body, broken, headers=HTML) for name, body in pages.items()}
        | {
            "gzip_bomb": Scenario(
                gzip.compress(b"data: " + b"x" * 20_000_000), broken, headers=bomb
            )
        }
    )


def _statuses() -> dict[str, Scenario]:
    error = json.dumps({"error": BOOM}).encode()
    echo = json.dumps({"error": {"message": "Incorrect key: {AUTHORIZATION}"}}).encode()
    now, late = ("Retry-After", "0"), ("Retry-After", "3600")
    date = ("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")
    too_many, down = _failed(429, error, "", now), _failed(503, error, "", date)
    gone = Scenario(b"", status=0, ending="reset")
    return {
        "429": _failed(429, error, "provider_rate_limited", now),
        "429_late": _failed(429, error, "provider_rate_limited", late),
        "429_once": Scenario(OK, text=TEXT, first=(too_many,)),
        "500": _failed(500, error, "provider_unavailable", now),
        "503_twice": Scenario(OK, text=TEXT, first=(down, down)),
        "502_html": Scenario(
            b"<html>bad gateway", "provider_unavailable", status=502, headers=(*HTML, now)
        ),
        "401": _failed(401, echo, "provider_auth"),
        "403": _failed(403, error, "provider_auth"),
        "400": _failed(400, error, "provider_rejected"),
        "404_text": Scenario(b"no such model", "provider_rejected", status=404, headers=HTML),
        "307": Scenario(
            b"", "provider_rejected", status=307, headers=(("Location", "http://127.0.0.1:1/"),)
        ),
        "reset_first": Scenario(b"", "provider_unavailable", status=0, ending="reset"),
        "reset_once": Scenario(OK, text=TEXT, first=(gone,)),
    }


def _calls() -> dict[str, Scenario]:
    f1 = {**ONE, **X1}
    bare = {"name": "f", **X1}
    return {
        "t_normal": _tools(
            called(**ONE, arguments=""),
            called(index=0, arguments='{"x"'),
            called(index=0, arguments=":1}"),
            CALLS,
        ),
        "t_one_piece": _tools(called(**f1), CALLS),
        "t_finish_stop": _tools(called(**f1), STOP),
        "t_no_finish": _tools(called(**f1)),
        "t_args_object": _tools(called(**ONE, arguments={"x": 1}), CALLS),
        "t_no_index_single": _tools(
            called(id="c1", name="f", arguments='{"x"'), called(arguments=":1}"), CALLS
        ),
        "t_empty_id_repeat": _tools(
            called(**ONE, arguments='{"x"'), called(index=0, id="", name="", arguments=":1}"), CALLS
        ),
        "t_meta_repeat": _tools(
            called(**ONE, arguments='{"x"'), called(**ONE, arguments=":1}"), CALLS
        ),
        "t_index_starts_1": _tools(called(**{**f1, "index": 1}), CALLS),
        "t_after_finish": _tools(CALLS, called(**f1)),
        "t_args_on_finish": _tools(
            called(**ONE, arguments='{"x"'),
            chunk({"tool_calls": [call_piece(index=0, arguments=":1}")]}, "tool_calls"),
        ),
        "t_content_and_tool": _tools(*said("hi"), called(**f1), CALLS, text="hi"),
        "t_extra_content": _tools(
            called(**f1, extra_content={"google": {"thought_signature": "s\0"}}), CALLS
        ),
        "t_empty_args": _tools(called(**ONE, arguments=""), CALLS),
        "t_null_args": _tools(called(**ONE, arguments=None), CALLS),
        "t_no_id": _tools(called(index=0, **bare), CALLS),
        "t_legacy_function_call": _tools(
            chunk({"function_call": {"name": "f", "arguments": '{"x"'}}),
            chunk({"function_call": {"arguments": ":1}"}}),
            chunk(finish="function_call"),
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
            headers=JSON,
        ),
        "t_no_index_parallel": _tools(
            chunk({"tool_calls": [call_piece(**bare), call_piece(name="f", arguments='{"x":2}')]}),
            CALLS,
        ),
        "t_index0_all": _tools(
            called(**f1), called(index=0, id="c2", name="f", arguments='{"x":2}'), CALLS
        ),
        "t_index0_all_frag": _tools(
            called(**ONE, arguments='{"x"'),
            called(index=0, arguments=":1}"),
            called(index=0, id="c2", name="f", arguments='{"x"'),
            called(index=0, arguments=":2}"),
            CALLS,
        ),
        "t_interleaved": _tools(
            called(**ONE, arguments='{"x"'),
            called(index=1, id="c2", name="f", arguments='{"x"'),
            called(index=0, arguments=":1}"),
            called(index=1, arguments=":2}"),
            CALLS,
        ),
        "t_index_gap": _tools(
            called(**f1), called(index=5, id="c2", name="f", arguments='{"x":2}'), CALLS
        ),
        "t_dup_ids": _tools(
            called(**f1), called(index=1, id="c1", name="f", arguments='{"x":2}'), CALLS
        ),
        "t_truncated_args_length": Scenario(
            sse(called(**ONE, arguments='{"x"'), chunk(finish="length")), "length"
        ),
        "t_whole_then_cut": Scenario(sse(called(**f1), done=False), "disconnected"),
        "t_finish_without_call": Scenario(sse(CALLS), "provider_protocol"),
        "t_invalid_json": Scenario(
            sse(called(**ONE, arguments='{"x":1]'), CALLS), "invalid_tool_call"
        ),
        "t_second_args_on_first": Scenario(
            sse(called(**f1), called(index=0, arguments='{"x":2}'), CALLS), "invalid_tool_call"
        ),
        "t_bad_utf8": Scenario(
            sse(called(**ONE, arguments='{"x":"#"}')).replace(b"#", b"\xff"), "invalid_tool_call"
        ),
    }


_TABLES: tuple[Callable[[], dict[str, Scenario]], ...] = (
    _framings,
    _endings,
    _contents,
    _errors,
    _statuses,
    _calls,
)
SCENARIOS: dict[str, Scenario] = {name: one for table in _TABLES for name, one in table().items()}

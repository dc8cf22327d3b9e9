"""Anthropic's Messages API as documented, with scenarios of its failures.

`async with AnthropicUpstream() as upstream` serves at `upstream.url`; the model names a scenario. A
history that the API would reject is answered with 400.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from tests.support.providers.upstream import (
    JSON,
    Request,
    Scenario,
    Upstream,
    failures,
    frame_body,
    head,
)

THOUGHT = "They fly often."
SECOND_THOUGHT = "And back?"
SIGNATURES = {THOUGHT: "c2lnLTE=", SECOND_THOUGHT: "c2lnLTI="}
USAGE = {"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 1}


class AnthropicUpstream(Upstream):
    """The server."""

    @property
    def url(self) -> str:
        return super().url.removesuffix("/v1")

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        if request.path.startswith("/v1/models"):
            models = {"data": [{"type": "model", "id": name} for name in SCENARIOS]}
            writer.write(head(200, JSON) + frame_body(json.dumps(models).encode(), None, end=True))
            return True
        if fault := illegal(request.body["messages"]):
            self.rejected.append(fault)
            writer.write(head(400, JSON) + frame_body(_error(fault), None, end=True))
            return True
        return await self._play(self._scenario(request), request, reader, writer)

    def _scenario(self, request: Request) -> Scenario:
        last = request.body["messages"][-1]["content"]
        if isinstance(last, list) and last[0]["type"] == "tool_result":
            return SCENARIOS["after_tools"]
        return self.next_of(request.body["model"], SCENARIOS)


def illegal(messages: list[Any]) -> str | None:
    """Return the error in a history; None if it is valid."""
    open_calls: list[str] = []
    for at, message in enumerate(messages):
        content = message["content"]
        if not content:
            return f"messages.{at}: text content blocks must be non-empty"
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        answered_ids = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if answered_ids != open_calls:
            return f"messages.{at}: tool_use ids {open_calls} were answered by {answered_ids}"
        for block in blocks:
            thinking = block.get("thinking")
            if thinking is not None and block.get("signature") != SIGNATURES.get(thinking):
                return f"messages.{at}: invalid `signature` in `thinking` block"
        open_calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if odd := [call for call in open_calls if not re.fullmatch(r"[a-zA-Z0-9_-]+", call)]:
            return f"messages.{at}: tool_use.id: {odd} should match '^[a-zA-Z0-9_-]+$'"
    return f"`tool_use` ids without `tool_result`: {open_calls}" if open_calls else None


def outputs(request: Request) -> list[str]:
    """Return the tool outputs of a request."""
    last = request.body["messages"][-1]["content"]
    return [block["content"] for block in last if block["type"] == "tool_result"]


def _error(message: str, kind: str = "invalid_request_error") -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    block_start = _event("content_block_start", index=index, content_block=start)
    block_deltas = (_event("content_block_delta", index=index, delta=delta) for delta in deltas)
    return block_start + b"".join(block_deltas) + _event("content_block_stop", index=index)


def _text(index: int, *pieces: str) -> bytes:
    deltas = ({"type": "text_delta", "text": piece} for piece in pieces)
    return _block(index, {"type": "text", "text": ""}, *deltas)


def _thinking(index: int, thought: str) -> bytes:
    return _block(
        index,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": thought[:5]},
        {"type": "thinking_delta", "thinking": thought[5:]},
        {"type": "signature_delta", "signature": SIGNATURES[thought]},
    )


def _call(index: int, call_id: str, *pieces: str) -> bytes:
    start = {"type": "tool_use", "id": call_id, "name": "f", "input": {}}
    deltas = ({"type": "input_json_delta", "partial_json": piece} for piece in pieces)
    return _block(index, start, *deltas)


START = _event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": USAGE,
    },
) + _event("ping")


def _reply(*blocks: bytes, stop: str = "end_turn") -> bytes:
    delta = {"stop_reason": stop, "stop_sequence": None}
    end = _event("message_delta", delta=delta, usage={**USAGE, "output_tokens": 5})
    return START + b"".join(blocks) + end + _event("message_stop")


TEXT = _reply(_text(0, "Hi ", "世界"))
HALF = START + _text(0, "Hi")
SCENARIOS: dict[str, Scenario] = {
    "text": Scenario(TEXT),
    "after_tools": Scenario(_reply(_text(0, "All done."))),
    "thinking": Scenario(_reply(_thinking(0, THOUGHT), _text(1, "Hi"))),
    "call": Scenario(
        _reply(
            _thinking(0, THOUGHT),
            _text(1, "Let me see."),
            _call(2, "toolu_1", "", '{"x"', ": 1}"),
            stop="tool_use",
        )
    ),
    "no_arguments": Scenario(_reply(_call(0, "toolu_1"), stop="tool_use")),
    "parallel": Scenario(
        _reply(
            _thinking(0, THOUGHT),
            _call(1, "toolu_1", '{"x": 1}'),
            _thinking(2, SECOND_THOUGHT),
            _call(3, "toolu_2", '{"x": 2}'),
            stop="tool_use",
        )
    ),
    "length": Scenario(_reply(_text(0, "Hi"), stop="max_tokens")),
    "refused": Scenario(_reply(_text(0, "Hi"), stop="refusal")),
    "error_event": Scenario(HALF + b"event: error\ndata: " + _error("Overloaded!") + b"\n\n"),
    "garbage_event": Scenario(HALF + b"event: content_block_delta\ndata: {]\n\n"),
    **failures(_error, TEXT, HALF),
}

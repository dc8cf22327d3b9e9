"""The part of Bedrock's ConverseStream that tests of its blocking library need.

`async with BedrockUpstream() as upstream` serves at `upstream.url`; the model names a scenario.
"""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from typing import Any

from tests.support.providers.upstream import Request, Scenario, Upstream


class BedrockUpstream(Upstream):
    """The server."""

    @property
    def url(self) -> str:
        return super().url.removesuffix("/v1")

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        name = request.path.split("/")[2]
        return await self._play(self.next_of(name, SCENARIOS), request, reader, writer)


def _event(kind: str, **fields: Any) -> bytes:
    """Return a message of Amazon's event stream: lengths, headers, payload and checksums."""
    headers = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value
        for name, value in ((":event-type", kind.encode()), (":message-type", b"event"))
    )
    payload = json.dumps(fields).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _text(*pieces: str) -> bytes:
    return b"".join(
        _event("contentBlockDelta", contentBlockIndex=0, delta={"text": piece}) for piece in pieces
    )


STREAM = (("Content-Type", "application/vnd.amazon.eventstream"),)
START = _event("messageStart", role="assistant")
HALF = START + _text("Hi")
TOOL = {"toolUse": {"toolUseId": "tooluse_1", "name": "f"}}
SCENARIOS: dict[str, Scenario] = {
    "text": Scenario(
        START
        + _text("Hi ", "世界")
        + _event("contentBlockStop", contentBlockIndex=0)
        + _event("messageStop", stopReason="end_turn")
        + _event(
            "metadata", usage={"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}, metrics={}
        ),
        headers=STREAM,
    ),
    "call": Scenario(
        START
        + _event("contentBlockStart", contentBlockIndex=0, start=TOOL)
        + _event("contentBlockDelta", contentBlockIndex=0, delta={"toolUse": {"input": '{"x": 1}'}})
        + _event("contentBlockStop", contentBlockIndex=0)
        + _event("messageStop", stopReason="tool_use"),
        headers=STREAM,
    ),
    "stall": Scenario(HALF, ending="hold", headers=STREAM),
    "400": Scenario(
        b'{"message": "No such field."}',
        status=400,
        headers=(("Content-Type", "application/json"), ("x-amzn-ErrorType", "ValidationException")),
    ),
}

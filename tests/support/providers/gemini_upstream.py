"""Gemini's streamGenerateContent as documented, with scenarios of its failures.

`async with GeminiUpstream() as upstream` serves at `upstream.url`; the model names a scenario. A
history that the API would reject is answered with 400.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from tests.support.providers.upstream import (
    JSON,
    Request,
    Scenario,
    Upstream,
    failures,
    frame_body,
    head,
    line,
)

SIGNATURE = "c2lnLTE="
NOT_OURS = "skip_thought_signature_validator"  # for a call that another model made
USAGE = {
    "promptTokenCount": 10,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 3,
    "thoughtsTokenCount": 2,
    "totalTokenCount": 15,
}


class GeminiUpstream(Upstream):
    """The server."""

    @property
    def url(self) -> str:
        return super().url.removesuffix("/v1")

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        method_path = urlsplit(request.path).path.partition("/models")[2].removeprefix("/")
        if not method_path:
            models = {"models": [{"name": f"models/{name}"} for name in SCENARIOS]}
            writer.write(head(200, JSON) + frame_body(json.dumps(models).encode(), None, end=True))
            return True
        if fault := illegal(request.body["contents"]):
            self.rejected.append(fault)
            writer.write(head(400, JSON) + frame_body(_error(fault), None, end=True))
            return True
        return await self._play(self._scenario(method_path, request), request, reader, writer)

    def _scenario(self, method_path: str, request: Request) -> Scenario:
        name, _, method = method_path.partition(":")
        assert method == "streamGenerateContent"
        if "functionResponse" in request.body["contents"][-1]["parts"][0]:
            return SCENARIOS["after_tools"]
        return self.next_of(name, SCENARIOS)


def illegal(contents: list[Any]) -> str | None:
    """Return the error in a history; None if it is valid."""
    open_calls: list[str] = []
    for at, content in enumerate(contents):
        parts = content["parts"]
        if content["role"] not in ("user", "model") or not parts:
            return f"contents[{at}]: a role and parts are needed"
        answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if [answer.get("id") for answer in answers] != open_calls:
            return f"contents[{at}]: {answers} are not the answers to {open_calls}"
        calls = [part for part in parts if "functionCall" in part]
        if calls and calls[0].get("thoughtSignature") not in (SIGNATURE, NOT_OURS):
            return f"contents[{at}]: function call is missing a thought_signature"
        open_calls = [part["functionCall"].get("id") for part in calls]
    return f"calls without a response: {open_calls}" if open_calls else None


def outputs(request: Request) -> list[str]:
    """Return the tool outputs of a request."""
    answers = [part["functionResponse"] for part in request.body["contents"][-1]["parts"]]
    return [str(answer["response"]["result"]) for answer in answers]


def _error(message: str, kind: str = "INVALID_ARGUMENT") -> bytes:
    return json.dumps({"error": {"code": 400, "message": message, "status": kind}}).encode()


def _reply_body(*parts: dict[str, Any], **more: Any) -> bytes:
    candidate = {"index": 0, "content": {"role": "model", "parts": list(parts)}, **more}
    return line({"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": "m"})


def _call(call_id: str, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"id": call_id, "name": "f", "args": {"x": int(call_id[-1])}}, **more}


END = _reply_body({"text": ""}, finishReason="STOP")
HALF = _reply_body({"text": "Hi"})
TEXT = _reply_body({"text": "Hi "}) + _reply_body({"text": "世界"}, finishReason="STOP")
SCENARIOS: dict[str, Scenario] = {
    "text": Scenario(TEXT),
    "after_tools": Scenario(_reply_body({"text": "All done."}) + END),
    "thinking": Scenario(_reply_body({"text": "They fly often.", "thought": True}) + HALF + END),
    "call": Scenario(
        _reply_body({"text": "They fly often.", "thought": True})
        + _reply_body({"text": "Let me see."})
        + _reply_body(_call("call_1", thoughtSignature=SIGNATURE))
        + END
    ),
    "no_arguments": Scenario(
        _reply_body({"functionCall": {"id": "call_1", "name": "f"}, "thoughtSignature": SIGNATURE})
        + END
    ),
    "parallel": Scenario(
        _reply_body({"text": "They fly often.", "thought": True})
        + _reply_body(
            _call("call_1", thoughtSignature=SIGNATURE), _call("call_2"), finishReason="STOP"
        )
    ),
    "length": Scenario(_reply_body({"text": "Hi"}, finishReason="MAX_TOKENS")),
    "refused": Scenario(_reply_body({"text": "Hi"}, finishReason="SAFETY")),
    "error_event": Scenario(HALF + b"data: " + _error("Overloaded!", "UNAVAILABLE") + b"\n\n"),
    "garbage_event": Scenario(HALF + b"data: {]\n\n"),
    **failures(_error, TEXT, HALF),
}

"""A strict reader of UI Message Streams: it assembles the message of a client and checks the parts.

It follows the sources of three versions of the npm package `ai`, and `test_ui_clients.py` compares
it with the packages themselves. Keys are as strict as they were in the first release of 5.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

from antiphon.wires.sse import Decoder

Parts = list[dict[str, Any]]

# Required keys of each part, optional keys, and the first version with it.
GRAMMAR: dict[str, tuple[set[str], set[str], int]] = {
    "start": ({"messageId", "messageMetadata"}, set(), 5),
    "message-metadata": ({"messageMetadata"}, set(), 5),
    "abort": (set(), set(), 5),
    "error": ({"errorText"}, set(), 5),
    "finish": ({"messageMetadata"}, set(), 5),
    "start-step": (set(), set(), 5),
    "finish-step": (set(), set(), 5),
    "reset-step": (set(), set(), 7),
    "text-start": ({"id"}, {"providerMetadata"}, 5),
    "text-delta": ({"id", "delta"}, set(), 5),
    "text-end": ({"id"}, set(), 5),
    "source-url": ({"sourceId", "url"}, {"title"}, 5),
    "reasoning-start": ({"id"}, set(), 5),
    "reasoning-delta": ({"id", "delta"}, {"providerMetadata"}, 5),
    "reasoning-end": ({"id"}, {"providerMetadata"}, 5),
    "tool-input-start": ({"toolCallId", "toolName", "dynamic"}, set(), 5),
    "tool-input-delta": ({"toolCallId", "inputTextDelta"}, set(), 5),
    "tool-input-available": ({"toolCallId", "toolName", "input", "dynamic"}, set(), 5),
    "tool-output-available": ({"toolCallId", "output", "dynamic"}, {"preliminary"}, 5),
    "tool-output-error": ({"toolCallId", "errorText", "dynamic"}, set(), 5),
    "tool-approval-request": ({"approvalId", "toolCallId"}, set(), 6),
    "tool-output-denied": ({"toolCallId"}, set(), 6),
    "tool-approval-response": ({"approvalId", "approved"}, {"reason"}, 7),
    "data-status": ({"id", "data"}, set(), 5),
    "data-tool-status": ({"data", "transient"}, set(), 5),
    "data-approval": ({"id", "data"}, set(), 5),
    "data-turn-restarted": ({"data"}, set(), 5),
}
FINISH_REASONS = {"stop", "length", "content-filter", "tool-calls", "error", "other"}


PLACES = {"dynamic", "providerExecuted"}
"""Keys that tell a page with tools whether a call is its own."""


class Judge:
    """A client of one version, and the message that it assembles from streams.

    `page_tools` are the tools that it runs itself, None if it runs none.
    """

    def __init__(self, sdk: int, page_tools: frozenset[str] | None = None) -> None:
        self.sdk = sdk
        self.page_tools = page_tools
        self._page_calls: set[str] = set()
        self.message: dict[str, Any] = {"id": "", "role": "assistant", "parts": []}
        self.transient: Parts = []
        self.errors: list[str] = []
        self.ids: list[str] = []
        self.finished = False
        self.done = False
        self._in_step = False
        self._open_texts: dict[str, dict[str, Any]] = {}
        self._streaming_calls: set[str] = set()

    def read(self, frames: Iterable[bytes]) -> Judge:
        """Read frames of a server; a resumed stream continues the message."""
        self.done = False
        for frame_bytes in frames:
            assert frame_bytes.endswith(b"\n\n"), frame_bytes
            assert len(frame_bytes.decode().strip("\n").splitlines()) <= 2, (
                f"more than a part: {frame_bytes!r}"
            )
            frame, *others = Decoder().feed(frame_bytes)
            assert not others, frame_bytes
            assert frame.event is None
            assert not self.done, f"after the end: {frame_bytes!r}"
            if frame.id:
                assert frame.id not in self.ids, f"told twice: {frame_bytes!r}"
                self.ids.append(frame.id)
            if frame.data == "[DONE]":
                self.done = True
            else:
                self._read_part(json.loads(frame.data))
        return self

    @property
    def parts(self) -> Parts:
        """The message's parts without void ones."""
        return less_void(self.message["parts"])

    @property
    def steps(self) -> list[Parts]:
        """Return the text of each reply, and the results of its calls."""
        steps: list[Parts] = [[]]
        for part in self.parts:
            if part["type"] == "step-start":
                steps.append([])
            else:
                steps[-1].append(part)
        return steps[1:]

    def _read_part(self, part: dict[str, Any]) -> None:
        kind = part["type"]
        must, may, since = GRAMMAR[kind]
        if kind == "finish" and self.sdk > 5:
            assert part["finishReason"] in FINISH_REASONS
            must = must | {"finishReason"}
        assert since <= self.sdk, f"unknown to version {self.sdk}: {part}"
        if "dynamic" in must and self.page_tools is not None:
            self._check_where_it_runs(part)
            must, may = must - PLACES, may | PLACES
        else:
            assert part.get("dynamic", True) is True
        assert must <= part.keys() - {"type"} <= must | may, part
        assert not self.finished or kind == "start", f"after the message: {part}"
        assert self.message["id"] or kind == "start", f"before the message: {part}"
        self._assemble(kind, part)

    def _check_where_it_runs(self, part: dict[str, Any]) -> None:
        """Check that all parts of a call say the same of where it runs."""
        assert self.page_tools is not None
        if "toolName" in part and part["toolName"] in self.page_tools:
            self._page_calls.add(part["toolCallId"])
        place = {key: part[key] for key in PLACES & part.keys()}
        remote_place = {"dynamic": True, "providerExecuted": True}
        assert place == ({} if part["toolCallId"] in self._page_calls else remote_place), part

    def _assemble(self, kind: str, part: dict[str, Any]) -> None:
        parts = self.message["parts"]
        match kind.split("-")[0], kind:
            case _, "start":
                assert not self.message["id"], "it began before"
                self.message |= {"id": part["messageId"], "metadata": part["messageMetadata"]}
            case _, "message-metadata" | "finish":
                self.message["metadata"] = self.message["metadata"] | part["messageMetadata"]
                self.finished = kind == "finish"
                if kind == "finish":
                    assert not self._in_step, "a step is open"
            case _, "error":
                self.errors.append(part["errorText"])
            case _, "start-step":
                assert not self._in_step, "a step in a step"
                self._in_step = True
                parts.append({"type": "step-start"})
            case _, "finish-step":
                assert self._in_step, "no step is open"
                assert not self._open_texts, "somebody speaks"
                self._in_step = False
            case _, "reset-step":
                assert self._in_step, "no step is open"
                step_start = max(n for n, each in enumerate(parts) if each["type"] == "step-start")
                del parts[step_start + 1 :]
                self._open_texts.clear()
                self._streaming_calls.clear()
            case _, "source-url":
                assert self._in_step, f"outside of a step: {part}"
                parts.append(part)
            case "text" | "reasoning" as what, _:
                self._speak(what, kind, part)
            case "tool", _:
                self._call(kind, part)
            case "data", _:
                self._data(kind, part)
            case _, "abort":
                assert not self._in_step, "a step is open"

    def _speak(self, what: str, kind: str, part: dict[str, Any]) -> None:
        assert self._in_step, f"outside of a step: {part}"
        match kind.rsplit("-", 1)[1]:
            case "start":
                assert not self._open_texts, "somebody speaks already"
                text_part = {"type": what, "text": "", "state": "streaming"}
                self._open_texts[part["id"]] = text_part
                self.message["parts"].append(text_part)
            case "delta":
                assert part["delta"], "an empty piece"
                text_part = self._open_texts[part["id"]]
                assert text_part["type"] == what
                text_part["text"] += part["delta"]
            case "end":
                text_part = self._open_texts.pop(part["id"])
                text_part["state"] = "done"
            case _:
                raise AssertionError(kind)
        if "providerMetadata" in part:
            text_part["providerMetadata"] = part["providerMetadata"]

    def _call(self, kind: str, part: dict[str, Any]) -> None:
        parts = self.message["parts"]
        if kind == "tool-input-start":
            assert self._in_step
            assert not self._open_texts, "somebody speaks"
            is_page_call = part["toolCallId"] in self._page_calls
            kind = f"tool-{part['toolName']}" if is_page_call else "dynamic-tool"
            new = {"type": kind, "state": "input-streaming"}
            parts.append(new | {key: part[key] for key in ("toolCallId", "toolName")})
            self._streaming_calls.add(part["toolCallId"])
            return
        if kind == "tool-approval-response":
            [call] = [p for p in parts if p.get("approval", {}).get("id") == part["approvalId"]]
            assert call["state"] == "approval-requested"
            call["state"] = "approval-responded"
            call["approval"]["approved"] = part["approved"]
            return
        call = [each for each in parts if each.get("toolCallId") == part["toolCallId"]][-1]
        state = call["state"]
        match kind:
            case "tool-input-delta":
                assert state == "input-streaming"
                assert part["toolCallId"] in self._streaming_calls
                return
            case "tool-input-available":
                assert state == "input-streaming" or call.pop("approval", None)
                call["input"] = part["input"]
                call["state"] = "input-available"
            case "tool-approval-request":
                is_page_call = call["type"] != "dynamic-tool"
                assert state == ("input-streaming" if is_page_call else "input-available")
                call["approval"] = {"id": part["approvalId"]}
                call["state"] = "approval-requested"
            case "tool-output-denied":
                assert state.startswith("approval-")
                call["state"] = "output-denied"
            case "tool-output-available":
                assert state in ("input-available", "approval-requested", "approval-responded") or (
                    call.pop("preliminary", False)
                ), f"{state}: {part}"
                call |= {"state": "output-available", "output": part["output"]}
                if part.get("preliminary"):
                    call["preliminary"] = True
            case "tool-output-error":
                assert not state.startswith("output-") or call.get("preliminary"), (
                    f"{state}: {part}"
                )
                call.pop("preliminary", None)
                call.pop("output", None)
                call |= {"state": "output-error", "errorText": part["errorText"]}
        self._streaming_calls.discard(part["toolCallId"])

    def _data(self, kind: str, part: dict[str, Any]) -> None:
        if part.get("transient"):
            self.transient.append(part)
            return
        parts = self.message["parts"]
        for each in parts:
            if part.get("id") and (each["type"], each.get("id")) == (kind, part["id"]):
                each["data"] = part["data"]
                return
        parts.append(copy.deepcopy(part))


def less_void(parts: Parts) -> Parts:
    """Return a message without the steps that a restart has made void."""
    remaining: Parts = []
    for part in parts:
        if part["type"] == "data-turn-restarted":
            step_start = max(n for n, each in enumerate(remaining) if each["type"] == "step-start")
            del remaining[step_start:]
        else:
            remaining.append(part)
    return remaining

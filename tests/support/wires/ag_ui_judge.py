"""An AG-UI client after its specification: it checks the order of events, and keeps messages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

Message = dict[str, Any]

PAIRS = {
    "STEP_STARTED": ("STEP_FINISHED", "stepName"),
    "TEXT_MESSAGE_START": ("TEXT_MESSAGE_END", "messageId"),
    "REASONING_START": ("REASONING_END", "messageId"),
    "REASONING_MESSAGE_START": ("REASONING_MESSAGE_END", "messageId"),
    "TOOL_CALL_START": ("TOOL_CALL_END", "toolCallId"),
}
ENDS = {end: (start, key) for start, (end, key) in PAIRS.items()}
WITHIN = {
    "TEXT_MESSAGE_CONTENT": ("TEXT_MESSAGE_START", "messageId"),
    "REASONING_MESSAGE_CONTENT": ("REASONING_MESSAGE_START", "messageId"),
    "TOOL_CALL_ARGS": ("TOOL_CALL_START", "toolCallId"),
}
ANYTIME = {"CUSTOM", "TOOL_CALL_RESULT", "MESSAGES_SNAPSHOT"}


class Page:
    """Reads streams one after the other; `runs` are the started runs, each with its outcome."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self.messages = [dict(message) for message in messages]
        self.events: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.runs: list[list[Any]] = []
        self.open: set[tuple[str, str]] = set()

    def read(self, frames: Iterable[bytes]) -> Page:
        self.open = set()
        self.running = False
        for frame in frames:
            *id_lines, data, end, rest = frame.decode().split("\n")
            assert (end, rest) == ("", "")
            self.ids += [line.removeprefix("id: ") for line in id_lines]
            event = json.loads(data.removeprefix("data: "))
            self.events.append(event)
            self._check(event)
            self._apply(event)
        return self

    def _check(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "RUN_STARTED":
                assert not self.running
                self.running = True
                self.runs.append([event["runId"]])
            case "RUN_FINISHED":
                assert self.running
                assert not self.open
                assert self.runs[-1] == [event["runId"]]
                self.running = False
                self.runs[-1].append(event.get("outcome", {}).get("type"))
            case "RUN_ERROR":
                self.running = False
                self.runs[-1].append(event["code"])
            case start if start in PAIRS:
                item = (start, event[PAIRS[start][1]])
                assert self.running
                assert item not in self.open
                self.open.add(item)
            case end if end in ENDS:
                start, key = ENDS[end]
                self.open.remove((start, event[key]))
            case content if content in WITHIN:
                start, key = WITHIN[content]
                assert event["delta"]
                assert (start, event[key]) in self.open
            case kind:
                assert self.running
                assert kind in ANYTIME

    def _apply(self, event: dict[str, Any]) -> None:
        match event:
            case {"type": "TEXT_MESSAGE_START" | "REASONING_MESSAGE_START"}:
                self._get(event["messageId"], event["role"])
            case {"type": "TEXT_MESSAGE_CONTENT" | "REASONING_MESSAGE_CONTENT"}:
                self._get(event["messageId"])["content"] += event["delta"]
            case {"type": "TOOL_CALL_START"} if self._call(event["toolCallId"]) is None:
                parent = self._get(event["parentMessageId"], "assistant")
                function = {"name": event["toolCallName"], "arguments": ""}
                call = {"id": event["toolCallId"], "type": "function", "function": function}
                parent.setdefault("toolCalls", []).append(call)
            case {"type": "TOOL_CALL_ARGS"}:
                call = self._call(event["toolCallId"])
                assert call is not None
                call["function"]["arguments"] += event["delta"]
            case {"type": "TOOL_CALL_RESULT"}:
                assert self._call(event["toolCallId"]) is not None
                output = self._get(event["messageId"], "tool")
                output |= {"content": event["content"], "toolCallId": event["toolCallId"]}
            case {"type": "MESSAGES_SNAPSHOT", "messages": messages}:
                self._replace(messages)
            case _:
                pass

    def _replace(self, messages: list[Message]) -> None:
        new_messages = {message["id"]: message for message in messages}
        has_reasoning = any(message["role"] == "reasoning" for message in messages)
        remaining = [
            new_messages.get(message["id"], message)
            for message in self.messages
            if message["id"] in new_messages
            or (message["role"] == "reasoning" and not has_reasoning)
        ]
        remaining_ids = {message["id"] for message in remaining}
        self.messages = [
            *remaining,
            *(m for m in new_messages.values() if m["id"] not in remaining_ids),
        ]

    def _get(self, id: str, role: str = "") -> Message:
        for message in self.messages:
            if message["id"] == id:
                return message
        assert role
        self.messages.append({"id": id, "role": role, "content": ""})
        return self.messages[-1]

    def _call(self, id: str) -> Message | None:
        calls = [call for m in self.messages for call in m.get("toolCalls", ())]
        return next((call for call in calls if call["id"] == id), None)


def essence(messages: Iterable[Message]) -> list[Message]:
    """Return the visible contents: replies and outputs, then the reasoning.

    Reasoning without text replaces void reasoning; when it gets text later, it may come before a
    text that it followed.
    """
    normalized = [{**message, "content": message.get("content") or ""} for message in messages]
    reasoning = [message for message in normalized if message["role"] == "reasoning"]
    return [
        *(message for message in normalized if message["role"] != "reasoning"),
        *(message for message in reasoning if message["content"]),
    ]

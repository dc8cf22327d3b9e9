"""Pages that run tools themselves: the state of `useChat` and of an AG-UI client, in Python."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import httpx2

from antiphon.wires.sse import Decoder
from tests.support.wires.ag_ui_judge import Page

Json = dict[str, Any]
_numbers = count(1)


def new_id(kind: str) -> str:
    return f"{kind}-{next(_numbers)}"


class UseChat:
    """A chat of `useChat`: its messages and its requests, which have these `headers`."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        name: str,
        tools: Mapping[str, Json] | None = None,
        sdk: int = 6,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> None:
        self.name = name
        self.messages: list[Json] = []
        self.tools = tools
        self.body = body
        self.parts: list[Json] = []
        """The content of the last response."""
        self._client = client
        self._sdk = sdk
        self._headers = headers or {}

    @property
    def last(self) -> list[Json]:
        """The parts of the last message."""
        parts: list[Json] = self.messages[-1]["parts"]
        return parts

    @property
    def text(self) -> str:
        return "".join(part["text"] for part in self.last if part["type"] == "text")

    def call(self, name: str) -> Json:
        """The last call of this tool."""
        calls = [
            part
            for message in self.messages
            for part in message["parts"]
            if part.get("toolName") == name or part["type"] == f"tool-{name}"
        ]
        return calls[-1]

    async def send(self, text: str, message_id: str | None = None) -> httpx2.Response:
        message = {"type": "text", "text": text}
        self.messages.append(
            {"id": message_id or new_id("message"), "role": "user", "parts": [message]}
        )
        return await self.submit()

    async def give(self, name: str, output: Any) -> httpx2.Response:
        self.add_output(name, output)
        return await self.submit()

    def add_output(self, name: str, output: Any) -> None:
        self.call(name).update(state="output-available", output=output)

    async def approve(self, name: str, approved: bool = True) -> httpx2.Response:
        call = self.call(name)
        call["state"] = "approval-responded"
        call["approval"]["approved"] = approved
        return await self.submit()

    async def submit(self, **more: Any) -> httpx2.Response:
        """Post the messages, and read the response."""
        body = {"id": self.name, "messages": self.messages, **self.body, **more}
        if self.tools is not None:
            body["tools"] = self.tools
        path = f"/ai-sdk/v{self._sdk}/chat"
        answer = await self._client.post(path, json=body, headers=self._headers)
        self.read(answer)
        return answer

    async def resume(self, last_event_id: str | None = None) -> httpx2.Response:
        path = f"/ai-sdk/v{self._sdk}/chat/{self.name}/stream"
        more = {"last-event-id": last_event_id} if last_event_id else {}
        answer = await self._client.get(path, headers={**self._headers, **more})
        self.read(answer)
        return answer

    def read(self, answer: httpx2.Response) -> None:
        self.parts = []
        if answer.status_code != 200:
            return
        frames = Decoder().feed(answer.content)
        assert frames[-1].data == "[DONE]"
        for frame in frames[:-1]:
            part = json.loads(frame.data)
            self.parts.append(part)
            self._apply(part)

    def _apply(self, part: Json) -> None:
        kind = part["type"]
        if kind == "start":
            if self.messages[-1]["role"] != "assistant":
                self.messages.append({"role": "assistant", "parts": []})
            self.messages[-1]["id"] = part["messageId"]
            return
        if kind == "start-step":
            self.last.append({"type": "step-start"})
        elif kind == "text-start":
            self.last.append({"type": "text", "id": part["id"], "text": ""})
        elif kind == "text-delta":
            self.last[-1]["text"] += part["delta"]
        elif kind == "tool-input-start":
            type_field = {} if part.get("dynamic") else {"type": f"tool-{part['toolName']}"}
            known_parts = [
                each for each in self.last if each.get("toolCallId") == part["toolCallId"]
            ]
            if not known_parts:
                self.last.append(
                    {**part, "type": "dynamic-tool", **type_field, "state": "streaming"}
                )
        elif kind == "tool-input-available":
            self._call_of(part).update(input=part["input"], state="input-available")
        elif kind == "tool-approval-request":
            approval = {"id": part["approvalId"]}
            self._call_of(part).update(state="approval-requested", approval=approval)
        elif kind == "tool-output-available":
            self._call_of(part).update(state="output-available", output=part["output"])
        elif kind == "tool-output-denied":
            self._call_of(part)["state"] = "output-denied"
        elif kind == "tool-output-error":
            self._call_of(part).update(state="output-error", errorText=part["errorText"])

    def _call_of(self, part: Json) -> Json:
        [call] = [each for each in self.last if each.get("toolCallId") == part["toolCallId"]]
        return call


class AgUiPage:
    """An AG-UI client: its messages and its requests."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        name: str,
        tools: Sequence[Json] = (),
        version: str | None = "1.0",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.tools = tools
        self.page = Page()
        self.events: list[Json] = []
        """The content of the last response."""
        self._client = client
        self._version = version
        self._headers = headers or {}

    @property
    def messages(self) -> list[Json]:
        return self.page.messages

    @property
    def text(self) -> str:
        return str(self.messages[-1]["content"])

    @property
    def outcome(self) -> Json:
        """The outcome of the last run."""
        outcome: Json = self.events[-1].get("outcome", {})
        return outcome

    def call_id(self, name: str) -> str:
        calls = [call for message in self.messages for call in message.get("toolCalls", ())]
        return str([call["id"] for call in calls if call["function"]["name"] == name][-1])

    async def send(self, text: str, message_id: str | None = None) -> httpx2.Response:
        own_id = message_id or new_id("message")
        self.page.messages.append({"id": own_id, "role": "user", "content": text})
        return await self.submit()

    def add_output(self, name: str, content: str) -> None:
        output = {"id": new_id("output"), "role": "tool", "content": content}
        self.page.messages.append({**output, "toolCallId": self.call_id(name)})

    async def give(self, name: str, content: str) -> httpx2.Response:
        self.add_output(name, content)
        return await self.submit()

    async def submit(self, **more: Any) -> httpx2.Response:
        body = {
            "threadId": self.name,
            "runId": new_id("run"),
            "messages": self.messages,
            "tools": self.tools,
            "state": {},
            "context": [],
            "forwardedProps": {},
            **({"protocolVersion": self._version} if self._version else {}),
            **more,
        }
        answer = await self._client.post("/ag-ui/v1/run", json=body, headers=self._headers)
        self.read(answer)
        return answer

    async def resume(self, last_event_id: str | None = None) -> httpx2.Response:
        more = {"last-event-id": last_event_id} if last_event_id else {}
        answer = await self._client.get(
            f"/ag-ui/v1/threads/{self.name}/stream", headers={**self._headers, **more}
        )
        self.read(answer)
        return answer

    def read(self, answer: httpx2.Response) -> None:
        self.events = []
        if answer.status_code == 200:
            before = len(self.page.events)
            blocks = answer.content.split(b"\n\n")
            frames = [block + b"\n\n" for block in blocks if block and not block.startswith(b":")]
            self.page.read(frames)
            self.events = self.page.events[before:]

"""One message of the web chat, with a tool: the steps of browser, Flask, SDK, backend and model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.settings.settings import Settings
from antiphon.wires.sse import Decoder
from tests.support.harness.flows import RecordingUpstream, Story, proxy
from tests.support.harness.servers import start_server
from tests.support.providers.upstream import CALLS, Scenario, call_chunk, sse
from tests.support.web.visiting import Chat, open_chat

FLIGHT = '{"departure":"LAX","arrival":"JFK"}'
QUESTION = "When does the next flight from LAX to JFK leave?"

# The numbers are those of docs/flows/web.md. `sdk` is a request to the backend, `model` a request
# to the LLM, `tool` the handler of the app, `page` a response to the browser, which reads at its
# own pace.
APP = [
    "2 3 sdk: POST /v1/messages",
    "4 5 sdk: POST /v1/runs",
    "7 8 sdk: POST /v1/completions",
    "8 model: user",
    "9 10 11 12 13 sdk: GET /v1/runs/{run}",
    "14 sdk: GET /v1/actions",
    "15 tool: get_flight_times LAX JFK",
    "16 17 18 sdk: POST /v1/messages",
    "20 21 sdk: POST /v1/completions",
    "21 22 model: user assistant tool",
]
PAGE = [
    "1 page: POST /api/messages/process",
    "6 page: 200 text/event-stream; charset=utf-8",
    "8 page: tool-input-available",
    "9 page: finish-step",
    "19 page: data-status complete",
    "21 page: text-delta",
    "22 page: finish-step",
    "23 page: data-status done",
    "24 page: [DONE]",
]
NOT_BEFORE = {
    "page: tool-input-available": "model: user",
    "page: data-status complete": "tool: get_flight_times LAX JFK",
    "page: text-delta": "model: user assistant tool",
}


class _Flow:
    """The app in this process and a backend in another, with a record of all that they send."""

    def __init__(self, chat: Chat, story: Story) -> None:
        self.chat = chat
        self.story = story

    async def post(self, body: dict[str, Any]) -> None:
        """Post a message as the browser, and read the stream to its end."""
        browser = self.chat.browser()
        await browser.get("/")
        self.story.clear()
        self.story.append("page: POST /api/messages/process")
        answer = await browser.open("POST", "/api/messages/process", body, buffered=False)
        self.story.append(f"page: {answer.status_code} {answer.content_type}")
        await asyncio.to_thread(self._read, answer)

    def _read(self, answer: Any) -> None:
        decoder = Decoder()
        for piece in answer.response:
            for frame in decoder.feed(piece):
                self.story.append(f"page: {_event_name(frame.data)}")


@pytest.fixture
async def flow(tmp_path: Path) -> AsyncIterator[_Flow]:
    story: Story = []

    def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
        """Departure and arrival of the next flight between two airports."""
        story.append(f"tool: get_flight_times {departure} {arrival}")
        return {"departure_time": "16:35"}

    async with RecordingUpstream(story) as model:
        call = call_chunk(index=0, id="c1", name="get_flight_times", arguments=FLIGHT)
        model.scenarios["flights"] = Scenario(sse(call, CALLS))
        backend = await start_server(
            {
                "ANTIPHON_DATABASE": f"sqlite:///{tmp_path}/antiphon.db",
                "ANTIPHON_BASE_URL": model.url,
                "ANTIPHON_MODEL": "quirk:flights",
            }
        )
        try:
            async with (
                proxy(lambda: backend.url, lambda line: story.append(_plain(line))) as url,
                open_chat(Settings(server=url), [get_flight_times]) as chat,
            ):
                yield _Flow(chat, story)
        finally:
            await backend.stop_cleanly()


async def test_the_steps_are_those_of_the_drawing_and_in_its_order(flow: _Flow) -> None:
    await flow.post({"content": QUESTION})

    story, text = flow.story, "\n".join(flow.story)
    assert _missing(APP, story) == [], text
    assert _missing(PAGE, story) == [], text
    for later, sooner in NOT_BEFORE.items():
        assert story.index(sooner) < story.index(later), text


async def test_the_page_learns_that_a_call_is_complete_once_its_output_is_saved(
    flow: _Flow,
) -> None:
    await flow.post({"content": QUESTION})

    positions = [
        position for position, line in enumerate(flow.story) if line == "sdk: POST /v1/messages"
    ]
    assert positions[1] < flow.story.index("page: data-status complete")
    assert "page: data-status complete" in flow.story[: flow.story.index("page: text-delta")]


def _missing(steps: list[str], story: Story) -> list[str]:
    """Return the steps that do not occur in this order."""
    rest = iter(story)
    return [step for step in steps if step.lstrip("0123456789 ") not in rest]


def _event_name(data: str) -> str:
    if data == "[DONE]":
        return data
    part = json.loads(data)
    if part["type"] == "data-status":
        return f"data-status {part['data']['status']}"
    return str(part["type"])


def _plain(line: str) -> str:
    """Return a request line without its query and ids."""
    method, _, target = line.partition(" ")
    path = target.partition("?")[0].split("/")
    plain = "/".join("{run}" if part.startswith("run_") else part for part in path)
    return f"sdk: {method} {plain}"

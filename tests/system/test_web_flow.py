"""The web chat's twenty-four steps, behind the browser: the example's generator over the real SDK,
a server, and a model, with every request seen on its way.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from antiphon import Client
from antiphon.wires.sse import Decoder
from tests.support.harness.flows import RecordingUpstream, Story, proxy
from tests.support.harness.raw_http import send_request
from tests.support.providers.upstream import CALLS, Scenario, call_chunk, sse

ARGUMENTS = '{"departure":"LAX","arrival":"JFK"}'
EXAMPLE = Path(__file__).parents[2] / "examples" / "web_chat.py"


def _load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("web_chat_example", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _StepHandler(logging.Handler):
    """Handler of the steps that the app logs as it takes them."""

    def __init__(self, story: Story) -> None:
        super().__init__()
        self._story = story

    def emit(self, record: logging.LogRecord) -> None:
        self._story.append(f"app: {record.getMessage()}")


# In the order of the drawing: `model` is a request to the model, `sdk` one to the backend, and
# `page` an event for the browser.
STEPS = [
    "sdk: POST /v1/messages",  # 2, 3
    "sdk: POST /v1/runs",  # 4, 5
    "app: 6. the streaming response is returned",
    "app: 7. sync_stream.setup, sync_stream.stream_chunks",
    "sdk: POST /v1/completions",  # 8
    "model: user",
    "page: tool_call.started",
    "page: action.required",
    "page: turn.ended",
    "app: 9. sync_stream.close",
    "app: 10. the run's status is action_required",
    "app: 11. poll_and_execute_action",
    "sdk: GET /v1/runs/{run}",  # 12, 13
    "sdk: GET /v1/actions",  # 14
    "app: 15. tool_handler('get_flight_times', {'departure': 'LAX', 'arrival': 'JFK'})",
    "sdk: POST /v1/messages",  # 16, 17
    "app: 18. poll_and_execute_action returns 1 action(s)",
    "page: status complete",  # 19
    "app: 20. final_stream.setup, final_stream.stream_chunks",
    "sdk: POST /v1/completions",  # 21
    "model: user assistant tool",
    "page: text.delta",
    "page: turn.ended",
    "app: 22. final_stream.close",
    "page: status done",  # 23
    "app: 24. the generator finishes",
]


async def test_the_steps_happen_in_the_order_in_which_they_are_drawn(serve: Any) -> None:
    story: Story = []
    async with _model(story) as model:
        server = await serve(ANTIPHON_BASE_URL=model.url, ANTIPHON_MODEL="quirk:flights")
        async with proxy(
            lambda: server.url, lambda line: story.append(f"sdk: {_plain(line)}")
        ) as url:
            await asyncio.to_thread(_chat, url, story)
        outputs = model.requests[1].body["messages"][-1]

    assert _in_order(story, STEPS), "\n".join(story)
    # The page is told of `complete` only after the output was saved, and the backend has it.
    assert json.loads(outputs["content"]) == {
        "departure_time": "16:35",
        "arrival_time": "00:55",
    }
    assert len(model.requests) == 2


async def test_the_page_may_leave_and_the_run_goes_on_to_its_action(serve: Any) -> None:
    story: Story = []
    async with _model(story) as model:
        server = await serve(ANTIPHON_BASE_URL=model.url, ANTIPHON_MODEL="quirk:flights")

        def leave() -> str:
            with Client(server.url) as client:
                chunks = _load_example().process_message(client, "hello")
                first = next(iter(chunks))
                chunks.close()
                return str(first)

        first = await asyncio.to_thread(leave)
        run_id = json.loads(first.partition("data: ")[2])["run_id"]
        async with asyncio.timeout(60):
            while (run := await _run(server.url, run_id))["status"] != "action_required":
                await asyncio.sleep(0.02)

    assert run["turn"] == 1


@pytest.mark.parametrize("step", ["page: tool_call.started", "page: status complete"])
async def test_the_app_does_not_notice_that_the_server_was_started_anew(
    serve: Any, step: str
) -> None:
    """A proxy has the address of the service, behind which one server follows another."""
    story: Story = []
    async with _model(story) as model:
        settings = {
            "ANTIPHON_BASE_URL": model.url,
            "ANTIPHON_MODEL": "quirk:flights",
            "ANTIPHON_LEASE_DURATION": "4",
            "ANTIPHON_HEARTBEAT_INTERVAL": "0.3",
            "ANTIPHON_EXPIRY_INTERVAL": "0.3",
        }
        servers = [await serve(**settings)]
        loop = asyncio.get_running_loop()

        async def replace_server() -> None:
            await servers[-1].kill()
            servers.append(await serve(**settings))

        def on_step(word: str) -> None:
            if word == step and len(servers) == 1:
                asyncio.run_coroutine_threadsafe(replace_server(), loop).result(60)

        async with proxy(lambda: servers[-1].url, lambda _: None) as url:
            await asyncio.to_thread(_chat, url, story, on_step)

    assert _in_order(story, ["page: status complete", "page: status done"]), "\n".join(story)
    assert len(servers) == 2


def _chat(url: str, story: Story, on_step: Callable[[str], None] = lambda _: None) -> None:
    """Play the view and the browser: post one message, and read the page to its end."""
    example = _load_example()
    steps = _StepHandler(story)
    example.log.addHandler(steps)
    example.log.setLevel(logging.INFO)
    decoder = Decoder()
    try:
        with Client(url) as client:
            for line in example.process_message(client, example.QUESTION):
                for frame in decoder.feed(line.encode()):
                    word = frame.event or ""
                    if word == "status":
                        word += " " + json.loads(frame.data)["status"]
                    story.append(f"page: {word}")
                    on_step(f"page: {word}")
    finally:
        example.log.removeHandler(steps)


@asynccontextmanager
async def _model(story: Story) -> AsyncGenerator[RecordingUpstream]:
    """Run a model that asks for the example's tool, then answers in words."""
    async with RecordingUpstream(story) as model:
        call = call_chunk(index=0, id="c1", name="get_flight_times", arguments=ARGUMENTS)
        model.scenarios["flights"] = Scenario(sse(call, CALLS))
        yield model


def _plain(line: str) -> str:
    """Return a request line without its query and ids."""
    method, _, target = line.partition(" ")
    path = target.partition("?")[0].split("/")
    return f"{method} " + "/".join("{run}" if part.startswith("run_") else part for part in path)


async def _run(url: str, run_id: str) -> Any:
    return (await send_request(url, "GET", f"/v1/runs/{run_id}")).json


def _in_order(story: Story, steps: list[str]) -> bool:
    remaining = iter(story)
    return all(step in remaining for step in steps)

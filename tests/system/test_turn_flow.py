"""The turn protocol, all sixteen steps, as client, database and model see them happen: G20."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antiphon.buses.local import LocalBus
from antiphon.providers.catalog import Catalog
from antiphon.runtime.runtime import Runtime
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings
from antiphon.stores.cached.store import CachedStore
from antiphon.stores.sqlite.store import SqliteStore
from tests.support.harness import raw_http
from tests.support.harness.flows import RecordingStore, RecordingUpstream, Story
from tests.support.harness.raw_http import ServerEvent
from tests.support.providers.upstream import Request, Upstream

TOOLS = [{"name": "f", "parameters": {"type": "object"}}]
MODEL = "quirk:t_normal"  # calls f once, then answers in words
ASK = {"message": {"content": "When do flights leave?"}, "model": MODEL, "tools": TOOLS}


class RecordedSystem:
    """Client, server with its store, and model; `story` is what happened between them."""

    def __init__(self, folder: Path) -> None:
        self.story: Story = []
        self.model = RecordingUpstream(self.story)
        self.url = ""
        self._folder = folder
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> RecordedSystem:
        # The model takes its time: it ends its reply after the client has seen the beginning.
        scenario = self.model.scenarios["t_normal"]
        self.model.scenarios["t_normal"] = replace(scenario, gated_from=b'"finish_reason": "')
        await self._stack.enter_async_context(self.model)
        settings = Settings(
            database=f"sqlite:///{self._folder}/antiphon.db",
            base_url=self.model.url,
            model=MODEL,
            port=0,
        )
        self.url = await self._stack.enter_async_context(run_server(settings, self._open_runtime))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def turn(self, body: Any) -> list[ServerEvent]:
        """Send `/process` and read until the server closes; each event is recorded by its type."""
        self.story.append("client: POST /process")
        received = []
        async with raw_http.open_request(self.url, "POST", "/v1/process", body) as stream:
            async for event in stream.events():
                received.append(event)
                if event.type == "tool_call.started":
                    self.model.gate.set()
                self.story.append(f"client: {event.type}")
        self.story.append(f"client: closed {'in order' if stream.ended else 'otherwise'}")
        return received

    async def submit(self, run_id: str, tool_call_id: str) -> int:
        self.story.append("client: POST /submit_tool_output")
        body = {"run_id": run_id, "tool_call_id": tool_call_id, "output": "16:35"}
        answer = await raw_http.send_request(self.url, "POST", "/v1/submit_tool_output", body)
        self.story.append(f"client: {answer.status}")
        return answer.status

    @asynccontextmanager
    async def _open_runtime(self, settings: Settings) -> AsyncGenerator[Runtime]:
        inner = CachedStore(await SqliteStore.open(self._folder / "antiphon.db"))
        store, catalog = RecordingStore(inner, self.story), Catalog(settings, os.environ)
        runtime = Runtime(settings, store, LocalBus(), catalog)
        runtime.worker.start()
        try:
            yield runtime
        finally:
            await runtime.drain(0)
            await catalog.close()
            await inner.close()


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[RecordedSystem]:
    async with RecordedSystem(tmp_path) as system:
        yield system


COMMITTED = "store: run user#1 run:in_progress version:1"
"""The commit of the request, which the model does not wait for."""
STEPS = [
    "client: POST /process",  # 1
    "store: context 1 cached",  # known while the request is being committed
    "model: user",  # 2
    "client: tool_call.started",  # 3
    # 4: one transaction; the thread's new version is what makes every cached context invalid
    "store: finalize assistant#2 action:pending run:action_required version:2",
    "client: action.required",  # 5
    "client: turn.ended",
    "client: closed in order",  # 6
    # 7 is the tool, which only the client sees.
    "client: POST /submit_tool_output",  # 8
    "store: output tool#3 action:completed run:queued version:3",  # 9
    "client: 200",  # 10
    "client: POST /process",  # 11
    "store: ask run:in_progress",
    "store: context 3 fresh",  # 12, 13
    "model: user assistant tool",  # 14
    "client: text.delta",  # 15
    "client: turn.ended",
    "client: closed in order",  # 16
]


async def test_the_sixteen_steps_happen_in_the_order_in_which_they_are_drawn(
    system: RecordedSystem,
) -> None:
    first = await system.turn(ASK)
    run_id, action = _find_action(first)
    await system.submit(run_id, action["tool_call_id"])
    second = await system.turn({"run_id": run_id})

    assert _in_order(system.story, STEPS), "\n".join(system.story)
    assert _in_order(system.story, [STEPS[0], COMMITTED, "client: run.status"])
    numbers = [event.number for event in first + second]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_nothing_happens_between_the_close_and_the_output(system: RecordedSystem) -> None:
    run_id, action = _find_action(await system.turn(ASK))
    closed_at = len(system.story)
    await system.submit(run_id, action["tool_call_id"])

    assert system.story[closed_at] == "client: POST /submit_tool_output"
    assert len(system.model.requests) == 1


async def test_the_manifest_is_sent_after_it_was_stored(system: RecordedSystem) -> None:
    await system.turn(ASK)

    stored_at = next(
        at for at, word in enumerate(system.story) if word.startswith("store: finalize")
    )
    assert stored_at < system.story.index("client: action.required")


async def test_the_second_turn_tells_the_model_the_whole_history(system: RecordedSystem) -> None:
    run_id, action = _find_action(await system.turn(ASK))
    await system.submit(run_id, action["tool_call_id"])
    await system.turn({"run_id": run_id})

    user, call, result = system.model.requests[1].body["messages"]
    assert user["content"] == "When do flights leave?"
    assert call["tool_calls"][0]["id"] == action["tool_call_id"]
    assert call["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"x":1}'}
    assert result == {"role": "tool", "tool_call_id": action["tool_call_id"], "content": "16:35"}
    assert not system.model.rejected


async def test_a_server_that_dies_after_step_six_is_not_missed(serve: Any, upstream: Any) -> None:
    settings = {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_MODEL": MODEL}
    first = await serve(**settings)
    run_id, action = _find_action(await raw_http.read_turn(first.url, "/v1/process", ASK))
    await first.kill()
    second = await serve(**settings)

    body = {"run_id": run_id, "tool_call_id": action["tool_call_id"], "output": "16:35"}
    answer = await raw_http.send_request(second.url, "POST", "/v1/submit_tool_output", body)
    turn_events = await raw_http.read_turn(second.url, "/v1/process", {"run_id": run_id})

    assert answer.status == 200
    assert [message["role"] for message in upstream.requests[1].body["messages"]] == [
        *("user", "assistant", "tool"),
    ]
    assert (
        "".join(each.json["text"] for each in turn_events if each.type == "text.delta")
        == "All done."
    )
    assert turn_events[-1].json["status"] == "completed"


class _NoticingUpstream(Upstream):
    """Upstream that sets `asked` with the first request."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def _answer(self, request: Request, *streams: Any) -> bool:
        self.asked.set()
        return await super()._answer(request, *streams)


async def test_nothing_is_sent_of_a_request_whose_commit_never_ends(serve: Any) -> None:
    async with _NoticingUpstream() as model, asyncio.timeout(60):
        settings = {"ANTIPHON_BASE_URL": model.url, "ANTIPHON_MODEL": MODEL}
        first = await serve(**settings, FAILPOINTS="run.before_commit:pause")
        received: list[object] = []

        async def ask() -> None:
            async with raw_http.open_request(first.url, "POST", "/v1/process", ASK) as stream:
                received.append(stream.status)
                received.extend([event async for event in stream.events()])

        ask_task = asyncio.create_task(ask())
        await model.asked.wait()
        runs_meanwhile = (await raw_http.send_request(first.url, "GET", "/v1/runs")).json["data"]
        await first.kill()
        with pytest.raises(raw_http.ConnectionCut):
            await ask_task

        second = await serve(**settings)
        assert not (await raw_http.send_request(second.url, "GET", "/v1/runs")).json["data"]
        assert not runs_meanwhile
        assert not received


def _find_action(turn_events: list[ServerEvent]) -> tuple[str, Any]:
    """Return the run and the one action of a turn that asked for a tool."""
    (manifest,) = [each.json for each in turn_events if each.type == "action.required"]
    (action,) = manifest["actions"]
    assert action["name"] == "f"
    assert action["arguments"] == {"x": 1}
    return manifest["run_id"], action


def _in_order(story: Story, steps: list[str]) -> bool:
    """Return True if the steps occur in this order, with others between them."""
    remaining = iter(story)
    return all(step in remaining for step in steps)

"""A run of the web chat, from its message to its end, whatever its reader does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antiphon.settings.hooks import Hook
from antiphon.settings.settings import Settings
from antiphon.types.terminal_safe import clean
from tests.support.terminal.model import Model
from tests.support.web.served import Served, Stream, up

FLIGHT = {"departure": "LAX", "arrival": "JFK"}
SETTINGS = Settings(database="memory:", model="told")


class Tools:
    """Functions of the app; `calls` are the arguments that they were called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.stopped = asyncio.Event()
        self.began = asyncio.Event()

    def get_flight_times(self, departure: str, arrival: str) -> dict[str, str]:
        """The next flight."""
        self.calls.append((departure, arrival))
        return {"departure_time": "16:35"}

    def fail(self) -> str:
        """Fail."""
        raise ValueError("no such luck")

    async def wait(self) -> str:
        """Wait for ever."""
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()
        return ""

    @property
    def all(self) -> list[Any]:
        return [self.get_flight_times, self.fail, self.wait]


@asynccontextmanager
async def chat(
    settings: Settings = SETTINGS, tools: Tools | None = None, **changes: Any
) -> AsyncGenerator[tuple[Served, Model]]:
    async with Model() as model, chat_over(model, settings, tools, **changes) as web_chat:
        yield web_chat, model


@asynccontextmanager
async def chat_over(
    model: Model, settings: Settings = SETTINGS, tools: Tools | None = None, **changes: Any
) -> AsyncGenerator[Served]:
    """A web chat over this model server, which may have served another chat before."""
    chat_settings = msgspec.structs.replace(settings, base_url=model.url, **changes)
    async with up(chat_settings, (tools or Tools()).all) as web_chat:
        yield web_chat


async def _call_tool(model: Model, name: str, arguments: Any = "{}", id: str = "c1") -> None:
    reply = await model.next_request()
    await reply.call(name, arguments, id=id)
    await reply.end("tool_calls")


async def _answer(model: Model, text: str = "Well.") -> list[dict[str, Any]]:
    reply = await model.next_request()
    await reply.answer(text)
    return reply.messages


def _outputs(stream: Stream) -> dict[str, Any]:
    return {
        part["toolCallId"]: part.get("output", part.get("errorText"))
        for part in stream.parts
        if part["type"] in ("tool-output-available", "tool-output-error")
        and not part.get("preliminary")
    }


def _statuses(stream: Stream) -> list[str]:
    return [part["data"]["status"] for part in stream.parts if part["type"] == "data-status"]


async def test_the_response_begins_before_the_model_answers() -> None:
    async with chat() as (web_chat, model), web_chat.post({"content": "Hello"}) as stream:
        start = await stream.until("start")
        reply = await model.next_request()
        await reply.answer("Hi.")
        await stream.end()

        assert start["messageMetadata"]["runId"] == start["messageId"]
        assert stream.response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        assert stream.response.headers["cache-control"] == "no-cache, no-transform"
        assert stream.text == "Hi."
        assert stream.done


async def test_parallel_calls_run_side_by_side_and_further_rounds_follow() -> None:
    tools = Tools()
    async with chat(tools=tools) as (web_chat, model), web_chat.post({"content": "Go"}) as stream:
        reply = await model.next_request()
        await reply.call("get_flight_times", FLIGHT, id="c1")
        await reply.call("fail", id="c2", index=1)
        await reply.end("tool_calls")
        await _call_tool(model, "get_flight_times", {"departure": "A", "arrival": "B"}, id="c3")
        messages = await _answer(model)
        await stream.end()

        outputs = _outputs(stream)
        assert json.loads(outputs["c1"]) == {"departure_time": "16:35"}
        assert "no such luck" in outputs["c2"]
        assert tools.calls == [("LAX", "JFK"), ("A", "B")]
        assert [message["role"] for message in messages].count("tool") == 3
        assert _statuses(stream) == ["complete"] * 3 + ["done"]
        assert stream.parts[-1]["type"] == "finish"


async def test_a_reader_who_leaves_ends_nothing() -> None:
    tools = Tools()
    async with chat(tools=tools) as (web_chat, model):
        async with web_chat.post({"content": "Go"}) as stream:
            run_id = (await stream.until("start"))["messageId"]
        await _call_tool(model, "get_flight_times", FLIGHT)
        await _answer(model, "It leaves at 16:35.")
        async with web_chat.follow(run_id) as second_stream:
            await second_stream.end()

        assert tools.calls == [("LAX", "JFK")]
        assert second_stream.text == "It leaves at 16:35."
        assert _statuses(second_stream) == ["complete", "done"]


async def test_from_every_frame_on_the_rest_is_the_same() -> None:
    async with chat() as (web_chat, model), web_chat.post({"content": "Go"}) as stream:
        await _call_tool(model, "get_flight_times", FLIGHT)
        await _answer(model)
        parts = await stream.end()
        run_id = parts[0]["messageId"]
        stored_parts = [
            (cursor, part)
            for cursor, part in zip(stream.ids, parts, strict=True)
            if part["type"] != "data-tool-status"
        ]
        for place, (cursor, _) in enumerate(stored_parts):
            async with web_chat.follow(run_id, cursor) as second_stream:
                rest = await second_stream.end()
            assert rest == [part for _, part in stored_parts[place + 1 :]], cursor


async def test_the_same_message_again_is_the_same_run() -> None:
    async with chat() as (web_chat, model):
        body = {"content": "Go", "message_id": "message-1"}
        async with web_chat.post(body) as stream, web_chat.post(body) as repeated_stream:
            first, second = await stream.until("start"), await repeated_stream.until("start")
            await _answer(model)
            await stream.end()
            await repeated_stream.end()
        async with web_chat.post(body) as late_stream:
            await late_stream.end()

        assert first == second
        assert stream.text == repeated_stream.text == late_stream.text == "Well."
        assert len(model.requests) == 1


async def test_a_message_begins_a_temporary_thread_and_makes_none_of_another_temporary() -> None:
    async with chat() as (web_chat, model):
        async with web_chat.post({"content": "Go", "temporary": True}) as stream:
            thread_id = (await stream.until("start"))["messageMetadata"]["threadId"]
            await _answer(model)
            await stream.end()
        more = {"content": "On", "thread_id": thread_id}
        refusal = await web_chat.ask("/api/messages/process", {**more, "temporary": True})

        assert stream.text == "Well."
        assert refusal.status_code == 422
        assert "Only a new thread can be temporary" in refusal.text


async def test_the_rest_of_an_answer_takes_no_message_and_no_files() -> None:
    async with chat() as (web_chat, model):
        async with web_chat.post({"content": "Go"}) as stream:
            thread_id = (await stream.until("start"))["messageMetadata"]["threadId"]
            await _answer(model)
            await stream.end()
        for more in ({"content": "On"}, {"attachments": ["file_1"]}):
            body = {"thread_id": thread_id, "continues": True, **more}
            refusal = await web_chat.ask("/api/messages/process", body)

            assert refusal.status_code == 422
            assert "needs a thread, and no message" in refusal.text


@pytest.mark.parametrize("moment", ["answering", "tool"])
async def test_stop_stops_the_model_and_the_tools(moment: str) -> None:
    tools = Tools()
    async with chat(tools=tools) as (web_chat, model), web_chat.post({"content": "Go"}) as stream:
        run_id = (await stream.until("start"))["messageId"]
        reply = await model.next_request()
        if moment == "tool":
            await reply.call("wait", id="c1")
            await reply.end("tool_calls")
            await tools.began.wait()
        else:
            await reply.say("I was about to")
            await stream.until("text-delta")
        response = await web_chat.ask(f"/api/runs/{run_id}/stop", {})
        await stream.end()
        async with asyncio.timeout(60):
            await (tools.stopped if moment == "tool" else reply.closed).wait()

        assert response.json()["status"] == "cancelled"
        assert "abort" in stream.types
        assert stream.text == ("" if moment == "tool" else "I was about to")


async def test_one_tool_is_stopped_and_the_run_goes_on() -> None:
    tools = Tools()
    async with chat(tools=tools) as (web_chat, model), web_chat.post({"content": "Go"}) as stream:
        await _call_tool(model, "wait")
        await tools.began.wait()
        run_id = (
            stream.parts[0]["messageId"] if stream.parts else (await anext(stream))["messageId"]
        )
        response = await web_chat.ask(f"/api/runs/{run_id}/tools/c1/stop", {})
        messages = await _answer(model, "Then not.")
        await stream.end()

        assert response.json() == {"stopped": True}
        assert "stopped this call" in messages[-1]["content"]
        assert stream.text == "Then not."


async def test_a_tool_that_hangs_is_ended_by_its_deadline() -> None:
    async with (
        chat(tools=Tools(), tool_timeout=0.2) as (web_chat, model),
        web_chat.post({"content": "Go"}) as stream,
    ):
        await _call_tool(model, "wait")
        await _answer(model)
        await stream.end()

        assert "0.2" in _outputs(stream)["c1"]


# Approvals.

ASKING_SETTINGS = Settings(database="memory:", model="told", ask=("get_flight_times",))


async def _wait_for_question(web_chat: Served, model: Model, stream: Stream) -> dict[str, Any]:
    await _call_tool(model, "get_flight_times", FLIGHT)
    data: dict[str, Any] = (await stream.until("data-approval"))["data"]
    return data


def _address(stream: Stream, call_id: str = "c1") -> str:
    return f"/api/runs/{stream.parts[0]['messageId']}/approvals/{call_id}"


async def test_a_call_that_needs_consent_runs_once_a_person_agrees() -> None:
    tools = Tools()
    async with (
        chat(ASKING_SETTINGS, tools) as (web_chat, model),
        web_chat.post({"content": "Go"}) as stream,
    ):
        data = await _wait_for_question(web_chat, model, stream)
        calls_before_consent = list(tools.calls)
        approval = {"approved": True, "args_hash": data["argsHash"]}
        response = await web_chat.ask(_address(stream), approval)
        second_response = await web_chat.ask(_address(stream), approval)
        await _answer(model)
        await stream.end()

        assert data["input"] == FLIGHT
        assert (data["state"], data["description"]) == ("requested", "The next flight.")
        assert calls_before_consent == []
        assert response.json() == {"state": "approved"}
        assert second_response.status_code in (404, 409)
        assert tools.calls == [("LAX", "JFK")]


async def test_what_a_person_changes_is_what_runs() -> None:
    tools = Tools()
    async with (
        chat(ASKING_SETTINGS, tools) as (web_chat, model),
        web_chat.post({"content": "Go"}) as stream,
    ):
        data = await _wait_for_question(web_chat, model, stream)
        edited_arguments = json.dumps({"departure": "SFO", "arrival": "JFK"})
        approval = {"approved": True, "args_hash": data["argsHash"], "arguments": edited_arguments}
        await web_chat.ask(_address(stream), approval)
        await _answer(model)
        await stream.end()

        assert tools.calls == [("SFO", "JFK")]


async def test_the_model_is_told_why_a_call_was_refused() -> None:
    tools = Tools()
    async with (
        chat(ASKING_SETTINGS, tools) as (web_chat, model),
        web_chat.post({"content": "Go"}) as stream,
    ):
        data = await _wait_for_question(web_chat, model, stream)
        refusal = {"approved": False, "args_hash": data["argsHash"], "reason": "Ask me first."}
        await web_chat.ask(_address(stream), refusal)
        messages = await _answer(model)
        await stream.end()

        assert "Ask me first." in messages[-1]["content"]
        assert tools.calls == []
        states = [part["data"]["state"] for part in stream.parts if part["type"] == "data-approval"]
        assert states == ["requested", "refused"]
        thread_id = stream.parts[0]["messageMetadata"]["threadId"]
        response = await web_chat.http.get(f"/api/threads/{thread_id}/messages")
        parts = response.json()["messages"][-1]["parts"]
        [question] = [part for part in parts if part["type"] == "data-approval"]
        assert (question["id"], question["data"]["state"]) == ("c1", "refused")


async def test_a_later_reader_is_asked_too_and_a_session_is_remembered() -> None:
    tools = Tools()
    async with (
        chat(ASKING_SETTINGS, tools) as (web_chat, model),
        web_chat.post({"content": "Go"}) as stream,
    ):
        await _wait_for_question(web_chat, model, stream)
        run_id = stream.parts[0]["messageId"]
        async with web_chat.follow(run_id) as tab:
            question = (await tab.until("data-approval"))["data"]
            approval = {"approved": True, "args_hash": question["argsHash"], "keep": "session"}
            await web_chat.ask(_address(stream), approval)
            await _call_tool(model, "get_flight_times", FLIGHT, id="c2")
            await _answer(model)
            await tab.end()
        await stream.end()

        assert stream.text == tab.text == "Well."
        assert len(tools.calls) == 2


@pytest.mark.parametrize(
    ("call_id", "changes", "status"),
    [
        ("c1", {"args_hash": "0" * 64}, 409),
        ("c9", {}, 404),
        ("c1", {"approved": "yes"}, 422),
    ],
)
async def test_an_answer_that_fits_no_question_runs_nothing(
    call_id: str, changes: dict[str, Any], status: int
) -> None:
    tools = Tools()
    async with (
        chat(ASKING_SETTINGS, tools) as (web_chat, model),
        web_chat.post({"content": "Go"}) as stream,
    ):
        data = await _wait_for_question(web_chat, model, stream)
        approval = {"approved": True, "args_hash": data["argsHash"], **changes}
        response = await web_chat.ask(_address(stream, call_id), approval)

        assert response.status_code == status
        assert tools.calls == []


HOOK_SETTINGS = Settings(
    database="memory:",
    model="told",
    hooks=(
        Hook(
            when="before",
            command=(
                "/bin/sh",
                "-c",
                """echo '{"decision": "ask", "reason": "it costs\\u202e"}'""",
            ),
        ),
        Hook(when="after", command=("/bin/sh", "-c", """echo '{"context": "all times local"}'""")),
    ),
)


async def test_hooks_have_the_person_asked_with_their_reason_and_add_to_the_output() -> None:
    tools = Tools()
    async with (
        chat(HOOK_SETTINGS, tools) as (web_chat, model),
        web_chat.post({"content": "Go"}) as stream,
    ):
        data = await _wait_for_question(web_chat, model, stream)
        approval = {"approved": True, "args_hash": data["argsHash"], "keep": "always"}
        await web_chat.ask(_address(stream), approval)
        messages = await _answer(model)
        await stream.end()

        assert data["hookReason"] == clean("it costs\u202e")
        assert "\u202e" not in data["hookReason"]
        assert messages[-1]["content"].endswith("[A hook adds: all times local]")
        assert len(tools.calls) == 1


# Restarts.


async def test_a_run_in_the_middle_of_its_tool_is_taken_up_by_the_next_server(
    tmp_path: Path,
) -> None:
    settings = Settings(database=f"sqlite:///{tmp_path}/a.db", model="told", shutdown_timeout=0.1)
    first_tools, second_tools = Tools(), Tools()
    async with Model() as model:
        async with (
            chat_over(model, settings, first_tools) as web_chat,
            web_chat.post({"content": "Go"}) as stream,
        ):
            await _call_tool(model, "wait")
            await first_tools.began.wait()
            run_id = (await stream.until("start"))["messageId"]
        async with chat_over(model, settings, second_tools) as web_chat:
            async with asyncio.timeout(60):
                await second_tools.began.wait()
            async with web_chat.follow(run_id) as second_stream:
                await second_stream.until("tool-input-available")
                await web_chat.ask(f"/api/runs/{run_id}/tools/c1/stop", {})
                await _answer(model, "Again.")
                await second_stream.end()

        assert second_stream.text == "Again."
        assert _statuses(second_stream) == ["complete", "done"]


@pytest.mark.parametrize(
    "metadata", [{}, {"via": "web"}], ids=["another-face", "who-says-to-be-us"]
)
async def test_a_run_that_the_web_chat_did_not_begin_is_only_watched(
    metadata: dict[str, str],
) -> None:
    tools = Tools()
    async with chat(tools=tools) as (web_chat, model):
        client = web_chat.site.client
        thread = await client.create_thread()
        await client.create_message(thread.id, "Go")
        specs = web_chat.site.tools.specs(["get_flight_times"])
        run = await client.create_run(thread.id, tools=specs, metadata=metadata)
        stream = client.sync_stream()
        stream.setup(run_id=run.id)
        read_task = asyncio.create_task(_read_all(stream))
        await _call_tool(model, "get_flight_times", FLIGHT)
        await read_task
        async with web_chat.follow(run.id) as watched_stream:
            await watched_stream.until("tool-input-available")
            await client.submit_tool_output(run.id, "c1", "mine")
            model.will_say("Well.")
            async for _ in client.process(run_id=run.id):
                pass
            await watched_stream.end()

        assert tools.calls == []
        assert _outputs(watched_stream) == {"c1": "mine"}


async def _read_all(stream: Any) -> None:
    async for _ in stream.stream_chunks():
        pass
    await stream.close()

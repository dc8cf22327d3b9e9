"""Faults around a run of the web chat: the run still ends."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from antiphon.api.operations import CreateRun, Operation
from antiphon.client.async_transport import AsyncBatches
from antiphon.ports import ProgressCallback
from antiphon.tools.functions import Functions
from antiphon.types.errors import Unavailable
from antiphon.types.messages import Progress
from antiphon.web import relay as relays
from antiphon.web.people import LOCAL_USER
from antiphon.web.runs import create_run
from antiphon.web.site import grants_file
from tests.support.server.served import eventually
from tests.support.terminal.model import Model
from tests.support.web.served import SECONDS, Served, Stream, chatting

FLIGHT = {"departure": "LAX", "arrival": "JFK"}
STEPS = 300


def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """Return the next flight."""
    return {"departure_time": "16:35"}


async def _call_tool(model: Model, name: str, *ids: str, arguments: Any = "{}") -> None:
    reply = await model.next_request()
    for place, call_id in enumerate(ids):
        await reply.call(name, arguments, id=call_id, index=place)
    await reply.end("tool_calls")


async def _approve(web_chat: Served, stream: Stream, data: dict[str, Any], **more: Any) -> int:
    """Approve the question; return the status of the response."""
    call = quote(data["toolCallId"], safe="")
    address = f"/api/runs/{stream.parts[0]['messageId']}/approvals/{call}"
    answer = {"approved": True, "args_hash": data["argsHash"], **more}
    return (await web_chat.ask(address, answer)).status_code


async def test_a_turn_that_no_client_asks_for_any_more_is_asked_for() -> None:
    """The state after a server was killed between the last output and the next turn."""
    async with chatting([get_flight_times]) as (web_chat, model):
        client = web_chat.site.client
        thread = await client.create_thread()
        await client.create_message(thread.id, "Go")
        run = await create_run(
            web_chat.site, LOCAL_USER, CreateRun(thread.id, tools=web_chat.site.tools.specs()), None
        )
        turn = asyncio.create_task(_follow_turn(web_chat, run.id))
        await _call_tool(model, "get_flight_times", "c1", arguments=FLIGHT)
        await turn
        await client.submit_tool_output(run.id, "c1", "16:35")
        model.will_say("At 16:35.")
        async with web_chat.follow(run.id) as stream:
            await stream.end()

    assert stream.text == "At 16:35."


async def _follow_turn(web_chat: Served, run_id: str) -> None:
    async with web_chat.site.client.completions(run_id=run_id) as events:
        async for _ in events:
            pass


class FlakyTransport:
    """A transport whose next `failures` streams fail."""

    def __init__(self, transport: Any, failures: int) -> None:
        self._transport = transport
        self.failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def stream(self, call: Operation[Any], key: str | None = None) -> AsyncBatches:
        if self.failures:
            self.failures -= 1
            raise Unavailable("The backend is away.")
        async for batch in self._transport.stream(call, key):
            yield batch


async def test_a_run_whose_backend_was_away_goes_on_though_nobody_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relays, "RETRY_SECONDS", 0.01)
    async with chatting([get_flight_times]) as (web_chat, model):
        web_chat.site.client.transport = flaky = FlakyTransport(web_chat.site.client.transport, 2)  # type: ignore[assignment]
        async with web_chat.post({"content": "Go"}) as stream:
            await _call_tool(model, "get_flight_times", "c1", arguments=FLIGHT)
            await stream.until("tool-input-available")
            flaky.failures = 2
        reply = await model.next_request()
        await reply.answer("At 16:35.")
        async with web_chat.follow(stream.parts[0]["messageId"]) as second_stream:
            await second_stream.end()

    assert second_stream.text == "At 16:35."
    assert second_stream.types.count("tool-output-available") == 1


async def test_the_same_message_is_the_same_run_whatever_tools_there_are_by_now() -> None:
    body = {"content": "Go", "message_id": "message-1"}
    async with chatting([get_flight_times]) as (web_chat, model):
        model.will_say("Well.")
        async with web_chat.post(body) as stream:
            await stream.end()
        web_chat.site.tools.toolbox = Functions([])
        async with web_chat.post(body) as repeated_stream:
            await repeated_stream.end()
        async with web_chat.post({**body, "content": "Stop"}) as other_stream:
            refused_status = other_stream.response.status_code

    assert repeated_stream.parts[0] == stream.parts[0]
    assert repeated_stream.text == "Well."
    assert refused_status == 409


async def test_a_cursor_that_the_run_has_not_come_to_is_refused() -> None:
    async with chatting() as (web_chat, model):
        async with web_chat.post({"content": "Hello"}) as stream:
            run_id = (await stream.until("start"))["messageId"]
            reply = await model.next_request()
            async with web_chat.follow(run_id, f"{run_id}:999") as early_stream:
                assert early_stream.response.status_code == 400
            await reply.say("Hi.")
            await stream.until("text-delta")
            async with web_chat.follow(run_id, stream.ids[-1] or "") as rest_stream:
                await reply.end()
                await rest_stream.end()
            await stream.end()
        async with web_chat.follow(run_id, f"{run_id}:999") as late_stream:
            assert late_stream.response.status_code == 400

    assert rest_stream.done
    assert "finish" in rest_stream.types
    assert rest_stream.text == ""


async def test_a_call_is_answered_whatever_its_id_is_made_of() -> None:
    async with (
        chatting([get_flight_times], ask=("*",)) as (web_chat, model),
        web_chat.post({"content": "Go"}) as stream,
    ):
        await _call_tool(model, "get_flight_times", "a/b", "../é?#", arguments=FLIGHT)
        model.will_say("Well.")
        for _ in range(2):
            data = (await stream.until("data-approval"))["data"]
            assert await _approve(web_chat, stream, data) == 200
        await stream.end()

    assert stream.types.count("tool-output-available") == 2


@pytest.mark.parametrize("arguments", ["[1]", "{", '{"a": ' + "[" * 5000 + "]" * 5000 + "}"])
async def test_changed_arguments_that_cannot_run_answer_nothing(arguments: str) -> None:
    async with (
        chatting([get_flight_times], ask=("*",)) as (web_chat, model),
        web_chat.post({"content": "Go"}) as stream,
    ):
        await _call_tool(model, "get_flight_times", "c1", arguments=FLIGHT)
        data = (await stream.until("data-approval"))["data"]
        assert await _approve(web_chat, stream, data, arguments=arguments) == 422
        model.will_say("Well.")
        assert await _approve(web_chat, stream, data) == 200
        await stream.end()

    assert "tool-output-available" in stream.types


async def test_two_answers_at_once_are_one() -> None:
    notes: list[str] = []

    def note(text: str) -> str:
        """Write the text down."""
        notes.append(text)
        return "noted"

    async with (
        chatting([note], ask=("note",)) as (web_chat, model),
        web_chat.post({"content": "Go"}) as stream,
    ):
        await _call_tool(model, "note", "c1", arguments={"text": "x"})
        data = (await stream.until("data-approval"))["data"]
        model.will_say("Well.")
        statuses = await asyncio.gather(*(_approve(web_chat, stream, data) for _ in range(4)))
        await stream.end()

    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 404, 409}
    assert notes == ["x"]


async def test_much_progress_of_a_tool_is_neither_kept_nor_sent_in_full() -> None:
    async def work(report: ProgressCallback) -> str:
        """Report each step."""
        for step in range(STEPS):
            report(Progress(step, STEPS))
            await asyncio.sleep(0)
        return "done"

    async with chatting([work]) as (web_chat, model), web_chat.post({"content": "Go"}) as stream:
        await _call_tool(model, "work", "c1")
        reply = await model.next_request()
        relay = web_chat.site.relays.find((await stream.until("start"))["messageId"])
        assert relay
        count = len(relay.tool_events)
        await reply.answer("Well.")
        await stream.end()

    progress = [part for part in stream.parts if part.get("preliminary")]
    assert count < 5
    assert len(progress) < STEPS / 5


async def test_a_run_leaves_nothing_behind() -> None:
    async with chatting() as (web_chat, model):
        model.will_say("Well.")
        async with web_chat.post({"content": "Go"}) as stream:
            await stream.end()
        state = vars(web_chat.site.relays)
        async with asyncio.timeout(SECONDS):
            while state["_tasks"] or web_chat.site.limits.streams.open:
                await asyncio.sleep(0.01)

    assert not state["_relays"]
    assert not state["_sessions"]


@pytest.mark.parametrize("owner", ["../../evil", "/etc/passwd", "a/b", "x" * 128, "..", "%2e"])
def test_what_an_owner_allowed_is_kept_in_its_folder_whatever_they_are_called(
    owner: str, tmp_path: Path
) -> None:
    file = grants_file(tmp_path, owner)

    assert file.resolve().parent == tmp_path / "grants"
    assert len(file.name) < 100


async def test_a_relay_that_is_over_is_freed_without_the_cycle_collector() -> None:
    """A relay holds all events of its run."""

    async def is_freed() -> bool:
        return not any(isinstance(each, relays.Relay) for each in gc.get_objects())

    async with chatting([get_flight_times]) as (web_chat, model):
        gc.collect()
        gc.disable()
        try:
            model.will_say("Hello.")
            async with web_chat.post({"content": "Hi"}) as stream:
                await stream.end()
            await eventually(is_freed)
        finally:
            gc.enable()
    assert stream.text == "Hello."

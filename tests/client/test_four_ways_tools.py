"""The tools of a conversation, in all four ways: consent, reported events, and stopping."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from antiphon import (
    Consent,
    ConsentAnswer,
    ConsentRequest,
    Progress,
    ProgressCallback,
    Rules,
    Status,
    Tool,
    ToolCall,
    ToolContext,
)
from antiphon.api.operations import NewMessage
from antiphon.ports import quiet
from antiphon.tools.functions import Functions
from antiphon.tools.permissions import GrantsFile
from antiphon.tools.tool_events import ToolBegan, ToolEnded, ToolEvent, ToolProgressed
from antiphon.types.errors import InvalidRequest
from antiphon.types.events import ActionRequired, Event, ToolOutputAdded
from antiphon.types.messages import Blob, ToolResult, ToolSpec
from tests.support.client.four_ways import Ways, four_ways, in_all_ways

QUESTION = "When does the next LAX-JFK flight leave?"
ECHO = "Call the tool s__echo"


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with four_ways() as ways:
        yield ways


class Server:
    """A toolbox like that of an MCP server, whose description of itself is not trusted."""

    def __init__(self, description: str = "Echoes.") -> None:
        self.calls: list[ToolCall] = []
        self._spec = ToolSpec("s__echo", description, {"type": "object", "properties": {"w": {}}})

    def tools(self) -> Sequence[Tool]:
        return [Tool(spec=self._spec, server="s", own_name="echo")]

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        self.calls.append(call)
        picture = Blob(media_type="image/png", data=b"png", name="echo.png")
        return ToolResult(f"echo {call.arguments}", content=(picture,))


def outputs(events: Iterable[Event]) -> list[str]:
    return [each.output for each in events if isinstance(each, ToolOutputAdded)]


@in_all_ways
def test_a_servers_tool_is_refused_where_nobody_can_be_asked(client: Any) -> object:
    server = Server()
    stream = client.converse(ECHO, toolbox=server)
    events = list(stream)

    assert outputs(events) == ["s__echo needs a person's consent, and there is nobody to be asked."]
    assert (stream.status, server.calls) == (Status.COMPLETED, [])
    return events


@in_all_ways
def test_a_person_who_waits_is_asked_and_their_word_reaches_the_model(client: Any) -> object:
    requests: list[ConsentRequest] = []

    def ask(question: ConsentRequest) -> ConsentAnswer:
        requests.append(question)
        return ConsentAnswer(word="not today")

    events = list(client.converse(ECHO, toolbox=Server(), consent=Consent(asker=ask)))

    assert outputs(events) == ["The user refused this call. They said: not today"]
    assert requests[0].run_id.startswith("run_")
    return events


@in_all_ways
def test_what_a_person_changes_is_what_runs(client: Any) -> object:
    server = Server()

    async def ask(question: ConsentRequest) -> ConsentAnswer:
        return ConsentAnswer(allowed=True, arguments='{"w":"changed"}')

    events = list(client.converse(ECHO, toolbox=server, consent=Consent(asker=ask)))

    assert [call.arguments for call in server.calls] == ['{"w":"changed"}']
    assert outputs(events) == [
        '[The user changed the arguments to {"w":"changed"}]\necho {"w":"changed"}'
    ]
    return events


def test_always_holds_for_the_next_program_until_the_tool_changes(
    ways: Ways, tmp_path: Path
) -> None:
    always = ConsentAnswer(allowed=True, keep="always")
    for name, client in ways.items():
        requests: list[ConsentRequest] = []

        def ask(
            question: ConsentRequest, requests: list[ConsentRequest] = requests
        ) -> ConsentAnswer:
            requests.append(question)
            return always

        for description in ("Echoes.", "Echoes.", "Echoes, and reads your mail."):
            # Another program: nothing is left of the last one but its file.
            consent = Consent(grants=GrantsFile(tmp_path / f"{name}.json"), asker=ask)
            list(client.converse(ECHO, toolbox=Server(description), consent=consent))

        first, second = requests
        assert first.before is None
        assert second.before is not None
        assert second.before.description == "Echoes."


@in_all_ways
def test_what_a_tool_gives_besides_is_kept_for_the_user(client: Any) -> object:
    consent = Consent(Rules(allow=("s:*",)))
    events = client.converse(ECHO, toolbox=Server(), consent=consent)
    list(events)

    (message,) = (
        each for each in client.list_messages(events.thread_id).data if each.role == "tool"
    )
    (file_id,) = message.metadata["files"].split(",")
    assert client.get_file(file_id).name == "echo.png"
    assert client.download_file(file_id) == b"png"
    return None


@in_all_ways
def test_a_tool_is_stopped_and_the_run_goes_on(client: Any) -> object:
    release_tool = threading.Event()

    def get_flight_times(departure: str, arrival: str) -> None:
        release_tool.wait(30)

    def watch(event: ToolEvent) -> None:
        if isinstance(event, ToolBegan):
            assert stream.cancel_tool(event.call.id)

    stream = client.converse(QUESTION, tools=[get_flight_times], on_tool_event=watch)
    events = list(stream)
    release_tool.set()

    assert outputs(events) == [
        "The user stopped this call; it may or may not have been carried out."
    ]
    assert stream.status is Status.COMPLETED
    assert not stream.cancel_tool("call_1")
    return events


@in_all_ways
def test_events_of_a_tool_are_reported_as_they_happen(client: Any) -> object:
    tool_events: list[ToolEvent] = []

    def get_flight_times(departure: str, arrival: str, tell: ProgressCallback) -> str:
        tell(Progress(1, 2, "asking the airline"))
        return "09:05"

    list(client.converse(QUESTION, tools=[get_flight_times], on_tool_event=tool_events.append))

    beginning, progress_event, end = tool_events
    assert isinstance(beginning, ToolBegan)
    assert isinstance(end, ToolEnded)
    assert progress_event == ToolProgressed(beginning.call.id, Progress(1, 2, "asking the airline"))
    assert (end.tool_call_id, end.result.output) == (beginning.call.id, "09:05")
    assert all(b'"type":"local.' in msgspec.json.encode(each) for each in tool_events)
    return None


@in_all_ways
def test_the_calls_of_a_handler_are_asked_about_too_where_the_rules_say_so(client: Any) -> object:
    schema = {"type": "object", "properties": {}}
    events = list(
        client.process(
            message=NewMessage("Call the tool drop"), tools=(ToolSpec("drop", "", schema),)
        )
    )
    (manifest,) = (event for event in events if isinstance(event, ActionRequired))
    handled_calls: list[str] = []

    (action,) = client.poll_and_execute_action(
        manifest.run_id,
        lambda name, arguments: handled_calls.append(name),
        consent=Consent(Rules(deny=("drop",))),
    )

    assert action.output == "The settings here do not allow drop. Do not try it again."
    assert handled_calls == []
    return action


@in_all_ways
def test_a_tool_asks_the_user_and_reads_its_owner_and_its_run(client: Any) -> object:
    questions: list[str] = []

    def answer(question: str, choices: Sequence[str]) -> str | None:
        questions.append(question)
        return choices[1]

    def get_flight_times(departure: str, arrival: str, ctx: ToolContext) -> str:
        """Flight times between two airports."""
        day = ctx.wait(ctx.ask_user("Which day?", ["today", "tomorrow"]))
        owner = ctx.wait(ctx.get_owner())
        return f"{day} for {ctx.wait(ctx.get_run()).metadata['team']} of {owner}"

    options: dict[str, Any] = {"tools": [get_flight_times], "ask_user": answer}
    events = client.converse(QUESTION, **options, metadata={"team": "red"})
    texts = outputs(events)
    result = client.ask(QUESTION, **options, metadata={"team": "blue"})
    specs = Functions([get_flight_times]).specs()
    waiting_stream = client.process(
        message=NewMessage(QUESTION), tools=specs, metadata={"team": "no"}
    )
    list(waiting_stream)
    resumed_outputs = outputs(client.resume(waiting_stream.run_id, **options))

    assert questions == ["Which day?"] * 3
    owner = client.get_caller().owner
    assert texts == [f"tomorrow for red of {owner}"]
    assert [call.output for call in result.calls] == [f"tomorrow for blue of {owner}"]
    assert resumed_outputs == [f"tomorrow for no of {owner}"]
    return texts


@in_all_ways
def test_a_call_of_a_tool_that_a_resuming_program_lacks_stays_pending(client: Any) -> object:
    def get_flight_times(departure: str, arrival: str) -> str:
        """Flight times between two airports."""
        return "17:00"

    specs = Functions([get_flight_times]).specs()
    stream = client.process(message=NewMessage(QUESTION), tools=specs)
    list(stream)
    with pytest.raises(InvalidRequest, match="waits for get_flight_times") as error_info:
        list(client.resume(stream.thread_id))

    (action,) = client.list_actions(stream.run_id).data
    assert action.status == "pending"
    assert outputs(client.resume(stream.thread_id, tools=[get_flight_times])) == ["17:00"]
    return error_info.value.code


@in_all_ways
def test_a_consent_that_is_none_is_refused(client: Any) -> object:
    with pytest.raises(InvalidRequest, match="That is no Consent") as error_info:
        client.converse(QUESTION, consent=lambda question: True)
    return error_info.value.code

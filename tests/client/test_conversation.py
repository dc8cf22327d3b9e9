"""Conversations from a message to the final answer, with the demo model in this process."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from antiphon.api import operations
from antiphon.client.async_client import AsyncClient
from antiphon.client.sync_client import Client
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Functions
from antiphon.types import errors
from antiphon.types.events import Event, TextDelta, ToolOutputAdded, TurnEnded
from antiphon.types.runs import Status

SETTINGS = Settings(model="demo", database="memory:", demo_delay=0)
QUESTION = "When does the next LAX-JFK flight leave?"


def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """Flight times between two airports."""
    return {"departs": f"{departure} 09:05", "arrives": f"{arrival} 17:30"}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(settings=SETTINGS) as client:
        yield client


@pytest.fixture
async def aclient() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(settings=SETTINGS) as client:
        yield client


def outputs(events: list[Event]) -> list[tuple[str, bool]]:
    return [(each.output, each.is_error) for each in events if isinstance(each, ToolOutputAdded)]


def text(events: list[Event]) -> str:
    return "".join(each.text for each in events if isinstance(each, TextDelta))


def test_a_question_is_answered_with_what_the_tool_said(client: Client):
    stream = client.converse(QUESTION, tools=[get_flight_times])

    events = list(stream)

    assert outputs(events) == [('{"departs":"LAX 09:05","arrives":"JFK 17:30"}', False)]
    assert "09:05" in text(events)
    assert (stream.status, stream.last_event) == (Status.COMPLETED, len(events))


async def test_a_question_is_answered_on_an_event_loop_too(aclient: AsyncClient):
    stream = aclient.converse(QUESTION, tools=[get_flight_times])

    events = [event async for event in stream]

    assert "09:05" in text(events)
    assert (stream.status, stream.last_event) == (Status.COMPLETED, len(events))


def test_both_clients_hear_the_same_of_one_run(client: Client):
    stream = client.converse(QUESTION, tools=[get_flight_times])

    events = list(stream)

    assert stream.run_id is not None
    assert list(client.events(stream.run_id)) == events


def test_a_tool_that_fails_is_an_answer_too(client: Client):
    def get_flight_times(departure: str, arrival: str) -> None:
        raise LookupError(f"nothing flies from {departure}")

    events = list(client.converse(QUESTION, tools=[get_flight_times]))

    assert outputs(events) == [("LookupError: nothing flies from LAX", True)]


def test_an_output_too_long_for_a_model_is_shortened_and_kept_whole_for_the_user(client: Client):
    full_output = "first " + "x" * 4_000_001 + " last"

    def get_flight_times(departure: str, arrival: str) -> str:
        return full_output

    events = client.converse(QUESTION, tools=[get_flight_times])
    ((output, _),) = outputs(list(events))
    listing = operations.ListMessages(events.thread_id or "")
    (message,) = [each for each in client.paginate(listing) if each.role == "tool"]

    assert (output[:5], output[-4:]) == ("first", "last")
    assert "3,940,012 of 4,000,012 characters are left out" in output
    assert client.download_file(message.metadata["files"]) == full_output.encode()


def read_until_hand_off(events: Iterator[Event]) -> None:
    next(event for event in events if isinstance(event, TurnEnded))


def test_a_run_that_was_left_is_taken_up_by_its_id(client: Client):
    stream = client.converse(QUESTION, tools=[get_flight_times])
    read_until_hand_off(stream)
    assert stream.run_id is not None

    second_stream = client.converse(run_id=stream.run_id, tools=[get_flight_times])

    assert "09:05" in text(list(second_stream))
    assert second_stream.status is Status.COMPLETED


def test_a_run_that_somebody_else_finished_is_read_to_its_end(client: Client):
    stream = client.converse(QUESTION, tools=[get_flight_times])
    read_until_hand_off(stream)
    assert stream.run_id is not None
    list(client.converse(run_id=stream.run_id, tools=[get_flight_times]))

    assert "09:05" in text(list(stream))
    assert stream.status is Status.COMPLETED


def test_an_output_that_another_client_gave_first_stands(client: Client):
    conversation = client.converse(QUESTION, tools=[get_flight_times])
    read_until_hand_off(conversation)
    assert conversation.run_id is not None
    (action,) = client.list_actions(conversation.run_id).data
    client.submit_tool_output(conversation.run_id, action.tool_call_id, "no flights today")

    events = list(conversation)

    assert outputs(events) == [("no flights today", False)]
    assert conversation.status is Status.COMPLETED


def test_a_run_cancelled_while_its_tools_run_ends_the_conversation(client: Client):
    tool_called = threading.Event()
    runs: list[str] = []

    def get_flight_times(departure: str, arrival: str) -> str:
        client.cancel_run(runs[0])
        tool_called.set()
        return "too late"

    conversation = client.converse(QUESTION, tools=[get_flight_times])
    read_until_hand_off(conversation)
    assert conversation.run_id is not None
    runs.append(conversation.run_id)

    with pytest.raises(errors.RunCancelled):
        list(conversation)

    assert tool_called.is_set()
    assert conversation.status is Status.CANCELLED


async def test_closing_a_conversation_cancels_its_tools(aclient: AsyncClient):
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def get_flight_times(departure: str, arrival: str) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def read() -> None:
        async for _ in aclient.converse(QUESTION, tools=[get_flight_times]):
            pass

    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert cancelled.is_set()


def start_run(client: Client) -> str:
    thread = client.create_thread()
    client.create_message(thread.id, QUESTION)
    return client.create_run(thread.id, tools=Functions([get_flight_times]).specs()).id


def test_the_explicit_steps_lead_to_the_same_end(client: Client):
    run_id = start_run(client)

    with client.sync_stream().setup(run_id=run_id) as stream:
        first = list(stream.stream_chunks())
    actions = client.poll_and_execute_action(run_id, lambda name, arguments: arguments["departure"])
    with client.sync_stream().setup(run_id=run_id) as final_stream:
        final = list(final_stream.stream_chunks())

    assert isinstance(first[-1], TurnEnded)
    assert [(action.output, action.status) for action in actions] == [("LAX", "completed")]
    assert outputs(final) == [("LAX", False)]
    assert client.get_run(run_id).status is Status.COMPLETED


def test_an_action_is_waited_for_while_the_turn_is_under_way(client: Client):
    run_id = start_run(client)
    actions: list[Any] = []

    def answer() -> None:
        actions.extend(client.poll_and_execute_action(run_id, lambda name, arguments: name))

    waiter = threading.Thread(target=answer)
    waiter.start()
    list(client.completions(run_id))
    waiter.join(60)

    assert [action.output for action in actions] == ["get_flight_times"]


def test_nothing_is_executed_for_a_run_that_has_ended(client: Client):
    run_id = start_run(client)
    client.cancel_run(run_id)

    def answer(**options: bool) -> object:
        return client.poll_and_execute_action(run_id, lambda name, arguments: name, **options)

    assert answer(raise_on_failure=False) == []
    with pytest.raises(errors.RunCancelled):
        answer()


async def test_the_explicit_steps_work_on_an_event_loop_too(aclient: AsyncClient):
    thread = await aclient.create_thread()
    await aclient.create_message(thread.id, QUESTION)
    run = await aclient.create_run(thread.id, tools=Functions([get_flight_times]).specs())

    async def handler(name: str, arguments: dict[str, Any]) -> str:
        return arguments["arrival"]

    async with aclient.sync_stream().setup(run_id=run.id) as stream:
        first = [event async for event in stream.stream_chunks()]
    actions = await aclient.poll_and_execute_action(run.id, handler)

    assert isinstance(first[-1], TurnEnded)
    assert [action.output for action in actions] == ["JFK"]


def test_a_stream_without_a_run_says_what_is_missing(client: Client):
    with pytest.raises(errors.InvalidRequest, match="setup"):
        client.sync_stream().stream_chunks()


def test_a_run_in_the_background_is_not_streamed(client: Client):
    with pytest.raises(errors.InvalidRequest, match="background"):
        client.process(message=operations.NewMessage("hi"), background=True)


def test_every_page_of_a_list_is_read(client: Client):
    thread_ids = [client.create_thread(title=str(n)).id for n in range(5)]

    assert [each.id for each in client.paginate(operations.ListThreads(limit=2))] == thread_ids[
        ::-1
    ]


def test_a_file_comes_back_as_it_went(client: Client, tmp_path: Any):
    path = tmp_path / "haïku.txt"
    path.write_bytes(b"old pond\n")

    upload = client.upload_file(path)

    assert (upload.name, upload.media_type, upload.size) == ("haïku.txt", "text/plain", 9)
    assert client.download_file(upload.id) == b"old pond\n"


def test_bytes_need_a_name(client: Client):
    with pytest.raises(errors.InvalidRequest, match="no name"):
        client.upload_file(b"x")


@pytest.mark.parametrize("words", ["caf\udce9.txt", "a\0b"])
@pytest.mark.parametrize("fails", [False, True])
def test_whatever_a_tool_says_or_raises_is_answered(client: Client, words: str, fails: bool):
    def list_files() -> str:
        """Return the names as os.listdir() does if they are no UTF-8."""
        if fails:
            raise OSError(words)
        return words

    stream = client.converse("call the tool list_files", tools=[list_files])
    events = list(stream)

    assert stream.status is Status.COMPLETED
    ((output, is_error),) = outputs(events)
    assert is_error is fails
    assert output.encode()


def test_calls_are_checked_as_a_server_would(client: Client):
    with pytest.raises(errors.InvalidRequest, match="limit"):
        client.list_threads(limit=0)
    with pytest.raises(errors.NotFound):
        client.get_run("run_none")

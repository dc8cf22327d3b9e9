"""The whole API in all four ways: its results, its refusals, and the events of runs."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from antiphon.api import operations
from antiphon.api.operations import NewMessage
from antiphon.api.threads import PastCall, PastMessage
from antiphon.client.sync_client import Client
from antiphon.ports import ProgressCallback, quiet
from antiphon.tools.functions import Functions
from antiphon.types import errors
from antiphon.types.errors import AntiphonError
from antiphon.types.events import (
    ActionRequired,
    Event,
    MessageCompleted,
    TextDelta,
    ToolOutputAdded,
    TurnEnded,
)
from antiphon.types.messages import File, Image, Text, Tool, ToolCall, ToolResult, ToolSpec
from antiphon.types.runs import Deadlines, Sampling, Status
from tests.support.client.four_ways import Ways, four_ways, in_all_ways

QUESTION = "When does the next LAX-JFK flight leave?"


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with four_ways() as ways:
        yield ways


def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """Flight times between two airports."""
    return {"departs": f"{departure} 09:05", "arrives": f"{arrival} 17:30"}


FLIGHTS = Functions([get_flight_times]).specs()


def catch_error(call: Callable[[], object]) -> AntiphonError:
    """Return the error that the call, or iterating over its result, raises."""
    try:
        answer = call()
        if isinstance(answer, Iterable):
            list(answer)
    except AntiphonError as error:
        return error
    pytest.fail("nothing was refused")


def text(events: Iterable[Event]) -> str:
    return "".join(each.text for each in events if isinstance(each, TextDelta))


def outputs(events: Iterable[Event]) -> list[tuple[str, bool]]:
    return [(each.output, each.is_error) for each in events if isinstance(each, ToolOutputAdded)]


def hand_off(client: Any) -> tuple[str, ActionRequired]:
    """Start a run that waits for its client; return its id and its manifest."""
    events = list(client.process(message=NewMessage(QUESTION), tools=FLIGHTS))
    assert isinstance(events[-1], TurnEnded)
    (manifest,) = (event for event in events if isinstance(event, ActionRequired))
    return events[-1].run_id, manifest


# Records


@in_all_ways
def test_an_assistant_is_made_changed_and_gone(client: Any) -> object:
    assistant = client.create_assistant(
        name="Guide",
        model="demo",
        instructions="Be brief.",
        tools=FLIGHTS,
        sampling=Sampling(temperature=0.5, stop=("END",)),
        metadata={"team": "a"},
    )
    updated_assistant = client.update_assistant(assistant.id, instructions=None, name="Pilot")
    page = client.list_assistants(limit=1)
    by_name = [client.list_assistants(name=name).data for name in ("Pilot", "Guide")]
    deletion = client.delete_assistant(assistant.id)

    assert client.list_assistants().data == []
    assert by_name == [page.data, []]
    assert (updated_assistant.name, updated_assistant.instructions, updated_assistant.tools) == (
        "Pilot",
        None,
        assistant.tools,
    )
    return [
        assistant,
        updated_assistant,
        page,
        deletion,
        catch_error(lambda: client.get_assistant(assistant.id)),
    ]


@in_all_ways
def test_a_reply_is_rated_and_found_by_its_rating(client: Any) -> object:
    client.ask("hello", model="demo")
    question, reply = client.list_messages().data
    rated_reply = client.set_feedback(reply.id, "down", comment="  Too short. ")
    found_replies = [client.list_messages(rating=rating).data for rating in ("down", "any", "up")]
    copied_reply = client.list_messages(client.fork_thread(reply.thread_id).id).data[-1]
    changed_reply = client.set_feedback(reply.id, rating="up")
    cleared_reply = client.delete_feedback(reply.id)

    assert (rated_reply.feedback.rating, rated_reply.feedback.comment) == ("down", "Too short.")
    assert found_replies == [[rated_reply], [rated_reply], []]
    assert (copied_reply.feedback, copied_reply.parent_id) == (rated_reply.feedback, reply.id)
    assert (changed_reply.feedback.rating, changed_reply.feedback.comment) == ("up", "")
    assert cleared_reply == reply == client.get_message(reply.id)
    return [
        catch_error(lambda: client.set_feedback(question.id, "up")),
        catch_error(lambda: client.set_feedback(reply.id, "sideways")),
        catch_error(lambda: client.set_feedback(reply.id, "up", comment="x" * 4001)),
        catch_error(lambda: client.delete_feedback("msg_none")),
    ]


@in_all_ways
def test_a_thread_is_made_changed_found_and_gone(client: Any) -> object:
    thread = client.create_thread(title="To New York", metadata={"by": "air"})
    updated_thread = client.update_thread(thread.id, title="To Boston")
    client.create_message(thread.id, "an umbrella, please")
    hits = client.list_threads(q="umbrella")
    deletion = client.delete_thread(thread.id)

    assert [each.id for each in hits.data] == [thread.id]
    assert updated_thread.metadata == {"by": "air"}
    return [
        thread,
        updated_thread,
        hits,
        deletion,
        catch_error(lambda: client.get_thread(thread.id)),
    ]


@in_all_ways
def test_titles_and_messages_are_searched(client: Any) -> object:
    thread = client.create_thread(title="Bees of 2024")
    stored_message = client.create_message(
        thread.id, f"Crème for\nthe BEES. {'And more of it. ' * 30}"
    )
    client.create_message(thread.id, "cows")
    hits = client.search("bee")
    title, message = hits.data
    pages = [each.snippet for each in client.paginate(operations.Search("bee", limit=1))]

    assert (title.thread_id, title.message_id, title.snippet) == (thread.id, None, thread.title)
    assert (message.message_id, message.role, message.title) == (
        stored_message.id,
        "user",
        thread.title,
    )
    assert message.snippet.startswith("Crème for the BEES. And")
    assert [message.snippet[start:end] for start, end in message.highlights] == ["BEES"]
    assert pages == [title.snippet, message.snippet]
    assert (hits.has_more, hits.next, hits.indexing) == (False, None, None)
    assert client.search('"creme for the"').data[0].message_id == stored_message.id
    assert client.search("missing").data == client.search("***").data == []
    return [
        *(thread, stored_message, hits),
        catch_error(lambda: client.search("bee", after="1.2")),
        catch_error(lambda: client.search("b" * 257)),
    ]


@in_all_ways
def test_messages_are_kept_in_order_and_read_in_pages(client: Any) -> object:
    thread = client.create_thread()
    parts = (Text("Look: "), Image(url="https://example.org/a.png"))
    messages = [
        client.create_message(thread.id, "one"),
        client.create_message(thread.id, parts),
        client.create_message(thread.id, "Be brief.", role="system"),
    ]
    first = client.list_messages(thread.id, limit=2)
    rest = client.list_messages(thread.id, limit=2, after=first.next)

    assert [*first.data, *rest.data] == messages
    assert list(client.paginate(operations.ListMessages(thread.id, limit=1))) == messages
    return [messages, first, rest, client.get_message(messages[1].id)]


@in_all_ways
def test_a_thread_is_forked_at_a_message(client: Any) -> object:
    thread = client.create_thread(title="Plans")
    message = client.create_message(thread.id, "one")
    client.create_message(thread.id, "two")
    fork = client.fork_thread(thread.id, message_id=message.id)

    messages = client.list_messages(fork.id).data

    assert [each.text for each in messages] == ["one"]
    assert fork.parent_id == thread.id
    return [
        fork,
        messages,
        catch_error(lambda: client.fork_thread(thread.id, message_id="msg_none")),
    ]


@in_all_ways
def test_messages_are_appended_and_the_last_ones_replaced(client: Any) -> object:
    thread = client.create_thread(messages=[PastMessage("one"), PastMessage("two")])
    first, second = client.list_messages(thread.id).data
    reply = PastMessage(role="assistant", tool_calls=(PastCall("c", "look", "{}"),))
    tool_message = PastMessage("found", role="tool", tool_call_id="c")

    added_messages = client.append_messages(
        thread.id, [reply, tool_message, PastMessage("three")]
    ).data
    replacements = client.append_messages(
        thread.id, [PastMessage("four")], added_messages[0].id
    ).data

    assert [each.number for each in added_messages] == [3, 4, 5]
    assert client.list_messages(thread.id).data == [first, second, *replacements]
    assert list(client.append_messages(thread.id, replace_from=second.id).data) == []
    assert client.list_messages(thread.id).data == [first]
    later_messages = client.append_messages(thread.id, [reply, tool_message]).data
    other_thread = client.create_thread(messages=[PastMessage("x")])
    waiting_run = client.create_run(other_thread.id)
    version = client.get_thread(thread.id).version
    client.append_messages(thread.id, [PastMessage("five")], if_version=version)
    return [
        catch_error(lambda: client.append_messages(thread.id, [], if_version=version)),
        added_messages,
        later_messages,
        catch_error(lambda: client.append_messages(thread.id, [], later_messages[1].id)),
        catch_error(lambda: client.append_messages(thread.id, [reply])),
        catch_error(lambda: client.append_messages(other_thread.id, [], first.id)),
        catch_error(lambda: client.append_messages(other_thread.id, [PastMessage("y")])),
        waiting_run,
    ]


@in_all_ways
def test_a_thread_is_summed_up_and_sent_whole_again(client: Any) -> object:
    thread = client.create_thread()
    client.create_message(thread.id, "one")
    client.create_message(thread.id, "two")
    compaction = client.compact(thread.id, keep=1)
    undoing = client.uncompact(thread.id)

    assert (compaction.message.compacts, undoing.compacts) == (1, 0)
    return [compaction, undoing, catch_error(lambda: client.compact(thread.id, keep=-1))]


@in_all_ways
def test_a_deleted_file_is_gone_and_its_messages_stay(client: Any) -> object:
    upload = client.upload_file(b"old pond", "haiku.txt")
    thread = client.create_thread()
    message = client.create_message(thread.id, (Text("Read it."), File(file_id=upload.id)))
    deletion = client.delete_file(upload.id)

    assert deletion.id == upload.id
    assert client.list_messages(thread.id).data == [message]
    assert client.ask("And now?", thread_id=thread.id).status is Status.COMPLETED
    return [
        deletion,
        catch_error(lambda: client.get_file(upload.id)),
        catch_error(lambda: client.download_file(upload.id)),
        catch_error(lambda: client.delete_file(upload.id)),
        catch_error(lambda: client.create_message(thread.id, (File(file_id=upload.id),))),
    ]


@in_all_ways
def test_files_are_found_by_their_purpose(client: Any) -> object:
    upload = client.upload_file(b"{}", "marks.json", purpose="marks_of-2026")
    client.upload_file(b"other", "other.txt")

    assert upload.purpose == "marks_of-2026"
    assert client.list_files(purpose="marks_of-2026").data == [upload]
    return [
        upload,
        *(
            catch_error(lambda word=word: client.upload_file(b"x", "x.txt", purpose=word))
            for word in ("", "Two words", "x" * 65, "a\n")
        ),
    ]


@in_all_ways
def test_files_come_back_as_they_went(client: Any) -> object:
    path = Path(__file__)
    uploads = [
        client.upload_file(b"old pond\n", "haiku.txt"),
        client.upload_file(b"{}", "odd.bin", "application/json"),
        client.upload_file(path),
    ]
    page = client.list_files(limit=2)

    assert client.download_file(uploads[0].id) == b"old pond\n"
    assert client.download_file(uploads[2].id) == path.read_bytes()
    return [
        uploads,
        page,
        client.get_file(uploads[1].id),
        catch_error(lambda: client.get_file("file_none")),
        catch_error(lambda: client.download_file("file_none")),
        catch_error(lambda: client.upload_file(b"x")),
    ]


@in_all_ways
def test_models_are_listed(client: Any) -> object:
    models = client.list_models()

    assert [model.id for model in models.data if model.default] == ["demo"]
    return models


# Conversations


@in_all_ways
def test_a_conversation_without_tools(client: Any) -> object:
    stream = client.converse("Hello there", metadata={"from": "a test"})
    events = list(stream)

    assert stream.status is Status.COMPLETED
    assert "Hello there" in text(events)
    return [events, client.get_run(stream.run_id), client.list_messages(stream.thread_id)]


@in_all_ways
def test_a_conversation_with_one_tool(client: Any) -> object:
    stream = client.converse(QUESTION, tools=[get_flight_times])
    events = list(stream)

    assert outputs(events) == [('{"departs":"LAX 09:05","arrives":"JFK 17:30"}', False)]
    assert "09:05" in text(events)
    assert list(client.events(stream.run_id)) == events
    return [
        events,
        stream.last_event,
        client.get_run(stream.run_id),
        client.list_actions(stream.run_id),
        client.list_messages(stream.thread_id),
    ]


@in_all_ways
def test_tools_of_one_turn_run_at_once(client: Any) -> object:
    barrier = threading.Barrier(2)

    def get_flight_times(departure: str) -> str:
        barrier.wait(20)
        return departure

    def get_train_times(departure: str) -> str:
        barrier.wait(20)
        return departure

    stream = client.converse(
        "Flight and train times from LAX, in parallel", tools=[get_flight_times, get_train_times]
    )
    events = list(stream)

    assert stream.status is Status.COMPLETED
    assert len(outputs(events)) == 2
    return [sorted(outputs(events)), text(events)]


@in_all_ways
def test_tools_that_may_not_run_at_once_run_in_order(client: Any) -> object:
    events = client.converse(
        f"{QUESTION} Ask twice, in parallel", tools=[get_flight_times], max_tools=1
    )

    return list(events)


def fails(departure: str, arrival: str) -> None:
    raise LookupError(f"nothing flies from {departure}")


def leaves(departure: str, arrival: str) -> None:
    raise SystemExit("bye")


def refuses(departure: str, arrival: str) -> ToolResult:
    return ToolResult("ask somebody else", is_error=True)


async def awaits(departure: str, arrival: str) -> list[str]:
    await asyncio.sleep(0)
    return [departure, arrival]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (fails, ("LookupError: nothing flies from LAX", True)),
        (leaves, ("SystemExit: bye", True)),
        (refuses, ("ask somebody else", True)),
        (awaits, ('["LAX","JFK"]', False)),
        (lambda departure, arrival: None, ("null", False)),
        (lambda departure: departure, ("LAX", False)),
    ],
    ids=["fails", "leaves", "refuses", "awaits", "says nothing", "says a word"],
)
def test_whatever_a_tool_does_is_its_output(
    ways: Ways, function: Callable[..., Any], expected: tuple[str, bool]
) -> None:
    @in_all_ways
    def scenario(client: Any) -> object:
        function.__name__ = "get_flight_times"
        events = list(client.converse(QUESTION, tools=[function]))

        assert outputs(events) == [expected]
        return events

    scenario(ways)


@in_all_ways
def test_a_tool_that_hangs_is_given_up(client: Any) -> object:
    release_tool = threading.Event()

    def get_flight_times(departure: str, arrival: str) -> None:
        release_tool.wait(20)

    stream = client.converse(QUESTION, tools=[get_flight_times], tool_timeout=0.1)
    events = list(stream)
    release_tool.set()

    ((output, is_error),) = outputs(events)
    assert (output.startswith("TimeoutError: "), is_error) == (True, True)
    assert stream.status is Status.COMPLETED
    return events


@in_all_ways
def test_a_tool_that_this_client_lacks_is_answered_for(client: Any) -> object:
    assistant = client.create_assistant(tools=FLIGHTS)
    events = list(client.converse(QUESTION, assistant_id=assistant.id))
    client.delete_assistant(assistant.id)

    ((output, is_error),) = outputs(events)
    assert (output.startswith("There is no tool get_flight_times."), is_error) == (True, True)
    return events


class Echo:
    """A toolbox that is not made of functions."""

    def tools(self) -> tuple[Tool, ...]:
        schema = {"type": "object", "properties": {"word": {}}}
        return (Tool(spec=ToolSpec("echo", "", schema)),)

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        return ToolResult(f"{call.name} {call.arguments}")


@in_all_ways
def test_a_toolbox_may_stand_beside_functions(client: Any) -> object:
    events = list(client.converse("Call the tool echo", toolbox=Echo()))
    events_of_both = list(client.converse(QUESTION, tools=[get_flight_times], toolbox=Echo()))

    assert outputs(events)[0][0].startswith("echo {")
    assert "09:05" in outputs(events_of_both)[0][0]
    return [events, events_of_both]


@in_all_ways
def test_a_thread_goes_on(client: Any) -> object:
    first = client.converse("One")
    list(first)
    second = client.converse("Two", thread_id=first.thread_id)
    second_events = list(second)

    messages = client.list_messages(first.thread_id).data
    assert [each.role for each in messages] == ["user", "assistant", "user", "assistant"]
    assert second.run_id != first.run_id
    return [second_events, messages, client.list_runs(thread_id=first.thread_id)]


@in_all_ways
def test_a_run_that_was_left_is_taken_up(client: Any) -> object:
    run_id, _ = hand_off(client)
    stream = client.converse(run_id=run_id, tools=[get_flight_times])
    events = list(stream)
    second_stream = client.converse(run_id=run_id)

    assert stream.status is Status.COMPLETED
    assert (list(second_stream), second_stream.status) == ([], Status.COMPLETED)
    return [events, second_stream.thread_id]


@in_all_ways
def test_a_run_keeps_what_was_wished_for_it(client: Any) -> object:
    stream = client.converse(
        "Count",
        instructions="Slowly.",
        sampling=Sampling(max_output_tokens=12, seed=1),
        deadlines=Deadlines(first_chunk=9, turn=60),
        max_turns=2,
        on_expiry="expire",
        expires_in=60,
        raise_on_failure=False,
    )
    events = list(stream)
    run = client.get_run(stream.run_id)

    assert (run.status, run.reason) == (Status.INCOMPLETE, "length")
    assert (run.instructions, run.deadlines.first_chunk) == ("Slowly.", 9)
    return [events, run, stream.reason]


@in_all_ways
def test_calls_of_the_last_turn_are_not_handed_out(client: Any) -> object:
    stream = client.converse(
        QUESTION, tools=[get_flight_times], max_turns=1, raise_on_failure=False
    )
    events = list(stream)

    assert (stream.status, stream.reason) == (Status.INCOMPLETE, "max_turns")
    return [events, client.list_actions(stream.run_id)]


# Step by step


@in_all_ways
def test_the_explicit_steps_of_the_web_flow(client: Any) -> object:
    thread = client.create_thread()
    message = client.create_message(thread.id, QUESTION)
    run = client.create_run(thread.id, tools=FLIGHTS)
    with client.sync_stream().setup(run_id=run.id) as stream:
        first = list(stream.stream_chunks())
    pending_page = client.list_actions(run.id, status="pending")
    actions = client.poll_and_execute_action(
        run.id, lambda name, arguments: f"{name} from {arguments['departure']}"
    )
    final_stream = client.sync_stream().setup(run_id=run.id)
    final = list(final_stream.stream_chunks())
    final_stream.close()

    assert [each.status for each in actions] == ["completed"]
    assert actions[0].output == "get_flight_times from LAX"
    assert client.poll_and_execute_action(run.id, lambda name, arguments: "") == []
    return [message, run, first, pending_page, actions, final, client.get_action(actions[0].id)]


@in_all_ways
def test_a_stream_needs_a_run(client: Any) -> object:
    return [
        catch_error(lambda: client.turn_stream().stream_chunks()),
        catch_error(lambda: client.sync_stream().setup(run_id="run_none").stream_chunks()),
        catch_error(lambda: client.process(message=NewMessage("hi"), background=True)),
    ]


@in_all_ways
def test_the_turn_protocol_by_hand(client: Any) -> object:
    run_id, manifest = hand_off(client)
    (action,) = manifest.actions
    missing = catch_error(lambda: client.process(run_id=run_id))
    missing_too = catch_error(lambda: client.completions(run_id))
    saved_action = client.submit_tool_output(run_id, action.tool_call_id, "09:05")
    saved_again = client.submit_tool_output(run_id, action.tool_call_id, "09:05")
    other = catch_error(lambda: client.submit_tool_output(run_id, action.tool_call_id, "10:00"))
    unknown = catch_error(lambda: client.submit_tool_output(run_id, "call_none", "x"))
    rest = list(client.process(run_id=run_id, force_refresh=True))
    after_end = catch_error(lambda: client.process(run_id=run_id))
    late_output = catch_error(lambda: client.submit_tool_output(run_id, "call_none", "x"))

    assert isinstance(missing, errors.OutputsMissing)
    assert saved_action == saved_again
    assert isinstance(other, errors.OutputConflict)
    assert isinstance(unknown, errors.UnknownToolCall)
    assert "09:05" in text(rest)
    assert isinstance(after_end, errors.RunEnded)
    return [
        manifest,
        missing,
        missing_too,
        saved_action,
        other,
        unknown,
        rest,
        after_end,
        late_output,
    ]


@in_all_ways
def test_an_output_may_come_as_a_message(client: Any) -> object:
    run_id, manifest = hand_off(client)
    (action,) = manifest.actions
    thread_id = client.get_run(run_id).thread_id
    without_id = catch_error(lambda: client.create_message(thread_id, "x", role="tool"))
    other_thread = client.create_thread()
    wrong_thread = catch_error(
        lambda: client.create_message(
            other_thread.id, "x", role="tool", tool_call_id=action.tool_call_id
        )
    )
    message = client.create_message(
        thread_id, "none today", role="tool", tool_call_id=action.tool_call_id, is_error=True
    )
    rest = list(client.completions(run_id))

    assert "none today" in text(rest)
    return [without_id, wrong_thread, message, client.get_action(action.action_id), rest]


@in_all_ways
def test_a_busy_thread_takes_nothing_new(client: Any) -> object:
    run_id, _ = hand_off(client)
    thread_id = client.get_run(run_id).thread_id
    refusals = [
        catch_error(lambda: client.create_message(thread_id, "x")),
        catch_error(lambda: client.create_run(thread_id)),
        catch_error(lambda: client.process(thread_id=thread_id, message=NewMessage("x"))),
        catch_error(lambda: client.converse("x", thread_id=thread_id)),
    ]

    assert {type(each) for each in refusals} == {errors.RunActive}
    assert {each.details["run_id"] for each in refusals} == {run_id}
    return [run_id, refusals]


@pytest.mark.parametrize("if_busy", ["interrupt", "rollback"])
def test_a_busy_thread_makes_way_where_it_is_told_to(ways: Ways, if_busy: Any) -> None:
    @in_all_ways
    def scenario(client: Any) -> object:
        run_id, _ = hand_off(client)
        thread_id = client.get_run(run_id).thread_id
        events = list(client.converse("Hello", thread_id=thread_id, if_busy=if_busy))

        before = client.get_run(run_id)
        assert before.status is Status.CANCELLED
        return [before, events, client.list_messages(thread_id)]

    scenario(ways)


@in_all_ways
def test_a_run_that_waits_for_a_busy_thread_comes_next(client: Any) -> object:
    thread = client.create_thread()
    client.create_message(thread.id, "First")
    busy_run = client.create_run(thread.id, background=True)
    stream = client.converse("Second", thread_id=thread.id, if_busy="wait")
    events = list(stream)

    assert client.get_run(busy_run.id).status is Status.COMPLETED
    assert stream.status is Status.COMPLETED
    return [events, client.list_runs(thread_id=thread.id), client.list_messages(thread.id)]


@in_all_ways
def test_a_run_is_cancelled_once(client: Any) -> object:
    run_id, manifest = hand_off(client)
    cancelled_run = client.cancel_run(run_id)
    cancelled_again = client.cancel_run(run_id)
    (action,) = client.list_actions(run_id).data
    late_output = catch_error(lambda: client.submit_tool_output(run_id, action.tool_call_id, "x"))

    assert cancelled_run == cancelled_again
    assert action.status == "cancelled"
    return [manifest, cancelled_run, action, late_output, list(client.events(run_id))]


@in_all_ways
def test_events_are_read_from_anywhere(client: Any) -> object:
    stream = client.converse(QUESTION, tools=[get_flight_times])
    events = list(stream)
    last = stream.last_event
    beyond_end = catch_error(lambda: client.events(stream.run_id, after=last + 1))

    assert list(client.events(stream.run_id, after=3)) == events[3:]
    assert list(client.events(stream.run_id, after=last)) == []
    assert isinstance(beyond_end, errors.InvalidEventId)
    return [stream.run_id, last, beyond_end, catch_error(lambda: client.events("run_none"))]


@in_all_ways
def test_a_run_in_the_background_needs_no_listener(client: Any) -> object:
    thread = client.create_thread()
    client.create_message(thread.id, "Hello")
    run = client.create_run(thread.id, background=True)
    events = list(client.events(run.id))

    assert run.background
    assert any(isinstance(event, MessageCompleted) for event in events)
    return [events, client.get_run(run.id)]


# Refusals


@in_all_ways
def test_what_is_not_there_is_not_found_in_the_same_words(client: Any) -> object:
    thread = client.create_thread()
    refusals = [
        catch_error(call)
        for call in (
            lambda: client.get_assistant("asst_none"),
            lambda: client.update_assistant("asst_none", name="x"),
            lambda: client.delete_assistant("asst_none"),
            lambda: client.get_thread("thread_none"),
            lambda: client.update_thread("thread_none", title="x"),
            lambda: client.delete_thread("thread_none"),
            lambda: client.fork_thread("thread_none"),
            lambda: client.create_message("thread_none", "x"),
            lambda: client.list_messages("thread_none"),
            lambda: client.get_message("msg_none"),
            lambda: client.create_run("thread_none"),
            lambda: client.create_run(thread.id, assistant_id="asst_none"),
            lambda: client.list_runs(thread_id="thread_none"),
            lambda: client.get_run("run_none"),
            lambda: client.cancel_run("run_none"),
            lambda: client.completions("run_none"),
            lambda: client.process(run_id="run_none"),
            lambda: client.process(thread_id="thread_none"),
            lambda: client.submit_tool_output("run_none", "call_none", "x"),
            lambda: client.list_actions("run_none"),
            lambda: client.get_action("act_none"),
            lambda: client.create_message(thread.id, (Image(file_id="file_none"),)),
            lambda: client.poll_and_execute_action("run_none", lambda name, arguments: ""),
            lambda: client.get_thread("x y?z"),
        )
    ]

    assert {each.code for each in refusals} == {"not_found"}
    return refusals


@pytest.mark.slow
@in_all_ways
def test_what_cannot_be_asked_is_refused_in_the_same_words(client: Any) -> object:
    thread = client.create_thread()
    refusals = [
        catch_error(call)
        for call in (
            lambda: client.list_threads(limit=0),
            lambda: client.list_threads(limit=101),
            lambda: client.list_threads(limit="ten"),
            lambda: client.create_thread(title="x" * 10_001),
            lambda: client.create_thread(title=7),
            lambda: client.create_thread(metadata={"a": 1}),
            lambda: client.create_message(thread.id, "x", role="robot"),
            lambda: client.create_message(thread.id, "x", tool_call_id="call_1"),
            lambda: client.create_message(thread.id, (Image(),)),
            lambda: client.create_message(thread.id, (Image(url="ftp://example.org/a"),)),
            lambda: client.create_run(thread.id, max_turns=0),
            lambda: client.create_run(thread.id, if_busy="perhaps"),
            lambda: client.create_run(thread.id, deadlines=Deadlines(chunk=-1)),
            lambda: client.create_run(thread.id, model="nobody:none"),
            lambda: client.create_run(thread.id, tools=(ToolSpec("no name at all!"),)),
            lambda: client.create_assistant(model="nobody:none"),
            client.process,
            lambda: client.process(run_id="run_none", message=NewMessage("x")),
            lambda: client.list_actions("run_none", status="lost"),
            lambda: client.events("run_none", after=-1),
        )
    ]

    assert {each.code for each in refusals} == {
        "invalid_request",
        "invalid_event_id",
        "bad_settings",
    }
    return refusals


@in_all_ways
def test_people_come_and_go(client: Any) -> object:
    ada = client.create_person("Ada", password="a long secret", role="admin")
    ben = client.create_person("Ben", password="another secret")
    signed_in_person = client.sign_in(name="ada", password="a long secret")
    changed_person = client.update_person(ben.id, name="Benjamin", disabled=True)
    names = [person.name for person in client.list_people().data]
    deletion = client.delete_person(ben.id)

    assert signed_in_person.id == client.get_person(ada.id).id == ada.id
    assert names == ["Ada", "Benjamin"]
    assert [key.name for key in client.list_keys().data] == []
    assert [live.run.status for live in client.list_live_runs().data if live.run.status.ended] == []
    assert client.get_usage(days=1).rows is not None
    assert list(client.list_servers().data) == []
    return [changed_person.name, changed_person.disabled, deletion.deleted, names]


@in_all_ways
def test_projects_and_owners_come_and_go_and_what_was_done_is_written_down(client: Any) -> object:
    moon = client.create_project("Moon landing")
    renamed_project = client.update_project(moon.id, name="Mars landing")
    names = [project.name for project in client.list_projects().data]
    stored_project = client.get_project(moon.id)
    client.create_thread(title="Rockets")
    [holding] = client.list_owners(owner="local").data
    archive = b"".join(client.export_owner("local"))
    deletion = client.delete_project(moon.id)
    erasure = client.erase_owner(moon.id)
    acts = [act.what for act in client.list_acts(owner=moon.id).data]

    assert names == [renamed_project.name] == [stored_project.name]
    assert holding.threads > 0
    assert archive.startswith(b"PK")
    assert erasure.done
    return [deletion.deleted, acts, catch_error(lambda: client.update_key("key_none"))]


@in_all_ways
def test_what_is_done_to_a_server_of_a_client_is_written_down(client: Any) -> object:
    entry = client.record_act("mcp_server.added", "far")

    assert client.list_acts().data[0] == entry
    return [
        (entry.what, entry.target, entry.owner),
        catch_error(lambda: client.record_act("key.created", "far")),
        catch_error(lambda: client.record_act("mcp_server.added", "two words")),
    ]


@pytest.mark.slow
@in_all_ways
def test_what_was_exported_is_imported_for_another_owner(client: Any) -> object:
    with TemporaryDirectory() as temporary_folder:
        folder = Path(temporary_folder)
        client.create_thread(title="Rockets")
        client.upload_file(b"fuel", "tank.txt")
        archive = folder / "all.zip"
        archive.write_bytes(b"".join(client.export_owner("local")))

        check = client.import_owner(archive, "eve", new_ids=True, check=True)
        first_import = client.import_owner(archive, "eve", new_ids=True)
        second_import = client.import_owner(str(archive), "eve", new_ids=True)
        (folder / "none.zip").write_bytes(b"PK")

        assert (first_import.owner, check.added) == ("eve", first_import.added)
        assert second_import.added == {}
        [owner_totals] = client.list_owners(owner="eve").data
        assert (owner_totals.threads, owner_totals.files) == (
            first_import.added["threads"],
            first_import.added["files"],
        )
        client.erase_owner("eve")
        return [
            catch_error(lambda: client.import_owner(archive, "eve")).code,
            catch_error(lambda: client.import_owner(folder / "none.zip")),
        ]


@in_all_ways
def test_a_provider_key_is_stored_shown_by_its_end_and_deleted(client: Any) -> object:
    own_key = client.set_provider_key("openai", "sk-of-mine-0123456789-abcd")
    key_of_ada = client.set_owners_provider_key("ada", "openai", "sk-of-ada-0123456789-efgh")
    own_hints = [key.hint for key in client.list_provider_keys().data]
    all_hints = sorted(key.hint for key in client.list_all_provider_keys().data)
    deletion = client.delete_provider_key("openai")
    client.erase_owner("ada")

    assert own_hints == [own_key.hint] == ["...abcd"]
    assert all_hints == [own_key.hint, key_of_ada.hint]
    assert list(client.list_all_provider_keys().data) == []
    return [deletion.deleted, catch_error(lambda: client.delete_provider_key("openai"))]


@in_all_ways
def test_a_token_for_a_page_opens_one_thread_or_those_of_a_session(client: Any) -> object:
    shop = "https://shop.example.org"
    thread = client.create_thread()
    thread_token = client.create_browser_token(origins=(shop,), thread_id=thread.id, expires_in=60)
    session_token = client.create_browser_token(origins=(shop,), session="visitor 1", model="demo")

    assert (thread_token.thread_id, thread_token.session) == (thread.id, None)
    assert (session_token.thread_id, session_token.session, session_token.model) == (
        None,
        "visitor 1",
        "demo",
    )
    assert thread_token.token != session_token.token
    refusal = catch_error(lambda: client.create_browser_token(origins=("*",)))
    return [thread_token.origins, thread_token.owner, session_token.owner, refusal]


@in_all_ways
def test_a_webhook_is_created_changed_tested_rotated_and_deleted(client: Any) -> object:
    creation = client.create_webhook("https://hooks.invalid/", ["run.failed"], "Jobs")
    webhook = creation.webhook
    rotation = client.rotate_webhook_secret(webhook.id)
    delivery = client.send_test_event(webhook.id)
    resent_delivery = client.resend_webhook_delivery(webhook.id, delivery.id)
    deliveries = client.list_webhook_deliveries(webhook.id).data
    changed_webhook = client.update_webhook(webhook.id, enabled=False)
    refusal = catch_error(lambda: client.send_test_event(webhook.id))

    assert creation.secret.startswith("whsec_")
    assert creation.secret != rotation.secret
    assert [each.id for each in client.list_webhooks().data] == [webhook.id]
    assert [each.webhook.id for each in client.list_all_webhooks().data] == [webhook.id]
    assert (
        client.get_webhook(webhook.id).disabled_reason == changed_webhook.disabled_reason == "owner"
    )
    assert [each.id for each in deliveries] == [delivery.id] == [resent_delivery.id]
    deletion = client.delete_webhook(webhook.id)
    return [
        *(webhook.url, webhook.events, webhook.description, delivery.type, delivery.status),
        *(refusal, deletion.deleted, catch_error(lambda: client.get_webhook("hook_none"))),
    ]


@in_all_ways
def test_instructions_and_memories_are_written_changed_and_deleted(client: Any) -> object:
    first = client.get_personal_settings()
    settings = client.update_personal_settings(instructions="Be brief.", memory_enabled=False)
    memory = client.create_memory("Likes tea.")
    changed_memory = client.update_memory(memory.id, "Likes coffee.")
    memories = client.list_memories().data
    duplicate = catch_error(lambda: client.create_memory("likes coffee."))
    hidden_text = catch_error(lambda: client.create_memory("a\x1b[2Jb"))

    assert (first.instructions, first.memory_enabled) == ("", True)
    assert client.get_personal_settings() == settings
    assert [each.id for each in memories] == [memory.id] == [changed_memory.id]
    client.create_memory("Likes tea.")
    deletion = client.delete_memory(memory.id)
    return [
        *(
            settings.instructions,
            settings.memory_enabled,
            changed_memory.text,
            changed_memory.source,
        ),
        *(
            hidden_text,
            deletion.deleted,
            client.delete_memories().deleted,
            type(duplicate).__name__,
        ),
    ]


@in_all_ways
def test_a_schedule_is_created_changed_run_and_deleted(client: Any) -> object:
    schedule = client.create_schedule("Report.", cron="0 8 * * mon-fri", timezone="Asia/Tokyo")
    changed_schedule = client.update_schedule(schedule.id, name="Morning", paused=True)
    run = client.run_schedule(schedule.id)
    for _ in client.events(run.id):
        pass
    (occurrence,) = client.list_occurrences(schedule.id).data
    times = client.preview_schedule("0 8 * * mon-fri", timezone="Asia/Tokyo", count=2).data
    too_often = catch_error(lambda: client.preview_schedule("* * * * *"))

    assert client.get_schedule(schedule.id) == client.list_schedules().data[0]
    assert [each.schedule.id for each in client.list_all_schedules().data] == [schedule.id]
    assert (occurrence.run_id, occurrence.run_status, occurrence.due_at) == (
        run.id,
        "completed",
        None,
    )
    assert schedule.next_at in (times[0].at, times[1].at)  # its time may have come meanwhile
    deletion = client.delete_schedule(schedule.id)
    return [
        *(schedule.cron, schedule.timezone, schedule.allowed_tools, schedule.missed),
        *(
            changed_schedule.name,
            changed_schedule.paused,
            changed_schedule.next_at,
            times[0].local[10:],
        ),
        *(
            too_often,
            deletion.deleted,
            catch_error(lambda: client.get_schedule(schedule.id[:6] + "none")),
        ),
    ]


def test_no_method_of_the_client_is_left_out() -> None:
    files = Path(__file__).parent.glob("test_four_ways*.py")
    used_names = {
        name for file in files for name in re.findall(r"client\.(\w+)", file.read_text("utf-8"))
    }
    public = {name for name in dir(Client) if callable(getattr(Client, name)) and name[0] != "_"}
    # The first key locks the server for every test after it, and other clients have no four ways:
    # they have tests of their own.
    tested_elsewhere = {
        "create_key",
        "revoke_key",
        "on_behalf_of",
        "as_actor",
        "over",
        "with_options",
    }

    assert public - used_names == {"close", *tested_elsewhere}


@in_all_ways
def test_what_is_created_twice_under_one_key_is_there_once(client: Any) -> object:
    key = {"idempotency_key": "order-1017"}
    thread = client.create_thread(**key)

    def create_all() -> list[object]:
        message = client.create_message(thread.id, "Hello", **key)
        run = client.create_run(thread.id, if_busy="wait", **key)
        list(client.completions(run.id, **key))
        stream = client.process(message=NewMessage("Hello"), **key)
        list(stream)
        return [
            client.create_assistant("one", **key).id,
            client.create_thread(**key).id,
            client.fork_thread(thread.id, message.id, **key).id,
            message.id,
            run.id,
            stream.run_id,
            client.upload_file(b"one", "one.txt", **key).id,
        ]

    assert create_all() == create_all()
    assert len(client.list_runs(thread.id).data) == 1
    refusals = [
        catch_error(lambda: client.create_thread("another", **key)),
        catch_error(lambda: client.create_thread(idempotency_key="two words")),
        catch_error(lambda: client.upload_file(b"two", "one.txt", **key)),
    ]
    assert [type(error) for error in refusals] == [
        errors.IdempotencyConflict,
        errors.InvalidRequest,
        errors.IdempotencyConflict,
    ]
    return refusals


@in_all_ways
def test_a_value_that_is_none_of_the_choices_is_refused_with_the_choices(client: Any) -> object:
    error = catch_error(lambda: client.list_threads(order="upwards"))

    assert isinstance(error, errors.InvalidRequest)
    assert error.details["received"] == "'upwards'"
    assert error.details["expected"] == "one of 'activity', 'created', 'newest', 'oldest'"
    return error


@pytest.mark.parametrize("way", ["embedded", "http"])
def test_a_page_of_a_list_iterates_over_the_pages_after_it(ways: Ways, way: str) -> None:
    client, project = ways[way], {"project": "pages"}
    thread_ids = [client.create_thread(str(number), metadata=project).id for number in range(5)]

    page = client.list_threads(limit=2, order="oldest", metadata=project)

    assert [each.id for each in page.data] == thread_ids[:2]
    assert [each.id for each in page] == thread_ids
    assert [each.id for each in page] == thread_ids

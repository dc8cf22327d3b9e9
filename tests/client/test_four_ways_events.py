"""Events in pages and by type, and outputs in batches, in all four ways."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon import TextDelta, TurnEnded, errors
from antiphon.api.operations import NewMessage, NewToolOutput, PastCall, PastMessage
from antiphon.types.events import ActionRequired, RunStatus
from antiphon.types.messages import File, ToolSpec
from antiphon.types.runs import Sampling, Status, ThreadOptions
from tests.support.client.four_ways import Ways, four_ways, in_all_ways

TWO = "Call the tool one, then call the tool two"


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with four_ways() as ways:
        yield ways


def run_one_turn(client: Any, question: str = "Hello", **fields: Any) -> Any:
    stream = client.process(message=NewMessage(question), **fields)
    list(stream)
    return client.get_run(stream.run_id)


@in_all_ways
def test_events_of_some_types_come_with_their_own_numbers(client: Any) -> object:
    run = run_one_turn(client)
    all_events = list(client.events(run.id))

    stream = client.events(run.id, types="text.delta, usage")
    events = list(stream)

    assert events == [
        event
        for event in all_events
        if isinstance(event, TextDelta | RunStatus | TurnEnded) or event.type == "usage"
    ]
    assert stream.last_event == len(all_events)
    with pytest.raises(errors.InvalidRequest, match="no such type"):
        list(client.events(run.id, types="text.delta,colour"))
    return events


@in_all_ways
def test_the_log_is_read_in_pages_that_wait_for_the_next_event(client: Any) -> object:
    run = run_one_turn(client)
    all_events = list(client.events(run.id))

    page = client.list_events(run.id, after=2)
    beyond_end = client.list_events(run.id, after=len(all_events), wait=20)

    assert page.ended
    assert [each.number for each in page.data] == list(range(3, len(all_events) + 1))
    assert [each.event for each in page.data] == all_events[2:]
    assert (beyond_end.ended, list(beyond_end.data)) == (True, [])
    with pytest.raises(errors.InvalidEventId):
        client.list_events(run.id, after=len(all_events) + 1)
    return None


@in_all_ways
def test_a_page_of_a_run_that_waits_comes_when_something_happens(client: Any) -> object:
    run = run_one_turn(client, "Call the tool one", tools=(ToolSpec("one"),))
    last_number = client.list_events(run.id).data[-1].number

    empty_page = client.list_events(run.id, after=last_number, wait=0.01)
    client.cancel_run(run.id)
    page = client.list_events(run.id, after=last_number, wait=20)

    assert (empty_page.ended, list(empty_page.data)) == (False, [])
    assert page.ended
    return [each.event.type for each in page.data]


def hand_off_two_calls(client: Any) -> tuple[str, list[str]]:
    tools = (ToolSpec("one"), ToolSpec("two"))
    events = list(client.process(message=NewMessage(TWO), tools=tools))
    (manifest,) = (event for event in events if isinstance(event, ActionRequired))
    return manifest.run_id, [action.tool_call_id for action in manifest.actions]


@in_all_ways
def test_outputs_are_saved_together_or_not_at_all(client: Any) -> object:
    run_id, calls = hand_off_two_calls(client)
    outputs = tuple(NewToolOutput(call, f"output of {call}") for call in calls)

    for bad_outputs in (
        (*outputs, NewToolOutput("call_never", "x")),
        (*outputs, outputs[0]),
    ):
        with pytest.raises((errors.UnknownToolCall, errors.InvalidRequest)):
            client.submit_tool_outputs(run_id, bad_outputs)
    assert {each.status for each in client.list_actions(run_id).data} == {"pending"}

    saved_actions = client.submit_tool_outputs(run_id, outputs)
    saved_again = client.submit_tool_outputs(run_id, outputs)
    with pytest.raises(errors.OutputConflict):
        client.submit_tool_outputs(run_id, (NewToolOutput(calls[0], "other"),))

    assert [each.output for each in saved_actions.data] == [each.output for each in outputs]
    assert saved_actions == saved_again
    list(client.process(run_id=run_id))
    assert client.get_run(run_id).status is Status.COMPLETED
    return None


def test_a_page_wakes_when_another_thread_cancels(ways: Ways) -> None:
    client = ways["http"]
    run = run_one_turn(client, "Call the tool one", tools=(ToolSpec("one"),))
    last_number = client.list_events(run.id).data[-1].number
    canceller = threading.Thread(target=client.cancel_run, args=(run.id,))
    canceller.start()

    page = client.list_events(run.id, after=last_number, wait=30)
    canceller.join()

    assert page.data


HISTORY_WITH_CALLS = (
    PastMessage("Where is Ann?"),
    PastMessage(
        role="assistant",
        reasoning="I look it up.",
        tool_calls=(PastCall("call_0", "find", '{"name": "Ann"}'), PastCall("call_1", "find")),
    ),
    PastMessage("nobody", role="tool", tool_call_id="call_1", is_error=True),
    PastMessage("in the garden", role="tool", tool_call_id="call_0"),
)


@in_all_ways
def test_a_run_answers_a_history_that_ends_with_tool_outputs(client: Any) -> object:
    turn = client.process(history=HISTORY_WITH_CALLS)
    list(turn)
    run = client.get_run(turn.run_id)
    messages = client.list_messages(run.thread_id).data
    more = client.process(
        history=(PastMessage("Hm."),), message=NewMessage("And Ben?"), thread_id=run.thread_id
    )
    list(more)

    assert (run.status, run.messages_before) == (Status.COMPLETED, 0)
    assert client.get_thread(run.thread_id).title == "Where is Ann?"
    assert [call.id for call in messages[1].tool_calls] == ["call_0", "call_1"]
    assert messages[1].reasoning == "I look it up."
    assert [(each.role, each.tool_call_id, each.is_error) for each in messages[2:4]] == [
        ("tool", "call_1", True),
        ("tool", "call_0", False),
    ]
    assert messages[4].role == "assistant"
    texts = [each.text for each in client.list_messages(run.thread_id).data[5:7]]
    assert texts == ["Hm.", "And Ben?"]
    assert client.get_run(more.run_id).messages_before == 5
    return [message.text for message in messages]


MISMATCHED_HISTORIES: dict[str, tuple[PastMessage, ...]] = {
    "$.history[1].tool_calls[0]": HISTORY_WITH_CALLS[:3],
    "$.history[1].tool_calls[1]": (
        *HISTORY_WITH_CALLS[:2],
        HISTORY_WITH_CALLS[3],
        PastMessage("Well?"),
    ),
    "$.history[4].tool_call_id": (*HISTORY_WITH_CALLS, HISTORY_WITH_CALLS[3]),
    "$.history[0].tool_call_id": (PastMessage("x", role="tool"),),
    "$.history[0]": (PastMessage("x", tool_calls=HISTORY_WITH_CALLS[1].tool_calls),),
    "$.history[1]": (PastMessage("y"), PastMessage("x", tool_call_id="call_0")),
    "$.history[0].tool_calls[1].id": (
        PastMessage(role="assistant", tool_calls=(PastCall("a", "find"), PastCall("a", "find"))),
    ),
    "$.history[0].tool_calls[0].arguments": (
        PastMessage(role="assistant", tool_calls=(PastCall("a", "find", "[]"),)),
    ),
}


@in_all_ways
def test_a_history_whose_calls_and_outputs_do_not_match_is_refused(client: Any) -> object:
    for where, history in MISMATCHED_HISTORIES.items():
        with pytest.raises(errors.InvalidRequest) as error_info:
            list(client.process(history=history))

        assert error_info.value.details["where"] == where
    with pytest.raises(errors.InvalidRequest):
        client.create_thread(messages=HISTORY_WITH_CALLS[:2])
    return None


@in_all_ways
def test_a_temporary_thread_can_be_kept_and_none_that_is_kept_becomes_temporary(
    client: Any,
) -> object:
    thread = client.create_thread(title="a stork", temporary=True)
    message = client.create_message(thread.id, "A stork, please")
    copy = client.fork_thread(thread.id, message.id)
    other = client.fork_thread(thread.id, temporary=False)
    still_temporary = client.update_thread(thread.id, temporary=True)
    kept_thread = client.update_thread(thread.id, temporary=False)
    thread_ids = [each.id for each in client.list_threads(limit=100).data]

    assert (copy.temporary, other.temporary, still_temporary.temporary) == (True, False, True)
    assert not kept_thread.temporary
    assert {thread.id, other.id} <= set(thread_ids)
    assert copy.id not in thread_ids
    with pytest.raises(errors.InvalidRequest, match="Only a new thread can be temporary"):
        client.update_thread(thread.id, temporary=True)
    return kept_thread.temporary


@in_all_ways
def test_options_of_a_thread_count_for_its_runs_and_widen_nothing(client: Any) -> object:
    assistant = client.create_assistant(
        model="demo", sampling=Sampling(max_output_tokens=100, top_p=0.5)
    )
    options = ThreadOptions(
        temperature=0.2, max_output_tokens=500, allowed_tools=("look*", "anything")
    )
    thread = client.create_thread(options=options)
    tools = [ToolSpec(name=name) for name in ("look_up", "delete")]

    def create_run(**fields: Any) -> Any:
        run = client.create_run(thread.id, assistant_id=assistant.id, tools=tools, **fields)
        client.cancel_run(run.id)
        return run

    run = create_run()
    lower = client.update_thread(thread.id, options=ThreadOptions(max_output_tokens=7))
    shorter = create_run()
    own = create_run(sampling=Sampling(temperature=1))
    copy = client.fork_thread(thread.id)
    same = client.update_thread(thread.id, title="Kept")

    assert run.sampling == Sampling(temperature=0.2, max_output_tokens=100, top_p=0.5)
    assert [run.allows(name) for name in ("look_up", "delete")] == [True, False]
    assert shorter.sampling == Sampling(max_output_tokens=7, top_p=0.5)
    assert shorter.thread_tools is None
    assert own.sampling == Sampling(temperature=1)
    assert copy.options == same.options == lower.options == ThreadOptions(max_output_tokens=7)
    return run.sampling


@in_all_ways
def test_a_temporary_thread_is_in_no_list_and_no_search(client: Any) -> object:
    temporary_thread = client.create_thread(title="a heron", temporary=True)
    turn = client.process(message=NewMessage("A heron, please"), temporary=True)
    list(turn)
    run = client.get_run(turn.run_id)
    kept_thread = client.create_thread(title="another heron")

    thread_ids = [thread.id for thread in client.list_threads(limit=100).data]
    temporary_ids = [thread.id for thread in client.list_threads(limit=100, temporary=True).data]
    hit_ids = {hit.thread_id for hit in client.search("heron").data}

    assert temporary_thread.temporary
    assert client.get_thread(run.thread_id).temporary
    assert kept_thread.id in thread_ids
    assert not {temporary_thread.id, run.thread_id} & {*thread_ids, *hit_ids}
    assert {temporary_thread.id, run.thread_id} <= set(temporary_ids)
    assert kept_thread.id not in temporary_ids
    with pytest.raises(errors.InvalidRequest):
        list(client.process(message=NewMessage("x"), thread_id=kept_thread.id, temporary=True))
    return run.status


@in_all_ways
def test_a_thread_begins_with_the_messages_of_a_conversation_elsewhere(client: Any) -> object:
    past = (
        PastMessage("I am Ann.", metadata={"imported": "yes"}),
        PastMessage("Hello, Ann.", role="assistant"),
        PastMessage("Be brief.", role="system"),
    )
    thread = client.create_thread(messages=past)
    empty = client.create_thread(title="none")

    messages = client.list_messages(thread.id).data
    result = client.ask("And now?", thread_id=thread.id)

    assert (thread.title, thread.messages) == ("I am Ann.", 3)
    assert [(each.role, each.text) for each in messages] == [
        ("user", "I am Ann."),
        ("assistant", "Hello, Ann."),
        ("system", "Be brief."),
    ]
    assert messages[0].metadata == {"imported": "yes"}
    assert len(client.list_messages(thread.id).data) == 5
    assert (empty.messages, empty.version) == (0, 0)
    with pytest.raises(errors.NotFound):
        client.create_thread(messages=(PastMessage((File("file_nowhere"),)),))
    return [thread, result.status]

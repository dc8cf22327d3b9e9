"""A run in the AG-UI protocol: its events, their order, and coming back to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.types.chunks import CallPiece, ReasoningPiece, TextPiece
from antiphon.types.errors import Internal
from antiphon.types.events import (
    Numbered,
    RunStatus,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolOutputAdded,
)
from antiphon.types.messages import Message
from antiphon.types.runs import Fault, Status
from antiphon.wires.ag_ui.encoder import AgUi, Reader
from antiphon.wires.ag_ui.events import Json, Version
from antiphon.wires.ag_ui.messages import output_id, reasoning_id, reply_id
from antiphon.wires.framing import drop_void_events, parse_cursor
from tests.support.engine.world import call
from tests.support.wires.ag_ui_judge import Page, essence
from tests.support.wires.stories import CALLS, TYPICAL, begin_run, number_events, runs

GOLDEN = Path(__file__).parent / "golden"
VERSIONS: tuple[Version, ...] = ("0", "1")
VERSION = st.sampled_from(VERSIONS)
PLACES = st.lists(st.integers(0, 10_000), max_size=4)
MINE = {"id": "mine", "role": "user", "content": "hello"}


def encode_events(events: Iterable[Numbered], reader: Reader | None = None) -> list[bytes]:
    stream = AgUi(reader)
    frames = [frame for number, event in events for frame in stream.feed(number, event)]
    return [*frames, *stream.close()]


def encode_in_batches(
    events: Sequence[Numbered], places: list[int], reader: Reader | None = None
) -> list[bytes]:
    """Return the frames of events that come in batches, cut at the places."""
    stream = AgUi(reader)
    cuts = sorted({0, len(events), *(place % (len(events) + 1) for place in places)})
    return [frame for begin, end in pairwise(cuts) for frame in stream.feed_all(events[begin:end])]


def page(events: Iterable[Numbered], reader: Reader | None = None) -> Page:
    return Page().read(encode_events(events, reader))


def types(frames: Iterable[bytes]) -> list[str]:
    return [event["type"] for event in Page().read(frames).events]


def only(events: Iterable[dict[str, Any]], type: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == type]


# Typical runs, to the letter.


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", TYPICAL)
def test_a_typical_run_is_told_as_it_stands_in_its_golden_file(name: str, version: Version) -> None:
    """If the golden file is missing, the test writes it and fails once."""
    frames = b"".join(
        encode_events(number_events(TYPICAL[name]()), Reader(version=version, history=(MINE,)))
    )
    golden = GOLDEN / f"ag-ui-{name}.v{version}.txt"
    if not golden.exists():
        golden.write_bytes(frames)
        pytest.fail(f"{golden.name} was not there: read it, and keep it if it is right")

    assert frames.decode() == golden.read_text("utf-8")


# Any run.


@given(runs(), VERSION, PLACES)
def test_whatever_happens_a_client_can_read_it(
    events: list[Numbered], version: Version, places: list[int]
) -> None:
    reader = Reader(version=version)
    expected = page(events, reader)

    assert Page().read(encode_in_batches(events, places, reader)).messages == expected.messages
    assert len({run_id for run_id, *_ in expected.runs}) == len(expected.runs)


@given(runs(), VERSION)
def test_a_run_that_has_ended_or_waits_for_the_client_is_at_its_end(
    events: list[Numbered], version: Version
) -> None:
    client = page(events, Reader(version=version))
    statuses = [event.status for _, event in events if isinstance(event, RunStatus)]

    at_rest = statuses[-1].ended or statuses[-1] is Status.ACTION_REQUIRED
    assert client.running is not at_rest


@given(runs(), VERSION, st.integers(0, 10_000), PLACES)
@settings(max_examples=6 * settings.default.max_examples)
def test_wherever_a_client_is_cut_off_it_comes_back_to_the_same_messages(
    events: list[Numbered], version: Version, cut: int, places: list[int]
) -> None:
    frames = encode_in_batches(events, places, Reader(version=version, history=(MINE,)))
    client = Page([MINE]).read(frames[: cut % (len(frames) + 1)])
    run_id = events[0][1].run_id  # type: ignore[union-attr]
    after = parse_cursor(client.ids[-1], run_id).number if client.ids else 0
    history = (MINE,) if after % 2 else tuple(dict(each) for each in client.messages)
    second_reader = Reader(version=version, history=history or (MINE,), after=after)
    client.read(encode_events(events, second_reader))

    expected = Page([MINE]).read(encode_events(events, Reader(version=version, history=(MINE,))))
    assert essence(client.messages) == essence(expected.messages)


@pytest.mark.parametrize("version", VERSIONS)
def test_outputs_stay_behind_their_calls_for_a_client_that_comes_back_after_a_restart(
    version: Version,
) -> None:
    world = begin_run()
    world.say_pieces(CallPiece(index=0, id="c0", name="look", arguments='{"x'))
    world.restart_turn()
    world.reply(call(0), call(1), CALLS)
    world.submit("c0", "42")
    world.submit("c1", "43")
    world.ask()
    world.claim()
    world.say_pieces(TextPiece("Both."))
    events = number_events(world)
    client = Page([MINE]).read(encode_events(events, Reader(version=version, history=(MINE,))))
    history = tuple(dict(each) for each in client.messages)

    frames = encode_events(events, Reader(version=version, history=history, after=len(events)))

    [snapshot] = only(Page().read(frames).events, "MESSAGES_SNAPSHOT")
    assert essence(snapshot["messages"]) == essence(history)


@given(runs(), VERSION)
def test_who_comes_late_reads_nothing_that_is_void(
    events: list[Numbered], version: Version
) -> None:
    late = page(drop_void_events(events), Reader(version=version))

    assert not only(late.events, "MESSAGES_SNAPSHOT")
    assert essence(page(events, Reader(version=version)).messages) == essence(late.messages)


@given(runs(), st.integers(0, 10_000))
def test_an_event_that_is_heard_again_changes_nothing(events: list[Numbered], cut: int) -> None:
    assert encode_events([*events[: cut % (len(events) + 1)], *events]) == encode_events(events)


def stored_messages(messages: Iterable[Message]) -> Iterator[Json]:
    """Yield a thread's messages with the ids that the streams of its runs use."""
    replies = 0
    for message in messages:
        run_id, call = message.run_id or "", message.tool_call_id or ""
        if message.role == "assistant":
            replies += 1
            message_id = reply_id(run_id, replies)
            if message.reasoning:
                thought = {"id": reasoning_id(message_id), "role": "reasoning"}
                yield thought | {"content": message.reasoning}
            calls = [
                {
                    "id": each.id,
                    "type": "function",
                    "function": {"name": each.name, "arguments": each.arguments},
                }
                for each in message.tool_calls
            ]
            reply = {"id": message_id, "role": "assistant", "content": message.full_text}
            yield reply | ({"toolCalls": calls} if calls else {})
        elif message.role == "tool":
            output = {"id": output_id(run_id, call), "role": "tool", "toolCallId": call}
            yield output | {"content": message.text}
        else:
            yield {"id": message.id, "role": message.role, "content": message.text}


@pytest.mark.parametrize("name", ["text", "reasoning-and-text", "tool-call", "mixed", "restarted"])
def test_a_stored_thread_has_the_messages_that_its_stream_made(name: str) -> None:
    world = TYPICAL[name]()
    thread = list(stored_messages(message for _, message in sorted(world.messages.items())))

    client = Page(thread[:1]).read(
        encode_events(number_events(world), Reader(history=tuple(thread[:1])))
    )
    by_id = {message["id"]: message for message in thread}
    assert {message["id"]: message for message in essence(client.messages)} == by_id


# Runs of the log and runs of the client.


def test_what_the_client_has_to_do_ends_a_run_and_the_next_one_goes_on() -> None:
    client = page(number_events(TYPICAL["mixed"]()), Reader(version="1"))

    assert client.runs == [["run_2:turn-1", "interrupt"], ["run_2:turn-2", "success"]]
    assert only(client.events, "RUN_STARTED")[0]["protocolVersion"] == "1.0"


def test_a_client_of_its_tools_is_told_which_calls_are_its_own() -> None:
    [first, _] = only(
        page(number_events(TYPICAL["tool-call"]()), Reader(version="1")).events, _FINISHED
    )
    assert first["outcome"] == {"type": "success", "pendingToolCallIds": ["c0"]}

    [old_end, _] = only(page(number_events(TYPICAL["tool-call"]())).events, _FINISHED)
    assert old_end["outcome"] == {"type": "success"}


_FINISHED = "RUN_FINISHED"


def test_tools_that_are_run_here_end_no_run() -> None:
    client = page(number_events(TYPICAL["tool-call"]()), Reader(here=frozenset({"look"})))

    assert client.runs == [["run_2:turn-1", "success"]]
    assert [event["content"] for event in only(client.events, "TOOL_CALL_RESULT")] == [
        '{"seen": 42}'
    ]


def test_the_run_and_the_thread_have_the_names_that_the_client_gave_them() -> None:
    log = number_events(TYPICAL["tool-call"]())
    rest = next(number for number, event in log if event.type == "turn.ended")
    reader = Reader(thread_id="my thread", run_id="my run", after=rest)
    client = Page(page(log[:rest]).messages).read(encode_events(log, reader))

    assert client.runs == [["my run", "success"]]
    assert {event["threadId"] for event in only(client.events, _FINISHED)} == {"my thread"}


def test_an_output_that_the_client_gave_is_not_told_to_it() -> None:
    log = number_events(TYPICAL["tool-call"]())
    frames = encode_events(log, Reader(answered=frozenset({"c0"})))

    assert "TOOL_CALL_RESULT" not in types(frames)


def test_usage_is_told_of_each_run_and_the_cost_of_all() -> None:
    client = page(number_events(TYPICAL["tool-call"]()))

    assert [event["usage"][0]["totalTokens"] for event in only(client.events, _FINISHED)] == [
        17,
        17,
    ]
    assert [event["value"]["cost"] for event in only(client.events, "CUSTOM")] == [0.25, 0.5]


@pytest.mark.parametrize(("version", "outcome"), [("0", None), ("1", "cancelled")])
def test_a_run_that_was_cancelled_keeps_what_it_said(version: Version, outcome: str | None) -> None:
    client = page(number_events(TYPICAL["cancelled"]()), Reader(version=version))

    assert client.runs == [["run_2:turn-1", outcome]]
    assert only(client.events, "CUSTOM")[-1]["value"]["status"] == "cancelled"
    assert client.messages[0]["content"] == "I was say"
    assert client.messages[1]["content"].endswith("it was not carried out.")


def test_a_question_is_named_with_what_answers_it() -> None:
    [end] = only(page(number_events(TYPICAL["asked"]()), Reader(version="1")).events, _FINISHED)

    [question] = end["outcome"]["interrupts"]
    assert question["toolCallId"] == "c0"
    assert question["message"] == "May far__write of far be called?"
    assert question["responseSchema"]["required"] == ["approved"]
    assert question["expiresAt"] == "1970-01-08T00:00:01+00:00"


def test_a_client_that_lets_a_late_question_block_its_thread_is_not_told_when_it_is_late() -> None:
    [end] = only(page(number_events(TYPICAL["asked"]())).events, _FINISHED)

    assert "expiresAt" not in end["outcome"]["interrupts"][0]


def test_a_run_that_waited_too_long_has_failed() -> None:
    world = begin_run()
    status = RunStatus(run_id=world.run.id, thread_id="thread_1", status=Status.EXPIRED)
    client = page([*number_events(world), (len(world.events) + 1, status)])

    assert client.runs == [["run_2:turn-1", "expired"]]


# Void and cut parts.


def test_after_a_restart_the_messages_are_told_as_they_stand() -> None:
    frames = encode_events(number_events(TYPICAL["restarted"]()), Reader(history=(MINE,)))
    first, second = only(Page().read(frames).events, "MESSAGES_SNAPSHOT")

    assert first["messages"] == [MINE]
    assert [m["id"] for m in second["messages"]] == [
        *("mine", "run_2:1", "run_2:c0", "run_2:2:reasoning")
    ]
    assert second["messages"][-1]["content"] == ""


def test_arguments_that_came_to_be_others_are_corrected() -> None:
    begin = RunStatus(run_id="run_1", thread_id="thread_1", status=Status.IN_PROGRESS)
    first_events: list[Any] = [
        begin,
        ToolCallStarted(tool_call_id="c0", name="look"),
        ToolCallDelta(tool_call_id="c0", arguments='{"x": '),
    ]
    completed = ToolCallReady(tool_call_id="c0", name="look", arguments='{"x": 1}', repaired=True)
    replaced = ToolCallReady(tool_call_id="c0", name="look", arguments="{}", repaired=True)

    for ready in (completed, replaced):
        client = page(list(enumerate([*first_events, ready], 1)))
        assert client.messages[0]["toolCalls"][0]["function"]["arguments"] == ready.arguments


def test_an_output_of_a_call_that_was_not_told_is_left_out() -> None:
    begin = RunStatus(run_id="run_1", thread_id="thread_1", status=Status.IN_PROGRESS)
    frames = encode_events([(1, begin), (2, ToolOutputAdded(tool_call_id="c9", output="?"))])

    assert types(frames) == ["RUN_STARTED"]


# Coming back.


def test_who_comes_back_is_told_at_once_what_there_is_and_what_is_open() -> None:
    world = begin_run()
    world.say_pieces(ReasoningPiece("Hm."), TextPiece("It is"))
    last = len(world.events)
    frames = encode_events(number_events(world), Reader(after=last))

    assert types(frames) == [
        *("RUN_STARTED", "MESSAGES_SNAPSHOT", "STEP_STARTED", "TEXT_MESSAGE_START")
    ]
    assert frames[-1].startswith(f"id: {world.run.id}:{last}\n".encode())


def test_who_has_all_of_a_run_that_has_ended_is_told_nothing() -> None:
    log = number_events(TYPICAL["text"]())

    assert encode_events(log, Reader(after=len(log))) == []


def test_a_run_cannot_be_told_from_its_middle() -> None:
    with pytest.raises(Internal):
        AgUi().feed(7, TextDelta(text="half"))


# Frames.


def test_pieces_that_come_together_are_one_frame() -> None:
    world = begin_run()
    for word in ("one ", "two ", "three"):
        world.say_pieces(TextPiece(word))
    frames = AgUi().feed_all(number_events(world))

    *_, start, piece = Page().read(frames).events
    assert (start["type"], piece["delta"]) == ("TEXT_MESSAGE_START", "one two three")
    assert frames[-1].startswith(f"id: {world.run.id}:5\n".encode())


def test_a_fault_of_this_side_is_told_and_may_come_first() -> None:
    stream = AgUi()
    [frame] = stream.fail(Fault("unavailable", "The server\x1b[2J is gone."))

    assert (
        b'"RUN_ERROR","message":"The server\xe2\x90\x9b[2J is gone.","code":"unavailable"' in frame
    )


# Events that are not in the log.


def new_encoder() -> AgUi:
    world = begin_run()
    world.reply(call(0), CALLS)
    stream = AgUi(Reader(here=frozenset({"look"})))
    stream.feed_all(number_events(world))
    return stream


def parts(frames: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return the data of frames that have no ids."""
    return [json.loads(frame.decode().removeprefix("data: ")) for frame in frames]


def test_what_a_tool_does_and_what_is_asked_here_are_words_of_our_own() -> None:
    stream = new_encoder()
    call_fields = {"toolCallId": "c0", "toolName": "look"}

    [status] = parts(stream.tool_status("c0", "running", 1.5))
    assert status == {
        "type": "CUSTOM",
        "name": "antiphon.tool_status",
        "value": {**call_fields, "state": "running", "elapsed": 1.5},
    }
    [progress] = parts(stream.progress("c0", 1, 4, "a\x07quarter"))
    assert progress["value"] == {
        **call_fields,
        "done": 1,
        "total": 4,
        "message": "a␇quarter",
    }
    [requested] = parts(stream.approval_asked("c0", "ask_1"))
    assert requested["value"] == {**call_fields, "approvalId": "ask_1", "state": "requested"}
    [approved] = parts(stream.approval_given("c0"))
    assert approved["value"] == {**call_fields, "state": "approved"}


def test_a_call_of_which_nothing_was_told_is_never_spoken_of() -> None:
    assert new_encoder().tool_status("c9", "running") == []


def test_between_two_runs_nothing_is_said() -> None:
    world = begin_run()
    world.reply(call(0), CALLS)
    stream = AgUi()
    stream.feed_all(number_events(world))

    assert stream.tool_status("c0", "running") == []

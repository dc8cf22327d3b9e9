"""A run as the AI SDK's UI Message Stream: its parts, its grammar, and its resumption."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from antiphon.types.chunks import CallPiece, TextPiece
from antiphon.types.errors import Internal, InvalidEventId
from antiphon.types.events import MessageCompleted, Numbered, RunStatus, TextDelta
from antiphon.types.runs import Fault, Status
from antiphon.wires.ai_sdk.message_stream import DONE, UIMessageStream
from antiphon.wires.ai_sdk.parts import Sdk
from antiphon.wires.framing import HEARTBEAT, Cursor, drop_void_events, parse_cursor
from tests.support.engine.world import call
from tests.support.wires.stories import (
    CALLS,
    HOSTED,
    READ,
    STOP,
    TYPICAL,
    begin_run,
    number_events,
    refusal_before_text,
    runs,
)
from tests.support.wires.ui_judge import Judge, Parts
from tests.support.wires.ui_streams import SDKS, encode_events, text

GOLDEN = Path(__file__).parent / "golden"
SDK = st.sampled_from(SDKS)
PLACES = st.lists(st.integers(0, 10_000), max_size=4)


def encode_in_batches(
    events: Sequence[Numbered], places: list[int], sdk: Sdk, after: Cursor | None = None
) -> list[bytes]:
    """Return the frames of events that come in batches, cut at the places."""
    stream = UIMessageStream(sdk, after)
    cuts = sorted({0, len(events), *(place % (len(events) + 1) for place in places)})
    frames: list[bytes] = []
    for begin, end in pairwise(cuts):
        frames += stream.feed_all(events[begin:end])
    return [*frames, *stream.close()]


def parts_of(frames: Iterable[bytes]) -> Parts:
    lines = [line for frame in frames for line in frame.decode().split("\n")]
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(text) for text in data if text != "[DONE]"]


def types(frames: Iterable[bytes]) -> list[str]:
    return [part["type"] for part in parts_of(frames)]


# Typical runs, to the letter.


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("name", TYPICAL)
def test_a_typical_run_is_told_as_it_stands_in_its_golden_file(name: str, sdk: Sdk) -> None:
    """If the golden file is missing, the test writes it and fails once."""
    frames = b"".join(encode_events(number_events(TYPICAL[name]()), sdk))
    golden = GOLDEN / f"ui-{name}.sdk{sdk}.txt"
    if not golden.exists():
        golden.write_bytes(frames)
        pytest.fail(f"{golden.name} was not there: read it, and keep it if it is right")

    assert frames.decode() == golden.read_text("utf-8")


# Any run.


@given(runs(), SDK, PLACES)
def test_whatever_happens_every_version_can_read_it(
    events: list[Numbered], sdk: Sdk, places: list[int]
) -> None:
    expected = Judge(sdk).read(encode_events(events, sdk))
    batches = Judge(sdk).read(encode_in_batches(events, places, sdk))

    assert expected.done
    assert batches.message == expected.message


@given(runs(), SDK)
@example(number_events(refusal_before_text()), 5)
def test_each_step_is_a_reply_as_it_was_saved(events: list[Numbered], sdk: Sdk) -> None:
    judge = Judge(sdk).read(encode_events(events, sdk))
    messages = [event.message for _, event in events if isinstance(event, MessageCompleted)]

    steps = [step for step in judge.steps if step][: len(messages)]
    assert [
        (text_then_refusal(step), text(step, "reasoning") or None, calls(step)) for step in steps
    ] == [
        (
            message.text + message.refusal,
            message.reasoning,
            [each.id for each in message.tool_calls],
        )
        for message in messages
    ]


def text_then_refusal(step: Parts) -> str:
    """Return the text of a step as it is stored; a model may refuse before it writes more."""
    return text(sorted(step, key=lambda part: "providerMetadata" in part), "text")


def calls(step: Parts) -> list[str]:
    """Return the ids of the calls whose input is complete."""
    return [p["toolCallId"] for p in step if p["type"] == "dynamic-tool" and "input" in p]


@given(runs(), SDK)
def test_a_run_that_has_ended_leaves_nothing_open(events: list[Numbered], sdk: Sdk) -> None:
    judge = Judge(sdk).read(encode_events(events, sdk))
    end_events = [e for _, e in events if isinstance(e, RunStatus) and e.status.ended]

    states = {part.get("state", "done") for part in judge.parts}
    if end_events:
        assert judge.finished
        assert judge.message["metadata"]["status"] == end_events[-1].status.value
        assert states <= {"done", "output-available", "output-error", "output-denied"}
    elif judge.finished:
        assert judge.message["metadata"]["status"] == Status.ACTION_REQUIRED


@given(runs(), SDK, st.integers(0, 10_000), PLACES, PLACES)
@settings(max_examples=6 * settings.default.max_examples)
def test_wherever_a_reader_is_cut_off_it_comes_back_to_the_same_message(
    events: list[Numbered], sdk: Sdk, cut: int, places: list[int], second_places: list[int]
) -> None:
    frames = [f for f in encode_in_batches(events, places, sdk) if f.startswith(b"id: ")]
    first_frames = frames[: cut % (len(frames) + 1)]
    judge = Judge(sdk).read(first_frames)
    after = parse_cursor(judge.ids[-1], events[0][1].run_id) if judge.ids else None  # type: ignore[union-attr]
    rest = drop_void_events(events, after.number if after else 0)
    judge.read(encode_in_batches(rest, second_places, sdk, after))

    expected = Judge(sdk).read(encode_events(events, sdk))
    assert judge.parts == expected.parts
    assert judge.message["metadata"] == expected.message["metadata"]


@given(runs(), SDK)
def test_who_comes_late_reads_nothing_that_is_void(events: list[Numbered], sdk: Sdk) -> None:
    late = Judge(sdk).read(encode_events(drop_void_events(events), sdk))
    live = Judge(sdk).read(encode_events(events, sdk))

    assert late.message["parts"] == late.parts == live.parts


@given(runs(), SDK, st.integers(0, 10_000))
def test_an_event_that_is_heard_again_changes_nothing(
    events: list[Numbered], sdk: Sdk, cut: int
) -> None:
    repeated = events[: cut % (len(events) + 1)]

    assert encode_events([*repeated, *events], sdk) == encode_events(events, sdk)


# Pieces.


def test_pieces_that_come_together_are_one_frame() -> None:
    world = begin_run()
    for word in ("one ", "two ", "three"):
        world.say_pieces(TextPiece(word))
    stream = UIMessageStream()
    frames = stream.feed_all(number_events(world))

    assert types(frames) == ["start", "start-step", "text-start", "text-delta"]
    assert parts_of(frames)[-1]["delta"] == "one two three"
    assert frames[-1].startswith(b"id: %b:5\n" % world.run.id.encode())


def test_what_breaks_a_line_for_some_readers_is_escaped() -> None:
    world = begin_run()
    world.say_pieces(TextPiece("a\u2028b\u2029c\x85d\r\n\ne\x0b"))
    frames = encode_events(number_events(world))

    assert parts_of(frames)[-1]["delta"] == "a\u2028b\u2029c\x85d\r\n\ne\x0b"
    assert all(len(frame.decode().strip().splitlines()) <= 2 for frame in frames)


def test_half_a_character_never_reaches_the_wire() -> None:
    begun_run = RunStatus(run_id="run_1", thread_id="thread_1", status=Status.IN_PROGRESS)
    frames = encode_events(
        [(1, begun_run), (2, TextDelta(text="a\ud83d")), (3, TextDelta(text="b"))]
    )

    assert [p["delta"] for p in parts_of(frames) if p["type"] == "text-delta"] == ["a\ufffd", "b"]


@pytest.mark.parametrize(
    "arguments",
    [
        '{"__proto__":{"a":1}}',
        '{"a":[{"\\u005f_proto__":1}]}',
        '{"constructor":{"prototype":1}}',
    ],
)
def test_arguments_that_a_client_dies_of_are_told_as_text(arguments: str) -> None:
    world = begin_run()
    world.reply(CallPiece(index=0, id="c0", name="look", arguments=arguments), CALLS)

    [ready] = [
        p
        for p in parts_of(encode_events(number_events(world)))
        if p["type"] == "tool-input-available"
    ]
    assert ready["input"] == arguments


# Ids.


@pytest.mark.parametrize(
    "id", ["", "7", "run_1", "run_1:", "run_1:x", "run_2:7", "run_1:7.0", "run_1:7.1.1", "run_1:-7"]
)
def test_an_id_that_this_run_never_gave_out_is_refused(id: str) -> None:
    with pytest.raises(InvalidEventId):
        parse_cursor(id, "run_1")


def test_an_id_says_what_its_reader_has() -> None:
    assert parse_cursor("run_1:7", "run_1") == Cursor("run_1", 7)
    assert parse_cursor("run_1:7.2", "run_1") == Cursor("run_1", 7, 2)


def test_a_run_cannot_be_told_from_its_middle() -> None:
    with pytest.raises(Internal):
        UIMessageStream().feed(7, TextDelta(text="half"))


def test_a_sign_of_life_is_a_comment() -> None:
    assert HEARTBEAT == b": hb\n\n"


# The end of the stream.


def test_a_stream_that_stops_before_the_runs_end_is_not_finished() -> None:
    world = begin_run()
    world.reply(call(0), CALLS)

    frames = encode_events(number_events(world))
    assert frames[-1] == DONE
    assert "finish" not in types(frames)


@pytest.mark.parametrize("sdk", SDKS)
def test_a_run_that_waits_for_a_person_alone_lets_the_client_answer(sdk: Sdk) -> None:
    frames = encode_events(number_events(TYPICAL["asked"]()), sdk)

    assert types(frames)[-1] == "finish"
    assert parts_of(frames)[-1]["messageMetadata"]["status"] == "action_required"


def test_a_fault_of_this_side_is_told_and_ends_the_message() -> None:
    stream = UIMessageStream(6)
    world = begin_run()
    world.say_pieces(TextPiece("I was say"))
    frames = stream.feed_all(number_events(world))
    frames += stream.fail(Fault("connection_lost", "The server\x1b[2J is gone."))
    world.cancel()
    frames += [*stream.feed_all(number_events(world)), *stream.fail(Fault("internal", "Again."))]
    judge = Judge(6).read([*frames, *stream.close()])

    assert judge.errors == ["The server␛[2J is gone."]
    assert judge.message["metadata"]["error"]["code"] == "connection_lost"
    assert judge.finished
    assert judge.done


def test_a_fault_before_the_run_is_told_as_it_can_be() -> None:
    stream = UIMessageStream()

    assert types(stream.fail(Fault("unavailable", "No."))) == ["error"]
    assert stream.close() == [DONE]


# Events that are not in the log.


def new_encoder(sdk: Sdk) -> UIMessageStream:
    world = begin_run()
    world.reply(call(0), CALLS)
    stream = UIMessageStream(sdk)
    for number, event in number_events(world):
        stream.feed(number, event)
    return stream


def test_progress_is_an_output_before_the_output() -> None:
    stream = new_encoder(5)

    [part] = parts_of(stream.progress("c0", 1, 4, "a\x07quarter"))
    assert part["preliminary"] is True
    assert part["output"] == {"progress": {"done": 1, "total": 4, "message": "a␇quarter"}}


def test_what_a_tool_does_is_told_and_not_kept() -> None:
    [part] = parts_of(new_encoder(5).tool_status("c0", "running", 1.5))

    assert part == {
        "type": "data-tool-status",
        "data": {"toolCallId": "c0", "toolName": "look", "state": "running", "elapsed": 1.5},
        "transient": True,
    }


@pytest.mark.parametrize(
    ("sdk", "request_type", "response_types"),
    [
        (5, "data-approval", ["data-approval"]),
        (6, "tool-approval-request", []),
        (7, "tool-approval-request", ["tool-approval-response"]),
    ],
)
def test_a_person_is_asked_here_and_says_yes(
    sdk: Sdk, request_type: str, response_types: list[str]
) -> None:
    stream = new_encoder(sdk)

    assert types(stream.approval_asked("c0", "ask_1")) == [request_type]
    assert stream.progress("c0", 1) == []
    assert types(stream.approval_given("c0")) == response_types
    assert types(stream.progress("c0", 1)) == ["tool-output-available"]


def test_nothing_is_told_of_a_tool_when_the_message_is_finished() -> None:
    world = TYPICAL["tool-call"]()
    stream = UIMessageStream()
    stream.feed_all(number_events(world))

    assert stream.tool_status("c0", "ended", 2) == []
    assert stream.progress("c0", 1) == []
    assert stream.approval_asked("c0", "ask_1") == []


def test_a_call_of_which_nothing_was_told_is_never_spoken_of() -> None:
    stream = new_encoder(7)

    assert stream.tool_status("c9", "running") == []
    assert stream.progress("c9", 1) == []
    assert stream.approval_asked("c9", "ask_1") == []
    assert stream.approval_given("c9") == []


@pytest.mark.parametrize(
    ("sdk", "last"),
    [(5, "tool-output-error"), (6, "tool-output-denied"), (7, "tool-output-denied")],
)
def test_a_refused_call_is_told_as_each_version_can(sdk: Sdk, last: str) -> None:
    parts = parts_of(encode_events(number_events(TYPICAL["mixed"]()), sdk))
    call_parts: list[dict[str, Any]] = [part for part in parts if part.get("toolCallId") == "c3"]

    assert call_parts[-1]["type"] == last
    if sdk == 5:
        assert call_parts[-1]["errorText"].endswith("Not on Fridays.")


def test_calls_that_the_worker_runs_are_a_step_of_the_same_turn() -> None:
    world = begin_run()
    world.reply(call(0, READ), CALLS, hosted=HOSTED)
    world.result("c0", "read")
    world.reply(TextPiece("Done."), STOP)
    judge = Judge(5).read(encode_events(number_events(world)))

    assert [[part["type"] for part in step] for step in judge.steps] == [
        ["dynamic-tool", "data-status"],
        ["text", "data-status"],
    ]

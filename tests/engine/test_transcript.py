from antiphon.engine.transcript import ReplySoFar, Transcript, fold_events
from antiphon.types.events import (
    Event,
    MessageCompleted,
    ReasoningDelta,
    RunStatus,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolOutputAdded,
    TurnEnded,
    TurnRestarted,
)
from antiphon.types.messages import Message, Text, ToolCall
from antiphon.types.runs import Status


def status(now: Status) -> RunStatus:
    return RunStatus(run_id="run", thread_id="thread", status=now)


def turn_ended(now: Status) -> TurnEnded:
    return TurnEnded(run_id="run", status=now)


CALL_STARTED = ToolCallStarted(tool_call_id="c", name="f")
READY = ToolCallReady(tool_call_id="c", name="f", arguments='{"x":1}', repaired=True)
SAVED_MESSAGE = Message(
    id="msg", thread_id="thread", number=2, role="assistant", content=(Text("hi"),), created_at=0
)


def empty_transcript(*events: Event) -> Transcript:
    transcript = Transcript()
    for number, event in enumerate(events, start=1):
        transcript.add(number, event)
    return transcript


def test_no_events_are_an_empty_reply():
    assert fold_events([]) == ReplySoFar("", None, (), ())


def test_deltas_are_joined_and_calls_told_apart_by_whether_they_are_whole():
    transcript = empty_transcript(
        status(Status.QUEUED),
        status(Status.IN_PROGRESS),
        ReasoningDelta(text="h"),
        ReasoningDelta(text="m"),
        TextDelta(text="hel"),
        CALL_STARTED,
        ToolCallDelta(tool_call_id="c", arguments='{"x"'),
        ToolCallStarted(tool_call_id="d", name="g"),
        TextDelta(text="lo"),
        ToolCallDelta(tool_call_id="d", arguments='{"y"'),
        READY,
    )
    assert transcript.reply == ReplySoFar(
        text="hello",
        reasoning="hm",
        calls=(ToolCall("c", "f", '{"x":1}', repaired=True),),
        partial_calls=(ToolCall("d", "g", '{"y"'),),
    )
    assert transcript.calls == transcript.reply.calls


def test_calls_come_in_the_order_in_which_they_began():
    other = ToolCallReady(tool_call_id="d", name="g", arguments="{}")
    transcript = empty_transcript(
        CALL_STARTED, ToolCallStarted(tool_call_id="d", name="g"), other, READY
    )
    assert [call.id for call in transcript.calls] == ["c", "d"]


def test_a_restart_voids_what_came_after_the_event_it_names():
    transcript = empty_transcript(
        TextDelta(text="kept "),
        TextDelta(text="void"),
        CALL_STARTED,
        TurnRestarted(reason="worker_lost", after=1, attempt=2),
        TextDelta(text="new"),
    )
    assert transcript.reply == ReplySoFar("kept new", None, (), ())


def test_a_second_restart_voids_what_the_first_attempt_left_too():
    transcript = empty_transcript(
        TextDelta(text="a"),
        TurnRestarted(reason="worker_lost", after=0, attempt=2),
        TextDelta(text="b"),
        TurnRestarted(reason="worker_lost", after=2, attempt=3),
        TextDelta(text="c"),
    )
    assert transcript.text == "c"


def test_a_turn_stays_readable_until_the_next_one_begins():
    transcript = empty_transcript(
        TextDelta(text="hi"),
        CALL_STARTED,
        READY,
        MessageCompleted(message=SAVED_MESSAGE),
        turn_ended(Status.ACTION_REQUIRED),
        ToolOutputAdded(tool_call_id="c", output="1"),
        status(Status.QUEUED),
    )
    assert (transcript.text, transcript.message) == ("hi", SAVED_MESSAGE)
    assert [call.id for call in transcript.calls] == ["c"]

    transcript.add(8, status(Status.IN_PROGRESS))
    assert (transcript.reply, transcript.message) == (ReplySoFar("", None, (), ()), None)


def test_of_two_replies_in_one_stream_the_second_is_what_is_being_said():
    transcript = empty_transcript(
        TextDelta(text="Let me look."),
        CALL_STARTED,
        READY,
        MessageCompleted(message=SAVED_MESSAGE),
        ToolOutputAdded(tool_call_id="c", output="1"),
    )
    assert (transcript.text, transcript.message) == ("Let me look.", SAVED_MESSAGE)

    transcript.add(6, TextDelta(text="It is"))
    assert (transcript.reply, transcript.message) == (ReplySoFar("It is", None, (), ()), None)
    transcript.add(7, TurnRestarted(reason="worker_lost", after=5, attempt=2))
    transcript.add(8, TextDelta(text="It was"))
    assert transcript.text == "It was"


def test_the_last_turn_of_a_whole_run_is_what_a_fold_gives():
    events: list[Event] = [
        TextDelta(text="first"),
        turn_ended(Status.ACTION_REQUIRED),
        TextDelta(text="second"),
        turn_ended(Status.COMPLETED),
    ]
    assert fold_events(enumerate(events, start=1)).text == "second"


def test_events_that_come_again_change_nothing():
    transcript = empty_transcript(TextDelta(text="a"), TextDelta(text="b"))
    transcript.add(1, TextDelta(text="a"))
    transcript.add(2, TextDelta(text="b"))
    transcript.add(3, TextDelta(text="c"))
    assert transcript.text == "abc"

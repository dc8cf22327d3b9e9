"""The life of a run as pure decisions, each folded into a small world of records."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.engine import threads, transitions
from antiphon.engine.turn import Turn
from antiphon.engine.unit_of_work import UNANSWERED
from antiphon.types import errors
from antiphon.types.chunks import Finish, ReasoningPiece, TextPiece
from antiphon.types.events import RunStatus, ToolOutputAdded, TurnEnded, TurnRestarted
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import TRANSITIONS, Fault, Status, Thread
from tests.support.engine.world import LEASE_MS, WEEK_MS, World, call, run_spec

CALLS = Finish("tool_calls")
STOP = Finish("stop")
TOOLS = (ToolSpec("look"),)


@pytest.fixture
def world() -> World:
    return World()


def hand_out(world: World, count: int = 2, **fields: object) -> World:
    world.begin(tools=TOOLS, **fields)
    world.claim()
    world.reply(*(call(n) for n in range(count)), CALLS)
    return world


def test_a_plain_answer_goes_from_queued_through_in_progress_to_completed(world: World) -> None:
    world.begin()
    world.claim()
    world.reply(TextPiece("hi"), STOP)

    statuses = [event.status for event in world.events if isinstance(event, RunStatus)]
    assert statuses == [Status.QUEUED, Status.IN_PROGRESS, Status.COMPLETED]
    assert [m.role for m in world.messages.values()] == ["user", "assistant"]
    assert isinstance(world.events[-1], TurnEnded)


def test_a_run_waits_to_be_asked(world: World) -> None:
    spec = run_spec(expires_in=60)
    world.apply(
        lambda records: transitions.create_run(
            records, spec, world.mint, by=transitions.LOCAL_PRINCIPAL
        )
    )

    assert transitions.next_move(world.records()) == transitions.AwaitRequest()
    assert world.apply(transitions.claim("worker", LEASE_MS)) is None
    world.ask()
    assert transitions.next_move(world.records()) == transitions.AskModel()


def test_a_hand_off_keeps_a_place_for_each_output_in_call_order(world: World) -> None:
    hand_out(world, 3)
    for call_id in ("c2", "c0", "c1"):
        assert world.run.status is Status.ACTION_REQUIRED
        world.submit(call_id, f"output of {call_id}")

    assert world.run.status is Status.QUEUED
    messages = [world.messages[number] for number in sorted(world.messages)]
    assert [m.tool_call_id for m in messages] == [None, None, "c0", "c1", "c2"]
    assert sorted(world.messages) == list(range(1, 6))


def test_the_next_turn_is_not_asked_for_by_the_last_output(world: World) -> None:
    hand_out(world, 1)
    world.submit("c0")

    assert transitions.next_move(world.records()) == transitions.AwaitRequest()


def test_a_background_run_goes_on_by_itself_after_the_last_output(world: World) -> None:
    hand_out(world, 1, background=True)
    world.submit("c0")

    assert transitions.next_move(world.records()) == transitions.AskModel()


def test_asking_before_the_outputs_are_there_names_what_is_missing(world: World) -> None:
    hand_out(world, 2)
    world.submit("c1")

    with pytest.raises(errors.OutputsMissing) as excinfo:
        world.ask()
    assert excinfo.value.details["tool_call_ids"] == ["c0"]


def test_the_second_turn_begins_after_the_first_ones_end(world: World) -> None:
    hand_out(world, 1)
    turn_end = len(world.events)
    world.submit("c0")

    assert world.ask().after == turn_end


def test_the_same_output_again_changes_nothing_and_another_is_refused(world: World) -> None:
    hand_out(world, 1)
    first = world.submit("c0", "42")
    events = list(world.events)

    assert world.submit("c0", "42") == first
    assert world.events == events
    with pytest.raises(errors.OutputConflict):
        world.submit("c0", "43")


def test_the_same_output_is_still_acknowledged_after_the_run_has_ended(world: World) -> None:
    hand_out(world, 1)
    first = world.submit("c0", "42")
    world.cancel()

    assert world.submit("c0", "42") == first


def test_an_output_for_a_call_that_nobody_made_is_unknown(world: World) -> None:
    hand_out(world, 1)

    with pytest.raises(errors.UnknownToolCall):
        world.submit("c9")


def test_a_second_run_on_a_busy_thread_is_refused_with_the_active_runs_id(world: World) -> None:
    world.begin()
    active_id = world.run.id

    with pytest.raises(errors.RunActive) as excinfo:
        world.begin()
    assert excinfo.value.details["run_id"] == active_id


def test_interrupt_cancels_the_active_run_and_keeps_what_it_said(world: World) -> None:
    world.begin("first")
    first = world.run.id
    world.claim()
    world.say(*Turn((), lambda: "c").feed([TextPiece("I was say")]))
    world.begin("second", if_busy="interrupt")

    assert world.runs[first][0].status is Status.CANCELLED
    messages = [world.messages[number] for number in sorted(world.messages)]
    assert [(m.role, m.text, m.status) for m in messages] == [
        ("user", "first", "completed"),
        ("assistant", "I was say", "incomplete"),
        ("user", "second", "completed"),
    ]


def test_rollback_leaves_the_thread_as_if_the_run_had_never_been(world: World) -> None:
    hand_out(world, 2)
    first = world.run.id
    world.submit("c0")
    world.begin("second", if_busy="rollback")

    assert world.runs[first][0].status is Status.CANCELLED
    assert [(n, m.text) for n, m in world.messages.items()] == [(1, "second")]


def test_a_message_on_a_busy_thread_is_refused(world: World) -> None:
    world.begin()

    message = operations.CreateMessage("thread_1", "more")
    with pytest.raises(errors.RunActive):
        world.apply(lambda records: threads.add_message(records, message, world.mint))


def test_the_first_user_message_names_the_thread(world: World) -> None:
    world.begin("When does the next flight leave?\nPlease hurry.")

    assert world.thread.title == "When does the next flight leave?"


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("\n  Tell me of bees  \nand of cows", "Tell me of bees"),
        ("a" * 60, "a" * 60),
        ("a" * 61, "a" * 59 + "…"),
        (f"{'word ' * 11}longer", f"{'word ' * 10}word…"),
        (f"{'a' * 59} b", f"{'a' * 59}…"),
        (f"{'a' * 58} bc", f"{'a' * 58}…"),
        (f"See {'a' * 100}", f"See {'a' * 55}…"),
        ("飛" * 61, "飛" * 59 + "…"),
    ],
)
def test_a_title_is_the_first_line_or_its_first_words(
    world: World, message: str, title: str
) -> None:
    world.begin(message)

    assert world.thread.title == title


def test_cancelling_a_turn_keeps_the_partial_text_and_fences_its_worker(world: World) -> None:
    world.begin()
    world.claim()
    epoch = world.lease.epoch
    turn = Turn((), lambda: "c")
    world.say(*turn.feed([ReasoningPiece("Hm.")], 3.0))
    world.say(*turn.feed([TextPiece("half an ans")], 5.5))
    world.cancel()

    assert world.run.status is Status.CANCELLED
    assert world.messages[2].text == "half an ans"
    assert world.messages[2].status == "incomplete"
    assert world.messages[2].reasoning_seconds == 2
    assert isinstance(world.events[-1], TurnEnded)
    reply = turn.close()
    with pytest.raises(errors.Fenced):
        world.finish(epoch, reply, turn=1)


def test_a_reply_whose_events_were_not_all_stored_is_not_kept(world: World) -> None:
    world.begin()
    world.claim()
    turn = Turn((), lambda: "c")
    world.say(*turn.feed([TextPiece("half an ans")]))
    unstored_events = turn.feed([TextPiece("wer"), Finish("stop")])

    with pytest.raises(errors.Fenced):
        world.finish(world.lease.epoch, turn.close(), turn=1, unstored=len(unstored_events))

    assert world.run.status is Status.IN_PROGRESS


def test_cancelling_a_resting_run_ends_it_by_run_status_alone(world: World) -> None:
    hand_out(world, 2)
    world.cancel()

    assert isinstance(world.events[-1], RunStatus)
    assert {a.status for a in world.actions.values()} == {"cancelled"}
    assert [world.messages[n].role for n in (3, 4)] == ["tool", "tool"]


def test_cancelling_an_ended_run_changes_nothing(world: World) -> None:
    world.begin()
    world.claim()
    world.reply(TextPiece("hi"), STOP)
    before = list(world.events)
    world.cancel()

    assert world.events == before


def test_a_lost_worker_voids_what_it_had_said_and_the_turn_starts_again(world: World) -> None:
    world.begin()
    world.claim()
    turn_start = len(world.events)
    world.say(*Turn((), lambda: "c").feed([TextPiece("lost")]))
    world.wait(LEASE_MS)

    restart = next(event for event in world.events if isinstance(event, TurnRestarted))
    assert (restart.reason, restart.after, restart.attempt) == ("worker_lost", turn_start, 2)
    world.claim()
    world.reply(TextPiece("found"), STOP)
    assert world.messages[2].text == "found"
    assert world.run.turn == 1


def test_a_worker_lost_before_it_spoke_is_replaced_without_a_word(world: World) -> None:
    world.begin()
    world.claim()
    world.wait(LEASE_MS)

    assert not any(isinstance(event, TurnRestarted) for event in world.events)
    assert world.run.status is Status.QUEUED


def test_when_the_attempts_are_used_up_the_run_ends_with_what_was_said(world: World) -> None:
    world.begin(max_attempts=2)
    for text in ("one", "two"):
        world.claim()
        world.say(*Turn((), lambda: "c").feed([TextPiece(text)]))
        world.wait(LEASE_MS)

    assert (world.run.status, world.run.reason) == (Status.INCOMPLETE, "worker_lost")
    assert world.messages[2].text == "two"


def test_a_live_lease_is_left_alone(world: World) -> None:
    world.begin()
    world.claim()
    world.wait(LEASE_MS - 1)

    assert world.run.status is Status.IN_PROGRESS


def test_calls_that_nobody_answers_get_an_output_that_says_so_and_the_run_may_go_on(
    world: World,
) -> None:
    hand_out(world, 2)
    world.submit("c0")
    world.wait(WEEK_MS)

    assert world.run.status is Status.QUEUED
    assert world.messages[4].text == UNANSWERED
    outputs = [event for event in world.events if isinstance(event, ToolOutputAdded)]
    assert [event.tool_call_id for event in outputs] == ["c0", "c1"]
    with pytest.raises(errors.OutputConflict):
        world.submit("c1", "too late")


def test_a_run_may_expire_with_its_calls_instead(world: World) -> None:
    hand_out(world, 1, on_expiry="expire")
    world.wait(WEEK_MS)

    assert world.run.status is Status.EXPIRED
    assert isinstance(world.events[-1], RunStatus)
    assert world.messages[3].role == "tool"


def test_a_run_that_nobody_asks_for_expires_so_that_its_thread_is_free(world: World) -> None:
    hand_out(world, 1)
    world.submit("c0")
    world.wait(WEEK_MS)

    assert world.run.status is Status.EXPIRED
    world.begin("next")


def test_at_the_turn_limit_open_calls_are_answered_and_the_run_is_incomplete(
    world: World,
) -> None:
    hand_out(world, 2, max_turns=1)

    assert (world.run.status, world.run.reason) == (Status.INCOMPLETE, "max_turns")
    assert [world.messages[n].role for n in sorted(world.messages)] == [
        "user",
        "assistant",
        "tool",
        "tool",
    ]
    assert not world.actions


def test_a_cut_reply_keeps_its_text_marked_and_its_calls_are_not_handed_out(
    world: World,
) -> None:
    world.begin(tools=TOOLS)
    world.claim()
    world.reply(TextPiece("so far"), call(0), finish=False)

    assert (world.run.status, world.run.reason) == (Status.INCOMPLETE, "disconnected")
    assert world.messages[2].status == "incomplete"
    assert not world.messages[2].tool_calls
    assert not world.actions


def test_a_failed_turn_says_why(world: World) -> None:
    world.begin()
    world.claim()
    fault = Fault("provider_auth", "no key")
    world.apply(lambda records: transitions.fail(records, world.lease.epoch, fault, world.mint))

    assert world.run.status is Status.FAILED
    assert world.run.error == fault


def test_a_worker_that_stops_gives_its_run_back(world: World) -> None:
    world.begin()
    world.claim()
    epoch = world.lease.epoch
    world.apply(lambda records: transitions.release(records, epoch, world.mint))

    assert transitions.next_move(world.records()) == transitions.AskModel()
    assert world.apply(lambda records: transitions.release(records, epoch, world.mint)) is None


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_run_that_a_worker_declines_waits_as_it_did_before_its_claim(
    world: World, attempts: int
) -> None:
    world.begin(max_attempts=attempts)
    before = world.run
    for _ in range(3):
        world.claim()
        epoch = world.lease.epoch
        world.apply(partial(transitions.decline, epoch=epoch))

        assert transitions.next_move(world.records()) == transitions.AskModel()
        assert world.apply(partial(transitions.decline, epoch=epoch)) is None
    waiting_run = replace(world.run, started_at=None, waiting_for=None)

    assert waiting_run == before
    assert world.run.waiting_for
    world.claim()
    assert (world.run.turn, world.run.attempt) == (1, 1)


def test_a_later_attempt_that_is_declined_is_made_again(world: World) -> None:
    world.begin()
    world.claim()
    lost_epoch = world.lease.epoch
    world.apply(lambda records: transitions.release(records, lost_epoch, world.mint))
    world.claim()
    declined_epoch = world.lease.epoch
    world.apply(partial(transitions.decline, epoch=declined_epoch))
    world.claim()

    assert (world.run.turn, world.run.attempt) == (1, 2)


def test_asking_for_an_ended_run_is_refused(world: World) -> None:
    world.begin()
    world.cancel()

    with pytest.raises(errors.RunEnded):
        world.ask()


def test_asking_twice_joins_the_turn(world: World) -> None:
    world.begin()
    world.claim()

    assert world.ask().after == 0


def test_a_fork_leaves_a_call_without_all_its_outputs_behind(world: World) -> None:
    hand_out(world, 2)
    world.submit("c1")
    messages = [world.messages[number] for number in sorted(world.messages)]
    new_thread = Thread(id="thread_2", created_at=0, updated_at=0, parent_id="thread_1")
    thread, copies = threads.fork(messages, new_thread, world.mint, world.now)

    assert [m.role for m in copies] == ["user"]
    assert thread.messages == 1
    assert copies[0].parent_id == messages[0].id


def test_every_status_change_in_the_log_is_in_the_table(world: World) -> None:
    hand_out(world, 1)
    world.submit("c0")
    world.ask()
    world.claim()
    world.wait(LEASE_MS)
    world.claim()
    world.reply(TextPiece("done"), STOP)

    statuses = [event.status for event in world.events if isinstance(event, RunStatus)]
    assert all(after in TRANSITIONS[before] for before, after in itertools.pairwise(statuses))

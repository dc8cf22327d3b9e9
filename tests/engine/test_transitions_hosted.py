"""Calls that the worker runs itself, approved or not, as pure decisions over the records."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.api.operations import NewToolOutput
from antiphon.engine import actions, transitions
from antiphon.engine.transcript import fold_events
from antiphon.engine.turn import Turn
from antiphon.engine.unit_of_work import CANCELLED, CUT_SHORT, UNANSWERED, UNAPPROVED
from antiphon.types import errors
from antiphon.types.chunks import Finish, TextPiece, UsagePiece
from antiphon.types.events import (
    ActionRequired,
    MessageCompleted,
    RunStatus,
    TextDelta,
    ToolOutputAdded,
    TurnEnded,
    TurnRestarted,
)
from antiphon.types.runs import TRANSITIONS, Approval, Fault, HostedTool, Status, Usage
from tests.support.engine.world import LEASE_MS, WEEK_MS, World, call

CALLS = Finish("tool_calls")
STOP = Finish("stop")
HOSTED: Mapping[str, HostedTool] = {
    "far__read": HostedTool("far", asks=False),
    "far__write": HostedTool("far", asks=True),
}
READ, WRITE = "far__read", "far__write"
YES = '{"approve": true}'
NO = '{"approve": false, "reason": "Not on Fridays."}'


@pytest.fixture
def world() -> World:
    return World()


def call_tools(world: World, *names: str, **fields: object) -> World:
    """Begin a run whose first reply calls these tools, as c0, c1 and so on."""
    world.begin(**fields)
    world.claim()
    world.reply(*(call(n, name) for n, name in enumerate(names)), CALLS, hosted=HOSTED)
    return world


def approve_all(world: World, *names: str, **fields: object) -> World:
    """Call the tools, approve all calls, and give the run to a worker again."""
    call_tools(world, *names, **fields)
    for action in list(world.actions.values()):
        if action.approval == "required":
            world.submit(action.tool_call_id, YES)
    world.ask()
    world.claim()
    return world


def conversation(world: World) -> list[tuple[str, str]]:
    assert sorted(world.messages) == list(range(1, len(world.messages) + 1))
    return [(world.messages[n].role, world.messages[n].text) for n in sorted(world.messages)]


def statuses(world: World) -> list[Status]:
    return [event.status for event in world.events if isinstance(event, RunStatus)]


def test_a_reply_that_calls_the_workers_tools_alone_leaves_the_run_in_its_hands(
    world: World,
) -> None:
    call_tools(world, READ, READ)

    assert world.run.status is Status.IN_PROGRESS
    assert (world.run.turn, world.run.attempt) == (2, 1)
    assert isinstance(world.events[-1], MessageCompleted)
    assert [(a.runs_on, a.server, a.due) for a in world.actions.values()] == [
        ("server", "far", True)
    ] * 2


def test_the_outputs_stand_in_call_order_and_the_next_reply_ends_the_same_turn_of_the_stream(
    world: World,
) -> None:
    call_tools(world, READ, READ)
    world.result("c1", "second")
    world.result("c0", "first")
    world.reply(TextPiece("done"), STOP)

    assert [text for _, text in conversation(world)] == ["hello", "", "first", "second", "done"]
    assert sum(isinstance(event, TurnEnded) for event in world.events) == 1
    assert statuses(world) == [Status.QUEUED, Status.IN_PROGRESS, Status.COMPLETED]


def test_a_result_is_kept_once_whatever_is_said_later(world: World) -> None:
    call_tools(world, READ)
    world.result("c0", "first")
    events = list(world.events)
    world.result("c0", "second")

    assert world.events == events
    assert world.messages[3].text == "first"


def test_a_failed_tool_is_a_failed_action_and_the_run_goes_on(world: World) -> None:
    call_tools(world, READ)
    world.result("c0", "It broke.", is_error=True)

    (action,) = world.actions.values()
    assert (action.status, action.is_error) == ("failed", True)
    assert world.run.status is Status.IN_PROGRESS


def test_results_of_a_worker_that_lost_the_run_are_refused(world: World) -> None:
    call_tools(world, READ)
    epoch = world.lease.epoch
    world.wait(LEASE_MS)

    with pytest.raises(errors.Fenced):
        world.apply(
            lambda records: transitions.save_result(records, epoch, "c0", "late", False, world.mint)
        )


def test_a_reply_that_was_kept_by_an_unclear_commit_is_not_kept_again(world: World) -> None:
    call_tools(world, READ)
    reply = Turn((READ,), lambda: "c9").close()
    epoch = world.lease.epoch

    with pytest.raises(errors.Fenced):
        world.finish(epoch, reply, turn=1)


def test_a_mixed_reply_hands_out_what_is_the_clients_and_keeps_the_rest_for_later(
    world: World,
) -> None:
    call_tools(world, "look", READ, WRITE)

    manifest = next(event for event in world.events if isinstance(event, ActionRequired))
    assert [(a.tool_call_id, a.kind, a.server) for a in manifest.actions] == [
        ("c0", "tool", None),
        ("c2", "approval", "far"),
    ]
    assert transitions.next_move(world.records()) == transitions.AwaitOutputs(("c0", "c2"))


def test_when_the_client_has_done_its_part_the_worker_runs_its_own_before_the_model_is_asked(
    world: World,
) -> None:
    call_tools(world, "look", READ, WRITE)
    world.submit("c0", "seen")
    world.submit("c2", YES)

    assert transitions.next_move(world.records()) == transitions.AwaitRequest()
    world.ask()
    assert transitions.next_move(world.records()) == transitions.RunTools(("c1", "c2"))
    world.claim()
    assert (world.run.turn, world.run.attempt) == (2, 1)
    world.result("c2", "written")
    world.result("c1", "read")
    world.reply(TextPiece("done"), STOP)
    assert [text for _, text in conversation(world)] == [
        "hello",
        "",
        "seen",
        "read",
        "written",
        "done",
    ]


def test_a_background_run_goes_on_by_itself_once_all_is_approved(world: World) -> None:
    call_tools(world, WRITE, WRITE, background=True)
    world.submit("c0", YES)
    world.submit("c1", YES)

    assert transitions.next_move(world.records()) == transitions.RunTools(("c0", "c1"))


def test_a_refused_call_never_runs_and_the_model_is_told_why(world: World) -> None:
    call_tools(world, WRITE)
    world.submit("c0", NO)

    (action,) = world.actions.values()
    assert (action.status, action.approval, action.is_error) == ("failed", "refused", True)
    assert world.messages[3].text == "This call was refused and not carried out. Not on Fridays."
    world.ask()
    assert transitions.next_move(world.records()) == transitions.AskModel()


def test_an_output_says_that_it_is_one_because_its_call_was_refused(world: World) -> None:
    call_tools(world, "look", "look", WRITE, WRITE)
    world.submit("c0", "seen")
    world.apply(
        lambda records: actions.save_output(
            records,
            NewToolOutput("c1", "A rule denies it.", True, {"fault": "refused"}),
            world.mint,
        )
    )
    world.submit("c2", NO)
    world.submit("c3", YES)
    world.cancel()

    outputs = [event for event in world.events if isinstance(event, ToolOutputAdded)]
    assert [(output.tool_call_id, output.refused) for output in outputs] == [
        ("c0", False),
        ("c1", True),
        ("c2", True),
        ("c3", False),
    ]


@pytest.mark.parametrize("answer", [YES, NO])
def test_what_was_said_of_a_call_may_be_said_again_and_nothing_else(
    world: World, answer: str
) -> None:
    call_tools(world, WRITE, WRITE)
    first = world.submit("c0", answer)
    events = list(world.events)

    assert world.submit("c0", answer) == first
    assert world.events == events
    for other in {YES, NO, '{"approve": false}'} - {answer}:
        with pytest.raises(errors.OutputConflict):
            world.submit("c0", other)


def test_an_approval_is_still_acknowledged_when_the_call_has_run_and_the_run_has_ended(
    world: World,
) -> None:
    approve_all(world, WRITE)
    world.result("c0", "written")
    world.reply(TextPiece("done"), STOP)

    action = world.submit("c0", YES)
    assert msgspec.to_builtins(action)["output"] == "written"


@pytest.mark.parametrize(
    "output",
    [
        "",
        "yes",
        "true",
        "{}",
        "[]",
        '{"approve": "true"}',
        '{"approve": 1}',
        '{"approve": null}',
        '{"approve": true, "output": "42"}',
        '{"approve": false, "reason": 3}',
        '{"approve": true',
        '{"Approve": true}',
    ],
)
def test_what_neither_approves_nor_refuses_is_told_what_would(world: World, output: str) -> None:
    call_tools(world, WRITE)

    with pytest.raises(errors.InvalidRequest) as excinfo:
        world.submit("c0", output)
    assert '{"approve": true}' in excinfo.value.details["expected"]
    assert next(iter(world.actions.values())).approval == "required"


@given(st.text())
def test_no_text_but_an_approval_approves(output: str) -> None:
    world = call_tools(World(), WRITE)
    try:
        world.submit("c0", output)
    except errors.InvalidRequest:
        assert transitions.next_move(world.records()) == transitions.AwaitOutputs(("c0",))
    else:
        msgspec.json.decode(output, type=Approval)


def test_a_client_cannot_answer_for_a_tool_that_the_worker_runs(world: World) -> None:
    call_tools(world, "look", READ)

    for output in ("42", YES):
        with pytest.raises(errors.InvalidRequest):
            world.submit("c1", output)


def test_nothing_is_approved_after_the_run_was_cancelled(world: World) -> None:
    call_tools(world, WRITE)
    world.cancel()

    with pytest.raises(errors.RunEnded):
        world.submit("c0", YES)


def test_a_call_that_nobody_approves_expires_and_was_not_carried_out(world: World) -> None:
    call_tools(world, "look", READ, WRITE)
    world.wait(WEEK_MS)

    assert [(m.tool_call_id, m.text) for m in world.messages.values()][2:] == [
        ("c0", UNANSWERED),
        ("c2", UNAPPROVED),
    ]
    assert world.run.status is Status.QUEUED
    world.ask()
    assert transitions.next_move(world.records()) == transitions.RunTools(("c1",))


def test_a_run_that_expires_with_its_calls_leaves_none_of_them_open(world: World) -> None:
    call_tools(world, "look", READ, WRITE, on_expiry="expire")
    world.wait(WEEK_MS)

    assert world.run.status is Status.EXPIRED
    assert [text for _, text in conversation(world)[2:]] == [UNANSWERED, CUT_SHORT, UNAPPROVED]


def test_a_run_that_nobody_asks_for_after_the_approval_expires_and_closes_the_call(
    world: World,
) -> None:
    call_tools(world, WRITE)
    world.submit("c0", YES)
    world.wait(WEEK_MS)

    assert world.run.status is Status.EXPIRED
    assert conversation(world)[2:] == [("tool", CUT_SHORT)]


def test_a_worker_lost_in_a_tool_leaves_the_saved_message_and_the_call_for_the_next(
    world: World,
) -> None:
    call_tools(world, READ, READ)
    world.result("c0", "first")
    world.wait(LEASE_MS)

    assert not any(isinstance(event, TurnRestarted) for event in world.events)
    assert transitions.next_move(world.records()) == transitions.RunTools(("c1",))
    world.claim()
    assert (world.run.turn, world.run.attempt) == (2, 2)
    world.result("c1", "second")
    world.reply(TextPiece("done"), STOP)
    assert [text for _, text in conversation(world)] == ["hello", "", "first", "second", "done"]


def test_a_worker_lost_in_the_reply_after_the_tools_voids_that_reply_alone(world: World) -> None:
    call_tools(world, READ)
    world.result("c0", "first")
    saved_events = len(world.events)
    world.say(*Turn((), lambda: "c").feed([TextPiece("lost")]))
    world.wait(LEASE_MS)

    restart = next(event for event in world.events if isinstance(event, TurnRestarted))
    assert (restart.after, restart.attempt) == (saved_events, 2)
    world.claim()
    world.say(TextDelta(text="found"))
    assert fold_events(enumerate(world.events, 1)).text == "found"


def test_when_the_attempts_are_used_up_in_a_tool_the_call_is_closed_and_nothing_is_said_twice(
    world: World,
) -> None:
    world.begin(max_attempts=1)
    world.claim()
    world.reply(TextPiece("I will look."), call(0, READ), CALLS, hosted=HOSTED)
    world.wait(LEASE_MS)

    assert (world.run.status, world.run.reason) == (Status.INCOMPLETE, "worker_lost")
    assert conversation(world)[1:] == [("assistant", "I will look."), ("tool", CUT_SHORT)]


def test_cancelling_in_a_tool_closes_its_call_and_says_nothing_twice(world: World) -> None:
    world.begin()
    world.claim()
    world.reply(TextPiece("I will look."), call(0, READ), CALLS, hosted=HOSTED)
    world.cancel()

    assert world.run.status is Status.CANCELLED
    assert conversation(world)[1:] == [("assistant", "I will look."), ("tool", CANCELLED)]
    assert isinstance(world.events[-1], TurnEnded)


def test_cancelling_the_reply_after_the_tools_keeps_what_that_reply_had_said(world: World) -> None:
    call_tools(world, READ)
    world.result("c0", "first")
    world.say(*Turn((), lambda: "c").feed([TextPiece("half an ans")]))
    world.cancel()

    assert conversation(world)[1:] == [
        ("assistant", ""),
        ("tool", "first"),
        ("assistant", "half an ans"),
    ]


@pytest.mark.parametrize("if_busy", ["interrupt", "rollback"])
def test_a_run_that_makes_way_in_a_tool_leaves_a_legal_history(
    world: World, if_busy: Literal["interrupt", "rollback"]
) -> None:
    call_tools(world, READ, WRITE)
    first = world.run.id
    world.submit("c1", YES)
    world.ask()
    world.claim()
    world.begin("second", if_busy=if_busy)

    assert world.runs[first][0].status is Status.CANCELLED
    assert {action.status for action in world.actions.values()} == {"cancelled"}
    first_roles = [] if if_busy == "rollback" else ["user", "assistant", "tool", "tool"]
    assert [role for role, _ in conversation(world)] == [*first_roles, "user"]


def test_cancelling_a_run_whose_calls_are_approved_closes_them(world: World) -> None:
    call_tools(world, WRITE, READ)
    world.submit("c0", YES)
    world.cancel()

    assert {action.status for action in world.actions.values()} == {"cancelled"}
    assert len(conversation(world)) == 4


def test_the_limit_of_turns_holds_for_turns_without_a_client(world: World) -> None:
    call_tools(world, READ, max_turns=2)
    world.result("c0")
    world.reply(call(1, READ), CALLS, hosted=HOSTED)

    assert (world.run.status, world.run.reason) == (Status.INCOMPLETE, "max_turns")
    assert world.run.turn == 2
    assert conversation(world)[-1] == ("tool", transitions.NOT_STARTED.format("2 turns"))


def test_the_limit_of_tool_calls_holds_for_all_turns_together(world: World) -> None:
    call_tools(world, READ, max_tool_calls=2)
    world.result("c0")
    world.reply(call(1, READ), call(2, READ), CALLS, hosted=HOSTED)

    assert (world.run.status, world.run.reason) == (Status.INCOMPLETE, "max_tool_calls")
    assert world.run.tool_calls == 1
    not_started = ("tool", transitions.NOT_STARTED.format("2 tool calls"))
    assert conversation(world)[-2:] == [not_started, not_started]


def test_as_many_calls_as_the_limit_allows_are_carried_out(world: World) -> None:
    call_tools(world, READ, max_tool_calls=2)
    world.result("c0")
    world.reply(call(1, READ), CALLS, hosted=HOSTED)

    assert world.run.status is Status.IN_PROGRESS
    assert world.run.tool_calls == 2


@pytest.mark.parametrize(
    ("limit", "usage", "reason"),
    [
        ({"max_total_tokens": 30}, Usage(input_tokens=20, output_tokens=10), "max_total_tokens"),
        ({"max_total_tokens": 31}, Usage(input_tokens=20, output_tokens=10), None),
        ({"max_cost": 0.5}, Usage(input_tokens=20, cost=0.5), "max_cost"),
        ({"max_cost": 0.5}, Usage(input_tokens=20, cost=0.4), None),
        ({"max_cost": 0.5}, Usage(input_tokens=20), "max_cost"),
        ({"max_cost": 0.5}, None, "max_cost"),
    ],
)
def test_a_budget_that_is_used_up_allows_no_further_turn(
    world: World, limit: dict[str, float], usage: Usage | None, reason: str | None
) -> None:
    world.begin(**limit)
    world.claim()
    usage_pieces = [] if usage is None else [UsagePiece(usage)]
    world.reply(call(0, READ), *usage_pieces, CALLS, hosted=HOSTED)

    assert world.run.reason == reason
    assert world.run.status is (Status.INCOMPLETE if reason else Status.IN_PROGRESS)


def test_a_final_answer_above_the_budget_is_kept(world: World) -> None:
    world.begin(max_total_tokens=1)
    world.claim()
    world.reply(TextPiece("done"), UsagePiece(Usage(output_tokens=9)), STOP)

    assert world.run.status is Status.COMPLETED


def test_a_run_whose_time_is_over_hands_out_no_calls(world: World) -> None:
    world.begin(timeout=60)
    world.claim()
    world.now += 60_000
    world.reply(call(0, READ), CALLS, hosted=HOSTED)

    assert (world.run.status, world.run.reason) == (Status.INCOMPLETE, "timeout")


def test_a_call_waits_no_longer_than_its_run_may_last(world: World) -> None:
    call_tools(world, WRITE, timeout=60)
    (action,) = world.actions.values()
    world.wait(60_000)

    assert action.expires_at == world.run.created_at + 60_000
    assert world.run.status is Status.EXPIRED
    assert conversation(world)[-1] == ("tool", UNAPPROVED)


def test_a_run_that_no_worker_takes_expires_at_the_end_of_its_time(world: World) -> None:
    world.begin(timeout=60)
    world.wait(59_000)
    assert world.run.status is Status.QUEUED
    world.wait(1_000)

    assert world.run.status is Status.EXPIRED


def test_a_lost_worker_does_not_prolong_the_time_of_a_run(world: World) -> None:
    world.begin(timeout=60)
    world.claim()
    world.wait(LEASE_MS)
    assert world.run.status is Status.QUEUED
    world.wait(60_000)

    assert world.run.status is Status.EXPIRED


def test_a_reply_that_fails_after_the_tools_ran_leaves_a_legal_history(world: World) -> None:
    call_tools(world, READ)
    world.result("c0", "first")
    world.reply(TextPiece("so far"), finish=False)

    assert (world.run.status, world.run.reason) == (Status.INCOMPLETE, "disconnected")
    assert [role for role, _ in conversation(world)] == ["user", "assistant", "tool", "assistant"]


def test_a_fault_in_our_hands_while_tools_run_closes_their_calls(world: World) -> None:
    call_tools(world, READ, READ)
    world.result("c1", "second")
    fault = Fault("internal", "broken")
    world.apply(lambda records: transitions.fail(records, world.lease.epoch, fault, world.mint))

    assert world.run.status is Status.FAILED
    assert conversation(world)[2:] == [("tool", CUT_SHORT), ("tool", "second")]


def test_a_worker_that_stops_in_a_tool_gives_the_run_back_with_the_call_open(world: World) -> None:
    call_tools(world, READ)
    epoch = world.lease.epoch
    world.apply(lambda records: transitions.release(records, epoch, world.mint))

    assert transitions.next_move(world.records()) == transitions.RunTools(("c0",))


def test_asking_while_the_worker_runs_tools_joins_the_stream_at_its_beginning(world: World) -> None:
    call_tools(world, READ)

    assert world.ask().after == 0


STEPS = st.lists(
    st.sampled_from(("claim", "calls", "text", "result", "yes", "no", "output", "ask", "lose"))
    | st.sampled_from(("cancel", "expire", "speak")),
    max_size=25,
)


@given(STEPS, st.lists(st.sampled_from(("look", READ, WRITE)), min_size=1, max_size=3))
def test_whatever_happens_the_history_is_legal_and_the_events_tell_it(
    steps: list[str], names: list[str]
) -> None:
    world = World()
    world.begin(max_attempts=2, max_turns=4)
    ids = itertools.count()
    for step in steps:
        if world.run.status.ended:
            break
        is_driven = world.run.status is Status.IN_PROGRESS
        due_ids = [a.tool_call_id for a in world.actions.values() if a.due]
        awaited_actions = [a for a in world.actions.values() if a.awaited]
        match step:
            case "claim":
                world.claim()
            case "calls" if is_driven and not due_ids:
                world.reply(*(call(next(ids), name) for name in names), CALLS, hosted=HOSTED)
            case "text" if is_driven and not due_ids:
                world.reply(TextPiece("done"), STOP)
            case "speak" if is_driven and not due_ids:
                world.say(TextDelta(text="half"))
            case "result" if is_driven and due_ids:
                world.result(due_ids[-1])
            case "yes" | "no" if awaited_actions and awaited_actions[-1].approval:
                world.submit(awaited_actions[-1].tool_call_id, YES if step == "yes" else NO)
            case "output" if awaited_actions and not awaited_actions[0].approval:
                world.submit(awaited_actions[0].tool_call_id)
            case "ask" if not awaited_actions:
                world.ask()
            case "lose" if is_driven:
                world.wait(LEASE_MS)
            case "cancel":
                world.cancel()
            case "expire" if not is_driven and world.lease.due_at is not None:
                world.wait(WEEK_MS)
            case _:
                pass
    if not world.run.status.ended:
        world.cancel()

    history = [world.messages[number] for number in sorted(world.messages)]
    assert sorted(world.messages) == list(range(1, len(history) + 1))
    output_ids = [m.tool_call_id for m in history if m.role == "tool"]
    assert output_ids == [each.id for m in history for each in m.tool_calls]
    assert not [a for a in world.actions.values() if a.status == "pending"]
    outputs = [e.tool_call_id for e in world.events if isinstance(e, ToolOutputAdded)]
    assert sorted(outputs) == sorted(a.tool_call_id for a in world.actions.values())
    assert all(
        after in TRANSITIONS[before] for before, after in itertools.pairwise(statuses(world))
    )

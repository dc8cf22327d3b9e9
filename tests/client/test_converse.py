"""The next step: the conversation as a dialogue of steps and their results."""

import pytest
from msgspec.structs import replace

from antiphon.api.operations import Follow, GetRun, ListActions, ListMessages, Process
from antiphon.client.conversation import (
    Conversation,
    ExecuteActions,
    FetchRun,
    Finished,
    ListPending,
    ReadLastReply,
    StreamTurn,
    first_request,
)
from antiphon.client.run_state import RunState
from antiphon.tools.functions import Functions
from antiphon.tools.tool_sources import gather_tools
from antiphon.types.errors import (
    InvalidEventId,
    NotFound,
    OutputsMissing,
    RunActive,
    RunCancelled,
    RunEnded,
    RunError,
    RunExpired,
    RunFailed,
    RunIncomplete,
)
from antiphon.types.events import (
    ActionRequired,
    Event,
    PendingAction,
    RunStatus,
    TextDelta,
    ToolOutputAdded,
    TurnEnded,
)
from antiphon.types.messages import Message, Text
from antiphon.types.runs import Action, Fault, Reason, Run, Status

RUN = "run_1"
NEXT_TURN = StreamTurn(Process(run_id=RUN, force_refresh=True))
LIST_CALLS = ListPending(ListActions(RUN, status="pending"))


def pending_action(call: str) -> PendingAction:
    return PendingAction(
        action_id=f"act_{call}", tool_call_id=call, name="f", arguments={}, expires_at=9
    )


def action(call: str) -> Action:
    return Action(
        id=f"act_{call}",
        run_id=RUN,
        thread_id="thread_1",
        turn=1,
        tool_call_id=call,
        name="f",
        arguments={},
        created_at=1,
        expires_at=9,
    )


def status(status: Status) -> RunStatus:
    return RunStatus(run_id=RUN, thread_id="thread_1", status=status)


def hand_off(*calls: str) -> list[Event]:
    return [
        ActionRequired(run_id=RUN, actions=tuple(map(pending_action, calls))),
        status(Status.ACTION_REQUIRED),
        TurnEnded(run_id=RUN, status=Status.ACTION_REQUIRED),
    ]


def output(call: str) -> ToolOutputAdded:
    return ToolOutputAdded(tool_call_id=call, output="x")


LAST_EVENTS: list[Event] = [
    TextDelta(text="hi"),
    status(Status.COMPLETED),
    TurnEnded(run_id=RUN, status=Status.COMPLETED),
]


def make_ended_run(end: Status) -> Run:
    reason: Reason | None = "stalled" if end is Status.INCOMPLETE else None
    return Run(id=RUN, thread_id="thread_1", status=end, reason=reason, model="demo", created_at=1)


def reply(run_id: str, text: str) -> Message:
    return Message(
        id="msg_1",
        thread_id="thread_1",
        number=1,
        role="assistant",
        content=(Text(text),),
        run_id=run_id,
        created_at=1,
    )


class Dialogue:
    """A conversation that receives the events of a run."""

    def __init__(self, run_id: str | None = None) -> None:
        self.state = RunState(run_id)
        self.request = Process(run_id=run_id)
        self.conversation = Conversation(self.request, self.state)

    @property
    def next_step(self) -> object:
        return self.conversation.next_step()

    def receive(self, *events: Event) -> None:
        for event in events:
            self.state.add(self.state.last_event + 1, event)
        self.conversation.end_stream()


def test_the_first_thing_is_to_ask_for_a_turn():
    dialogue = Dialogue()

    assert dialogue.next_step == StreamTurn(dialogue.request)


def test_an_answer_without_calls_is_the_end():
    dialogue = Dialogue()

    dialogue.receive(status(Status.QUEUED), *LAST_EVENTS)

    assert dialogue.next_step == Finished()


def test_the_tools_of_a_manifest_are_run_and_then_the_next_turn_is_asked_for():
    dialogue = Dialogue()

    dialogue.receive(status(Status.QUEUED), *hand_off("c1", "c2"))
    assert dialogue.next_step == ExecuteActions(
        RUN, (pending_action("c1"), pending_action("c2")), "thread_1"
    )

    dialogue.conversation.finish_outputs()
    assert dialogue.next_step == NEXT_TURN

    dialogue.receive(output("c1"), output("c2"), *LAST_EVENTS)
    assert dialogue.next_step == Finished()


def test_a_call_that_was_answered_meanwhile_is_not_run():
    dialogue = Dialogue()

    dialogue.receive(status(Status.QUEUED), *hand_off("c1", "c2"), output("c1"))

    assert dialogue.next_step == ExecuteActions(RUN, (pending_action("c2"),), "thread_1")


@pytest.mark.parametrize("end", [Status.FAILED, Status.CANCELLED, Status.EXPIRED])
def test_every_end_is_an_end_even_without_turn_ended(end: Status):
    dialogue = Dialogue()

    dialogue.receive(status(Status.QUEUED), status(end))

    assert dialogue.next_step == Finished()


def test_a_run_left_waiting_is_taken_up_by_its_open_calls():
    dialogue = Dialogue(RUN)

    dialogue.conversation.handle_error(OutputsMissing("two"))
    assert dialogue.next_step == LIST_CALLS

    dialogue.conversation.handle_actions([action("c2")])
    assert dialogue.next_step == ExecuteActions(RUN, (pending_action("c2"),))


def test_a_run_whose_calls_somebody_else_answered_is_asked_for_its_next_turn():
    dialogue = Dialogue(RUN)
    dialogue.conversation.handle_error(OutputsMissing("two"))

    dialogue.conversation.handle_actions([])

    assert dialogue.next_step == NEXT_TURN


def test_what_another_client_went_on_with_is_caught_up_and_its_open_calls_looked_up():
    dialogue = Dialogue()
    dialogue.receive(status(Status.QUEUED), *hand_off("c1"))
    dialogue.conversation.finish_outputs()

    dialogue.conversation.handle_error(OutputsMissing("c2", last_event=9))
    assert dialogue.next_step == StreamTurn(Follow(RUN, after=4), until=9)

    dialogue.receive(output("c1"), status(Status.QUEUED), *hand_off("c2"))
    assert dialogue.next_step == LIST_CALLS


def test_the_end_that_another_client_reached_is_read_to_its_end():
    dialogue = Dialogue()
    dialogue.receive(status(Status.QUEUED), *hand_off("c1"))
    dialogue.conversation.finish_outputs()

    dialogue.conversation.handle_error(RunEnded("completed", last_event=8))
    assert dialogue.next_step == StreamTurn(Follow(RUN, after=4), until=8)

    dialogue.receive(output("c1"), *LAST_EVENTS)
    assert dialogue.next_step == Finished()


@pytest.mark.parametrize("refusal", [NotFound("x"), RunActive("x")])
def test_a_refusal_of_the_first_call_is_the_callers(refusal: Exception):
    dialogue = Dialogue(RUN)

    with pytest.raises(type(refusal)):
        dialogue.conversation.handle_error(refusal)  # type: ignore[arg-type]


def test_a_run_that_has_ended_and_was_read_to_its_end_is_asked_how():
    dialogue = Dialogue(RUN)
    dialogue.conversation.handle_error(RunEnded("completed", last_event=8))
    assert dialogue.next_step == FetchRun(GetRun(RUN))

    dialogue.conversation.handle_run(make_ended_run(Status.COMPLETED))
    assert (dialogue.next_step, dialogue.state.status) == (Finished(), Status.COMPLETED)


def test_a_cut_answer_whose_events_came_before_is_read_among_the_messages():
    dialogue = Dialogue(RUN)
    dialogue.conversation.handle_error(RunEnded("incomplete", last_event=8))
    dialogue.conversation.handle_run(make_ended_run(Status.INCOMPLETE))
    assert dialogue.next_step == ReadLastReply(ListMessages("thread_1", limit=100))

    dialogue.conversation.handle_messages([reply("run_0", "before"), reply(RUN, "half an ans")])
    with pytest.raises(RunIncomplete) as error_info:
        dialogue.state.raise_for_status()

    assert dialogue.next_step == Finished()
    assert (error_info.value.text, error_info.value.reason) == ("half an ans", "stalled")


def test_a_stream_that_begins_later_than_the_reader_stopped_is_preceded_by_what_is_missing():
    state = RunState(RUN, after=3)
    step = StreamTurn(Process(run_id=RUN))
    conversation = Conversation(Process(run_id=RUN), state, resumed=True)

    assert conversation.find_missed(step, [(4, TextDelta(text="a"))]) is None
    assert conversation.find_missed(step, [(9, TextDelta(text="a"))]) == StreamTurn(
        Follow(RUN, after=3), until=8
    )


def test_a_reader_that_names_an_event_of_the_future_is_refused():
    conversation = Conversation(Process(run_id=RUN), RunState(RUN, after=9), resumed=True)

    with pytest.raises(InvalidEventId, match="no event 9"):
        conversation.handle_error(OutputsMissing("one", last_event=4))


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (Status.FAILED, RunFailed),
        (Status.INCOMPLETE, RunIncomplete),
        (Status.EXPIRED, RunExpired),
        (Status.CANCELLED, RunCancelled),
    ],
)
def test_every_end_but_one_has_its_error(end: Status, error: type[RunError]):
    state = RunState(RUN)
    state.update(make_ended_run(end))

    with pytest.raises(error) as error_info:
        state.raise_for_status()

    assert (error_info.value.run_id, error_info.value.thread_id) == (RUN, "thread_1")


def test_what_a_provider_said_of_its_failure_is_safe_to_print():
    state = RunState(RUN)
    fault = Fault("provider_auth", "no \x1b]0;title\x07 key")
    state.update(replace(make_ended_run(Status.FAILED), error=fault))

    with pytest.raises(RunFailed) as error_info:
        state.raise_for_status()

    assert error_info.value.error_code == "provider_auth"
    assert str(error_info.value).isprintable()


@pytest.mark.parametrize("end", [None, Status.COMPLETED, Status.IN_PROGRESS])
def test_a_run_that_completed_or_goes_on_has_no_error(end: Status | None):
    state = RunState(RUN)
    if end is not None:
        state.update(make_ended_run(end))

    state.raise_for_status()


def test_a_new_run_is_offered_the_tools_and_one_that_is_there_is_not():
    def f() -> None: ...

    tools = gather_tools([f])

    assert first_request("hi", tools, None, {}).tools == tools.specs()
    assert first_request("hi", gather_tools([]), None, {}).tools is None
    assert first_request(None, tools, RUN, {}) == Process(run_id=RUN)


def test_a_new_run_has_the_instructions_of_its_toolboxes_behind_its_own():
    class Instructing(Functions):
        def instructions(self) -> str:
            return "There are skills."

    def f() -> None: ...

    tools = gather_tools([Instructing([f])])
    request = first_request("hi", tools, None, {"additional_instructions": "Be brief."})

    assert request.additional_instructions == "Be brief.\n\nThere are skills."
    assert first_request("hi", gather_tools([f]), None, {}).additional_instructions is None

    class Named(Functions):
        instructions = "a field of its author's"

    named_tools = gather_tools([Named([f])])
    assert first_request("hi", named_tools, None, {}).additional_instructions is None
    assert first_request(None, tools, RUN, {}) == Process(run_id=RUN)


def test_functions_and_a_toolbox_are_one_toolbox_together():
    def f() -> None: ...
    def g() -> None: ...

    names = [tool.spec.name for tool in gather_tools([f], Functions([g, f])).toolbox.tools()]

    assert names == ["f", "g", "f_2"]


def test_calls_that_the_other_side_runs_are_not_answered_here():
    dialogue = Dialogue(RUN)
    dialogue.conversation.handle_actions([action("a"), replace(action("b"), runs_on="server")])

    assert dialogue.next_step == ExecuteActions(RUN, (pending_action("a"),))


def test_calls_of_a_worker_named_like_a_page_are_answered_once_its_claim_has_ended():
    dialogue = Dialogue(RUN)
    dialogue.conversation.handle_actions([replace(action("a"), worker="page", attempt=1)])

    assert dialogue.next_step == ExecuteActions(RUN, (pending_action("a"),))


def test_what_was_approved_elsewhere_waits_no_more_once_the_run_goes_on():
    state = RunState(RUN)
    for number, event in enumerate([*hand_off("a"), status(Status.QUEUED)], 1):
        state.add(number, event)

    assert not state.waiting

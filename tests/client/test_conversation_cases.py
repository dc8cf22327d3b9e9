"""Recorded conversations, step by step: the tests of the TypeScript client read the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from antiphon.api.operations import Follow, Process
from antiphon.client.conversation import (
    Conversation,
    ExecuteActions,
    FetchRun,
    Finished,
    ListPending,
    Step,
    StreamTurn,
)
from antiphon.client.run_state import RunState
from antiphon.types.errors import OutputsMissing, RunEnded
from antiphon.types.events import Event, Numbered
from antiphon.types.runs import Action, Run

CASES: list[dict[str, Any]] = msgspec.json.decode(
    (Path(__file__).parent.parent / "support/client/conversation_cases.json").read_bytes()
)
ERRORS = {"outputs_missing": OutputsMissing, "run_ended": RunEnded}


def describe_step(step: Step) -> dict[str, Any]:
    """Return the step in the form of the recorded cases."""
    match step:
        case StreamTurn(operation=Process(run_id=run_id)):
            return {"step": "process", "run_id": run_id}
        case StreamTurn(operation=Follow(run_id=run_id, after=after)):
            ends = {"until": step.until, "until_resumed": step.until_resumed}
            return {"step": "follow", "run_id": run_id, "after": after, **ends}
        case ListPending(call):
            return {"step": "list_pending", "run_id": call.run_id}
        case ExecuteActions(run_id, actions):
            calls = [each.tool_call_id for each in actions]
            return {"step": "execute", "run_id": run_id, "calls": calls}
        case FetchRun(call):
            return {"step": "fetch_run", "run_id": call.run_id}
        case Finished():
            return {"step": "finished"}
        case _:
            raise AssertionError(step)


def to_numbered_events(entries: list[dict[str, Any]]) -> list[Numbered]:
    return [(each["number"], msgspec.convert(each["event"], Event)) for each in entries]


def read(conversation: Conversation, state: RunState, step: Any, exchange: dict[str, Any]) -> None:
    """Read the events of a step one by one, each after the events that were missed before it."""
    for each in to_numbered_events(exchange["events"]):
        missed_step = conversation.find_missed(step, [each])
        if missed_step is not None:
            assert describe_step(missed_step) == exchange["missed"]["step"]
            read(conversation, state, missed_step, exchange["missed"])
        state.add_batch([each])
        if conversation.has_read_enough(step, [each]):
            return


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_conversation_takes_the_recorded_steps(case: dict[str, Any]) -> None:
    after = case.get("after")
    state = RunState(case.get("run_id"), after)
    conversation = Conversation(
        Process(run_id=case.get("run_id")),
        state,
        resumed=after is not None,
        idempotency_key="key" if case.get("replayed") else None,
        elsewhere=frozenset(case.get("elsewhere", ())),
    )

    for exchange in case["exchange"]:
        step = conversation.next_step()
        assert describe_step(step) == exchange["step"]
        match exchange:
            case {"events": _}:
                read(conversation, state, step, exchange)
                conversation.end_stream()
            case {"error": {"code": code, "last_event": last}}:
                conversation.handle_error(ERRORS[code]("refused", last_event=last))
            case {"actions": actions}:
                conversation.handle_actions(msgspec.convert(actions, list[Action]))
            case {"outputs": True}:
                conversation.finish_outputs()
            case {"run": status}:
                fields = {"id": "run_1", "thread_id": "thread_1", "model": "demo", "created_at": 1}
                conversation.handle_run(msgspec.convert({**fields, "status": status}, Run))
            case _:
                pass
    assert (state.status, state.text) == (case["status"], case["text"])

"""The turn protocol, step by step, numbered as docs/flows/turn.md draws it.

    python examples/turn_protocol.py                                  # a runtime in this process
    python examples/turn_protocol.py --server http://127.0.0.1:8000   # or a server, as `serve` says

Without `--server` the address is that of ANTIPHON_SERVER, if it is set. A step of the backend is
printed when the client sees its effect. `client.converse(...)` does all of this in one call; here
each step is a separate call. turn_protocol.sh does the same with curl.
"""

from __future__ import annotations

import argparse
import json
import sys

from antiphon import (
    ActionRequired,
    AntiphonError,
    Client,
    Events,
    Functions,
    MessageCompleted,
    PendingAction,
    RunStatus,
    Status,
    TextDelta,
    ToolCallReady,
    TurnEnded,
    TurnRestarted,
)
from antiphon.api.operations import ListMessages, NewMessage

QUESTION = "When does the next flight from LAX to JFK leave?"
TIMETABLE = {("LAX", "JFK"): {"departure_time": "16:35", "arrival_time": "00:55"}}


def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """Departure and arrival of the next flight between two airports.

    Args:
        departure: IATA code of the airport of departure.
        arrival: IATA code of the airport of arrival.
    """
    return TIMETABLE.get((departure, arrival), {"error": "no such flight"})


def main() -> int:
    """Run both turns; return the exit code."""
    parser = argparse.ArgumentParser(description="The sixteen steps of the turn protocol.")
    parser.add_argument("--server", help="an address; without one ANTIPHON_SERVER, then embedded")
    parser.add_argument("--model", default="demo", help="provider:name; the offline demo if unset")
    arguments = parser.parse_args()
    with Client(arguments.server) as client:
        step(1, "POST /process (turn 1)")
        tools = Functions([get_flight_times]).specs()
        turn = client.process(message=NewMessage(QUESTION), model=arguments.model, tools=tools)
        actions = first_turn(turn)
        while actions:
            run_id = str(turn.run_id)
            for action in actions:
                answer(client, run_id, action)
            step(11, f"POST /process (turn 2) with {short(run_id)}")
            turn = client.process(run_id=run_id, force_refresh=True)
            actions = next_turn(client, turn)
    return 0 if turn.status is Status.COMPLETED else 1


def first_turn(turn: Events) -> tuple[PendingAction, ...]:
    """Steps 2 to 6: read until the server has sent the calls and closed the connection."""
    actions: tuple[PendingAction, ...] = ()
    for event in turn:
        match event:
            case RunStatus(status=Status.IN_PROGRESS):
                step(2, "inference: the model sees the user's message")
            case ToolCallReady(name=name, arguments=arguments):
                step(3, f"tool call detected: {name}({arguments})")
            case MessageCompleted(message=message):
                step(4, "finalize_conversation(): the call is saved, the cached context is invalid")
                note(f"message {message.number}: {message.role}, {len(message.tool_calls)} call(s)")
            case ActionRequired():
                actions = event.actions
                step(5, f"manifest: {', '.join(action.name for action in actions)}")
            case TurnEnded(status=status):
                step(6, f"connection closed by the server; the run is {status}")
            case _:
                pass
    turn.raise_for_status()
    return actions


def answer(client: Client, run_id: str, action: PendingAction) -> None:
    """Steps 7 to 10: run the tool here; its output is durable when the server answers 200."""
    output = get_flight_times(**action.arguments)
    step(7, f"local tool: {action.name}(**{action.arguments}) = {output}")
    step(8, f"POST /submit_tool_output for {action.tool_call_id}")
    saved = client.submit_tool_output(run_id, action.tool_call_id, json.dumps(output))
    step(9, f"tool result saved: action {short(saved.id)} is {saved.status}")
    step(10, "HTTP 200 OK")


def next_turn(client: Client, turn: Events) -> tuple[PendingAction, ...]:
    """Steps 12 to 16; if the model calls more tools, continue at step 7."""
    actions: tuple[PendingAction, ...] = ()
    speaking = False
    for event in turn:
        match event:
            case RunStatus(status=Status.IN_PROGRESS, thread_id=thread_id):
                step(12, "set_up_context(force_refresh=True)")
                roles = [message.role for message in client.paginate(ListMessages(thread_id))]
                step(13, f"the whole history is read: {', '.join(roles)}")
                step(14, "inference: the model sees the tool's output")
            case TextDelta(text=text):
                if not speaking:
                    step(15, "final tokens:\n")
                speaking = True
                print(text, end="", flush=True)
            case ActionRequired():
                actions = event.actions
            case TurnRestarted(reason=reason):
                note(f"the turn begins again ({reason}); what was streamed of it is void")
            case TurnEnded(status=status):
                if speaking:
                    print("\n")
                step(16, f"connection closed by the server; the run is {status}")
            case _:
                pass
    turn.raise_for_status()
    return actions


def step(number: int, what: str) -> None:
    """Print one step."""
    print(f"[{number:2}] {what}", flush=True)


def note(what: str) -> None:
    """Print a detail of the step above."""
    print(f"     {what}", flush=True)


def short(identity: str) -> str:
    """Return an id shortened to fit a line."""
    return f"{identity[:16]}..."


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AntiphonError as error:
        sys.exit(error.full_message)

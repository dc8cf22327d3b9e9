"""A chat as `useChat` runs it, over our stream: approvals, coming back, faults."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from antiphon.types.chunks import TextPiece
from antiphon.types.events import ActionRequired
from antiphon.wires.framing import Cursor, drop_void_events
from tests.support.engine.world import call
from tests.support.wires.node_programs import NodePrograms
from tests.support.wires.stories import (
    CALLS,
    HOSTED,
    NO,
    STOP,
    TYPICAL,
    USED,
    WRITE,
    YES,
    Story,
    begin_run,
    number_events,
)
from tests.support.wires.ui_client_programs import CLIENTS, HERE, essence, run_judge
from tests.support.wires.ui_streams import encode_events

ChatState = dict[str, Any]
Play = Callable[[str, Sequence[list[bytes]], Sequence[list[Any]]], ChatState]


@pytest.fixture(scope="module")
def play(npm_packages: Callable[[Path], Path], node: Path) -> Iterator[Play]:
    """Return the state of a chat after these steps and replies."""
    clients = HERE / "ui_clients"
    with NodePrograms(node, clients / "chat.mjs", npm_packages(clients)) as programs:

        def play(
            name: str, replies: Sequence[list[bytes]], steps: Sequence[list[Any]]
        ) -> ChatState:
            streams = [base64.b64encode(b"".join(frames)).decode() for frames in replies]
            return programs.ask(name, {"replies": streams, "doings": steps})

        yield play


def decide_call(decision: str) -> tuple[Story, int, str]:
    """Return a run with a decided call, the number of its event at rest, and its question's id."""
    world = begin_run()
    world.reply(TextPiece("May I?"), call(0, WRITE), USED, CALLS, hosted=HOSTED)
    rest = len(world.events)
    [question] = [event for event in world.events if isinstance(event, ActionRequired)]
    world.submit("c0", decision)
    world.ask()
    world.claim()
    if decision == YES:
        world.result("c0", "written")
    world.reply(TextPiece("So be it."), USED, STOP)
    return world, rest, question.actions[0].action_id


@pytest.mark.parametrize("client", ["ai6", "ai7"])
@pytest.mark.parametrize(("decision", "state"), [(YES, "output-available"), (NO, "output-denied")])
def test_a_person_approves_in_the_chat_and_the_message_goes_on(
    play: Play, client: str, decision: str, state: str
) -> None:
    sdk = CLIENTS[client]
    world, rest, action_id = decide_call(decision)
    events = number_events(world)
    first = encode_events(events[:rest], sdk)
    second = encode_events(events, sdk, Cursor(world.run.id, rest))

    chat = play(
        client, [first, second], [["send", "Write."], ["approve", action_id, decision == YES]]
    )
    assert (chat["status"], chat.get("error")) == ("ready", None)
    [_, answer] = chat["asked"]
    responses = [part.get("approval") for part in answer["messages"][-1]["parts"]]
    assert {"id": action_id, "approved": decision == YES} in responses
    [user, message] = chat["messages"]
    assert user["role"] == "user"
    [tool] = [part for part in message["parts"] if part["type"] == "dynamic-tool"]
    assert tool["state"] == state
    assert message["parts"][-2]["text"] == "So be it."
    assert message["metadata"]["usage"]["inputTokens"] == 24
    assert message["metadata"]["cost"] == 0.5


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("story", ["tool-call", "mixed", "restarted", "cancelled"])
def test_a_page_that_is_opened_again_is_sent_the_whole_message(
    play: Play, client: str, story: str
) -> None:
    sdk = CLIENTS[client]
    events = number_events(TYPICAL[story]())
    frames = encode_events(drop_void_events(events), sdk)

    chat = play(client, [frames], [["resume"]])
    assert (chat["status"], chat.get("error")) == ("ready", None)
    [message] = chat["messages"]
    assert essence(message) == essence(run_judge(sdk, [frames]).message)
    assert chat["asked"][0]["method"] == "GET"


# The first client of version 5 would wait forever.
@pytest.mark.parametrize("client", ["ai5", "ai6", "ai7"])
def test_nothing_is_resumed_where_nothing_runs(play: Play, client: str) -> None:
    chat = play(client, [], [["resume"]])

    assert (chat["status"], chat["messages"]) == ("ready", [])


# Clients of version 5 would add the whole message to the part that they have.
@pytest.mark.parametrize("client", ["ai6", "ai7"])
def test_a_connection_that_broke_is_taken_up_in_the_same_page(play: Play, client: str) -> None:
    sdk = CLIENTS[client]
    events = number_events(TYPICAL["restarted"]())
    broken = encode_events(events[:5], sdk)[:-1]

    chat = play(
        client,
        [broken, encode_events(drop_void_events(events), sdk)],
        [["send", "Look."], ["resume"]],
    )
    assert chat["status"] == "ready"
    expected = run_judge(sdk, [encode_events(drop_void_events(events), sdk)]).message
    assert essence(chat["messages"][-1]) == essence(expected)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_run_that_failed_is_an_error_of_the_chat_with_all_that_was_said(
    play: Play, client: str
) -> None:
    chat = play(
        client,
        [encode_events(number_events(TYPICAL["failed"]()), CLIENTS[client])],
        [["send", "Hi."]],
    )

    assert chat["status"] == "error"
    assert chat["error"] == "The model's server said: ␛[2Jno <U+202E>really<U+2028>."
    message = chat["messages"][-1]
    assert message["metadata"]["error"]["code"] == "provider_error"
    assert [part["text"] for part in message["parts"] if part["type"] == "text"] == ["It is"]

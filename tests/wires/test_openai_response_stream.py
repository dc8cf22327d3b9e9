"""A response is a pure fold of events: numbers, deltas, items and the object agree."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from antiphon.engine.turn import Turn, TurnResult
from antiphon.types.chunks import CallPiece, Chunk, Finish, ReasoningPiece, RefusalPiece, TextPiece
from antiphon.types.events import (
    ActionRequired,
    Event,
    MessageCompleted,
    Numbered,
    PendingAction,
    RunStatus,
    ToolOutputAdded,
    ToolsListed,
    TurnEnded,
    TurnRestarted,
)
from antiphon.types.ids import reply_id
from antiphon.types.messages import Hints, ListedTool, Message, Refusal, Text, ToolListing
from antiphon.types.runs import McpServer, Status
from antiphon.wires.openai.response_object import CarriedCall, ResponseHead, response_object
from antiphon.wires.openai.response_stream import DONE, ResponseFrames
from tests.support.wires.stories import HOSTED, TYPICAL, number_events, runs

GOLDEN = Path(__file__).parent / "golden"
RUN = "run_" + "0" * 35
HEADS = [
    ResponseHead(
        id="resp_" + "0" * 36,
        run_id=RUN,
        thread_id="thread_1",
        created_at=5,
        request={"model": "m", "background": background, "include": [include]},
        client_tools=frozenset({"mine", "text"}),
        custom_tools=frozenset({"text"}),
        servers={"far__": McpServer("far", require_approval="never")},
        mcp_items=mcp_items,
    )
    for background, include, mcp_items in (
        (False, "", False),
        (True, "reasoning.encrypted_content", True),
    )
]

LISTED = ToolsListed(
    listings=(
        ToolListing(server="far", tools=(ListedTool(name="look", hints=Hints(read_only=True)),)),
        ToolListing(server="near", error="It is not available."),
    )
)
words = st.text('aZ é\u2028\U0001f600"\\\n', min_size=1, max_size=6)
_inputs = st.fixed_dictionaries({"input": words})


def _call_pieces(index: int, name: str, arguments: str, cuts: Sequence[int]) -> list[CallPiece]:
    places = sorted({cut % (len(arguments) + 1) for cut in cuts} | {0, len(arguments)})
    pieces = [arguments[a:b] for a, b in itertools.pairwise(places)]
    first = CallPiece(index=index, id=f"call_{name}_{index}", name=name)
    return [first, *(CallPiece(index=index, arguments=piece) for piece in pieces)]


@st.composite
def replies(draw: Any, tools: Sequence[str]) -> list[Chunk]:
    """Draw a reply's chunks: reasoning, text, refusals in any order, then calls, cut anywhere."""
    kinds = st.sampled_from([TextPiece, TextPiece, ReasoningPiece, RefusalPiece])
    chunks: list[Chunk] = [
        draw(kinds)(draw(words)) for _ in range(draw(st.integers(0 if tools else 1, 5)))
    ]
    for index, name in enumerate(tools):
        arguments = json.dumps(draw(_inputs), ensure_ascii=draw(st.booleans()))
        cuts = draw(st.lists(st.integers(0, 60), max_size=4))
        chunks += _call_pieces(index, name, arguments, cuts)
    return [*chunks, Finish("tool_calls" if tools else "stop")]


def _status(status: Status, **fields: Any) -> RunStatus:
    return RunStatus(run_id=RUN, thread_id="thread_1", status=status, **fields)


def _message(result: TurnResult, turn: int) -> MessageCompleted:
    content: tuple[Any, ...] = (Text(result.text),) if result.text else ()
    if result.refusal:
        content = (*content, Refusal(result.refusal))
    return MessageCompleted(
        message=Message(
            id=reply_id(RUN, turn),
            thread_id="thread_1",
            number=turn,
            role="assistant",
            content=content,
            reasoning=result.reasoning,
            tool_calls=result.calls,
            created_at=turn * 1000,
        )
    )


def _play(chunks: Sequence[Chunk]) -> tuple[list[Event], TurnResult]:
    turn = Turn(["mine", "text", "far__look"], lambda: "call_x")
    events: list[Event] = []
    for chunk in chunks:
        events += turn.feed([chunk])
    return events, turn.close()


@st.composite
def logs(draw: Any) -> list[Event]:
    """Draw the events of a run's first response: turns with hosted tools, restarts, and any end."""
    log: list[Event] = [_status(Status.QUEUED), _status(Status.IN_PROGRESS)]
    listings = draw(st.sampled_from([(), (LISTED,)]))
    log += listings
    turn = 1
    for _ in range(draw(st.integers(0, 2))):
        for _ in range(draw(st.integers(0, 2))):
            void_events, _ = _play(draw(replies(draw(st.sampled_from([(), ("mine",)])))))
            log += void_events[: draw(st.integers(0, len(void_events)))]
            log.append(TurnRestarted(reason="worker_lost", after=len(log), attempt=2))
            log += listings if turn == 1 else ()
        events, result = _play(draw(replies(("far__look",))))
        log += [*events, *result.events, _message(result, turn)]
        is_error = draw(st.booleans())
        log.append(
            ToolOutputAdded(tool_call_id=result.calls[0].id, output=draw(words), is_error=is_error)
        )
        turn += 1
    events, result = _play(draw(replies(draw(st.sampled_from([(), ("mine", "text")])))))
    ending = draw(st.sampled_from(["whole", "cancelled", "incomplete"]))
    if ending != "whole":
        log += events[: draw(st.integers(0, len(events)))]
        status = Status.CANCELLED if ending == "cancelled" else Status.INCOMPLETE
        reason = "length" if ending == "incomplete" else None
        log += [_status(status, reason=reason), TurnEnded(run_id=RUN, status=status)]
        return log
    log += [*events, *result.events, _message(result, turn)]
    status = Status.COMPLETED
    if result.calls:
        status = Status.ACTION_REQUIRED
        actions = tuple(
            PendingAction(
                action_id="act_1", tool_call_id=call.id, name=call.name, arguments={}, expires_at=9
            )
            for call in result.calls
        )
        log.append(ActionRequired(run_id=RUN, actions=actions))
    return [*log, _status(status), TurnEnded(run_id=RUN, status=status)]


def _decode(body: bytes) -> list[dict[str, Any]]:
    frames = body.decode().split("\n\n")
    events = []
    for frame in frames:
        if not frame:
            continue
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def _encode(head: ResponseHead, log: Sequence[Event], after: int = -1) -> list[dict[str, Any]]:
    frames = ResponseFrames(head, after)
    return _decode(b"".join(map(frames.encode, log)))


@given(st.sampled_from(HEADS), logs())
def test_deltas_items_and_the_object_agree(head: ResponseHead, log: list[Event]) -> None:
    events = _encode(head, log)

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    final = events[-1]["response"]
    added = [e for e in events if e["type"] == "response.output_item.added"]
    assert [e["output_index"] for e in added] == list(range(len(added)))
    assert len({e["item"]["id"] for e in added}) == len(added)
    done = {e["item"]["id"]: e["item"] for e in events if e["type"].endswith("item.done")}
    assert final["output"] == _without_void(events, done)
    for each in added:
        item_events = [e for e in events if e.get("output_index") == each["output_index"]]
        if each["item"]["id"] in done:
            assert _join_deltas(item_events) == _text_of(done[each["item"]["id"]])
        else:
            assert each["item"]["type"] in ("function_call", "custom_tool_call")
    Response.model_validate(final)


def _without_void(
    events: Sequence[dict[str, Any]], items: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the items that a client has at the end: completed and not void."""
    void = {
        item_id
        for event in events
        if event["type"] == "antiphon:turn.restarted"
        for item_id in event["item_ids"]
    }
    return [item for item_id, item in items.items() if item_id not in void]


def _join_deltas(events: Sequence[dict[str, Any]]) -> str:
    return "".join(e["delta"] for e in events if "delta" in e)


def _text_of(item: dict[str, Any]) -> str:
    match item:
        case {"type": "message", "content": parts}:
            return "".join(part.get("text", part.get("refusal")) for part in parts)
        case {"type": "reasoning", "summary": [{"text": text}]}:
            return str(text)
        case {"type": "custom_tool_call", "input": text} | {"arguments": text}:
            return str(text)
        case _:
            return ""


@given(st.sampled_from(HEADS), logs(), st.integers(0, 60))
def test_a_replay_from_any_number_is_the_rest_of_the_stream(
    head: ResponseHead, log: list[Event], after: int
) -> None:
    all_frames = _encode(head, log)

    assert _encode(head, log, after) == all_frames[after + 1 :]


@given(st.sampled_from(HEADS), logs())
def test_what_follows_the_end_adds_nothing(head: ResponseHead, log: list[Event]) -> None:
    frames = ResponseFrames(head)
    for event in log:
        frames.encode(event)
    before = json.loads(json.dumps(response_object(head, frames.fold.state), default=str))

    late_events = [
        ToolOutputAdded(tool_call_id="call_mine_0", output="x"),
        _status(Status.CANCELLED),
    ]

    assert [frames.encode(event) for event in late_events] == [b"", b""]
    assert frames.close() == DONE
    after = json.loads(json.dumps(response_object(head, frames.fold.state), default=str))
    assert before == after


# Complete runs, as the engine logs them.


def _responses(events: Sequence[Numbered]) -> list[bytes]:
    """Return the frames of each response of a run; each starts where the last one ended."""
    bodies: list[bytes] = []
    run_id = next(event.run_id for _, event in events if isinstance(event, RunStatus))
    turn = 0
    carried: dict[str, CarriedCall] = {}
    frames: ResponseFrames | None = None
    for _, event in events:
        if frames is None:
            frames = ResponseFrames(_head(run_id, len(bodies), turn, carried))
            body = b""
        body += frames.encode(event)
        if isinstance(event, MessageCompleted) and event.message.role == "assistant":
            turn += 1
            carried = {
                call.id: CarriedCall(
                    event.message.id, place, call.name, call.arguments, HOSTED[call.name].asks
                )
                for place, call in enumerate(event.message.tool_calls)
                if call.name in HOSTED
            }
        if isinstance(event, TurnEnded):
            bodies.append(body + frames.close())
            frames = None
    return bodies if frames is None else [*bodies, body + frames.close()]


def _head(run_id: str, place: int, turn: int, carried: dict[str, CarriedCall]) -> ResponseHead:
    return ResponseHead(
        id=f"resp_1{place}",
        run_id=run_id,
        thread_id="thread_1",
        created_at=5,
        request={"model": "m"},
        turn=turn,
        client_tools=frozenset({"look"}),
        servers={"far__": McpServer("far", require_approval={"read": "never"})},
        mcp_items=True,
        carried=dict(carried),
    )


@pytest.mark.parametrize("name", TYPICAL)
def test_a_typical_run_is_told_as_it_stands_in_its_golden_file(name: str) -> None:
    """If the golden file is missing, the test writes it and fails once.

    Clients that resume across an upgrade need the same numbers for the same log.
    """
    body = b"".join(_responses(number_events(TYPICAL[name]())))
    golden = GOLDEN / f"responses-{name}.txt"
    if not golden.exists():
        golden.write_bytes(body)
        pytest.fail(f"{golden.name} was not there: read it, and keep it if it is right")

    assert body.decode() == golden.read_text("utf-8")


@given(runs())
def test_whatever_happens_each_response_of_a_run_is_whole(events: list[Numbered]) -> None:
    for body in _responses(events):
        response_events = _decode(body.removesuffix(DONE))
        assert [event["sequence_number"] for event in response_events] == list(
            range(len(response_events))
        )
        added = [
            e["item"]["id"] for e in response_events if e["type"] == "response.output_item.added"
        ]
        assert len(set(added)) == len(added)
        if body.endswith(DONE):
            final = response_events[-1]["response"]
            done = {
                e["item"]["id"]: e["item"]
                for e in response_events
                if e["type"].endswith("item.done")
            }
            items = _without_void(response_events, done)
            assert sorted(i["id"] for i in final["output"]) == sorted(i["id"] for i in items)
            # Reasons and errors that only Antiphon's runs have are not in OpenAI's types.
            Response.model_validate({**final, "incomplete_details": None, "error": None})

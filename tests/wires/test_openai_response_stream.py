"""A response is a pure fold of events: numbers, deltas, items and the object agree."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from antiphon.engine.turn import Turn, TurnResult
from antiphon.types.chunks import CallPiece, Chunk, Finish, ReasoningPiece, RefusalPiece, TextPiece
from antiphon.types.events import (
    ActionRequired,
    Event,
    MessageCompleted,
    PendingAction,
    RunStatus,
    ToolOutputAdded,
    TurnEnded,
    TurnRestarted,
)
from antiphon.types.ids import reply_id
from antiphon.types.messages import Message, Refusal, Text
from antiphon.types.runs import McpServer, Status
from antiphon.wires.openai.response_object import ResponseHead, response_object
from antiphon.wires.openai.response_stream import DONE, ResponseFrames

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

words = st.text('aZ é\u2028\U0001f600"\\\n', min_size=1, max_size=6)
_inputs = st.fixed_dictionaries({"input": words})


def _call_pieces(index: int, name: str, arguments: str, cuts: Sequence[int]) -> list[CallPiece]:
    places = sorted({cut % (len(arguments) + 1) for cut in cuts} | {0, len(arguments)})
    pieces = [arguments[a:b] for a, b in itertools.pairwise(places)]
    begun = CallPiece(index=index, id=f"call_{name}_{index}", name=name)
    return [begun, *(CallPiece(index=index, arguments=piece) for piece in pieces)]


@st.composite
def replies(draw: Any, tools: Sequence[str]) -> list[Chunk]:
    """Chunks of a reply: reasoning, text and refusals in any order, then calls, cut anywhere."""
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
    """The events of a run's first response: turns that run here, cuts, and an end of any kind."""
    log: list[Event] = [_status(Status.QUEUED), _status(Status.IN_PROGRESS)]
    turn = 1
    for _ in range(draw(st.integers(0, 2))):
        for _ in range(draw(st.integers(0, 2))):
            begun, _ = _play(draw(replies(draw(st.sampled_from([(), ("mine",)])))))
            log += begun[: draw(st.integers(0, len(begun)))]
            log.append(TurnRestarted(reason="worker_lost", after=len(log), attempt=2))
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
    found = []
    for frame in frames:
        if not frame:
            continue
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def _encode(head: ResponseHead, log: Sequence[Event], after: int = -1) -> list[dict[str, Any]]:
    frames = ResponseFrames(head, after)
    return _decode(b"".join(map(frames.encode, log)))


@given(st.sampled_from(HEADS), logs())
def test_deltas_items_and_the_object_agree(head: ResponseHead, log: list[Event]) -> None:
    events = _encode(head, log)

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    final = events[-1]["response"]
    done = {e["output_index"]: e["item"] for e in events if e["type"].endswith("item.done")}
    added = [e for e in events if e["type"] == "response.output_item.added"]
    assert [e["output_index"] for e in added] == list(range(len(final["output"])))
    assert final["output"] == [done[index] for index in range(len(added))]
    assert [e["item"]["id"] for e in added] == [item["id"] for item in final["output"]]
    assert len({item["id"] for item in final["output"]}) == len(final["output"])
    for index, item in enumerate(final["output"]):
        mine = [e for e in events if e.get("output_index") == index]
        assert _joined(mine) == _text_of(item)
    Response.model_validate(final)


def _joined(events: Sequence[dict[str, Any]]) -> str:
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
    whole = _encode(head, log)

    assert _encode(head, log, after) == whole[after + 1 :]


@given(st.sampled_from(HEADS), logs())
def test_what_follows_the_end_adds_nothing(head: ResponseHead, log: list[Event]) -> None:
    frames = ResponseFrames(head)
    for event in log:
        frames.encode(event)
    before = json.loads(json.dumps(response_object(head, frames.fold.state), default=str))

    later = [ToolOutputAdded(tool_call_id="call_mine_0", output="x"), _status(Status.CANCELLED)]

    assert [frames.encode(event) for event in later] == [b"", b""]
    assert frames.close() == DONE
    after = json.loads(json.dumps(response_object(head, frames.fold.state), default=str))
    assert before == after

"""A reply becomes a turn, whole or broken, however it was cut: guarantees G16, G21 and G25."""

import itertools
import json
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from antiphon.engine.transcript import fold_events
from antiphon.engine.turn import Turn, TurnResult
from antiphon.types import errors, events
from antiphon.types.chunks import CallPiece, Chunk, Finish, ReasoningPiece, TextPiece, UsagePiece
from antiphon.types.events import (
    Event,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStarted,
    UsageAdded,
)
from antiphon.types.messages import ToolCall
from antiphon.types.runs import Usage

OFFERED = ("f", "g", "h")
STOP, CALLS, DONE = Finish("stop"), Finish("tool_calls"), Finish(None)


def turn(offered: Sequence[str] = OFFERED, taken: Sequence[str] = ()) -> Turn:
    numbers = itertools.count(1)
    return Turn(offered, lambda: f"ours_{next(numbers)}", taken)


def reply_to(
    batches: Iterable[Sequence[Chunk]],
    fault: Exception | None = None,
    taken: Sequence[str] = (),
) -> tuple[list[Event], TurnResult]:
    parser = turn(taken=taken)
    turn_events = [event for batch in batches for event in parser.feed(batch)]
    reply = parser.close(fault)
    return [*turn_events, *reply.events], reply


def parse_reply(
    *chunks: Chunk, fault: Exception | None = None, taken: Sequence[str] = ()
) -> TurnResult:
    """Return the reply to chunks that came one by one; its deltas joined are what it says."""
    turn_events, reply = reply_to([[chunk] for chunk in chunks], fault, taken)
    assert_events_match_reply(turn_events, reply)
    return reply


def assert_events_match_reply(turn_events: Sequence[Event], reply: TurnResult) -> None:
    assert (
        "".join(event.text for event in turn_events if isinstance(event, TextDelta)) == reply.text
    )
    thoughts = [event.text for event in turn_events if isinstance(event, ReasoningDelta)]
    assert ("".join(thoughts) or None) == reply.reasoning
    for call in reply.calls:
        assert join_arguments(turn_events, call.id) == call.arguments


def join_arguments(turn_events: Sequence[Event], call_id: str) -> str:
    deltas = [event for event in turn_events if isinstance(event, ToolCallDelta)]
    return "".join(delta.arguments for delta in deltas if delta.tool_call_id == call_id)


def list_calls(reply: TurnResult) -> list[tuple[str, str]]:
    assert reply.outcome == "calls", reply.fault
    return [(call.name, call.arguments) for call in reply.calls]


def piece(
    index: int | None = None,
    id: str | None = None,
    name: str | None = None,
    arguments: str = "",
    position: int | None = None,
) -> CallPiece:
    return CallPiece(index=index, id=id, name=name, arguments=arguments, position=position)


# Ends of a reply.


def test_text_and_a_marker_complete_the_reply():
    reply = parse_reply(TextPiece("hel"), TextPiece("lo"), STOP)
    assert (reply.outcome, reply.text, reply.finish_reason) == ("completed", "hello", "stop")


def test_an_unknown_word_completes_the_reply_and_is_kept():
    reply = parse_reply(TextPiece("hi"), Finish("banana"))
    assert (reply.outcome, reply.finish_reason) == ("completed", "banana")


def test_done_alone_completes_what_was_said():
    assert parse_reply(TextPiece("hi"), DONE).outcome == "completed"


def test_a_stop_without_a_word_is_an_empty_answer():
    assert parse_reply(STOP).outcome == "completed"


@pytest.mark.parametrize("word", ["tool_calls", "stop", "function_call", None])
def test_whole_calls_are_handed_out_whatever_the_word(word: str | None):
    assert list_calls(parse_reply(piece(0, "c", "f", "{}"), Finish(word))) == [("f", "{}")]


@pytest.mark.parametrize(
    ("chunks", "outcome"),
    [
        ([TextPiece("hi"), CALLS], "completed"),
        ([CALLS], "failed"),
        ([ReasoningPiece("hm"), CALLS], "failed"),
    ],
)
def test_tools_asked_for_without_a_call_are_an_answer_only_with_text(
    chunks: list[Chunk], outcome: str
):
    reply = parse_reply(*chunks)
    assert reply.outcome == outcome
    assert (reply.fault.code if reply.fault else None) == (
        "provider_protocol" if outcome == "failed" else None
    )


@pytest.mark.parametrize("word", ["length", "content_filter"])
@pytest.mark.parametrize("arguments", ['{"x":1}', '{"x":'])
def test_a_reply_cut_by_the_provider_hands_nothing_out(word: str, arguments: str):
    reply = parse_reply(TextPiece("hi"), piece(0, "c", "f", arguments), Finish(word))
    assert (reply.outcome, reply.reason, reply.text) == ("incomplete", word, "hi")
    assert reply.calls == ()


def test_a_later_word_does_not_undo_that_something_is_missing():
    assert parse_reply(piece(0, "c", "f", "{}"), CALLS, Finish("length")).reason == "length"
    assert parse_reply(piece(0, "c", "f", "{}"), Finish("length"), STOP).reason == "length"


@pytest.mark.parametrize(
    "chunk", [TextPiece("hi"), ReasoningPiece("hm"), piece(0, "c", "f", "{}")], ids=repr
)
def test_output_without_a_marker_is_disconnected(chunk: Chunk):
    reply = parse_reply(chunk)
    assert (reply.outcome, reply.reason, reply.calls) == ("incomplete", "disconnected", ())


@pytest.mark.parametrize(
    "chunks", [[], [DONE], [UsagePiece(Usage(input_tokens=1))], [TextPiece("")]]
)
def test_nothing_at_all_is_no_reply(chunks: list[Chunk]):
    reply = parse_reply(*chunks)
    assert reply.outcome == "failed"
    assert reply.fault
    assert reply.fault.code == "provider_protocol"


@pytest.mark.parametrize("fault", [errors.Disconnected("gone"), errors.Stalled("silent")])
def test_a_cut_keeps_the_partial_text_and_says_why(fault: errors.Cut):
    reply = parse_reply(TextPiece("hal"), piece(0, "c", "f", "{}"), fault=fault)
    assert (reply.outcome, reply.reason, reply.text) == ("incomplete", fault.code, "hal")
    assert reply.calls == ()


def test_a_cut_after_the_marker_takes_nothing_away():
    reply = parse_reply(piece(0, "c", "f", "{}"), CALLS, fault=errors.Disconnected("gone"))
    assert list_calls(reply) == [("f", "{}")]


@pytest.mark.parametrize(
    "kind", [errors.ProviderError, errors.ProviderProtocol, errors.ProviderRateLimited]
)
def test_the_providers_error_fails_the_run_in_the_providers_words(kind: type[errors.ProviderError]):
    reply = parse_reply(TextPiece("hal"), fault=kind("boom"))
    assert (reply.outcome, reply.text) == ("failed", "hal")
    assert reply.fault
    assert (reply.fault.code, reply.fault.message) == (kind.code, "boom")


def test_an_error_as_the_last_word_fails_the_run():
    reply = parse_reply(TextPiece("hal"), Finish("error"))
    assert reply.fault
    assert reply.fault.code == "provider_error"


def test_a_fault_of_our_own_is_told_without_its_words():
    reply = parse_reply(fault=KeyError("secret"))
    assert reply.fault
    assert reply.fault.code == "internal"
    assert "secret" not in reply.fault.message


def test_pieces_may_follow_the_marker():
    assert list_calls(
        parse_reply(piece(0, "c", "f", '{"x":'), CALLS, piece(0, arguments="1}"), DONE)
    ) == [("f", '{"x":1}')]


def test_the_last_report_of_usage_counts_and_is_told_once():
    first_usage, last_usage = Usage(output_tokens=1), Usage(output_tokens=2)
    turn_events, reply = reply_to(
        [[UsagePiece(first_usage), TextPiece("hi"), STOP, UsagePiece(last_usage)]]
    )
    assert reply.usage == last_usage
    assert [event for event in turn_events if isinstance(event, UsageAdded)] == [
        UsageAdded(usage=last_usage)
    ]


# Events of a reply.


def test_adjacent_pieces_that_arrived_together_are_told_together():
    turn_events = turn().feed(
        [TextPiece("a"), TextPiece("b"), ReasoningPiece("c"), ReasoningPiece("d"), TextPiece("e")]
    )
    assert turn_events == [TextDelta(text="ab"), ReasoningDelta(text="cd"), TextDelta(text="e")]


def test_reasoning_is_timed_until_something_else_comes():
    parser = turn()
    turn_events = [
        *parser.feed([ReasoningPiece("a")], 100.0),
        *parser.feed([ReasoningPiece("b")], 100.9),
        *parser.feed([ReasoningPiece("c")], 102.5),
        *parser.feed([TextPiece("d")], 103.1),
        *parser.feed([ReasoningPiece("e")], 109.0),
        *parser.feed([STOP], 109.95),
    ]
    reply = parser.close(at=109.95)

    assert turn_events == [
        ReasoningDelta(text="a"),
        ReasoningDelta(text="b"),
        ReasoningDelta(text="c", seconds=2),
        ReasoningDelta(text="", seconds=3),
        TextDelta(text="d"),
        ReasoningDelta(text="e"),
    ]
    assert reply.events == (ReasoningDelta(text="", seconds=4),)
    assert reply.reasoning_seconds == 4


def test_a_call_is_told_as_it_comes():
    parser = turn()
    assert parser.feed([piece(0, "c", "f")]) == [ToolCallStarted(tool_call_id="c", name="f")]
    assert parser.feed([piece(0, arguments='{"x"')]) == [
        ToolCallDelta(tool_call_id="c", arguments='{"x"')
    ]
    parser.feed([piece(0, arguments=":1}"), CALLS])
    assert parser.close().events == (
        ToolCallReady(tool_call_id="c", name="f", arguments='{"x":1}'),
    )


def test_a_call_is_told_only_once_it_has_a_name():
    parser = turn()
    assert parser.feed([piece(0, "c", arguments='{"x"')]) == []
    assert parser.feed([piece(0, name="f")]) == [
        ToolCallStarted(tool_call_id="c", name="f"),
        ToolCallDelta(tool_call_id="c", arguments='{"x"'),
    ]


def test_nothing_that_cannot_be_written_down_is_told():
    reply = parse_reply(TextPiece("a\ud800b\0c"), ReasoningPiece("\udfff"), STOP)
    assert (reply.text, reply.reasoning) == ("a\ufffdb\ufffdc", "\ufffd")


# Calls that may be handed out.


@pytest.mark.parametrize("arguments", ["", "null", " null\n", "  "])
def test_no_arguments_are_an_empty_object(arguments: str):
    reply = parse_reply(
        piece(0, "c", "f"), *(piece(0, arguments=part) for part in arguments), CALLS
    )
    assert list_calls(reply) == [("f", "{}")]
    assert not reply.calls[0].repaired


@pytest.mark.parametrize(
    "arguments", ['{"x":1}', ' {"x" : 1}\n', '{"x":1,"x":2}', '{"x":"é\\u0041"}']
)
def test_arguments_are_kept_byte_for_byte(arguments: str):
    assert list_calls(parse_reply(piece(0, "c", "f", arguments), CALLS)) == [("f", arguments)]


def test_missing_closers_are_supplied_and_marked():
    turn_events, reply = reply_to([[piece(0, "c", "f", '{"x":{"y":["z"'), CALLS]])
    assert list_calls(reply) == [("f", '{"x":{"y":["z"]}}')]
    assert reply.calls[0].repaired
    assert turn_events[-2:] == [
        ToolCallDelta(tool_call_id="c", arguments="]}}"),
        ToolCallReady(tool_call_id="c", name="f", arguments='{"x":{"y":["z"]}}', repaired=True),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        '{"x":',
        '{"x":"y',
        '{"x":1',
        "{",
        "{x:1}",
        "[1]",
        "1",
        "nul",
        '"{}"',
        '{"x":NaN}',
        '{"x":1}{"y":2}',
        '{"x":1}{',
        '{"x":' + "9" * 5000 + "}",
        '{"x":' * 100_000,
        '{"x":"\ud800"}',
        '{"x":"\0"}',
    ],
    ids=lambda arguments: arguments[:16],
)
def test_anything_else_is_broken_and_never_an_empty_object(arguments: str):
    reply = parse_reply(piece(0, "c", "f", arguments), CALLS)
    assert (reply.outcome, reply.calls) == ("invalid_tool_call", ())
    assert reply.fault
    assert reply.fault.code == "invalid_tool_call"
    assert "'f'" in reply.fault.message
    assert reply.broken


@pytest.mark.parametrize("name", ["unknown", "F", "f ", None, "n" * 10_000, "\ud800"])
def test_a_name_that_was_not_offered_is_refused(name: str | None):
    reply = parse_reply(piece(0, "c", name, "{}"), CALLS)
    assert reply.outcome == "invalid_tool_call"
    assert reply.fault
    assert len(reply.fault.message) < 1000
    assert events.encode(TextDelta(text=reply.fault.message))


def test_calls_stand_or_fall_together():
    turn_events, reply = reply_to([[piece(0, "a", "f", "{}"), piece(1, "b", "g", "{x"), CALLS]])
    assert (reply.outcome, reply.calls) == ("invalid_tool_call", ())
    assert not [event for event in turn_events if isinstance(event, ToolCallReady)]


def test_the_sample_of_a_broken_call_is_short_and_holds_no_secret():
    secret = "sk-proj-0123456789abcdefghijklmnop"
    reply = parse_reply(piece(0, "c", "f", f'{{"key":"{secret}", "x":' + "[ " * 10_000), CALLS)
    assert reply.broken
    assert reply.broken.startswith('f({"key":"[redacted]"')
    assert len(reply.broken) < 500


@pytest.mark.parametrize("given_id", [None, "", "x" * 129, "two\nlines", "\ud800"])
def test_an_id_that_cannot_be_used_is_replaced_and_kept_beside(given_id: str | None):
    reply = parse_reply(piece(0, given_id, "f", "{}"), CALLS)
    assert reply.calls[0].id == "ours_1"
    expected_id = None if not given_id else given_id.replace("\ud800", "\ufffd")
    assert reply.calls[0].provider_id == expected_id


def test_an_id_of_an_earlier_turn_is_replaced_and_kept_beside():
    reply = parse_reply(piece(0, "call_0", "f", "{}"), CALLS, taken=["call_0"])
    assert (reply.calls[0].id, reply.calls[0].provider_id) == ("ours_1", "call_0")


def test_opaque_extras_are_kept_with_their_call():
    extra = {"extra_content": {"google": {"thought_signature": "abc"}}}
    reply = parse_reply(CallPiece(index=0, id="c", name="f", arguments="{}", extra=extra), CALLS)
    assert reply.calls[0].extra == extra


# Pieces and the calls to which they belong.

ONE: dict[str, tuple[list[CallPiece], tuple[str, str]]] = {
    "in one piece": ([piece(0, "c", "f", '{"x":1}')], ("f", '{"x":1}')),
    "in many pieces": (
        [piece(0, "c", "f"), piece(0, arguments='{"x"'), piece(0, arguments=":1}")],
        ("f", '{"x":1}'),
    ),
    "index missing": (
        [piece(None, "c", "f"), piece(arguments='{"x"'), piece(arguments=":1}")],
        ("f", '{"x":1}'),
    ),
    "index begins at 1": (
        [piece(1, "c", "f", '{"x"'), piece(1, arguments=":1}")],
        ("f", '{"x":1}'),
    ),
    "empty id repeated": (
        [piece(0, "c", "f", '{"x"'), piece(0, "", None, ":1}")],
        ("f", '{"x":1}'),
    ),
    "id and name repeated": (
        [piece(0, "c", "f", '{"x"'), piece(0, "c", "f", ":1}"), piece(0, "c", "f")],
        ("f", '{"x":1}'),
    ),
    "name repeated without an id, also on the last": (
        [piece(0, None, "f", '{"x"'), piece(0, None, "f", ":1}"), piece(0, None, "f")],
        ("f", '{"x":1}'),
    ),
    "another name later, same id": (
        [piece(0, "c", "f", '{"x"'), piece(0, "c", "g", ":1}")],
        ("f", '{"x":1}'),
    ),
    "known id without its index": (
        [piece(0, "c", "f", '{"x"'), piece(None, "c", None, ":1}")],
        ("f", '{"x":1}'),
    ),
    "known id at another index, no other name": (
        [piece(0, "c", "f", '{"x"'), piece(1, "c", None, ":1"), piece(1, arguments="}")],
        ("f", '{"x":1}'),
    ),
    "id after the name": (
        [piece(0, None, "f"), piece(0, "c", None, '{"x":1}')],
        ("f", '{"x":1}'),
    ),
    "id after the name, which is repeated": (
        [piece(0, None, "f"), piece(0, "c", "f", '{"x":1}')],
        ("f", '{"x":1}'),
    ),
    "an empty piece before the call": (
        [piece(0), piece(0, "c", "f", '{"x":1}')],
        ("f", '{"x":1}'),
    ),
    "arguments repeated whole under the id": (
        [piece(0, "c", "f", '{"x"'), piece(0, arguments=":1}"), piece(0, "c", "f", '{"x":1}')],
        ("f", '{"x":1}'),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("pieces", "expected"), ONE.values(), ids=ONE.keys())
def test_pieces_of_one_call_stay_one_call(pieces: list[CallPiece], expected: tuple[str, str]):
    reply = parse_reply(*pieces, CALLS)
    assert list_calls(reply) == [expected]
    id_was_said = any(piece.id for piece in pieces)
    assert id_was_said == ("c" in (reply.calls[0].id, reply.calls[0].provider_id))


def test_an_empty_piece_is_no_call():
    assert list_calls(parse_reply(piece(0, "c", "f", "{}"), piece(1), CALLS)) == [("f", "{}")]
    assert parse_reply(TextPiece("hi"), piece(0, position=0), CALLS).outcome == "completed"


TWO: dict[str, list[CallPiece]] = {
    "one after the other": [
        piece(0, "a", "f", '{"x"'), piece(0, arguments=":1}"),
        piece(1, "b", "g", '{"y"'), piece(1, arguments=":2}"),
    ],
    "interleaved": [
        piece(0, "a", "f"), piece(1, "b", "g"), piece(0, arguments='{"x"'),
        piece(1, arguments='{"y"'), piece(0, arguments=":1}"), piece(1, arguments=":2}"),
    ],
    "gap in the index": [piece(0, "a", "f", '{"x":1}'), piece(7, "b", "g", '{"y":2}')],
    "all at index 0, ids": [piece(0, "a", "f", '{"x":1}'), piece(0, "b", "g", '{"y":2}')],
    "all at index 0, ids, fragments": [
        piece(0, "a", "f"), piece(0, arguments='{"x"'), piece(0, arguments=":1}"),
        piece(0, "b", "g"), piece(0, arguments='{"y"'), piece(0, arguments=":2}"),
    ],
    "all at index 0, interleaved by id": [
        piece(0, "a", "f"), piece(0, "b", "g"), piece(0, "a", None, '{"x":1}'),
        piece(0, "b", None, '{"y":2}'),
    ],
    "all at index 0, no ids, whole": [
        piece(0, None, "f", '{"x":1}'), piece(0, None, "g", '{"y":2}')
    ],
    "all at index 0, no ids, fragments": [
        piece(0, None, "f"), piece(0, arguments='{"x"'), piece(0, arguments=":1}"),
        piece(0, None, "g"), piece(0, arguments='{"y":2}'),
    ],
    "no index, ids": [piece(None, "a", "f", '{"x":1}'), piece(None, "b", "g", '{"y":2}')],
    "no index, no ids, positions": [
        piece(None, None, "f", '{"x"', position=0), piece(None, None, "g", '{"y"', position=1),
        piece(arguments=":1}", position=0), piece(arguments=":2}", position=1),
    ],
    "no index, no ids, one by one": [
        piece(None, None, "f", '{"x"'), piece(arguments=":1}"),
        piece(None, None, "g", '{"y"'), piece(arguments=":2}"),
    ],
    "same id, other index and name": [
        piece(0, "a", "f", '{"x"'), piece(1, "a", "g", '{"y"'), piece(0, "a", None, ":1}"),
        piece(1, "a", None, ":2}"),
    ],
    "same id at the same index, other name after whole arguments": [
        piece(0, "a", "f", '{"x":1}'), piece(0, "a", "g", '{"y":2}')
    ],
}  # fmt: skip


@pytest.mark.parametrize("pieces", TWO.values(), ids=TWO.keys())
def test_pieces_of_two_calls_stay_two_calls(pieces: list[CallPiece]):
    reply = parse_reply(*pieces, CALLS)
    assert list_calls(reply) == [("f", '{"x":1}'), ("g", '{"y":2}')]
    assert len({call.id for call in reply.calls}) == 2


@pytest.mark.parametrize("index", [0, None])
def test_the_same_tool_twice_without_ids_is_two_calls(index: int | None):
    pieces = [piece(index, None, "f", '{"x":1}'), piece(index, None, "f", '{"x":1}')]
    assert list_calls(parse_reply(*pieces, CALLS)) == [("f", '{"x":1}')] * 2
    pieces[1:] = [piece(index, None, "f"), piece(index, arguments='{"x":2}')]
    assert list_calls(parse_reply(*pieces, CALLS)) == [("f", '{"x":1}'), ("f", '{"x":2}')]


@pytest.mark.parametrize("empty", ["", "null", "{}"])
def test_another_name_after_empty_arguments_is_another_call(empty: str):
    pieces = [piece(0, None, "f", empty), piece(0, None, "g", empty)]
    assert list_calls(parse_reply(*pieces, CALLS)) == [("f", "{}"), ("g", "{}")]


def test_the_same_tool_twice_under_one_id_at_two_indexes_is_two_calls():
    reply = parse_reply(piece(0, "a", "f", '{"x":1}'), piece(1, "a", "f", '{"x":1}'), CALLS)
    assert list_calls(reply) == [("f", '{"x":1}')] * 2
    assert [(call.id, call.provider_id) for call in reply.calls] == [("a", None), ("ours_1", "a")]


AMBIGUOUS: dict[str, list[CallPiece]] = {
    "whole arguments, then others without id or name": [
        piece(0, "a", "f", '{"x":1}'), piece(0, arguments='{"y":2}')
    ],
    "whole arguments, then the same without id or name": [
        piece(0, "a", "f", '{"x":1}'), piece(0, arguments='{"x":1}')
    ],
    "another name amid the arguments, no id": [
        piece(0, None, "f", '{"x":'), piece(0, None, "g", '{"y":2}'), piece(0, arguments="}")
    ],
    "same id, same name, other arguments": [
        piece(0, "a", "f", '{"x":1}'), piece(0, "a", "f", '{"x":2}')
    ],
    "a new id without a name": [piece(0, "a", "f", '{"x":1}'), piece(0, "b", None, '{"y":2}')],
    "arguments at an index where no call began": [
        piece(0, "a", "f", '{"x":1}'), piece(1, arguments='{"y":2}')
    ],
}  # fmt: skip


@pytest.mark.parametrize("pieces", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_what_cannot_be_read_without_guessing_is_broken(pieces: list[CallPiece]):
    reply = parse_reply(*pieces, CALLS)
    assert (reply.outcome, reply.calls) == ("invalid_tool_call", ())


# Properties.

arguments_of_calls = st.dictionaries(
    st.text(max_size=4), st.integers() | st.text(max_size=8) | st.lists(st.booleans()), max_size=3
).map(lambda value: json.dumps(value, ensure_ascii=False))


def fragments(data: st.DataObject, text: str) -> list[str]:
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=6))
    edges = [0, *sorted(places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


def batches(data: st.DataObject, chunks: Sequence[Chunk]) -> list[Sequence[Chunk]]:
    places = data.draw(st.lists(st.integers(0, len(chunks)), max_size=6))
    edges = [0, *sorted(places), len(chunks)]
    return [chunks[start:end] for start, end in itertools.pairwise(edges)]


def accumulate(chunks: Iterable[Chunk]) -> tuple[str, list[tuple[str, str, str]]]:
    """Return text and calls, as a second reader does for well-formed streams only."""
    text = ""
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        if isinstance(chunk, TextPiece):
            text += chunk.text
        elif isinstance(chunk, CallPiece):
            assert chunk.index is not None
            call = calls.setdefault(chunk.index, ["", "", ""])
            call[0] = call[0] or chunk.id or ""
            call[1] = call[1] or chunk.name or ""
            call[2] += chunk.arguments
    return text, [(call_id, name, arguments) for call_id, name, arguments in calls.values()]


def well_formed(data: st.DataObject) -> list[Chunk]:
    """Draw one to sixteen parallel calls, cut anywhere and interleaved at random, amid text."""
    queues: list[list[Chunk]] = []
    for index in range(data.draw(st.integers(1, 16))):
        pieces = fragments(data, data.draw(arguments_of_calls))
        first_piece = piece(index, f"call_{index}", data.draw(st.sampled_from(OFFERED)), pieces[0])
        queues.append([first_piece, *(piece(index, arguments=part) for part in pieces[1:])])
    words = data.draw(st.lists(st.text(max_size=5), max_size=5))
    queues.append([TextPiece(word) for word in words])
    chunks: list[Chunk] = []
    while queues:
        queue = queues[data.draw(st.integers(0, len(queues) - 1))]
        if queue:
            chunks.append(queue.pop(0))
        else:
            queues.remove(queue)
    return chunks


@given(st.data())
@settings(max_examples=2 * settings.default.max_examples, deadline=None)
def test_on_well_formed_streams_a_second_reader_agrees(data: st.DataObject):
    chunks = well_formed(data)
    turn_events, reply = reply_to(batches(data, [*chunks, CALLS]))
    text, calls = accumulate(chunks)
    assume("\0" not in text)
    assert reply.outcome == "calls", reply.fault
    assert_events_match_reply(turn_events, reply)
    assert reply.text == text
    assert [(call.id, call.name, call.arguments) for call in reply.calls] == calls


@given(st.data())
@settings(max_examples=2 * settings.default.max_examples, deadline=None)
def test_folding_the_events_gives_the_reply(data: st.DataObject):
    chunks: list[Chunk] = [ReasoningPiece("hm"), *well_formed(data), CALLS]
    turn_events, reply = reply_to(batches(data, chunks))
    folded = fold_events(enumerate(turn_events, start=1))
    assert (folded.text, folded.reasoning, folded.calls) == (
        reply.text,
        reply.reasoning,
        reply.calls,
    )
    assert folded.partial_calls == ()


@given(st.text(max_size=20), arguments_of_calls, st.integers(0, 3), st.data())
@settings(deadline=None)
def test_fragments_do_not_matter(text: str, arguments: str, cut: int, data: st.DataObject):
    arguments = arguments[: len(arguments) - cut]
    all_chunks = [TextPiece(text), piece(0, "c", "f", arguments), CALLS]
    pieces: list[Chunk] = [
        *(TextPiece(part) for part in fragments(data, text)),
        piece(0, "c", "f"),
        *(piece(0, arguments=part) for part in fragments(data, arguments)),
        CALLS,
    ]
    turn_events, reply = reply_to(batches(data, pieces))
    assert reply == reply_to([all_chunks])[1]
    assert_events_match_reply(turn_events, reply)


any_piece = st.builds(
    CallPiece,
    index=st.none() | st.integers(-1, 2),
    position=st.none() | st.integers(0, 2),
    id=st.sampled_from([None, "", "a", "b", "\ud800"]),
    name=st.sampled_from([None, "", "f", "g", "unknown"]),
    arguments=st.sampled_from(
        ["", "{", "}", '{"x":1}', '{"x":', "1", '"', "null", "\0", " ", "[]"]
    ),
    extra=st.none() | st.just({"extra_content": 1}),
)
any_chunk = st.one_of(
    st.builds(TextPiece, st.text(st.characters(), max_size=3)),
    st.builds(ReasoningPiece, st.text(st.characters(), max_size=3)),
    any_piece,
    st.builds(UsagePiece, st.just(Usage(input_tokens=1))),
    st.builds(Finish, st.sampled_from([None, "", "stop", "tool_calls", "length", "error", "x"])),
)
any_fault = st.sampled_from(
    [
        None,
        errors.Stalled(""),
        errors.Disconnected(""),
        errors.ProviderError("\ud800"),
        errors.Fenced(""),
        ValueError("x"),
    ]
)


@given(st.lists(st.lists(any_chunk, max_size=4), max_size=8), any_fault)
@example([[piece(0, "a", "f", "{}"), piece(0, "a", "g", "{}"), CALLS]], None)
@settings(max_examples=8 * settings.default.max_examples, deadline=None)
def test_whatever_comes_the_reply_ends_in_the_closed_list(
    arriving: list[list[Chunk]], fault: Exception | None
):
    turn_events, reply = reply_to(arriving, fault)
    for event in turn_events:
        assert events.decode(events.encode(event)) == event
    assert_events_match_reply(turn_events, reply)
    assert (reply.outcome == "incomplete") == (reply.reason is not None)
    assert (reply.outcome in ("failed", "invalid_tool_call")) == (reply.fault is not None)
    assert (reply.outcome == "calls") == bool(reply.calls)
    if reply.fault:
        assert reply.fault.code == "invalid_tool_call" or errors.class_for_code(reply.fault.code)
    assert len({call.id for call in reply.calls}) == len(reply.calls)
    for call in reply.calls:
        assert isinstance(call, ToolCall)
        assert call.name in OFFERED
        assert isinstance(json.loads(call.arguments), dict)
    ready = [event.tool_call_id for event in turn_events if isinstance(event, ToolCallReady)]
    assert ready == [call.id for call in reply.calls]
    starts = [event.tool_call_id for event in turn_events if isinstance(event, ToolCallStarted)]
    assert len(set(starts)) == len(starts)


def test_pieces_of_one_call_that_come_together_are_one_event():
    pieces = [CallPiece(index=0, id="c", name="f", arguments="{")]
    pieces += [CallPiece(index=0, arguments=letter) for letter in '"a":1}']
    turn_events = turn().feed(pieces)

    assert [type(event) for event in turn_events] == [ToolCallStarted, ToolCallDelta]
    assert join_arguments(turn_events, "c") == '{"a":1}'


@pytest.mark.parametrize("piece", [TextPiece, ReasoningPiece])
def test_a_reply_is_taken_up_to_its_limit_and_ends_as_cut_by_length(piece: type[TextPiece]):
    parser = Turn(OFFERED, lambda: "ours", most_bytes=1_000)
    turn_events = [event for _ in range(100) for event in parser.feed([piece("x" * 30)])]
    reply = parser.close(errors.Disconnected("gone"))

    assert (reply.outcome, reply.reason) == ("incomplete", "length")
    assert len(reply.text + (reply.reasoning or "")) == 1_000
    assert_events_match_reply(turn_events, reply)


def test_arguments_beyond_the_limit_are_no_call():
    parser = Turn(OFFERED, lambda: "ours", most_bytes=1_000)
    parser.feed([CallPiece(index=0, id="c", name="f", arguments='{"a":"')])
    parser.feed([CallPiece(index=0, arguments="x" * 2_000 + '"}'), CALLS])
    reply = parser.close()

    assert (reply.outcome, reply.reason, reply.calls) == ("incomplete", "length", ())


@pytest.mark.parametrize(
    "chunks",
    [
        [TextPiece("a"), ReasoningPiece("b")],
        [CallPiece(index=0, id="c", name="f", arguments=" ")],
        [CallPiece(index=0, id="c", name="f", extra={"a": "b" * 100})],
        [TextPiece("\x01")],
    ],
)
def test_a_reply_in_tiny_or_odd_pieces_has_its_end_too(chunks: list[Chunk]):
    parser = Turn(OFFERED, lambda: "ours", most_bytes=100_000)
    count = sum(len(parser.feed(chunks)) for _ in range(100_000))

    assert parser.over
    assert count < 100_000


def test_more_calls_than_are_taken_make_the_reply_broken():
    parser = Turn(OFFERED, lambda: "ours", most_calls=2)
    parser.feed([CallPiece(index=at, id=f"c{at}", name="f") for at in range(3)])
    reply = parser.close()

    assert reply.outcome == "invalid_tool_call"
    assert reply.fault
    assert "At most 2 can be made in one reply" in reply.fault.message
    assert not reply.calls


def test_halves_of_a_character_in_two_pieces_are_replaced_however_they_arrive():
    halves = [TextPiece("\ud83d"), TextPiece("\ude00"), STOP]

    _, joined_reply = reply_to([halves])
    _, split_reply = reply_to([[half] for half in halves])
    assert joined_reply.text == split_reply.text == "\ufffd\ufffd"

"""Opaque details of reasoning are put together from their pieces, and nothing in them is read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.reasoning_details import MAX_BYTES, DetailsBuilder
from antiphon.engine.turn import Turn, TurnResult
from antiphon.types.chunks import CallPiece, DetailsPiece, Finish, TextPiece
from antiphon.types.errors import Disconnected

Detail = dict[str, Any]
TEXT: Detail = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
SEALED: Detail = {"type": "reasoning.encrypted", "format": "google-gemini-v1", "data": "Ej"}


def build_details(*chunks: list[Detail]) -> tuple[Detail, ...]:
    builder = DetailsBuilder()
    for chunk in chunks:
        builder.add(chunk)
    return builder.entries({})


def turn(*details: Detail, cut: bool = False, call_id: str = "c1") -> TurnResult:
    turn = Turn(["f"], lambda: "call_1", used_ids=["used"])
    turn.feed([DetailsPiece("here", details), TextPiece("hi")])
    turn.feed([CallPiece(index=0, id=call_id, name="f", arguments="{}")])
    if not cut:
        turn.feed([Finish("tool_calls")])
    return turn.close(Disconnected("cut") if cut else None)


def test_pieces_continue_the_entry_of_their_type_and_index() -> None:
    second = {**TEXT, "index": 1}
    assert build_details(
        [{**TEXT, "text": "a", "signature": ""}],
        [{**second, "text": "x"}],
        [{**TEXT, "text": "b", "signature": None}],
        [{**TEXT, "text": "", "signature": "s"}],
    ) == (
        {**TEXT, "text": "ab", "signature": "s"},
        {**second, "text": "x"},
    )


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([[{**SEALED, "index": 0, "id": "c1"}], [{**SEALED, "index": 0, "id": "c2"}]]),
        pytest.param([[SEALED], [SEALED]], id="sealed, without an index"),
        pytest.param([[SEALED, SEALED]], id="in one chunk"),
        pytest.param(
            [[{**TEXT, "text": "a", "signature": "s"}], [{**TEXT, "text": "b"}]],
            id="text behind a signature",
        ),
        pytest.param([[{"type": "reasoning.text", "index": 0, "text": "a"}], [SEALED]]),
    ],
)
def test_what_is_not_one_entry_stays_apart(chunks: list[list[Detail]]) -> None:
    assert build_details(*chunks) == tuple(piece for chunk in chunks for piece in chunk)


def test_text_without_an_index_continues_the_last_of_its_type() -> None:
    piece = {"type": "reasoning.text", "text": "a"}
    assert build_details([piece], [piece]) == ({"type": "reasoning.text", "text": "aa"},)


@pytest.mark.parametrize(
    "detail",
    [
        {**SEALED, "data": "x" * MAX_BYTES},
        {**TEXT, "text": "a", "more": "x" * MAX_BYTES},
        {**TEXT, "count": 2**70},
        {"deep": [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]},
    ],
    ids=["long", "long elsewhere", "integer", "deep"],
)
def test_of_details_that_cannot_be_kept_whole_none_are(detail: Detail) -> None:
    assert build_details([{**TEXT, "text": "a"}], [detail], [{**TEXT, "text": "b"}]) == ()


def test_many_small_pieces_fill_the_room_by_what_they_add() -> None:
    assert (
        build_details(*([{**TEXT, "text": "word "}] for _ in range(5_000)))[0]["text"]
        == "word " * 5_000
    )
    assert build_details(*([{**TEXT, "text": "x" * 1_000}] for _ in range(300))) == ()


def test_half_a_character_and_a_nul_are_kept_as_what_every_store_takes() -> None:
    assert build_details([{**TEXT, "text": "a\ud83d", "na\0me": ["\0"]}]) == (
        {**TEXT, "text": "a\ufffd", "na\ufffdme": ["\ufffd"]},
    )


@pytest.mark.parametrize("piece", [{}, {**TEXT, "text": ""}], ids=["new", "continued"])
def test_pieces_that_add_nothing_fill_the_room_too(piece: Detail) -> None:
    builder = DetailsBuilder()
    builder.add([{**TEXT, "text": "a"}])
    builder.add([piece] * 20_000)
    assert builder.entries({}) == ()


def test_pieces_beyond_the_room_are_not_looked_at() -> None:
    class Piece(dict[str, Any]):
        reads = 0

        def get(self, key: str, default: Any = None) -> Any:
            Piece.reads += 1
            return super().get(key, default)

    builder = DetailsBuilder()
    builder.add([{**TEXT, "text": "x" * MAX_BYTES}])
    builder.add([Piece(TEXT) for _ in range(1_000)])

    assert (Piece.reads, builder.entries({})) == (0, ())


def test_a_whole_reply_has_its_details_and_a_cut_one_has_none() -> None:
    whole_reply, cut_reply = turn(SEALED), turn(SEALED, cut=True)

    assert whole_reply.reasoning_details is not None
    assert (whole_reply.reasoning_details.origin, whole_reply.reasoning_details.details) == (
        "here",
        (SEALED,),
    )
    assert (cut_reply.text, cut_reply.reasoning_details) == ("hi", None)


def test_a_detail_names_its_call_by_the_id_under_which_it_goes_back() -> None:
    reply = turn({**SEALED, "id": "used"}, call_id="used")

    assert reply.calls[0].id == "call_1"
    assert reply.reasoning_details is not None
    assert reply.reasoning_details.details == ({**SEALED, "id": "call_1"},)


@given(
    st.lists(
        st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(["reasoning.text", "reasoning.summary"])},
                optional={
                    "text": st.text("ab", max_size=3),
                    "index": st.sampled_from([0, 1]),
                    "id": st.sampled_from(["a", "b", None]),
                },
            ),
            max_size=3,
        )
    )
)
def test_no_text_is_lost_or_said_twice(chunks: list[list[Detail]]) -> None:
    pieces = [piece for chunk in chunks for piece in chunk]
    for kind in ("reasoning.text", "reasoning.summary"):
        fed_texts = [piece.get("text", "") for piece in pieces if piece["type"] == kind]
        built_texts = [
            entry.get("text", "") for entry in build_details(*chunks) if entry["type"] == kind
        ]
        assert sorted("".join(fed_texts)) == sorted("".join(built_texts))

"""Cumulative text is cut to its new part, and other text is never mistaken for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from antiphon.providers.inline_tags import GROWTHS, LONGEST_TOKEN, CumulativeText

TEXTS = st.text("ha \n", min_size=1, max_size=6)
RESTATING = st.lists(TEXTS | st.sampled_from(["ha", "haha", "hahaha", "hahahaha"]))


def join_deltas(pieces: Sequence[str], *, sure: bool = False) -> str:
    snapshots = CumulativeText(sure=sure)
    return "".join([*map(snapshots.feed, pieces), snapshots.settle()])


def grow(steps: Sequence[str]) -> list[str]:
    return ["".join(steps[:end]) for end in range(1, len(steps) + 1)]


def growths(pieces: Sequence[str]) -> Iterator[str]:
    """Return the parts that each piece of the initial chain repeats."""
    for last, piece in pairwise(pieces):
        if len(piece) <= len(last) or not piece.startswith(last):
            return
        yield last


def is_cumulative(pieces: Sequence[str]) -> bool:
    chain = list(growths(pieces))
    return len(chain) >= GROWTHS and len(chain[-1]) > LONGEST_TOKEN


@given(RESTATING)
def test_what_proves_nothing_is_left_as_it_is(pieces: list[str]) -> None:
    assume(not is_cumulative(pieces))

    assert join_deltas(pieces) == "".join(pieces)


@given(st.lists(TEXTS, min_size=1, max_size=2 * GROWTHS), RESTATING)
def test_a_chain_that_breaks_before_it_is_proved_is_left_as_it_is(
    steps: list[str], rest: list[str]
) -> None:
    pieces = [*grow(steps), steps[0], *rest]
    assume(not is_cumulative(pieces))

    assert join_deltas(pieces) == "".join(pieces)


@given(st.lists(TEXTS, min_size=GROWTHS + 1), st.integers(0, GROWTHS))
def test_a_reply_that_keeps_repeating_itself_is_told_once(steps: list[str], at: int) -> None:
    steps.insert(at, "x" * LONGEST_TOKEN)
    steps[0] += "x"
    pieces = grow([*steps, "the end"])
    assume(is_cumulative(pieces))

    assert join_deltas(pieces) == "".join(steps) + "the end"


@given(st.lists(TEXTS, min_size=1))
def test_of_a_declared_server_every_reply_is_told_once(steps: list[str]) -> None:
    assert join_deltas(grow(steps), sure=True) == "".join(steps)


@pytest.mark.parametrize(
    "pieces",
    [
        ["ha", "ha"],
        ["ha", "haha"],
        ["a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh", "abcdefghi", "!"],
        [" al", " alp", " alph", " alpha", " alphab", " alphabe", " alphabet"],
        ["=" * 2**power for power in range(8)],
        [" " * length for length in range(1, LONGEST_TOKEN + 1)],
        ["verse " * 40, "verse " * 40 + "chorus ", "verse " * 40 + "chorus " * 2],
        ["x" * 200] * 20,
    ],
    ids=lambda pieces: pieces[0][:8],
)
def test_a_reply_that_restates_itself_is_not_damaged(pieces: list[str]) -> None:
    assert join_deltas(pieces) == "".join(pieces)


@given(st.lists(st.text(min_size=1), min_size=2))
def test_a_reply_that_does_not_restate_itself_never_waits(pieces: list[str]) -> None:
    assume(not pieces[1].startswith(pieces[0]))
    snapshots = CumulativeText(sure=False)

    assert [snapshots.feed(piece) for piece in pieces] == pieces


def test_what_is_proved_streams_on() -> None:
    snapshots = CumulativeText(sure=False)
    for piece in grow(["x" * 30] * 9):
        snapshots.feed(piece)

    assert snapshots.feed("x" * 270 + " and on") == " and on"

"""The cost of a redraw does not grow with the answer. Calls are counted, not time."""

from __future__ import annotations

import io
import sys
from types import FrameType
from typing import Any

import pytest
from markdown_it import MarkdownIt

from antiphon.terminal.painters import InputRows, Region
from antiphon.terminal.streaming_response_handler import StreamingResponseHandler
from antiphon.terminal.themes import THEMES, Ink
from antiphon.types.events import ReasoningDelta, TextDelta
from benchmarks.answers import BLOCKS, mixed_answer, single

STEP = 20
MEASURED_REDRAWS = 120
"""Redraws that are watched at the beginning, and at the end."""


class DrawnAnswer:
    """Draws one answer as it grows."""

    def __init__(self) -> None:
        self._out = io.StringIO()
        self._handler = StreamingResponseHandler(THEMES["dark"])
        self._region = Region(self._out, Ink(THEMES["dark"]))

    def draw(self, event: TextDelta | ReasoningDelta) -> None:
        self._handler.handle_event(event, 1.0)
        self._region.paint(self._handler.frame(100, 40, 1.0), InputRows(), 100, 1.0)


def count_calls(answer: DrawnAnswer, events: list[Any]) -> int:
    """Count the function calls while the events are drawn."""
    count = 0

    def count_call(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(count_call)
    try:
        for event in events:
            answer.draw(event)
    finally:
        sys.setprofile(None)
    return count


def measure_growth(events: list[Any]) -> float:
    """Return the calls of the last redraws for each call of the first."""
    answer = DrawnAnswer()
    warm_up = len(events) // 4
    for event in events[:warm_up]:
        answer.draw(event)
    first = count_calls(answer, events[warm_up : warm_up + MEASURED_REDRAWS])
    for event in events[warm_up + MEASURED_REDRAWS : -MEASURED_REDRAWS]:
        answer.draw(event)
    return count_calls(answer, events[-MEASURED_REDRAWS:]) / first


def deltas(text: str) -> list[TextDelta]:
    return [TextDelta(text=text[at : at + STEP]) for at in range(0, len(text), STEP)]


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [2_000, pytest.param(16_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("kind", BLOCKS)
def test_a_redraw_of_a_block_that_does_not_end_stays_as_cheap(kind: str, tokens: int):
    assert measure_growth(deltas(single(kind, tokens))) <= 1.3


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [2_500, pytest.param(16_000, marks=pytest.mark.soak)])
def test_a_redraw_of_long_reasoning_stays_as_cheap(tokens: int):
    text = single("paragraph", tokens)

    assert measure_growth([ReasoningDelta(text=delta.text) for delta in deltas(text)]) <= 1.3


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [4_000, pytest.param(64_000, marks=pytest.mark.soak)])
def test_a_redraw_of_a_long_answer_stays_as_cheap(tokens: int):
    assert measure_growth(deltas(mixed_answer(tokens))) <= 1.3


@pytest.mark.slow
def test_the_reader_of_marks_is_given_a_few_times_the_text_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
):
    lengths: list[int] = []
    parse = MarkdownIt.parseInline

    def count(self: MarkdownIt, src: str, env: Any = None) -> Any:
        lengths.append(len(src))
        return parse(self, src, env)

    monkeypatch.setattr(MarkdownIt, "parseInline", count)
    lengths_per_event: list[int] = []
    for tokens in (2_000, 8_000):
        lengths.clear()
        answer, events = DrawnAnswer(), deltas(single("paragraph", tokens))
        for event in events:
            answer.draw(event)
        lengths_per_event.append(sum(lengths) // len(events))

    assert lengths_per_event[1] <= 1.1 * lengths_per_event[0] <= 800

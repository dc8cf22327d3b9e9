"""Cost of a redraw in the terminal chat while an answer comes, at its beginning and its end."""

from __future__ import annotations

import io
import time

from antiphon.terminal.markdown.text_spans import Highlighter
from antiphon.terminal.painters import InputRows, Region
from antiphon.terminal.spans import StyledText
from antiphon.terminal.streaming_response_handler import StreamingResponseHandler
from antiphon.terminal.themes import THEMES, Ink
from antiphon.types.events import ReasoningDelta, TextDelta
from benchmarks.answers import BLOCKS, CHARACTERS_PER_TOKEN, mixed_answer, single
from benchmarks.bench import Bench
from benchmarks.report import Figure, Row, row

_STEP = 5 * CHARACTERS_PER_TOKEN  # characters between two redraws
_TYPED = InputRows(rows=((StyledText("> "),),), cursor=(0, 2))


async def measure(bench: Bench) -> list[Row]:
    """Measure redraws of five tokens each, through the handler, the typesetter and the region."""
    Highlighter("python").line("")  # loads the rules of the language, some 40 ms
    mixed_tokens, block_tokens = bench.pick(500, 16_000, 64_000), bench.pick(300, 4_000, 16_000)
    rows = _rows(f"{mixed_tokens:,} tokens of all kinds", mixed_answer(mixed_tokens))
    for kind in BLOCKS:
        rows += _rows(f"{block_tokens:,} tokens in one {kind}", single(kind, block_tokens))[:1]
    costs = _measure_redraws(single("paragraph", block_tokens), ReasoningDelta)
    rows.append(_growth(f"{block_tokens:,} tokens of reasoning", costs))
    return rows


class _Sink(io.StringIO):
    """Stream that counts the characters written to it, and discards them."""

    size = 0

    def write(self, text: str) -> int:
        self.size += len(text)
        return len(text)


def _measure_redraws(text: str, kind: type[TextDelta | ReasoningDelta] = TextDelta) -> list[float]:
    """Return CPU seconds of each redraw and, last, characters written per character of text."""
    theme, sink = THEMES["dark"], _Sink()
    handler, region = StreamingResponseHandler(theme), Region(sink, Ink(theme))
    costs: list[float] = []
    for number, at in enumerate(range(0, len(text), _STEP)):
        began = time.process_time()
        handler.handle_event(kind(text=text[at : at + _STEP]), number / 20)
        region.paint(handler.frame(100, 40, number / 20), _TYPED, 100, number / 20)
        costs.append(time.process_time() - began)
    return [*costs, sink.size / len(text)]


def _rows(what: str, text: str) -> list[Row]:
    costs = _measure_redraws(text)
    *redraws, written = costs
    return [
        _growth(what, costs),
        row(
            f"{what}: the slowest redraw",
            Figure((max(redraws) * 1e3,), "ms"),
            target="at most 50 ms",
            at_most=50.0,
        ),
        row(
            f"{what}: written per character said",
            Figure((written,), ""),
            target="at most 20",
            at_most=20.0,
        ),
    ]


def _growth(what: str, costs: list[float]) -> Row:
    redraws = costs[:-1]
    quarter = max(1, len(redraws) // 4)
    first = Figure((sum(redraws[:quarter]) / quarter * 1e3,), "ms")
    last = Figure((sum(redraws[-quarter:]) / quarter * 1e3,), "ms")
    return row(
        f"{what}: CPU per redraw, last quarter",
        last,
        "first quarter",
        first,
        target="at most 1.3 times, and 5 ms",
        ratio_at_most=1.3,
        at_most=5.0,
    )

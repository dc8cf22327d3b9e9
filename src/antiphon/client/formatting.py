"""Numbers, times and arguments for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from antiphon.engine.text_search import find_highlights
from antiphon.types.messages import IndexProgress
from antiphon.types.thread_view import ReasoningView


def count_noun(number: int, one: str, several: str = "") -> str:
    """Return `1 reply` or `2 replies`; `several` defaults to `one` with an s."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def short_number(tokens: int) -> str:
    """Return a number of tokens as 900, 8.2k, 128k or 1M."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if tokens >= 10 * size:
            return f"{tokens / size:.0f}{unit}"
        if tokens >= size:
            return f"{tokens / size:.1f}".removesuffix(".0") + unit
    return str(tokens)


def dollars(cost: float | None) -> str:
    """Return a cost; "" if it is unknown."""
    if cost is None:
        return ""
    return "less than $0.0001" if 0 < cost < 0.0001 else f"${cost:.4f}"


def moment(milliseconds: int) -> str:
    """Return a time in milliseconds since 1970 in UTC as ISO 8601, to the second."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_duration(milliseconds: int) -> str:
    """Return a duration, short: `340 ms`, `1.2 s`, `4 min 5 s` or `3 h 20 min`."""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def name_reasoning(reasoning: ReasoningView) -> str:
    """Return the heading of a model's reasoning, with its duration if that is known."""
    took = format_duration(1000 * reasoning.seconds).replace(".0 s", " s")
    return f"Reasoning, {took}" if reasoning.seconds else "Reasoning"


def format_arguments(arguments: str) -> str:
    """Return a tool call's arguments as indented JSON; unchanged if they are not JSON."""
    try:
        return msgspec.json.format(arguments, indent=2)
    except msgspec.DecodeError:
        return arguments


def split_highlights(
    text: str, highlights: Sequence[tuple[int, int]]
) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a snippet, in order, with whether each is highlighted."""
    end = 0
    for start, stop in highlights:
        if start > end:
            yield text[end:start], False
        yield text[start:stop], True
        end = stop
    if end < len(text):
        yield text[end:], False


def split_found_words(text: str, query: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a text in order, each with True if the query found it."""
    return split_highlights(text, find_highlights(text, query))


def format_indexing(progress: IndexProgress) -> str:
    """Return the note beside results of a search while messages are being indexed."""
    return (
        f"{progress.done:,} of {count_noun(progress.total, 'message')} can be found so far, the"
        " newest first: the others are indexed while a server or a chat runs."
    )

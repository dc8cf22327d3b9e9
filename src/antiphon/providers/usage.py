"""What a server says a reply used, told in one meaning for all of them.

`cached_tokens` are among the input tokens and `reasoning_tokens` among the output tokens, as OpenAI
counts them, and the cost is in US dollars. Nothing that a server writes here breaks a reply: what
is no count is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard, cast

from antiphon.runs import Usage

MAX_COUNT = 10**12
"""No reply has more tokens, nor costs more dollars: the sums of a run stay exact everywhere."""

TICKS = 10**10  # of xAI's, to a dollar


def counted(fields: Mapping[str, Any]) -> Usage:
    """The usage in a `usage` object of chat completions."""
    taken, said = _count(fields.get("prompt_tokens")), _count(fields.get("completion_tokens"))
    thought = _thought(fields)
    if thought > said or taken + said + thought == fields.get("total_tokens"):
        # xAI and Gemini count the reasoning beside the completion, and Perplexity's deep research
        # too, whose total leaves it out. Newer models of xAI do as OpenAI: only the sums tell.
        said += thought
    return Usage(
        input_tokens=taken,
        output_tokens=said,
        cached_tokens=min(_cached(fields), taken),
        reasoning_tokens=thought,
        cost=_cost(fields),
    )


def _cached(fields: Mapping[str, Any]) -> int:
    """OpenAI and most others have it among the details, DeepSeek and Moonshot beside the counts."""
    details = _object(fields.get("prompt_tokens_details"))
    places = (
        details.get("cached_tokens"),
        fields.get("prompt_cache_hit_tokens"),
        fields.get("cached_tokens"),
    )
    return max(map(_count, places))


def _thought(fields: Mapping[str, Any]) -> int:
    """OpenAI and most others have it among the details, Perplexity beside the counts."""
    details = _object(fields.get("completion_tokens_details"))
    return max(_count(details.get("reasoning_tokens")), _count(fields.get("reasoning_tokens")))


def _cost(fields: Mapping[str, Any]) -> float | None:
    """OpenRouter's `cost`, the sum in Perplexity's, or xAI's in ticks; most say nothing of it."""
    cost, ticks = fields.get("cost"), fields.get("cost_in_usd_ticks")
    if _is_number(ticks):
        return ticks / TICKS
    total = _object(cost).get("total_cost", cost)
    return float(total) if _is_number(total) else None


def _count(value: Any) -> int:
    return int(value) if _is_number(value) else 0


def _is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it can be counted with; NaN compares to nothing, and a truth is no number."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT
    )


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

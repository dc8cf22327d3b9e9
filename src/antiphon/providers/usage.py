"""Normalization of token usage and cost reported by providers.

`cached_tokens` are part of the input tokens and `reasoning_tokens` part of the output tokens, as
OpenAI counts them; the cost is in US dollars. Invalid values are ignored and never break a reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard, cast

from antiphon.types.runs import Usage

MAX_COUNT = 10**12
"""No reply has more tokens, nor costs more dollars: the sums of a run stay exact everywhere."""

TICKS = 10**10  # of xAI's, to a dollar


def parse_usage(fields: Mapping[str, Any]) -> Usage:
    """Parse the `usage` object of chat completions."""
    taken, said = _count(fields.get("prompt_tokens")), _count(fields.get("completion_tokens"))
    thought = _reasoning_tokens(fields)
    if _is_beside(taken, said, thought, fields):
        said += thought
    return Usage(
        input_tokens=taken,
        output_tokens=said,
        cached_tokens=min(_cached_tokens(fields), taken),
        reasoning_tokens=min(thought, said),
        cost=_cost(fields),
    )


def _is_beside(taken: int, said: int, thought: int, fields: Mapping[str, Any]) -> bool:
    """Return whether the reasoning is counted beside the completion, and not as a part of it.

    xAI and Gemini do so, and Perplexity's deep research too, whose total leaves it out. Newer
    models of xAI do as OpenAI: only the sums tell. A total of input and completion alone holds the
    reasoning of every other server, however much of it the details name.
    """
    total = fields.get("total_tokens")
    if taken + said + thought == total:
        return True
    return thought > said and not (said and taken + said == total and _in_details(fields))


def _cached_tokens(fields: Mapping[str, Any]) -> int:
    """The cached tokens of the input, from where each server has them.

    OpenAI and most others have them among the details; DeepSeek, Moonshot and Mistral beside the
    counts, and Mistral in details of a name in the singular too.
    """
    places = (
        _object(fields.get("prompt_tokens_details")).get("cached_tokens"),
        _object(fields.get("prompt_token_details")).get("cached_tokens"),
        fields.get("prompt_cache_hit_tokens"),
        fields.get("cached_tokens"),
        fields.get("num_cached_tokens"),
    )
    return max(map(_count, places))


def _reasoning_tokens(fields: Mapping[str, Any]) -> int:
    """OpenAI and most others have it among the details, Perplexity beside the counts."""
    return max(_in_details(fields), _count(fields.get("reasoning_tokens")))


def _in_details(fields: Mapping[str, Any]) -> int:
    return _count(_object(fields.get("completion_tokens_details")).get("reasoning_tokens"))


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
    """Return whether the value is a finite number; booleans do not count."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT
    )


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

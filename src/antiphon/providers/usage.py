"""Normalization of token usage and cost reported by providers.

`cached_tokens` are part of the input tokens and `reasoning_tokens` part of the output tokens, as
OpenAI counts them; the cost is in US dollars. Invalid values are ignored and never break a reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from antiphon.types.json_values import object_or_empty
from antiphon.types.runs import Usage

MAX_COUNT = 10**12
"""Upper bound of tokens, and of dollars, in one reply, so that the sums of a run stay exact."""

MAX_AUDIO_SECONDS = 10**6
"""Upper bound of the seconds of one recording."""

TICKS = 10**10  # xAI's unit of cost: ticks in a dollar


def parse_usage(fields: Mapping[str, Any]) -> Usage:
    """Parse the `usage` object of chat completions."""
    prompt = _count(fields.get("prompt_tokens"))
    completion = _count(fields.get("completion_tokens"))
    # OpenAI and most others have it among the details, Perplexity beside the counts.
    reasoning = max(_reasoning_in_details(fields), _count(fields.get("reasoning_tokens")))
    if _is_reasoning_separate(prompt, completion, reasoning, fields):
        completion += reasoning
    return Usage(
        input_tokens=prompt,
        output_tokens=completion,
        cached_tokens=min(_count_cached(fields), prompt),
        reasoning_tokens=min(reasoning, completion),
        cost=_cost(fields),
    )


def parse_audio_usage(fields: object) -> Usage:
    """Parse the tokens in the `usage` object of a transcription; one of seconds has none."""
    known = object_or_empty(fields)
    return Usage(
        input_tokens=_count(known.get("input_tokens")),
        output_tokens=_count(known.get("output_tokens")),
    )


def parse_audio_seconds(fields: object) -> float:
    """Parse the seconds in the `usage` object of a transcription; 0 if it counts tokens."""
    known = object_or_empty(fields)
    seconds = known.get("seconds")
    if known.get("type") != "duration" or isinstance(seconds, bool):
        return 0.0
    if not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_AUDIO_SECONDS:
        return 0.0
    return float(seconds)


def _is_reasoning_separate(
    prompt: int, completion: int, reasoning: int, fields: Mapping[str, Any]
) -> bool:
    """Return whether reasoning tokens are counted beside the completion, not as a part of it.

    xAI and Gemini count them separately, and so does Perplexity's deep research, whose total omits
    them. Newer models of xAI count as OpenAI does, so only the sums decide. For every other server,
    a total of prompt and completion includes the reasoning, however much the details report.
    """
    total = fields.get("total_tokens")
    if prompt + completion + reasoning == total:
        return True
    is_included = completion and prompt + completion == total and _reasoning_in_details(fields)
    return reasoning > completion and not is_included


def _count_cached(fields: Mapping[str, Any]) -> int:
    """Return the cached input tokens.

    OpenAI and most others report them among the details; DeepSeek, Moonshot and Mistral beside the
    counts, and Mistral also in details whose name is in the singular.
    """
    places = (
        object_or_empty(fields.get("prompt_tokens_details")).get("cached_tokens"),
        object_or_empty(fields.get("prompt_token_details")).get("cached_tokens"),
        fields.get("prompt_cache_hit_tokens"),
        fields.get("cached_tokens"),
        fields.get("num_cached_tokens"),
    )
    return max(map(_count, places))


def _reasoning_in_details(fields: Mapping[str, Any]) -> int:
    return _count(object_or_empty(fields.get("completion_tokens_details")).get("reasoning_tokens"))


def _cost(fields: Mapping[str, Any]) -> float | None:
    """Return OpenRouter's `cost`, the total of Perplexity's, or xAI's in ticks; else None."""
    cost, ticks = fields.get("cost"), fields.get("cost_in_usd_ticks")
    if _is_number(ticks):
        return ticks / TICKS
    total = object_or_empty(cost).get("total_cost", cost)
    return float(total) if _is_number(total) else None


def _count(value: Any) -> int:
    return int(value) if _is_number(value) else 0


def _is_number(value: Any) -> TypeGuard[int | float]:
    """Return whether the value is a finite number; booleans do not count."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT
    )

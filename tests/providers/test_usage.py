"""Usage in the form of each server, read into one form from the reply that contains it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.providers.stream_parser import ChatCompletionsParser
from antiphon.providers.usage import MAX_COUNT, parse_usage
from antiphon.types.chunks import UsagePiece
from antiphon.types.runs import Usage


def report(**frame: Any) -> Usage:
    """Return the usage that a reply with this frame reports."""
    reply = ChatCompletionsParser()
    event = b"data: " + json.dumps({"choices": [], **frame}).encode() + b"\n\n"
    chunks = [*(reply.feed(event) or []), *reply.close()]
    (usage,) = [chunk.usage for chunk in chunks if isinstance(chunk, UsagePiece)]
    return usage


OPENAI = {
    "prompt_tokens": 2_006,
    "completion_tokens": 300,
    "total_tokens": 2_306,
    "prompt_tokens_details": {"cached_tokens": 1_920, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 128, "audio_tokens": 0},
}
EXPECTED = Usage(input_tokens=2_006, output_tokens=300, cached_tokens=1_920, reasoning_tokens=128)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(OPENAI, EXPECTED, id="openai"),
        pytest.param(
            {
                "prompt_tokens": 339,
                "completion_tokens": 83,
                "total_tokens": 422,
                "completion_tokens_details": {"reasoning_tokens": 39},
                "prompt_cache_hit_tokens": 320,
                "prompt_cache_miss_tokens": 19,
            },
            Usage(input_tokens=339, output_tokens=83, cached_tokens=320, reasoning_tokens=39),
            id="deepseek has cache hits beside the counts",
        ),
        pytest.param(
            {
                "prompt_tokens": 12,
                "completion_tokens": 2,
                "total_tokens": 354,
                "prompt_tokens_details": {"text_tokens": 12, "cached_tokens": 11},
                "completion_tokens_details": {"reasoning_tokens": 340},
                "cost_in_usd_ticks": 1_721_250,
            },
            Usage(
                input_tokens=12,
                output_tokens=342,
                cached_tokens=11,
                reasoning_tokens=340,
                cost=0.000172125,
            ),
            id="xai counts reasoning beside the completion, and says the cost in ticks",
        ),
        pytest.param(
            {
                "prompt_tokens": 8,
                "completion_tokens": 500,
                "total_tokens": 748,
                "completion_tokens_details": {"reasoning_tokens": 240},
            },
            Usage(input_tokens=8, output_tokens=740, reasoning_tokens=240),
            id="gemini's total gives away reasoning that is less than the completion",
        ),
        pytest.param(
            {
                "prompt_tokens": 33,
                "completion_tokens": 7_163,
                "total_tokens": 7_196,
                "citation_tokens": 19_028,
                "reasoning_tokens": 73_997,
                "cost": {"input_tokens_cost": 0.0, "request_cost": 0.09, "total_cost": 0.407},
            },
            Usage(input_tokens=33, output_tokens=81_160, reasoning_tokens=73_997, cost=0.407),
            id="perplexity says the cost in parts, and leaves reasoning out of its total",
        ),
        pytest.param(
            {
                "prompt_tokens": 171,
                "completion_tokens": 14,
                "total_tokens": 185,
                "prompt_tokens_details": {"cached_tokens": 128},
            },
            Usage(input_tokens=171, output_tokens=14, cached_tokens=128),
            id="mistral",
        ),
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 14,
                "total_tokens": 114,
                "num_cached_tokens": 64,
            },
            Usage(input_tokens=100, output_tokens=14, cached_tokens=64),
            id="mistral has cached tokens beside the counts, under a name of its own",
        ),
        pytest.param(
            {
                "prompt_tokens": 100,
                "completion_tokens": 14,
                "total_tokens": 114,
                "prompt_token_details": {"cached_tokens": 64},
            },
            Usage(input_tokens=100, output_tokens=14, cached_tokens=64),
            id="mistral has the details of the prompt in the singular too",
        ),
        pytest.param(
            {
                "prompt_tokens": 30,
                "completion_tokens": 16,
                "total_tokens": 46,
                "completion_tokens_details": {"reasoning_tokens": 19},
            },
            Usage(input_tokens=30, output_tokens=16, reasoning_tokens=16),
            id="a total that holds the reasoning, of which more is said than there is output",
        ),
        pytest.param(
            {
                "prompt_tokens": 21,
                "completion_tokens": 0,
                "total_tokens": 81,
                "completion_tokens_details": {"reasoning_tokens": 60},
            },
            Usage(input_tokens=21, output_tokens=60, reasoning_tokens=60),
            id="a completion of reasoning alone, which is counted beside it",
        ),
        pytest.param(
            {
                "prompt_tokens": 19,
                "completion_tokens": 21,
                "total_tokens": 40,
                "cached_tokens": 10,
            },
            Usage(input_tokens=19, output_tokens=21, cached_tokens=10),
            id="moonshot has cached tokens beside the counts",
        ),
        pytest.param(
            {
                "prompt_tokens": 194,
                "completion_tokens": 2,
                "total_tokens": 196,
                "cost": 0.00095,
                "cost_details": {"upstream_inference_cost": 19},
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100},
            },
            Usage(input_tokens=194, output_tokens=2, cost=0.00095),
            id="openrouter says the cost",
        ),
    ],
)
def test_what_a_server_counts_is_read_in_one_meaning(usage: dict[str, Any], expected: Usage):
    assert report(usage=usage) == expected


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param({"usage": OPENAI}, id="at the top"),
        pytest.param({"x_groq": {"id": "req_1", "usage": OPENAI}}, id="where groq had it"),
        pytest.param({"x_groq": {"usage": OPENAI}, "usage": OPENAI}, id="groq says it twice"),
        pytest.param(
            {"choices": [{"delta": {}, "finish_reason": "stop", "usage": OPENAI}]},
            id="in moonshot's choice",
        ),
    ],
)
def test_usage_is_found_wherever_a_server_puts_it(frame: dict[str, Any]):
    assert report(**frame) == EXPECTED


@pytest.mark.parametrize(
    "value", [-1, -0.5, "12", None, True, [], {}, 10**30, 1e300], ids=lambda value: repr(value)[:12]
)
def test_what_is_no_count_counts_for_nothing(value: Any):
    usage = {
        "prompt_tokens": value,
        "completion_tokens": 5,
        "total_tokens": value,
        "prompt_tokens_details": {"cached_tokens": value},
        "completion_tokens_details": value,
        "cost": value,
    }
    assert report(usage=usage) == Usage(output_tokens=5)


def test_there_is_never_more_in_the_cache_than_was_taken_in():
    false_usage = {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 7}}
    assert report(usage=false_usage).cached_tokens == 5


ANYTHING = st.sampled_from([None, True, "12", []]) | st.integers() | st.floats()
NAMES = st.sampled_from(
    [
        *("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "cost"),
        *("prompt_tokens_details", "completion_tokens_details", "reasoning_tokens", "total_cost"),
        *("prompt_cache_hit_tokens", "cost_in_usd_ticks", "num_cached_tokens"),
    ]
)


@given(st.dictionaries(NAMES, ANYTHING | st.dictionaries(NAMES, ANYTHING, max_size=4)))
def test_whatever_a_server_writes_the_parts_stay_within_their_wholes(fields: dict[str, Any]):
    usage = parse_usage(fields)
    assert 0 <= usage.cached_tokens <= usage.input_tokens <= MAX_COUNT
    assert 0 <= usage.reasoning_tokens <= usage.output_tokens <= 2 * MAX_COUNT
    assert usage.cost is None or 0 <= usage.cost <= MAX_COUNT
    assert msgspec.json.decode(msgspec.json.encode(usage), type=Usage) == usage

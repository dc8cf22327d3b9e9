"""Random replies: random bytes, pieces of the grammar, and damaged scenarios."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.support.providers.upstream import SCENARIOS

SHORT = sorted(
    {
        scenario.body
        for name, scenario in SCENARIOS.items()
        if 0 < len(scenario.body) < 2_500 and name != "gzip"
    }
)

FRAGMENTS = st.sampled_from(
    [
        *(b"data: ", b"\n\n", b"\n", b"\r", b"event: error\n", b"[DONE]", b": x\n", b"retry: 1\n"),
        *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\xff", b"\xef\xbb\xbf", b"\0", b"\\"),
        *(b'{"choices":[{"delta":{"content":', b'"x"', b"null", b"}}]}", b"<html>", b"1e999"),
        *(b'{"choices":[{"delta":{"tool_calls":[{"function":', b'{"arguments":', b'"name":"f"'),
        *(b'{"usage":{"prompt_tokens":', b'"finish_reason":', b'"\\ud83d"', b"-1", b"error"),
        *(b"<think>", b"</think>", b"<tool_call>", b"</tool_call>", b'{"error":', b'"stop"'),
    ]
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["f", "{}", '{"x":1}', '{"x"', ":1}", "", "stop", "tool_calls", "length"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("choices", "delta", "message", "content", "reasoning", "tool_calls", "id"),
                    *("reasoning_content", "function", "name", "arguments", "index", "error"),
                    *("finish_reason", "usage", "prompt_tokens", "type", "text", "object"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@st.composite
def _deltas(draw: st.DrawFn) -> bytes:
    """Draw events of the right shape with any values."""
    payloads = [
        {"choices": [{"delta": draw(VALUES), "finish_reason": draw(st.sampled_from(WORDS))}]}
        if draw(st.booleans())
        else {"choices": [{"delta": {draw(st.sampled_from(FIELDS)): draw(VALUES)}}]}
        for _ in range(draw(st.integers(1, 5)))
    ]
    done = b"data: [DONE]\n\n" if draw(st.booleans()) else b""
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in payloads) + done


WORDS = (None, None, "stop", "tool_calls", "length", "error", "", 7)
FIELDS = ("content", "reasoning", "reasoning_content", "reasoning_details", "tool_calls")


@st.composite
def _damaged_replies(draw: st.DrawFn) -> bytes:
    """Draw a scenario with up to four damages."""
    body = draw(st.sampled_from(SHORT))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 40)))
        match draw(st.sampled_from(["cut", "drop", "double", "put", "flip"])):
            case "cut":
                body = body[:start]
            case "drop":
                body = body[:start] + body[end:]
            case "double":
                body = body[:end] + body[start:]
            case "put":
                body = body[:start] + draw(FRAGMENTS) + body[end:]
            case _:
                body = body[:start] + draw(st.binary(min_size=1, max_size=2)) + body[start + 1 :]
    return body


@st.composite
def _shuffled_replies(draw: st.DrawFn) -> bytes:
    """Draw the events of two scenarios in any order."""
    first, second = draw(st.sampled_from(SHORT)), draw(st.sampled_from(SHORT))
    events = (first + second).split(b"\n\n")[:40]
    return b"\n\n".join(draw(st.permutations(events))) + b"\n\n"


BODIES = st.one_of(
    st.binary(max_size=300),
    st.lists(FRAGMENTS, max_size=30).map(b"".join),
    _deltas(),
    _damaged_replies(),
    _shuffled_replies(),
)
"""What a server may send as the body of a reply."""

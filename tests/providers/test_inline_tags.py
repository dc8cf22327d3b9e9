"""Calls that a model leaks into its text are found in whatever pieces the text comes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.providers.inline_tags import LeakedCallParser
from antiphon.types.chunks import CallPiece

CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
F = CallPiece(leaked=True, index=0, name="f", arguments='{"x":1}')


def read(pieces: Sequence[str]) -> list[str | CallPiece]:
    """Return joined text and calls, in their order."""
    parser = LeakedCallParser()
    parts = [part for piece in pieces for part in parser.feed(piece)]
    joined: list[str | CallPiece] = []
    for part in [*parts, *parser.close()]:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CALL, [F]),
        (f"one\n{CALL} two", ["one\n", F, " two"]),
        (f"\n{CALL}\n", [F]),
        (
            CALL + "\n" + CALL.replace('"f"', '"g"'),
            [F, CallPiece(leaked=True, index=1, name="g", arguments='{"x":1}')],
        ),
        (CALL.removesuffix("</tool_call>"), [F]),
        (CALL.replace("arguments", "parameters"), [F]),
        (CALL.replace('{"x": 1}', json.dumps('{"x":1}')), [F]),
        (CALL.replace('{"x": 1}', '""'), [CallPiece(leaked=True, index=0, name="f")]),
        (
            CALL.replace("1", '"</tool_call>"'),
            [CallPiece(leaked=True, index=0, name="f", arguments='{"x":"</tool_call>"}')],
        ),
        ("the <tool_call> tag", ["the <tool_call> tag"]),
        ("a <tool_ca", ["a <tool_ca"]),
        ("<tool_call>", ["<tool_call>"]),
        (
            "<tool_call><tool_call>{}",
            ["<tool_call>", CallPiece(leaked=True, index=0, arguments="{}")],
        ),
        (" \n", [" \n"]),
        ("", []),
        ('<tool_call>{"name": "f"', [CallPiece(leaked=True, index=0, arguments='{"name": "f"')]),
    ],
)
def test_calls_in_text_are_told_from_text(text: str, expected: list[str | CallPiece]) -> None:
    assert read([text]) == expected
    assert read(list(text)) == expected


def test_a_call_that_may_have_lost_bytes_is_broken() -> None:
    (call,) = read([CALL.replace("1", '"\ufffd"')])

    assert isinstance(call, CallPiece)
    assert (call.name, "\x1a" in call.arguments) == (None, True)


PARTS = st.sampled_from(
    [CALL, "<tool_call>", "</tool_call>", "{", "}", '"', '{"name":"f"}', " ", "\n", "x", "<t", "\\"]
)


@given(st.lists(PARTS), st.data())
def test_how_the_text_is_cut_makes_no_difference(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    edges = [0, *cuts, len(text)]

    pieces = [text[start:end] for start, end in pairwise(edges)]

    assert read(pieces) == read([text])


@given(st.text("<tool_ca>/ x\n"))
def test_text_without_a_call_is_kept_to_the_letter(text: str) -> None:
    assert "".join(map(str, read(list(text)))) == text


@pytest.mark.slow
@pytest.mark.usefixtures("cpu_limit")
def test_long_arguments_in_single_letters_are_read_once() -> None:
    body = CALL.replace("1", json.dumps("y" * 300_000))

    (call,) = read(list(body))

    assert isinstance(call, CallPiece)
    assert len(call.arguments) == len('{"x":""}') + 300_000

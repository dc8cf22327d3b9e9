"""The value that a beginning of JSON already has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.partial_json import MAX_DEPTH, MAX_LENGTH, parse_beginning

TEXT = st.text(st.characters() | st.sampled_from('\\"u12{[,:😀'))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def is_beginning(part: Any, whole: Any) -> bool:
    """Return whether the part may grow to the whole."""
    match whole:
        case str():
            return isinstance(part, str) and whole.startswith(part)
        case list():
            return (
                isinstance(part, list)
                and part[:-1] == whole[: len(part)][:-1]
                and (not part or is_beginning(part[-1], whole[len(part) - 1]))
            )
        case dict():
            return isinstance(part, dict) and all(
                key in whole and is_beginning(value, whole[key]) for key, value in part.items()
            )
        case _:
            return bool(part == whole)


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_each_beginning_has_a_part_of_the_value(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    value = json.loads(text)  # of two equal keys the last one counts

    parts = [parse_beginning(text[:end]) for end in range(len(text) + 1)]

    assert all(part is None or is_beginning(part, value) for part in parts)
    if isinstance(value, str | list | dict):
        assert parts[-1] == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        (" \n", None),
        ("12", None),
        ("{", {}),
        ('{"a', {}),
        ('{"a":', {}),
        ('{"a":1', {}),
        ('{"a":1,', {"a": 1}),
        ('{"a":1}', {"a": 1}),
        ('{"a":tr', {}),
        ('{"a":"x', {"a": "x"}),
        ('{"a":"x\\', {"a": "x"}),
        ('{"a":"x\\\\', {"a": "x\\"}),
        ('{"a":"x\\\\u12', {"a": "x\\u12"}),
        ('{"a":"x\\ud83d', {"a": "x"}),
        ('{"a":"x\\ud83d\\ude0', {"a": "x"}),
        ('[[1],["b"', [[1], ["b"]]),
        ("Here it is: {", None),
    ],
)
def test_a_beginning(text: str, value: Any) -> None:
    assert parse_beginning(text) == value


@pytest.mark.parametrize(
    "text",
    ["{]", "[1 2,", '{"a" "b",', '{"a":"\n",', "[" * (MAX_DEPTH + 1), "[" * MAX_LENGTH + "["],
)
def test_what_is_no_beginning_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_beginning(text)

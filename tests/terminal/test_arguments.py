"""Arguments as a person reads and edits them: nothing is lost, and nothing hides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.terminal import arguments, spans
from antiphon.types.errors import InvalidRequest
from antiphon.types.terminal_safe import clean

ODD = st.text(alphabet=st.characters(codec="utf-8"))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OBJECTS = st.dictionaries(ODD, VALUES, max_size=4)


def read_lines(text: str) -> str:
    """Return all lines of the formatted arguments as one text."""
    return "\n".join(spans.text(line) for line in arguments.format_arguments(text))


@pytest.mark.slow
@given(OBJECTS)
def test_what_is_edited_reads_back_as_the_same(value: dict[str, Any]) -> None:
    editable = arguments.to_editable(json.dumps(value))

    assert json.loads(editable) == value
    assert json.loads(arguments.to_compact_json(editable)) == value


@given(OBJECTS)
def test_nothing_that_is_shown_or_edited_acts_or_hides(value: dict[str, Any]) -> None:
    text = json.dumps(value)

    assert clean(read_lines(text), "approval") == read_lines(text)
    assert clean(arguments.to_editable(text), "approval") == arguments.to_editable(text)


def test_numbers_and_names_stand_as_they_were_written() -> None:
    text = '{"n": 1.000000000000000000001, "n": 1e400}'

    assert read_lines(text) == '{\n  "n": 1.000000000000000000001,\n  "n": 1e400\n}'


def test_many_blanks_of_any_kind_are_counted() -> None:
    blanks = "\u00a0\u2800\n" * 100
    text = json.dumps({"command": f"ls{blanks}rm"})

    assert '"ls[300 blanks]rm"' in read_lines(text)


@pytest.mark.parametrize("text", ["{broken", "[" * 100_000, "\x1b[2J"])
def test_what_is_no_json_stands_as_it_came(text: str) -> None:
    assert read_lines(text) == f"These are no JSON:\n{clean(text, 'approval')}"


@pytest.mark.parametrize("typed", ["[1]", "{", "NaN", '{"a": NaN}'])
def test_only_an_object_is_taken_for_arguments(typed: str) -> None:
    with pytest.raises(InvalidRequest):
        arguments.to_compact_json(typed)


def test_nothing_typed_is_no_arguments() -> None:
    assert arguments.to_compact_json("") == "{}"

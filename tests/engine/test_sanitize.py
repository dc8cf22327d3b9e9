"""Values that can be stored, and changes that make other values storable."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.api import operations
from antiphon.engine import sanitize
from antiphon.types.errors import InvalidRequest, TooLarge

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**66), 2**66) | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
)


@given(ANY_TEXT)
def test_any_text_becomes_one_that_can_be_kept_and_stays_it(text: str):
    fit = sanitize.sanitize_text(text)

    sanitize.validate_text(fit)
    assert fit.encode().decode() == fit
    assert sanitize.sanitize_text(fit) == fit


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_text_that_can_be_kept_is_kept_as_it_is(text: str):
    assert sanitize.sanitize_text(text) is text


def test_only_what_cannot_be_kept_is_replaced():
    assert sanitize.sanitize_text("caf\udce9\0.txt") == "caf\ufffd\ufffd.txt"
    assert sanitize.sanitize_text("\ud83d\ude80") == "🚀"


@given(ANY_JSON)
def test_what_is_not_refused_comes_back_from_json_as_it_was(value: Any):
    try:
        sanitize.validate_text(value)
    except InvalidRequest:
        return

    assert msgspec.json.decode(msgspec.json.encode(value)) == value
    assert "\\u0000" not in json.dumps(value).replace("\\\\", "")


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ("\0", "$"),
        ({"a": ["b", {"c": "\ud800"}]}, "$.a[1].c"),
        ({"a\0": 1}, "$.<name>"),
        ([2**63], "$[0]"),
        ([-(2**63) - 1], "$[0]"),
        ({"a": float("nan")}, "$.a"),
        ({"a" * 500: float("inf")}, "$." + "a" * 195 + "..."),
    ],
)
def test_an_error_names_the_place_of_a_value(value: Any, where: str):
    with pytest.raises(InvalidRequest) as excinfo:
        sanitize.validate_text(value)

    assert excinfo.value.details["where"] == where


@given(ANY_JSON, st.integers(1, 6))
def test_the_levels_that_are_counted_are_brackets_within_brackets(value: Any, most: int):
    body = {"a": value}
    levels = _levels(body)

    if levels <= most:
        sanitize.validate_depth(body, most)
    else:
        with pytest.raises(TooLarge):
            sanitize.validate_depth(body, most)


def _levels(value: Any) -> int:
    match value:
        case dict():
            return 1 + max(map(_levels, value.values()), default=0)
        case list():
            return 1 + max(map(_levels, value), default=0)
        case _:
            return 0


def test_a_call_names_the_field_as_it_is_sent():
    for call, where in [
        (operations.GetThread("a\0"), "thread_id"),
        (operations.ListThreads(q="\udc80"), "q"),
        (operations.UpdateThread("a\0", title="t"), "thread_id"),
        (operations.UpdateThread("a", title="\0"), "$.title"),
    ]:
        with pytest.raises(InvalidRequest) as excinfo:
            sanitize.request_fields(call)
        assert excinfo.value.details["where"] == where


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ("text/plain", "text/plain"),
        ("Text/HTML; charset=utf-8", "text/html"),
        ("text/plain\r\nSet-Cookie: a=b", sanitize.UNKNOWN_TYPE),
        ("", sanitize.UNKNOWN_TYPE),
        ("plain", sanitize.UNKNOWN_TYPE),
    ],
)
def test_a_media_type_is_one_or_that_of_unknown_bytes(received: str, expected: str):
    assert sanitize.parse_media_type(received) == expected

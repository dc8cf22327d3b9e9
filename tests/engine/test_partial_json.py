import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.partial_json import MAX_DEPTH, MAX_LENGTH, Shape, missing_closers, parse

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, width=32),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=12,
)
json_objects = st.dictionaries(st.text(), json_values).filter(
    lambda value: "Infinity" not in json.dumps(value)
)
REFUSED = {
    "nothing": "",
    "an array": "[1]",
    "null": "null",
    "a JSON text in a string": '"{}"',
    "half an object": '{"x":',
    "two objects": '{"x":1}{"y":2}',
    "a trailing comma": '{"x":1,}',
    "a raw line end in a string": '{"x":"a\nb"}',
    "single quotes": "{'x':1}",
    "NaN": '{"x":NaN}',
    "Infinity": '{"x":-Infinity}',
    "a number no float can hold": '{"x":1e400}',
    "an integer of 5,000 digits": '{"x":' + "9" * 5000 + "}",
    "half a surrogate pair, escaped": '{"x":"\\ud800"}',
    "half a surrogate pair, raw": '{"x":"\ud800"}',
    "too deep": '{"x":' * 100_000,
    "too deep, and whole": '{"x":' * 200 + "1" + "}" * 200,
    "too long": '{"x":"' + "a" * MAX_LENGTH + '"}',
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_one_whole_object_is_refused_with_a_reason(text: str):
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


def test_the_last_of_two_equal_keys_counts():
    assert parse('{"x":1,"x":2}') == {"x": 2}


def test_an_object_as_deep_as_the_cap_is_read():
    assert parse('{"x":' * (MAX_DEPTH - 1) + "{}" + "}" * (MAX_DEPTH - 1))


@given(json_objects)
def test_what_the_standard_library_writes_is_read(value: dict[str, object]):
    assert parse(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "closers"),
    [
        ('{"x":"y"', "}"),
        ('{"x":[{"y":"z"', "}]}"),
        ('{"x":[1,2]', "}"),
        ('{"x":true ', "}"),
        ('{"x":"}]"', "}"),
        ('{"x":"\\""', "}"),
        ('{"x":"y"}', ""),
        ('{"x":12', ""),
        ('{"x":"y', ""),
        ('{"x":"y\\"', ""),
        ('{"x":', ""),
        ('{"x":"y",', ""),
        ("{", ""),
        ('{"x":[', ""),
        ('{"x":[}', ""),
        ("", ""),
    ],
)
def test_only_brackets_that_are_sure_to_be_missing_are_supplied(text: str, closers: str):
    assert missing_closers(text) == closers


@given(json_objects, st.data())
def test_the_shape_of_a_text_does_not_depend_on_how_it_was_cut(
    value: dict[str, object], data: st.DataObject
):
    text = json.dumps(value)
    end = data.draw(st.integers(0, len(text)))
    middle = data.draw(st.integers(0, end))
    pieces = Shape(text[:middle])
    pieces.feed(text[middle:end])
    assert (pieces.whole, pieces.closers) == (Shape(text[:end]).whole, Shape(text[:end]).closers)
    assert pieces.whole == (end == len(text))


@given(json_objects, st.data())
def test_a_repaired_text_only_grows_and_is_an_object_or_stays_broken(
    value: dict[str, object], data: st.DataObject
):
    text = json.dumps(value)
    start = text[: data.draw(st.integers(0, len(text)))]
    closers = missing_closers(start)
    try:
        parsed = parse(start + closers)
    except ValueError:
        return
    assert set(parsed) <= set(value)

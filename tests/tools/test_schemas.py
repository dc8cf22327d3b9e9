"""Arguments checked against a foreign schema: only what is certainly wrong is reported."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.tools.argument_check import find_argument_errors

SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "lines": {"type": "integer"},
        "deep": {"type": "boolean"},
        "mode": {"enum": ["slow", "fast"]},
        "tags": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        "where": {"type": ["object", "null"], "properties": {"x": {"type": "number"}}},
    },
    "required": ["path"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "arguments",
    [
        '{"path":"a"}',
        '{"path":"a","lines":3,"deep":true,"mode":"fast","tags":[{"name":1}],"where":{"x":1}}',
        '{"path":"a","lines":3.0,"where":null}',
        # Values that lenient servers accept.
        '{"path":"a","lines":"3","deep":"yes","tags":"[]","where":"{}"}',
        '{"path":7,"lines":null}',
    ],
)
def test_what_some_server_may_take_is_not_refused(arguments: str):
    assert find_argument_errors(arguments, SCHEMA) is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("{}", "Wrong arguments: path is missing."),
        ("", "Wrong arguments: path is missing."),
        (
            '{"path":"a","pat":1}',
            "Wrong arguments: pat is unknown (there are: path, lines, deep, mode, tags, where).",
        ),
        ('{"path":["a"]}', "Wrong arguments: path: wanted string, got array."),
        ('{"path":"a","lines":2.5}', "Wrong arguments: lines: wanted integer, got number."),
        ('{"path":"a","mode":"warp"}', "Wrong arguments: mode: wanted one of 'slow', 'fast'."),
        ('{"path":"a","tags":{}}', "Wrong arguments: tags: wanted array, got object."),
        ('{"path":"a","tags":[{"name":1},{}]}', "Wrong arguments: tags[1].name is missing."),
        (
            '{"path":"a","where":[],"lines":[]}',
            "Wrong arguments: where: wanted object or null, got array; "
            "lines: wanted integer, got array.",
        ),
        ('{"path":"a","where":{"x":{}}}', "Wrong arguments: where.x: wanted number, got object."),
        ("[1]", "The arguments are not a JSON object: wanted an object, got array."),
    ],
)
def test_what_is_surely_wrong_is_reported_with_its_place(arguments: str, expected: str):
    assert find_argument_errors(arguments, SCHEMA) == expected


@pytest.mark.parametrize("arguments", ["{", "nope", '{"a":', '{"a":' * 5_000 + "1" + "}" * 5_000])
def test_what_is_no_json_is_reported(arguments: str):
    message = find_argument_errors(arguments, {})

    assert message is not None
    assert message.startswith("The arguments are not a JSON object:")


def test_no_arguments_may_be_said_as_null():
    assert find_argument_errors("null", {"type": "object"}) is None


def test_only_the_first_errors_are_listed():
    message = find_argument_errors("{}", {"required": [str(number) for number in range(1000)]})

    assert message == "Wrong arguments: " + "; ".join(f"{n} is missing" for n in range(5)) + "."


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:1/schema.json", "required": ["x"]},
        {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"properties": {"a": {"$ref": "#"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"properties": {"a": {"type": "string", "pattern": "(a+)+$"}}},
        {"patternProperties": {"(a+)+$": {"type": "integer"}}, "additionalProperties": False},
        {"anyOf": [{"required": ["z"]}], "additionalProperties": False},
        {"required": "a", "properties": [], "type": {"a": 1}, "enum": 7},
        {"required": [1, None, {}], "properties": {"a": [], "b": None}, "type": ["what", 1]},
        {"properties": {"a": {"enum": [{}, 1]}}, "items": 3},
    ],
)
def test_a_hostile_or_broken_schema_neither_hangs_nor_fetches_nor_refuses(schema: Any):
    arguments = json.dumps({"a": "a" * 10_000 + "!"})

    started_at = time.process_time()
    assert find_argument_errors(arguments, schema) is None
    assert time.process_time() - started_at < 1


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(max_size=3), inside),
    max_leaves=5,
)
WORDS = st.sampled_from(
    ["type", "properties", "required", "items", "enum", "additionalProperties", "$ref", "anyOf"]
)
ANY_SCHEMA = st.recursive(
    ANY_JSON, lambda inside: st.dictionaries(WORDS | st.text(max_size=3), inside), max_leaves=8
)


@settings(max_examples=2 * settings.default.max_examples)
@given(ANY_JSON, st.dictionaries(WORDS, ANY_SCHEMA))
def test_whatever_comes_is_judged_without_an_error(value: Any, schema: dict[str, Any]):
    message = find_argument_errors(json.dumps(value), schema)

    assert message is None or message.endswith(".")


def test_arguments_that_cost_too_much_to_judge_are_left_to_the_server():
    choices = [f"v{number}" for number in range(5_000)]
    schema = {"type": "object", "properties": {"a": {"items": {"enum": choices}}}}
    few, many = (json.dumps({"a": ["v4999"] * count + ["w"]}) for count in (3, 100_000))

    assert find_argument_errors(few, schema) is not None
    assert find_argument_errors(many, schema) is None

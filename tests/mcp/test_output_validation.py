"""Validation of tool outputs against the schemas of their servers: refusals and their cost."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.mcp.client import output_validation
from antiphon.tools.argument_check import TooCostly

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab", 0.5, 1.0]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)
TYPES = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])
NAMES = st.lists(st.sampled_from("abc"), unique=True, max_size=2)
FEW = st.integers(0, 2)


def _inner(schemas: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(schemas, min_size=1, max_size=2)
    words = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=2),
        "enum": st.lists(JSON, min_size=1, max_size=3),
        "properties": st.dictionaries(st.sampled_from("abc"), schemas, max_size=2),
        "dependentRequired": st.dictionaries(st.sampled_from("abc"), NAMES, max_size=2),
        "dependentSchemas": st.dictionaries(st.sampled_from("abc"), schemas, max_size=1),
        "required": NAMES,
        "pattern": st.just("a"),
        "uniqueItems": st.booleans(),
        "const": JSON,
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), several),
        **dict.fromkeys(("not", "if", "then", "else", "items", "contains"), schemas),
        **dict.fromkeys(("additionalProperties", "propertyNames"), schemas),
        **dict.fromkeys(("minContains", "maxContains", "minItems", "maxLength", "minimum"), FEW),
    }
    return st.fixed_dictionaries({}, optional=words)


SCHEMAS = st.recursive(
    st.booleans() | st.fixed_dictionaries({}, optional={"type": TYPES}), _inner, max_leaves=5
)


@given(SCHEMAS, JSON)
def test_a_refused_output_violates_the_schema_for_another_library_too(schema: Any, output: Any):
    rule = {"type": "object", "properties": {"it": schema}}
    violation = output_validation.find_violation({"it": output}, rule)

    assert violation is None or not jsonschema.Draft202012Validator(schema).is_valid(output)


@given(SCHEMAS.filter(lambda schema: "pattern" not in str(schema)), JSON)
def test_an_accepted_output_matches_the_schema_for_another_library_too(schema: Any, output: Any):
    rule = {"type": "object", "properties": {"it": schema}}
    violation = output_validation.find_violation({"it": output}, rule)

    assert violation is not None or jsonschema.Draft202012Validator(schema).is_valid(output)


@pytest.mark.parametrize(
    ("schema", "output", "expected"),
    [
        ({"type": "object"}, [], "the output is not of type object"),
        ({"properties": {"a": {"type": "integer"}}}, {"a": "x"}, "a is not of type integer"),
        ({"required": ["a"]}, {}, "a is missing"),
        ({"items": {"minimum": 3}}, [4, 2], "1 is less than 3"),
        (
            {"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"a": {"$ref": "#/$defs/n"}}}}},
            {"a": {"a": {"a": 1}}},
            None,
        ),
        ({"$ref": "#n", "$defs": {"n": {"$anchor": "n", "type": "null"}}}, 1, "not of type null"),
        ({"not": {"pattern": "^a"}}, "b", None),
        ({"$ref": "https://example.com/s.json"}, 1, None),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "null"}]},
            [1],
            "0 is not of type null",
        ),
    ],
)
def test_a_violation_is_described_with_its_place(schema: Any, output: Any, expected: str | None):
    violation = output_validation.find_violation(output, schema)

    assert (violation is None) == (expected is None)
    assert expected is None or (violation or "").endswith(expected)


def test_names_in_a_violation_are_shown_safe_and_short():
    violation = output_validation.find_violation(
        {"\x1b[31m" + "x" * 1_000: 1}, {"additionalProperties": False}
    )

    assert violation is not None
    assert "\x1b" not in violation
    assert len(violation) < 200


@pytest.mark.parametrize(
    ("schema", "output"),
    [
        ({"items": {"type": "integer"}}, list(range(100_000))),
        (
            {"items": {"anyOf": [{"enum": [list(range(1_000))]}, {}]}},
            [list(range(1_001)) for _ in range(1_000)],
        ),
        ({"additionalProperties": {"$ref": "#"}}, None),
    ],
)
def test_a_validation_that_costs_too_much_is_given_up(schema: Any, output: Any):
    if output is None:
        output = {}
        for _ in range(200):
            output = {"a": output}

    with pytest.raises(TooCostly):
        output_validation.find_violation(output, schema, 10_000)

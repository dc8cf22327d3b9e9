"""Names, metadata, forms and results of MCP servers: pure functions, without the extra."""

import re
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.mcp.client.forms import FormField, Option, parse_form
from antiphon.mcp.client.server import RestartPolicy
from antiphon.mcp.client.stdio import LineSplitter, reply_id
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.metadata import (
    LONGEST,
    clean_line,
    clean_text,
    model_tool_name,
    normalize_tools,
    pop_output_schemas,
)
from antiphon.types.errors import InvalidRequest

LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}")
NAME = st.text(max_size=80) | st.text("ab_-", max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: (
        st.lists(inside, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "name", "inputSchema", "properties", "required", "annotations", "pattern"]
            )
            | st.text(max_size=5),
            inside,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(NAME, NAME)
def test_a_name_is_legal_for_every_provider_whatever_it_is_made_of(server: str, tool: str):
    assert LEGAL.fullmatch(model_tool_name(server, tool))
    assert len(model_tool_name(server, tool)) <= LONGEST


@given(st.tuples(NAME, NAME), st.tuples(NAME, NAME))
def test_two_tools_have_two_names(first: tuple[str, str], second: tuple[str, str]):
    assert (model_tool_name(*first) == model_tool_name(*second)) == (first == second)


@pytest.mark.parametrize(
    ("server", "tool", "name"),
    [
        ("files", "read", "files__read"),
        ("a-b_c", "D__e", "a-b_c__D__e"),
        ("a", "_b", "a___b"),
    ],
)
def test_a_name_that_is_plain_stays_so(server: str, tool: str, name: str):
    assert model_tool_name(server, tool) == name


@pytest.mark.parametrize(
    ("server", "tool"),
    [
        ("a_", "b"),
        ("a__b", "c"),
        ("my server", "say hello"),
        ("s", "t" * 70),
        ("s", "read_0123456789"),
        ("é", "日本"),
        ("", ""),
    ],
)
def test_a_name_that_is_not_plain_ends_in_a_hash(server: str, tool: str):
    assert re.search(r"__.*_[0-9a-f]{10}\Z", model_tool_name(server, tool))


def test_names_do_not_change_between_versions():
    assert model_tool_name("my server", "say hello") == "my_server__say_hello_bfcc7ce6fc"


def test_globs_choose_tools():
    config = ServerConfig(name="s", tools=("read_*", "list"), exclude=("*_secret",))

    assert [config.includes_tool(tool) for tool in ("read_a", "list", "read_secret", "write")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_config_shows_no_secret():
    config = ServerConfig(
        name="s", url="https://u:pw@x/?key=k", headers={"Authorization": "b"}, env={"K": "v"}
    )

    assert repr(config) == "ServerConfig(name='s', transport='stdio')"


@given(st.text())
def test_cleaned_text_neither_acts_nor_hides(text: str):
    cleaned_text = clean_text(text)

    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u2069\ufeff]", cleaned_text
    )
    assert "\n" not in clean_line(text)


@pytest.mark.parametrize("code", [0x034F, 0x200D, 0xFE0F, 0xFFF3, 0x1BCA0, 0xE0080, 0xE01F0])
def test_a_tool_whose_name_hides_something_is_left_out(code: int):
    name = f"read{chr(code)}_file"

    assert normalize_tools({"tools": [{"name": name, "inputSchema": {"type": "object"}}]}) != []


def test_cleaned_text_has_a_limit():
    assert clean_text("x" * 10_000, 100) == "x" * 100 + " ... (cut)"


@given(st.lists(JSON, max_size=6) | JSON)
def test_any_list_of_tools_is_normalized(tools: Any):
    result: dict[str, Any] = {"tools": tools}
    left_out = normalize_tools(result)

    for tool in result["tools"]:
        assert isinstance(tool["name"], str)
        assert tool["inputSchema"]["type"] == "object"
        assert set(map(type, (tool.get("annotations") or {}).values())) <= {bool, str}
    if isinstance(tools, list):
        assert len(left_out) + len(result["tools"]) == len(tools)


def test_schemas_of_outputs_do_not_reach_the_sdk_which_would_validate_on_the_event_loop():
    schema = {"type": "object", "properties": {"a": {"pattern": "(a+)+$"}}}
    tool = {"inputSchema": {"type": "object"}}
    result = {"tools": [{"name": "t", "outputSchema": schema, **tool}, {"name": "u", **tool}]}
    normalize_tools(result)

    assert pop_output_schemas(result) == {"t": schema, "u": None}
    assert not any("outputSchema" in each for each in result["tools"])


FORM = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Your\x1b name", "minLength": 2, "maxLength": 5},
        "mail": {"type": "string", "format": "email"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150, "default": 18},
        "weight": {"type": "number"},
        "agree": {"type": "boolean", "default": "no boolean"},
        "color": {"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]},
        "size": {"type": "string", "oneOf": [{"const": "s", "title": "Small"}]},
        "tags": {
            "type": "array",
            "maxItems": 1,
            "items": {"anyOf": [{"const": "x", "title": "X"}, {"const": "y", "title": "Y"}]},
        },
        "api_key": {"type": "string"},
    },
    "required": ["name"],
}


def test_a_form_is_read_into_fields():
    fields = {field.name: field for field in parse_form(FORM).fields}

    assert [field.kind for field in fields.values()] == [
        "text",
        "text",
        "integer",
        "number",
        "boolean",
        "choice",
        "choice",
        "choices",
        "text",
    ]
    assert fields["name"].title == "Your\u241b name"
    assert (fields["name"].least, fields["name"].most) == (2, 5)
    assert fields["age"].default == 18
    assert fields["agree"].default is None
    assert fields["color"].options == (Option("r", "Red"), Option("g", "Green"))
    assert [field.name for field in fields.values() if field.secret] == ["api_key"]


@pytest.mark.parametrize(
    ("field", "line", "value"),
    [
        ("name", " Ada ", "Ada"),
        ("age", "36", 36),
        ("age", "", 18),
        ("weight", "1.5", 1.5),
        ("weight", "", None),
        ("agree", "Yes", True),
        ("agree", "n", False),
        ("color", "Green", "g"),
        ("color", "1", "r"),
        ("tags", "Y", ["y"]),
    ],
)
def test_a_typed_line_is_a_value(field: str, line: str, value: Any):
    fields = {each.name: each for each in parse_form(FORM).fields}

    assert fields[field].parse(line) == value


@pytest.mark.parametrize(
    ("field", "line", "message"),
    [
        ("name", "", "is needed"),
        ("name", "A", "at least 2"),
        ("name", "Augusta", "at most 5"),
        ("mail", "nobody", "written as email"),
        ("age", "1.5", "a number"),
        ("age", "151", "at most 150"),
        ("weight", "nan", "a number"),
        ("agree", "maybe", "yes or no"),
        ("color", "3", "one of Red, Green"),
        ("tags", "X, Y", "at most 1"),
        ("tags", "Z", "some of X, Y"),
    ],
)
def test_an_invalid_line_is_refused_with_what_is_expected(field: str, line: str, message: str):
    fields = {each.name: each for each in parse_form(FORM).fields}

    with pytest.raises(InvalidRequest, match=message):
        fields[field].parse(line)


def test_answers_are_completed_with_defaults():
    assert parse_form(FORM).validate({"name": "Ada"}) == {"name": "Ada", "age": 18}


@pytest.mark.parametrize("values", [{}, {"name": 1}, {"name": "Ada", "other": 1}, {"name": None}])
def test_answers_that_do_not_fit_are_refused(values: dict[str, Any]):
    with pytest.raises(InvalidRequest):
        parse_form(FORM).validate(values)


@pytest.mark.parametrize(
    "field", [{"type": "object"}, {}, 3, {"type": "string", "enum": []}, {"type": "array"}]
)
def test_a_form_that_is_not_flat_is_refused(field: Any):
    with pytest.raises(InvalidRequest):
        parse_form({"type": "object", "properties": {"x": field}})


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5), JSON, st.text(max_size=10))
def test_any_schema_is_a_form_or_refused_and_any_answer_checked(
    properties: dict[str, Any], value: Any, line: str
):
    try:
        fields = parse_form({"properties": properties}).fields
    except InvalidRequest:
        return
    for field in fields:
        with suppress(InvalidRequest):
            field.validate(value)
        with suppress(InvalidRequest):
            field.parse(line)


def test_a_field_is_a_value():
    assert FormField(name="n", kind="text") == FormField(name="n", kind="text")


def cut_at(data: bytes, offsets: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in offsets)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(st.lists(st.binary(max_size=30)), st.lists(st.integers(min_value=0), max_size=10))
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], offsets: list[int]):
    lines = [line.replace(b"\n", b"") for line in lines]
    received: list[bytes] = []
    reader = LineSplitter(
        received.append, lambda head, tail: received.append(head + tail), largest=1_000
    )
    for piece in cut_at(b"".join(line + b"\n" for line in lines), offsets):
        reader.feed(piece)
    reader.close()

    assert received == lines


@given(st.integers(0, 400), st.lists(st.integers(min_value=0), max_size=10))
def test_a_line_that_is_too_long_is_not_kept_and_the_next_is(more: int, offsets: list[int]):
    received: list[bytes] = []
    edges: list[tuple[bytes, bytes]] = []
    reader = LineSplitter(
        received.append, lambda head, tail: edges.append((head, tail)), largest=500
    )
    for piece in cut_at(b"<" + b"x" * (500 + more) + b">\nnext\n", offsets):
        reader.feed(piece)

    assert received == [b"next"]
    assert [(head[:1], tail[-1:]) for head, tail in edges] == [(b"<", b">")]


@pytest.mark.parametrize(
    ("head", "tail", "number"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"co', b'"}]}}', 7),
        (b'{"jsonrpc": "2.0", "id": 7, "result"', b"}}", 7),
        (b'{"result":{"content":[', b']},"jsonrpc":"2.0","id":7}', 7),
        (b'{"result":{"content":[', b']},"id": 7 }', 7),
        (b'{"method":"x","params":{', b'"id":7}}', None),
        (b"rubbish", b"rubbish", None),
    ],
)
def test_the_call_of_a_reply_is_found_from_the_ends_of_its_line(
    head: bytes, tail: bytes, number: int | None
):
    assert reply_id(head, tail) == number


def test_a_server_that_dies_is_restarted_after_growing_delays_and_then_only_on_use():
    policy = RestartPolicy((1, 2))

    assert [policy.delay_after(5.0) for _ in range(4)] == [1, 2, None, None]


def test_a_server_that_never_was_ready_is_restarted_only_on_use():
    policy = RestartPolicy((1, 2))

    assert [policy.delay_after(None) for _ in range(2)] == [None, None]


def test_a_server_that_fails_again_and_again_is_retried_after_growing_delays():
    policy = RestartPolicy((1,), retries=(0, 5, 60))

    lives = (5.0, None, None, None, 3_600.0, None, None)
    pauses = [policy.after_failure() for lifetime in lives if policy.delay_after(lifetime) is None]

    assert pauses == [0, 5, 60, 0, 5]


def test_a_restart_that_fails_counts_as_an_end():
    policy = RestartPolicy((1, 2))

    assert [policy.delay_after(5.0), policy.delay_after(None), policy.delay_after(None)] == [
        1,
        2,
        None,
    ]


def test_a_server_that_lived_long_is_sound_again():
    policy = RestartPolicy((1, 2))

    assert [policy.delay_after(lifetime) for lifetime in (5.0, 5.0, 5.0, 3_600.0)] == [
        1,
        2,
        None,
        1,
    ]

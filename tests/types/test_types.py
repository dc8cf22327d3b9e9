import inspect
import json
import re
import traceback
from collections.abc import Sequence
from math import isfinite
from typing import Any, get_args
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.api import operations
from antiphon.api.operation import convert, from_query
from antiphon.types import errors, events, ids
from antiphon.types.messages import (
    File,
    Image,
    Message,
    Part,
    Role,
    Text,
    ToolCall,
    parts,
    to_chat_completions,
)
from antiphon.types.runs import TRANSITIONS, Assistant, Status, Usage

# Ids.

MILLISECONDS = st.integers(0, 2**45 - 1)  # to the year 3084
RANDOMNESS = st.binary(min_size=ids.RANDOM_BYTES, max_size=ids.RANDOM_BYTES)


@given(MILLISECONDS, MILLISECONDS, RANDOMNESS, RANDOMNESS)
def test_ids_sort_by_birth(time: int, later_time: int, randomness: bytes, other_randomness: bytes):
    time, later_time = sorted((time, later_time))
    if time < later_time:
        assert ids.make("run", time, randomness) < ids.make("run", later_time, other_randomness)


@given(MILLISECONDS, RANDOMNESS, RANDOMNESS)
def test_ids_of_one_instant_differ_by_their_randomness(
    time: int, randomness: bytes, other_randomness: bytes
):
    assert (ids.make("run", time, randomness) == ids.make("run", time, other_randomness)) == (
        randomness == other_randomness
    )


@given(MILLISECONDS, RANDOMNESS, st.sampled_from(get_args(ids.Prefix)))
def test_an_id_says_its_kind_and_fits_where_ids_are_taken(
    time: int, randomness: bytes, prefix: ids.Prefix
):
    assert re.fullmatch(prefix + "_[0-9a-hjkmnp-tv-z]{35}", ids.make(prefix, time, randomness))


# Events.

KINDS: tuple[type[Any], ...] = get_args(events.Event)
safe_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
integers = st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | integers | safe_text, lambda inner: st.lists(inner, max_size=3)
)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a type as `msgspec` reads it."""
    return _values(msgspec.inspect.type_info(kind))


def _values(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case msgspec.inspect.Metadata(type=described):
            return _values(described)
        case msgspec.inspect.StructType(cls=cls, fields=fields):
            return _structs(cls, fields)
        case msgspec.inspect.UnionType(types=types):
            return st.one_of(*(_values(member) for member in types))
        case msgspec.inspect.VarTupleType(item_type=item, min_length=least):
            return st.lists(_values(item), min_size=least or 0, max_size=2).map(tuple)
        case msgspec.inspect.DictType(key_type=key, value_type=value, min_length=least):
            return st.dictionaries(_values(key), _values(value), min_size=least or 0, max_size=2)
        case msgspec.inspect.LiteralType(values=literals):
            return st.sampled_from(literals)
        case msgspec.inspect.EnumType(cls=cls):
            return st.sampled_from(cls)
        case msgspec.inspect.AnyType():
            return json_values
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.IntType(ge=least, le=most):
            return st.integers(least if least is not None else -(2**63), most or 2**63 - 1)
        case msgspec.inspect.FloatType(gt=above, ge=least, le=most):
            return st.floats(
                least if above is None else above,
                most,
                exclude_min=above is not None,
                allow_nan=False,
            ).filter(isfinite)
        case msgspec.inspect.BytesType():
            return st.binary(max_size=100)
        case msgspec.inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern, fullmatch=True)
        case msgspec.inspect.StrType(min_length=least):
            return safe_text.filter(bool) if least else safe_text
        case _:
            raise NotImplementedError(kind)


def _structs(cls: type[Any], fields: Sequence[msgspec.inspect.Field]) -> st.SearchStrategy[Any]:
    """Return a strategy for a struct; a field with a default is sometimes left to it."""
    return st.fixed_dictionaries(
        {field.name: _values(field.type) for field in fields if field.required},
        optional={field.name: _values(field.type) for field in fields if not field.required},
    ).map(lambda members: cls(**members))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(st.data())
@settings(deadline=None)
def test_an_event_is_the_same_after_its_journey(kind: type[Any], data: st.DataObject):
    event = data.draw(values(kind))
    line = events.encode(event)

    assert b"\n" not in line
    assert events.decode(line) == event
    assert events.encode(events.decode(line)) == line
    assert line.startswith(b'{"type":"')
    assert events.type_of(line).decode() == event.type == json.loads(line)["type"]
    assert event.type in events.TYPES


def test_event_names_are_a_closed_set():
    assert sorted(events.TYPES) == [
        "action.required",
        "citations.added",
        "message.completed",
        "reasoning.delta",
        "refusal.delta",
        "run.status",
        "text.delta",
        "tool_call.delta",
        "tool_call.ready",
        "tool_call.started",
        "tool_output.added",
        "tools.listed",
        "turn.ended",
        "turn.restarted",
        "usage",
    ]
    with pytest.raises(msgspec.ValidationError):
        events.decode(b'{"type":"something.else"}')


# Runs.


def test_an_end_is_final_and_only_an_end_is():
    final_statuses = {status for status in Status if status.ended}
    assert final_statuses == {status for status, moves in TRANSITIONS.items() if not moves}
    assert final_statuses == {
        Status.COMPLETED,
        Status.INCOMPLETE,
        Status.FAILED,
        Status.CANCELLED,
        Status.EXPIRED,
    }


def test_every_status_can_be_reached_from_the_first():
    reachable = {Status.QUEUED}
    while (wider := reachable.union(*(TRANSITIONS[status] for status in reachable))) != reachable:
        reachable = wider
    assert reachable == set(Status) == set(TRANSITIONS)


def test_usage_adds_up_and_its_cost_is_known_where_that_of_every_part_is():
    without_cost, with_cost = (
        Usage(input_tokens=1, cached_tokens=1),
        Usage(input_tokens=2, cost=0.1),
    )
    assert without_cost + with_cost == Usage(input_tokens=3, cached_tokens=1)
    assert (with_cost + Usage(output_tokens=1, cost=0.2)).cost == 0.3
    assert (Usage() + with_cost).cost == 0.1
    assert (Usage() + Usage(cost=0.0)).cost == 0.0
    assert (without_cost + without_cost).cost is None


# Errors.


def test_a_question_needs_no_other_mark_behind_it():
    error = errors.InvalidRequest("Which server?", expected="--server URL", received="")

    assert error.full_message == "Which server? wanted --server URL"


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("--force does it", "It is there; wanted a free name; --force does it"),
        ("Name another file.", "It is there; wanted a free name. Name another file."),
    ],
)
def test_a_hint_that_is_a_sentence_stays_one(hint: str, expected: str):
    assert (
        errors.InvalidRequest("It is there.", expected="a free name", hint=hint).full_message
        == expected
    )


def tree(kind: type[errors.AntiphonError], indent: int = 0) -> list[tuple[int, str, str | None]]:
    """Return the tree of the classes of this module; a face may add some that only it raises."""
    line = (indent, kind.__name__, vars(kind).get("code"))
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [line, *(below for child in children for below in tree(child, indent + 1))]


def parse_drawn_tree(text: str) -> list[tuple[int, str, str | None]]:
    lines: list[tuple[int, str, str | None]] = []
    for line in text.splitlines():
        if match := re.match(r"((?:│   |    )*)(?:├── |└── )(\w+)(?: +(.*))?$", line):
            depth = len(match[1]) // 4 + 1
            lines.append((depth, match[2], match[3]))
    return lines


def test_the_tree_of_errors_is_the_one_that_is_drawn():
    branches = tree(errors.AntiphonError)[1:]
    picture = parse_drawn_tree(errors.__doc__ or "")
    assert [(depth, name) for depth, name, _ in picture] == [
        (depth, name) for depth, name, _ in branches
    ]
    codes_drawn = {name: drawn_code for _, name, drawn_code in picture}
    for _, name, code in branches:
        if name not in ("ProviderError", "Fenced", "Internal") and code:
            assert codes_drawn[name] == code


def test_every_code_names_its_class():
    for _, name, code in tree(errors.AntiphonError):
        if code and name != "AntiphonError":
            assert errors.class_for_code(code).__name__ == (
                name if code != "internal" else "Internal"
            )
    assert errors.class_for_code("of a later version") is errors.AntiphonError


def test_an_error_carries_what_was_wanted_what_came_and_what_to_do():
    error = errors.RunActive("Busy.", expected="a", hint="b", run_id="run_1")
    assert error.details == {"expected": "a", "hint": "b", "run_id": "run_1"}
    assert str(error) == error.message == "Busy."


# Messages.


def message(role: Role, content: tuple[Part, ...] = (), **fields: Any) -> Message:
    return Message(
        id="msg", thread_id="thread", number=1, role=role, content=content, created_at=0, **fields
    )


CALL = ToolCall("c", "f", '{"x": 1}')
CHAT_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


@pytest.mark.parametrize(
    ("given_message", "expected"),
    [
        (message("system", parts("Be kind.")), {"role": "system", "content": "Be kind."}),
        (message("user", parts("Hi")), {"role": "user", "content": "Hi"}),
        (
            message("user", (Text("See "), Image(url="https://a/b.png"), Image(file_id="file_1"))),
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "See "},
                    {"type": "image_url", "image_url": {"url": "https://a/b.png"}},
                    {"type": "image_url", "image_url": {"url": "antiphon:file_1"}},
                ],
            },
        ),
        (
            message("user", (File("file_1"),)),
            {
                "role": "user",
                "content": [{"type": "file", "file": {"file_id": "antiphon:file_1"}}],
            },
        ),
        (message("assistant", parts("Hello")), {"role": "assistant", "content": "Hello"}),
        (message("assistant"), {"role": "assistant", "content": ""}),
        (
            message("assistant", tool_calls=(CALL,)),
            {"role": "assistant", "tool_calls": [CHAT_CALL]},
        ),
        (
            message(
                "assistant",
                parts("Let me see."),
                tool_calls=(msgspec.structs.replace(CALL, extra={"extra_content": {"g": 1}}),),
                reasoning="Hm.",
            ),
            {
                "role": "assistant",
                "antiphon:reasoning": "Hm.",
                "content": "Let me see.",
                "tool_calls": [{**CHAT_CALL, "antiphon:extra": '{"g":1}'}],
            },
        ),
        (
            message("assistant", parts(" "), reasoning="Hm."),
            {"role": "assistant", "content": ""},
        ),
        (
            message("tool", parts("42"), tool_call_id="c"),
            {"role": "tool", "tool_call_id": "c", "content": "42"},
        ),
    ],
    ids=lambda value: value.role if isinstance(value, Message) else "",
)
def test_a_message_is_encoded_as_chat_completions_takes_it(
    given_message: Message, expected: dict[str, Any]
):
    assert json.loads(to_chat_completions(given_message)) == expected


# Calls.


def read_back(
    kind: type[operations.Operation[Any]], path: str, query: dict[str, str], body: bytes | None
) -> operations.Operation[Any]:
    """Read the fields of a call out of path, query and body, as a server does."""
    template = kind.route.split(" ")[1]
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(template))
    match = re.fullmatch(pattern, path)
    assert match, path
    fields: dict[str, Any] = {name: unquote(text) for name, text in match.groupdict().items()}
    fields |= from_query(query)
    if body is not None:
        fields |= json.loads(body)
    return msgspec.convert(fields, kind, strict=body is not None)


@pytest.mark.parametrize("kind", operations.OPERATIONS, ids=lambda kind: kind.__name__)
def test_each_call_has_a_route_of_its_own_and_a_docstring(kind: type[operations.Operation[Any]]):
    assert inspect.getdoc(kind)
    assert re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) /v1(/\{?\w+\}?)+", kind.route)
    assert set(operations.path_fields(kind)) <= set(kind.__struct_fields__)
    assert [other for other in operations.OPERATIONS if other.route == kind.route] == [kind]


def test_a_published_assistant_has_every_field_that_others_may_use():
    published_fields = set(operations.PublishedAssistant.__struct_fields__)
    private_fields = {"file_ids", "created_at"}
    own_fields = {"metadata", "id", "published_at", "updated_at"}

    assert set(Assistant.__struct_fields__) - published_fields == private_fields
    create_fields = set(operations.CreateAssistant.__struct_fields__)
    assert published_fields & set(Assistant.__struct_fields__) - own_fields <= create_fields


def test_the_table_of_calls_is_complete():
    assert set(operations.OPERATIONS) == {
        kind
        for kind in vars(operations).values()
        if inspect.isclass(kind)
        and issubclass(kind, operations.Operation)
        and "route" in vars(kind)
    }


@pytest.mark.parametrize("kind", operations.OPERATIONS, ids=lambda kind: kind.__name__)
@given(st.data())
@settings(deadline=None, max_examples=settings.default.max_examples // 3)  # for each operation
def test_a_call_that_was_written_can_be_read_back(
    kind: type[operations.Operation[Any]], data: st.DataObject
):
    path_values = {name: data.draw(safe_text.filter(bool)) for name in operations.path_fields(kind)}
    call = msgspec.structs.replace(data.draw(values(kind)), **path_values)
    method, path, query, body = operations.to_http(call)

    assert kind.route.startswith(method + " ")
    assert path.isascii()
    assert (body is None) == (method in ("GET", "DELETE") or bool(kind.upload))
    if method == "GET" and getattr(call, "metadata", None) == {}:
        call = msgspec.structs.replace(call, metadata=None)  # a query cannot express no pairs
    assert read_back(kind, path, query, body) == call


def test_a_body_holds_no_field_with_its_default():
    run = operations.CreateRun("thread_1", max_turns=3, background=False)
    change = operations.UpdateAssistant("asst_1", model=None)

    assert operations.to_http(run)[3] == b'{"thread_id":"thread_1","max_turns":3}'
    assert operations.to_http(change)[3] == b'{"model":null}'


@pytest.mark.parametrize("name", ["a/b", "..", ".", "a b?c#d%", "é\n"])
def test_an_id_cannot_leave_its_place_in_the_path(name: str):
    _, path, _, _ = operations.to_http(operations.GetThread(thread_id=name))
    last = path.removeprefix("/v1/threads/")
    assert re.fullmatch(r"[A-Za-z0-9_~.%-]+", last)
    assert last.strip(".")
    assert unquote(last) == name


@pytest.mark.parametrize("options", [{"sampling": {"temprature": 1}}, {"deadlines": {"chunks": 1}}])
def test_a_slip_in_what_a_run_asks_is_not_passed_over(options: dict[str, Any]):
    body = msgspec.json.encode({"thread_id": "t", **options})

    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(body, type=operations.CreateRun)


def test_the_traceback_of_an_error_that_nobody_caught_says_what_to_do():
    error = errors.BadSettings("The key is missing.", hint="Set OPENAI_API_KEY.")

    assert "Set OPENAI_API_KEY." in "".join(traceback.format_exception(error))
    assert str(error) == "The key is missing."


@pytest.mark.parametrize(
    ("field", "hint"), [("mesage", "did you mean message?"), ("colour", None), ("", None)]
)
def test_an_unknown_field_that_is_nearly_a_known_one_is_answered_with_it(
    field: str, hint: str | None
):
    with pytest.raises(errors.InvalidRequest) as error_info:
        convert({field: {"role": "user", "content": "Hi"}}, operations.Process)

    assert error_info.value.details.get("hint") == hint

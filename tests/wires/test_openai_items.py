"""Items of the Responses wire become messages, and messages become items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.conversations import ConversationItem
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter

from antiphon.api.threads import PastCall, PastMessage
from antiphon.engine.validation import validate_past_messages
from antiphon.types import ids
from antiphon.types.errors import (
    AntiphonError,
    CallerError,
    InvalidRequest,
    NotFound,
    UnsupportedByProvider,
)
from antiphon.types.events import MessageCompleted
from antiphon.types.messages import File, Image, Message, Refusal, Text, ToolCall, parts
from antiphon.types.runs import Action, Approval
from antiphon.wires.framing import InlineFile
from antiphon.wires.openai import items as kinds
from antiphon.wires.openai.input_items import MAX_ITEMS, UNSERVED, parse_items, replace_references
from antiphon.wires.openai.item_builders import select_fields
from antiphon.wires.openai.object_ids import (
    conversation_id,
    parse_conversation_id,
    parse_file_id,
    parse_item_id,
    public_file_id,
)
from antiphon.wires.openai.sent_items import SentItems, read_items, require_outputs
from antiphon.wires.openai.stored_items import (
    NO_ACTIONS,
    Actions,
    find_item,
    index_actions,
    message_of_item,
    to_items,
)
from tests.support.wires.stories import Story, number_events, stories

RESPONSE_ITEM: TypeAdapter[Any] = TypeAdapter(ResponseItem)
CONVERSATION_ITEM: TypeAdapter[Any] = TypeAdapter(ConversationItem)
SUFFIX = "0" * 9 + "a" * 26


def read(*items: Any) -> SentItems:
    return read_items(parse_items(list(items), "input"), "input")


def read_conversation(*items: Any) -> list[PastMessage]:
    """Return the messages of items that form a complete conversation."""
    sent = read(*items)
    require_outputs(sent)
    assert (sent.outputs, sent.approvals) == ((), ())
    messages = [each.message for each in sent.messages]
    validate_past_messages(messages, "history")
    return messages


def store(messages: Sequence[PastMessage]) -> list[Message]:
    """Return the messages as a thread stores them."""
    return [
        Message(
            id=f"msg_{number:09}{'b' * 26}",
            thread_id=f"thread_{SUFFIX}",
            number=number,
            role=each.role,
            content=parts(each.content),
            tool_calls=tuple(ToolCall(c.id, c.name, c.arguments) for c in each.tool_calls),
            tool_call_id=each.tool_call_id,
            is_error=each.is_error,
            reasoning=each.reasoning,
            metadata=each.metadata,
            created_at=0,
        )
        for number, each in enumerate(messages, start=1)
    ]


def show(messages: Sequence[Message], actions: Actions = NO_ACTIONS, **options: Any) -> list[Any]:
    """Return the items as JSON, checked by OpenAI's own types."""
    items = msgspec.json.decode(msgspec.json.encode(to_items(messages, actions, **options)))
    for item in items:
        RESPONSE_ITEM.validate_python(item)
        CONVERSATION_ITEM.validate_python(item)
    return list(items)


def call(call_id: str, name: str = "look", arguments: str = "{}", **more: Any) -> dict[str, Any]:
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        **more,
    }


def output(call_id: str, text: Any = "found", **more: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text, **more}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


# Items as messages.


def test_a_text_is_a_message_of_the_user() -> None:
    sent = read_items(parse_items("Hello?", "input"), "input")

    assert [each.message for each in sent.messages] == [
        PastMessage(content=(Text("Hello?"),), role="user")
    ]


def test_an_answer_its_reasoning_and_its_calls_are_one_message() -> None:
    messages = read_conversation(
        user("Where?"),
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
        call("a", arguments='{"at": 1}'),
        call("b"),
        output("a", "here"),
        output("b", "there"),
        user("Thanks."),
    )

    assert [each.role for each in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert messages[1] == PastMessage(
        content=(Text("Let me look."),),
        role="assistant",
        tool_calls=(PastCall("a", "look", '{"at": 1}'), PastCall("b", "look", "{}")),
        reasoning="Hm.",
    )


def test_outputs_are_moved_behind_their_calls_wherever_they_stand() -> None:
    messages = read_conversation(
        call("a"), user("Wait."), call("b"), output("b", "2"), output("a", "1")
    )

    assert [each.tool_call_id or each.role for each in messages] == [
        "assistant",
        "a",
        "user",
        "assistant",
        "b",
    ]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "reasoning", "summary": [], "content": None, "encrypted_content": None},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [], "status": None},
        {"type": "reasoning", "summary": None, "encrypted_content": "from elsewhere"},
        {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": []},
    ],
)
def test_an_empty_item_changes_nothing(item: Any) -> None:
    assert read_conversation(user("a"), item, user("b")) == read_conversation(user("a"), user("b"))


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": "Hi", "type": None, "status": None, "id": None},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "message", "role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "user", "content": [{"type": "output_text", "text": "Hi", "annotations": None}]},
    ],
)
def test_a_message_may_come_in_many_forms(item: Any) -> None:
    assert read_conversation(item) == [PastMessage(content=(Text("Hi"),), role="user")]


def test_items_of_an_answer_are_accepted_as_they_were_sent() -> None:
    messages = read_conversation(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": None,
            "phase": None,
            "content": [
                {"type": "output_text", "text": "A.", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "No."},
            ],
        },
        {
            **call("a"),
            "id": "fc_1",
            "status": "completed",
            "parsed_arguments": None,
            "caller": None,
        },
        {**output("a"), "id": "fco_1", "status": "completed"},
    )

    assert messages[0].content == (Text("A."), Text("No."))
    assert [each.id for each in messages[0].tool_calls] == ["a"]


def test_pictures_and_files_keep_their_ids_and_data() -> None:
    sent = read(
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": "https://example.org/a.png"},
                {"type": "input_image", "file_id": f"file-{SUFFIX}", "detail": "high"},
                {"type": "input_file", "file_id": f"file_{SUFFIX}"},
                {"type": "input_file", "filename": "a.txt", "file_data": "aGk="},
            ],
        }
    )

    ((message, files),) = sent.messages
    assert message.content == (
        Image(url="https://example.org/a.png"),
        Image(file_id=f"file_{SUFFIX}"),
        File(f"file_{SUFFIX}"),
        File(""),
    )
    assert files == (InlineFile("a.txt", "aGk=", "$.input[0].content[3].file_data"),)


def test_what_answers_earlier_calls_is_apart() -> None:
    sent = read(
        output("old", "done"),
        output("old", "done"),
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1_0", "approve": True},
        user("Go on."),
    )

    (answer,) = sent.outputs
    assert (answer.call_id, answer.message.message.content) == ("old", (Text("done"),))
    assert [each[:2] for each in sent.approvals] == [("mcpr_1_0", Approval(approve=True))]
    assert len(sent.messages) == 1


def test_a_call_without_an_output_is_named() -> None:
    sent = read(user("a"), call("a"), call("b"), output("a"))

    assert sent.open_calls == {"b": "$.input[2]"}
    with pytest.raises(InvalidRequest, match="No tool output found for function call b"):
        require_outputs(sent)


ERRORS: Mapping[str, tuple[Any, str, type[AntiphonError]]] = {
    "not an object": (["x"], "input[0]", InvalidRequest),
    "no list": ({"role": "user"}, "input", InvalidRequest),
    "too many": ([user("x")] * (MAX_ITEMS + 1), "input", InvalidRequest),
    "no call_id": ([user("x"), {**call("a"), "call_id": None}], "input[1].call_id", InvalidRequest),
    "call_id missing": (
        [{"type": "function_call_output", "output": ""}],
        "input[0]",
        InvalidRequest,
    ),
    "type of part": (
        [{"role": "user", "content": [{"type": "input_audio", "data": ""}]}],
        "input[0].content[0].type",
        InvalidRequest,
    ),
    "role": ([{"role": "critic", "content": "x"}], "input[0].role", InvalidRequest),
    "unknown type": ([{"type": "teapot"}], "input[0].type", InvalidRequest),
    "unhashable type": ([{"type": ["message"]}], "input[0].type", InvalidRequest),
    "refused type": ([{"type": "computer_call"}], "input[0].type", UnsupportedByProvider),
    "arguments": ([call("a", arguments="[1]")], "input[0].arguments", InvalidRequest),
    "output": ([output("a", {"b": 1})], "input[0].output", InvalidRequest),
    "two outputs": ([output("a", "1"), output("a", "2")], "input[1].call_id", InvalidRequest),
    "two outputs of a call": (
        [call("a"), output("a", "1"), output("a", "2")],
        "input[2].call_id",
        InvalidRequest,
    ),
    "two calls": ([call("a"), call("a")], "input[1].call_id", InvalidRequest),
    "no picture": (
        [{"role": "user", "content": [{"type": "input_image"}]}],
        "input[0].content[0]",
        InvalidRequest,
    ),
    "no file": (
        [{"role": "user", "content": [{"type": "input_file", "file_url": "http://10.0.0.1/"}]}],
        "input[0].content[0]",
        InvalidRequest,
    ),
    "reference": ([user("x"), {"id": "msg_1"}], "input[1].id", NotFound),
    "foreign compaction": (
        [{"type": "compaction", "encrypted_content": "gAAAA"}],
        "input[0].encrypted_content",
        InvalidRequest,
    ),
    "long call_id": ([call("a" * 129)], "input[0].call_id", InvalidRequest),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_names_the_place_of_the_item(name: str) -> None:
    value, where, kind = ERRORS[name]

    with pytest.raises(kind) as caught:
        read_items(parse_items(value, "input"), "input")

    assert caught.value.details["where"] == f"$.{where}"


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False), st.text(max_size=5)
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
TYPES = sorted({str(kind.__struct_config__.tag) for kind in kinds.InputItem.__args__} | UNSERVED)
FIELD_NAMES = sorted(
    {name for kind in kinds.InputItem.__args__ for name in kind.__struct_fields__} | {"text"}
)
PART_TYPES = ["input_text", "output_text", "input_image", "input_file", "refusal", "text", "x"]
wild_parts = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(PART_TYPES)},
        optional={"text": scalars, "image_url": scalars, "file_id": scalars, "file_data": scalars},
    ),
    max_size=3,
)
wild_items = st.fixed_dictionaries(
    {"type": st.one_of(st.sampled_from(TYPES), scalars)},
    optional={
        **{name: st.one_of(anything, wild_parts) for name in FIELD_NAMES},
        "role": st.sampled_from(["user", "assistant", "developer", "tool"]),
        "call_id": st.sampled_from(["a", "b", "", None]),
        "name": st.sampled_from(["look", "", 1]),
        "arguments": st.sampled_from(["{}", "[]", "{", None]),
        "server_label": st.sampled_from(["far", None]),
    },
)


@given(st.one_of(anything, st.lists(st.one_of(wild_items, anything), max_size=6)))
def test_whatever_is_sent_is_read_or_refused_with_an_error_of_the_caller(value: Any) -> None:
    try:
        sent = read_items(parse_items(value, "input"), "input")
    except CallerError:
        return
    messages = [each.message for each in sent.messages]
    if not sent.open_calls:
        validate_past_messages(messages, "history")
        assert msgspec.json.encode(to_items(store(messages)))


def test_a_search_without_an_action_has_one() -> None:
    (item,) = show(store(read_conversation({"type": "web_search_call"})))

    assert item["action"] == {"type": "search", "query": ""}


def test_every_type_of_the_original_is_served_or_refused_by_name() -> None:
    served = {str(kind.__struct_config__.tag) for kind in kinds.InputItem.__args__}
    original = {
        schema["properties"]["type"]["const"]
        for schema in RESPONSE_ITEM.json_schema()["$defs"].values()
        if "const" in schema.get("properties", {}).get("type", {}) and "id" in schema["properties"]
    }

    assert original - served - UNSERVED == set()


def test_references_are_replaced_by_what_they_stand_for() -> None:
    items = parse_items([{"type": "item_reference", "id": "msg_1"}, user("b")], "input")
    stored = kinds.MessageItem(id="msg_1", role="user", content="a")

    resolved = replace_references(items, {"msg_1": stored}, "input")

    assert resolved == [stored, items[1]]
    with pytest.raises(NotFound):
        replace_references(items, {}, "input")


# Messages as items, and back.

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
call_names = st.sampled_from(["look", "find"])


@st.composite
def replies(draw: st.DrawFn, number: int) -> list[Any]:
    """Draw the items of one turn: reasoning, a message, calls and their outputs."""
    items: list[Any] = []
    if draw(st.booleans()):
        thought = {"type": "summary_text", "text": draw(texts)}
        items.append({"type": "reasoning", "summary": [thought]})
    text_parts = [
        {"type": "output_text", "text": text} for text in draw(st.lists(texts, max_size=2))
    ]
    count = draw(st.integers(0 if text_parts else 1, 3))
    if text_parts:
        phase = draw(st.sampled_from([{}, {"phase": "commentary"}]))
        items.append({"type": "message", "role": "assistant", "content": text_parts, **phase})
    outputs: list[Any] = []
    for place in range(count):
        call_id = f"call_{number}_{place}"
        kind = draw(st.sampled_from(["function", "custom", "mcp", "search", "code"]))
        text = draw(st.one_of(texts, st.just("")))
        match kind:
            case "function":
                namespace = draw(st.sampled_from([{}, {"namespace": "crm"}]))
                arguments = draw(st.sampled_from(ARGUMENTS))
                items.append(call(call_id, draw(call_names), arguments, **namespace))
                outputs.append(output(call_id, draw(st.one_of(st.just(text), PARTS))))
            case "custom":
                items.append(
                    {
                        "type": "custom_tool_call",
                        "call_id": call_id,
                        "name": "patch",
                        "input": text,
                    }
                )
                outputs.append({**output(call_id, text), "type": "custom_tool_call_output"})
            case "mcp":
                items.append(
                    {
                        "type": "mcp_call",
                        "server_label": "docs",
                        "name": "read",
                        "arguments": "{}",
                        "output": text,
                    }
                )
            case "search":
                action = {"type": "search", "query": text, "sources": []}
                items.append({"type": "web_search_call", "action": action})
            case _:
                logs = [{"type": "logs", "logs": text}] if text else None
                items.append(
                    {
                        "type": "code_interpreter_call",
                        "code": text,
                        "container_id": "c",
                        "outputs": logs,
                    }
                )
    return items + draw(st.permutations(outputs))


ARGUMENTS = ["{}", '{"a": "b"}', '{"a":[1,2]}']
PARTS = st.just(
    [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": "https://example.org/a.png"},
    ]
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Any]:
    """Draw the items of a complete conversation; every call has its output."""
    items: list[Any] = []
    for number in range(draw(st.integers(0, 4))):
        role = draw(st.sampled_from(["user", "system", "developer"]))
        text_parts = [{"type": "input_text", "text": draw(texts)}]
        items.append({"type": "message", "role": role, "content": text_parts})
        items += draw(replies(number))
    return items


def essence(item: Any) -> dict[str, Any]:
    """Return the item without the fields that a client may leave out."""
    omitted = ("id", "status", "encrypted_content", "annotations", "logprobs", "detail", "error")
    fields = {
        name: value for name, value in item.items() if name not in omitted and value is not None
    }
    for name in ("content", "output"):
        if isinstance(fields.get(name), list):
            fields[name] = [essence(part) for part in fields[name]]
    return dict(sorted({**fields, "approval_request_id": None}.items()))


@given(conversations())
def test_items_become_messages_and_the_same_items_again(items: list[Any]) -> None:
    stored_items = show(store(read_conversation(*items)))

    assert sorted(map(repr, map(essence, stored_items))) == sorted(map(repr, map(essence, items)))
    assert list(map(essence, show(store(read_conversation(*stored_items))))) == list(
        map(essence, stored_items)
    )
    assert len({item["id"] for item in stored_items}) == len(stored_items)


@given(stories())
def test_every_thread_of_runs_has_items_that_the_original_knows(story: Story) -> None:
    messages = sorted(story.messages.values(), key=lambda message: message.number)
    actions = index_actions(story.actions.values())

    for mcp_items in (False, True):
        shown_items = show(messages, actions, mcp_items=mcp_items)

        assert len({item["id"] for item in shown_items}) == len(shown_items)
        message_ids = {message.id for message in messages}
        assert all(message_of_item(item["id"]) in message_ids for item in shown_items)


@given(stories())
def test_the_id_of_a_reply_follows_from_its_run_and_its_turn(story: Story) -> None:
    replies_of: dict[str, int] = {}
    for _, event in number_events(story):
        if isinstance(event, MessageCompleted) and event.message.role == "assistant":
            run_id = event.message.run_id or ""
            turn = replies_of[run_id] = replies_of.get(run_id, 0) + 1
            assert event.message.id == ids.reply_id(run_id, turn)


# Calls that the backend runs.


def reply_with_calls(*call_ids: str) -> list[Message]:
    calls = [call(each, arguments='{"q":1}') for each in call_ids]
    messages = store(
        read_conversation(user("?"), *calls, *(output(each, f"of {each}") for each in call_ids))
    )
    return [msgspec.structs.replace(each, run_id="run_1") for each in messages]


def action(call_id: str, **fields: Any) -> Action:
    return Action(
        id=f"act_{call_id}",
        run_id="run_1",
        thread_id=f"thread_{SUFFIX}",
        turn=1,
        tool_call_id=call_id,
        name="look",
        arguments={},
        created_at=0,
        expires_at=1,
        **fields,
    )


def types_of(items: Sequence[Any]) -> list[str]:
    return [item["type"] for item in items]


def test_a_call_of_a_server_is_a_pair_or_one_item() -> None:
    messages = reply_with_calls("a", "b")
    actions = index_actions(
        [action("a", runs_on="server", server="docs", status="completed"), action("b")]
    )

    pairs = show(messages, actions)
    single_items = show(messages, actions, mcp_items=True)

    assert types_of(pairs)[1:] == ["function_call", "function_call", *["function_call_output"] * 2]
    assert types_of(single_items)[1:] == ["mcp_call", "function_call", "function_call_output"]
    assert single_items[1]["server_label"] == "docs"
    assert single_items[1]["output"] == "of a"


def test_a_call_to_approve_is_a_question_until_it_is_answered() -> None:
    messages = reply_with_calls("a")
    waiting = action("a", runs_on="server", server="docs", approval="required")
    approved = msgspec.structs.replace(waiting, approval="given", status="completed")
    refused = msgspec.structs.replace(waiting, approval="refused", status="failed")

    (question,) = show(messages[1:2], index_actions([waiting]))
    assert question["type"] == "mcp_approval_request"
    assert (question["server_label"], question["arguments"]) == ("docs", '{"q":1}')
    for decided_action, is_approved in ((approved, True), (refused, False)):
        shown_items = show(messages[1:], index_actions([decided_action]))
        assert shown_items[0] == question
        assert shown_items[1]["approval_request_id"] == question["id"]
        assert shown_items[1]["approve"] is is_approved
        assert types_of(shown_items)[2:] == ["function_call", "function_call_output"]
    item_id = parse_item_id(question["id"])
    assert item_id is not None
    assert (item_id.message_id, item_id.place) == (messages[1].id, 0)


def test_custom_tools_are_known_by_their_names() -> None:
    arguments = kinds.custom_arguments("*** Begin")
    messages = store(read_conversation(call("a", "patch", arguments), output("a", "ok")))

    items = show(messages, custom_tools={"patch"})

    assert types_of(items) == ["custom_tool_call", "custom_tool_call_output"]
    assert items[0]["input"] == "*** Begin"


def test_a_refusal_and_a_summary_have_items_of_their_own() -> None:
    (first, *_) = store(read_conversation(user("x")))
    refusal = msgspec.structs.replace(first, role="assistant", content=(Refusal("No."),))
    summary = msgspec.structs.replace(first, role="system", compacts=3)
    prompt = msgspec.structs.replace(summary, compacts=0)

    assert show([refusal])[0]["content"] == [{"type": "refusal", "refusal": "No."}]
    (compaction,) = show([summary, prompt])
    assert compaction["type"] == "compaction"
    (message,) = read_conversation(compaction)
    assert (message.role, message.content) == ("user", (Text("x"),))
    assert show(store([message]))[0]["type"] == "compaction"


def test_marks_that_a_caller_invented_do_no_harm() -> None:
    messages = reply_with_calls("a")
    for mark in ("{", "[]", '{"0": ["web_search_call"]}', '{"0": ["teapot", "x"]}', '{"9": []}'):
        metadata = {"openai_calls": mark, "openai_role": "x", "openai_phase": "x"}
        marked_messages = [msgspec.structs.replace(each, metadata=metadata) for each in messages]

        assert types_of(show(marked_messages)) == [
            "message",
            "function_call",
            "function_call_output",
        ]


def test_optional_fields_come_when_they_are_asked_for() -> None:
    (item,) = to_items(
        store(
            read_conversation(
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
            )
        )
    )

    default_item = msgspec.to_builtins(select_fields(item, ()))
    full_item = msgspec.to_builtins(select_fields(item, ["reasoning.encrypted_content"]))

    assert "encrypted_content" not in default_item
    assert read_conversation({**full_item, "summary": []}) == read_conversation(default_item)


# Ids.


def test_ids_lead_to_what_they_stand_for_and_foreign_ones_to_nothing() -> None:
    messages = reply_with_calls("a")
    items = to_items(messages)

    for item in items:
        assert item.id is not None
        assert find_item(items, item.id) is item
        assert message_of_item(item.id) in {each.id for each in messages}
    for foreign in ("", "msg_", "fc_1", "fc_1_", "msg_a_b", "x_1", "fc_1_00000", "msg_\n", "msg_é"):
        assert message_of_item(foreign) is None, foreign
    thread_id = f"thread_{SUFFIX}"
    assert parse_conversation_id(conversation_id(thread_id)) == thread_id
    assert parse_conversation_id(thread_id) is None
    assert parse_file_id(public_file_id(f"file_{SUFFIX}")) == f"file_{SUFFIX}"

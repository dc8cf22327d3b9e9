"""The to-do list: what the model may write, and what a thread holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from antiphon.tools.functions import Functions
from antiphon.tools.todos import (
    MAX_CHARACTERS,
    MAX_ITEMS,
    Todo,
    count_done,
    find_todos,
    parse_todos,
    write_todos,
)
from antiphon.types.messages import Message, Role, Text, ToolCall, ToolResult

ITEMS = [
    {"text": "Read\nit", "status": "done"},
    {"text": "Fix it", "status": "in_progress"},
    {"text": "Test it"},
]


async def call_tool(items: object) -> ToolResult:
    arguments = msgspec.json.encode({"items": items}).decode()
    return await Functions([write_todos]).call(ToolCall("c1", "write_todos", arguments))


def message(number: int, role: Role, text: str = "", **fields: Any) -> Message:
    content = (Text(text),) if text else ()
    return Message(
        id=f"m{number}",
        thread_id="t",
        number=number,
        role=role,
        content=content,
        created_at=0,
        **fields,
    )


def exchange(number: int, items: Sequence[object], *, is_error: bool = False) -> list[Message]:
    arguments = msgspec.json.encode({"items": items}).decode()
    call = ToolCall(f"c{number}", "write_todos", arguments)
    return [
        message(number, "assistant", tool_calls=(call,)),
        message(number + 1, "tool", "[ ]", tool_call_id=call.id, is_error=is_error),
    ]


async def test_the_model_gets_the_list_back_as_a_checklist() -> None:
    result = await call_tool(ITEMS)

    assert result.output == "[x] Read it\n[~] Fix it\n[ ] Test it"
    assert (await call_tool([])).output == "The list is empty."


@pytest.mark.parametrize(
    "items",
    [
        [{"text": "a"}] * (MAX_ITEMS + 1),
        [{"text": "a" * (MAX_CHARACTERS + 1)}],
        [{"text": ""}],
        [{"text": "a", "status": "doing"}],
        "a",
    ],
    ids=["too many", "too long", "empty", "unknown status", "no list"],
)
async def test_a_list_beyond_the_limits_is_an_error_that_names_the_place(items: object) -> None:
    result = await call_tool(items)

    assert result.is_error
    assert "items" in result.output


def test_it_only_reads_so_that_it_runs_in_plan_mode() -> None:
    (tool,) = Functions([write_todos]).tools()

    assert tool.hints.read_only


def test_the_last_list_of_a_thread_that_was_taken_counts() -> None:
    messages = [
        *exchange(1, ITEMS),
        *exchange(3, ITEMS[:1]),
        *exchange(5, ITEMS, is_error=True),
        message(7, "assistant", "Done."),
    ]

    todos = find_todos(messages)
    assert todos == (Todo("Read\nit", "done"),)
    assert count_done(todos) == "1 of 1 done"
    assert find_todos([*messages, *exchange(8, [])]) == ()
    assert find_todos(messages[4:]) is None


def test_other_tools_and_broken_arguments_are_no_list() -> None:
    assert parse_todos("write_todos", '{"items": [') is None
    assert parse_todos("write_todos", '{"items": [{"text": "\ud800"}]}') is None
    assert parse_todos("git__write_todos", '{"items": []}') is None

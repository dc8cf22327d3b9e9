"""Several toolboxes as one: every tool has a name of its own, which it keeps."""

import asyncio
from collections.abc import Sequence

from antiphon.ports import ProgressCallback, quiet
from antiphon.tools.tool_manager import ToolManager
from antiphon.types.messages import Progress, Tool, ToolCall, ToolResult, ToolSpec


class Box:
    """A toolbox whose tools come and go, and whose outputs repeat the name of the call."""

    def __init__(self, mark: str, *names: str) -> None:
        self.mark = mark
        self.names = list(names)

    def tools(self) -> Sequence[Tool]:
        return [Tool(spec=ToolSpec(name), server=self.mark, own_name=name) for name in self.names]

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        tell(Progress(1))
        return ToolResult(f"{self.mark} {call.name} {call.id}")


def names(manager: ToolManager) -> list[str]:
    return [tool.spec.name for tool in manager.tools()]


def call_tool(manager: ToolManager, name: str) -> str:
    return asyncio.run(manager.call(ToolCall("c1", name, "{}"))).output


def test_the_tools_of_the_first_toolbox_come_first():
    manager = ToolManager(Box("one", "b", "a"), Box("two", "c"))

    assert names(manager) == ["b", "a", "c"]


def test_a_tool_is_called_in_its_own_toolbox_by_its_own_name():
    manager = ToolManager(Box("one", "a"), Box("two", "a", "b"))

    assert names(manager) == ["a", "a_2", "b"]
    assert [call_tool(manager, name) for name in names(manager)] == [
        "one a c1",
        "two a c1",
        "two b c1",
    ]


def test_nothing_but_the_name_towards_the_model_changes():
    (_, second) = ToolManager(Box("one", "a"), Box("two", "a")).tools()

    assert second == Tool(spec=ToolSpec("a_2"), server="two", own_name="a")


def test_a_name_stays_with_its_tool_whatever_comes_and_goes():
    one, two = Box("one"), Box("two", "a")
    manager = ToolManager(one, two)
    assert names(manager) == ["a"]

    one.names = ["a"]
    assert [(name, call_tool(manager, name)) for name in names(manager)] == [
        ("a_2", "one a c1"),
        ("a", "two a c1"),
    ]

    two.names = []
    assert names(manager) == ["a_2"]
    assert "There is no tool a now" in call_tool(manager, "a")


def test_the_same_toolboxes_give_the_same_names():
    first, second = (ToolManager(Box("one", "a", "b"), Box("two", "b", "a")) for _ in range(2))

    assert names(first) == names(second) == ["a", "b", "b_2", "a_2"]


def test_a_name_that_is_made_is_neither_taken_nor_too_long():
    long = "x" * 64
    manager = ToolManager(Box("one", "a", "a_2", long), Box("two", "a", long), Box("three", long))

    assert names(manager) == ["a", "a_2", long, "a_3", "x" * 62 + "_2", "x" * 62 + "_3"]


def test_a_name_that_nobody_has_is_answered_with_those_that_are_there():
    result = asyncio.run(ToolManager(Box("one", "a")).call(ToolCall("c", "z", "{}")))

    assert result == ToolResult(
        "There is no tool z now. The tools are: a.", is_error=True, fault="unknown_tool"
    )
    result_without_tools = asyncio.run(ToolManager().call(ToolCall("c", "z", "{}")))
    assert result_without_tools.output == "There is no tool z now. The tools are: none."


def test_progress_comes_through():
    reports: list[Progress] = []

    asyncio.run(ToolManager(Box("one", "a")).execute_tool(ToolCall("c", "a", "{}"), reports.append))

    assert reports == [Progress(1)]

"""Several toolboxes as one: the program's functions beside the tools of every server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from antiphon.messages import Tool, ToolCall, ToolResult
from antiphon.ports import Tell, Toolbox, quiet


class ToolManager:
    """A toolbox of toolboxes. Where two name a tool alike, the first keeps the name.

    What is there is looked up anew at each call: servers come and go.
    """

    def __init__(self, *toolboxes: Toolbox) -> None:
        self._toolboxes = toolboxes

    def tools(self) -> Sequence[Tool]:
        """All tools, those of the first toolbox first."""
        return [tool for tool, _, _ in self._each()]

    async def call(self, call: ToolCall, tell: Tell = quiet) -> ToolResult:
        """Run the tool, wherever it is."""
        return await self.execute_tool(call, tell)

    async def execute_tool(self, call: ToolCall, tell: Tell = quiet) -> ToolResult:
        """Run the tool, wherever it is."""
        for tool, toolbox, own_name in self._each():
            if tool.spec.name == call.name:
                return await toolbox.call(replace(call, name=own_name), tell)
        return self._unknown(call.name)

    def _each(self) -> Iterator[tuple[Tool, Toolbox, str]]:
        """Each tool under a name of its own, with its toolbox and its name there."""
        taken: set[str] = set()
        for toolbox in self._toolboxes:
            for tool in toolbox.tools():
                name = _free(tool.spec.name, taken)
                taken.add(name)
                offered = replace(tool, spec=replace(tool.spec, name=name))
                yield offered, toolbox, tool.spec.name

    def _unknown(self, name: str) -> ToolResult:
        names = ", ".join(tool.spec.name for tool in self.tools()) or "none"
        return ToolResult(
            f"There is no tool {name} now. The tools are: {names}.",
            is_error=True,
            fault="unknown_tool",
        )


LONGEST_NAME = 64  # what every provider takes


def _free(name: str, taken: set[str]) -> str:
    """The name, or one made from it that is not taken yet."""
    free, count = name, 1
    while free in taken:
        count += 1
        end = f"_{count}"
        free = name[: LONGEST_NAME - len(end)] + end
    return free

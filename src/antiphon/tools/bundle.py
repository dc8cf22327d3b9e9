"""Several toolboxes as one: the program's functions beside the tools of every server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from antiphon.messages import Tool, ToolCall, ToolResult
from antiphon.ports import Tell, Toolbox, quiet


class ToolManager:
    """A toolbox of toolboxes. Where two name a tool alike, the first to be seen keeps the name.

    What is there is looked up anew at each call: servers come and go. A name stays with the tool
    that it was given to, whatever else comes: a model that learned it means that one.
    """

    def __init__(self, *toolboxes: Toolbox) -> None:
        self._toolboxes = toolboxes
        self._names: dict[tuple[int, str], str] = {}
        self._taken: set[str] = set()

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
        for place, toolbox in enumerate(self._toolboxes):
            for tool in toolbox.tools():
                own_name = tool.spec.name
                name = self._names.get((place, own_name)) or self._give(place, own_name)
                if name != own_name:
                    tool = replace(tool, spec=replace(tool.spec, name=name))  # noqa: PLW2901
                yield tool, toolbox, own_name

    def _give(self, place: int, own_name: str) -> str:
        name = _free(own_name, self._taken)
        self._taken.add(name)
        self._names[place, own_name] = name
        return name

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

"""Several toolboxes as one, such as the program's functions and MCP servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from msgspec.structs import replace

from antiphon.ports import ProgressCallback, Toolbox, quiet
from antiphon.types.messages import TaskHandle, Tool, ToolCall, ToolResult


@runtime_checkable
class StartingToolbox(Protocol):
    """Toolbox whose tools appear some time after its start, as those of MCP servers do."""

    def retry(self, name: str) -> None:
        """Restart failed servers that may offer this tool; bounded."""
        ...

    def starting(self, name: str) -> tuple[str, ...]:
        """Return the starting servers that may offer this tool."""
        ...

    async def arrival(self, name: str, seconds: float) -> None:
        """Wait until the tool is present or no starting server may offer it; bounded."""
        ...

    def explain_absence(self, name: str) -> str:
        """Return which server may have had the tool and its state, or ""."""
        ...


@runtime_checkable
class TaskToolbox(Protocol):
    """Toolbox whose tools may be carried out by tasks, as those of MCP servers."""

    async def cancel_task(self, handle: TaskHandle) -> None:
        """Ask the server that has this task to cancel it, if that server is here; never raises."""
        ...


class ToolManager:
    """A toolbox of toolboxes. If two tools share a name, the first one seen keeps it.

    Tools are looked up at each call, as servers come and go. A tool keeps its name, whatever else
    appears: a model that learned the name means that tool.
    """

    def __init__(self, *toolboxes: Toolbox) -> None:
        self._toolboxes = toolboxes
        self._names: dict[tuple[int, str], str] = {}
        self._taken: set[str] = set()

    def tools(self) -> Sequence[Tool]:
        """Return all tools, those of the first toolbox first."""
        return [tool for tool, _, _ in self._name_tools()]

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        """Run the tool."""
        return await self.execute_tool(call, tell)

    async def execute_tool(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        """Run the tool."""
        for tool, toolbox, own_name in self._name_tools():
            if tool.spec.name == call.name:
                return await toolbox.call(replace(call, name=own_name), tell)
        return self._unknown(call.name)

    def _name_tools(self) -> Iterator[tuple[Tool, Toolbox, str]]:
        """Yield each tool under its unique name, with its toolbox and its name there."""
        for place, toolbox in enumerate(self._toolboxes):
            for tool in toolbox.tools():
                own_name = tool.spec.name
                name = self._names.get((place, own_name))
                if name is None:
                    name = self._names[place, own_name] = _unique_name(own_name, self._taken)
                    self._taken.add(name)
                if name != own_name:
                    tool = replace(tool, spec=replace(tool.spec, name=name))  # noqa: PLW2901
                yield tool, toolbox, own_name

    async def cancel_task(self, handle: TaskHandle) -> None:
        """See `TaskToolbox.cancel_task`."""
        for toolbox in self._toolboxes:
            if isinstance(toolbox, TaskToolbox):
                await toolbox.cancel_task(handle)

    def retry(self, name: str) -> None:
        """See `StartingToolbox.retry`."""
        for each in self._arriving(name):
            each.retry(name)

    def starting(self, name: str) -> tuple[str, ...]:
        """See `StartingToolbox.starting`."""
        return tuple(server for each in self._arriving(name) for server in each.starting(name))

    async def arrival(self, name: str, seconds: float) -> None:
        """See `StartingToolbox.arrival`."""
        await asyncio.gather(*(each.arrival(name, seconds) for each in self._arriving(name)))

    def explain_absence(self, name: str) -> str:
        """See `StartingToolbox.explain_absence`."""
        return " ".join(filter(None, (each.explain_absence(name) for each in self._arriving(name))))

    def _arriving(self, name: str) -> list[StartingToolbox]:
        if any(tool.spec.name == name for tool in self.tools()):
            return []
        return [each for each in self._toolboxes if isinstance(each, StartingToolbox)]

    def _unknown(self, name: str) -> ToolResult:
        names = ", ".join(tool.spec.name for tool in self.tools()) or "none"
        absent = self.explain_absence(name)
        return ToolResult(
            f"There is no tool {name} now. {absent + ' ' if absent else ''}The tools are: {names}.",
            is_error=True,
            fault="unknown_tool",
        )


LONGEST_NAME = 64  # what every provider takes


def _unique_name(name: str, taken: set[str]) -> str:
    """Return the name, or a variation of it that is not taken."""
    free, count = name, 1
    while free in taken:
        count += 1
        end = f"_{count}"
        free = name[: LONGEST_NAME - len(end)] + end
    return free

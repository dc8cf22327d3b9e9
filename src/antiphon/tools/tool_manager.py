"""Several toolboxes as one: the program's functions beside the tools of every server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from msgspec.structs import replace

from antiphon.ports import Tell, Toolbox, quiet
from antiphon.types.messages import Tool, ToolCall, ToolResult


@runtime_checkable
class Arriving(Protocol):
    """A toolbox whose tools come some time after its start, as those of MCP servers do."""

    def retry(self, name: str) -> None:
        """Start failed servers again that may bring the tool of this name; bounded."""
        ...

    def starting(self, name: str) -> tuple[str, ...]:
        """Return the servers that are starting and may bring the tool of this name."""
        ...

    async def arrival(self, name: str, seconds: float) -> None:
        """Wait until the tool is there or nothing is starting that may bring it; bounded."""
        ...

    def explain_absence(self, name: str) -> str:
        """Return which server may have had the tool and how it is, "" where none is known."""
        ...


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

    def retry(self, name: str) -> None:
        """See `Arriving.retry`."""
        for each in self._arriving(name):
            each.retry(name)

    def starting(self, name: str) -> tuple[str, ...]:
        """See `Arriving.starting`."""
        return tuple(server for each in self._arriving(name) for server in each.starting(name))

    async def arrival(self, name: str, seconds: float) -> None:
        """See `Arriving.arrival`."""
        await asyncio.gather(*(each.arrival(name, seconds) for each in self._arriving(name)))

    def explain_absence(self, name: str) -> str:
        """See `Arriving.explain_absence`."""
        return " ".join(filter(None, (each.explain_absence(name) for each in self._arriving(name))))

    def _arriving(self, name: str) -> list[Arriving]:
        if any(tool.spec.name == name for tool in self.tools()):
            return []
        return [each for each in self._toolboxes if isinstance(each, Arriving)]

    def _unknown(self, name: str) -> ToolResult:
        names = ", ".join(tool.spec.name for tool in self.tools()) or "none"
        absent = self.explain_absence(name)
        return ToolResult(
            f"There is no tool {name} now. {absent + ' ' if absent else ''}The tools are: {names}.",
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

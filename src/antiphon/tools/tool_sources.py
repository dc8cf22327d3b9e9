"""Sources of tools, as `tools=` takes them: functions, objects with methods, toolboxes, specs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from antiphon.ports import ProgressCallback, Toolbox, quiet
from antiphon.tools.functions import (
    TOOLSET_MARK,
    Function,
    Functions,
    UnfitTool,
    find_marked_methods,
)
from antiphon.tools.tool_manager import ToolManager
from antiphon.types.messages import Tool, ToolCall, ToolResult, ToolSpec

ToolSource = Function | ToolSpec | Toolbox | object
"""A function; an object whose methods `@tool` marks; a toolbox, such as a pool of MCP servers; or a
`ToolSpec` of a tool that runs elsewhere, in a worker for tools."""


class GatheredTools(NamedTuple):
    """The tools that run here, and the specs of those that are only offered."""

    toolbox: Toolbox
    offered: tuple[ToolSpec, ...] = ()
    instructions: str = ""
    """Texts of toolboxes that the model reads before the conversation."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """Return everything that the model may call."""
        return (*(tool.spec for tool in self.toolbox.tools()), *self.offered)


def gather_tools(tools: Iterable[ToolSource], toolbox: Toolbox | None = None) -> GatheredTools:
    """Return the tools of all sources. Raises `UnfitTool`, also where two have one name."""
    functions: list[Function] = []
    toolboxes: list[Toolbox] = []
    offered: list[ToolSpec] = []
    if isinstance(tools, str) or not hasattr(tools, "__iter__"):
        raise UnfitTool(
            "Tools come in a list.",
            expected="tools=[function, ...]",
            received=repr(tools)[:200],
        )
    for source in tools:
        if hasattr(source, TOOLSET_MARK):
            raise UnfitTool(
                f"{getattr(source, '__name__', 'This')} is a toolset, which --tools opens.",
                expected="the tools that it returns",
                received=repr(source)[:200],
            )
        if isinstance(source, ToolSpec):
            offered.append(source)
        elif isinstance(source, _Toolbox):
            toolboxes.append(source)
        elif callable(source):
            functions.append(source)
        elif methods := find_marked_methods(source):
            functions += methods
        else:
            raise UnfitTool(
                f"{type(source).__name__} is no tool.",
                expected="a function, an object with methods under @tool, a toolbox or a ToolSpec",
                received=repr(source)[:200],
            )
    if toolbox is not None:
        toolboxes.append(toolbox)
    own = Functions(functions)
    _check_offered(offered, own.tools())
    return GatheredTools(
        ToolManager(own, *toolboxes) if toolboxes else own,
        tuple(offered),
        "\n\n".join(_read_instructions(toolboxes)),
    )


def _read_instructions(toolboxes: Iterable[Toolbox]) -> Iterator[str]:
    for each in toolboxes:
        if not isinstance(each, _InstructingToolbox) or not callable(each.instructions):
            continue  # others may mean something else by this name
        if text := each.instructions():
            yield text


def _check_offered(offered: Sequence[ToolSpec], own: Sequence[Tool]) -> None:
    names = [tool.spec.name for tool in own]
    for spec in offered:
        if spec.name in names:
            raise UnfitTool(
                f"Two tools are named {spec.name}.",
                expected="a tool that runs here or elsewhere, not both",
                received="a function and a ToolSpec, or two",
            )
        names.append(spec.name)


@runtime_checkable
class _Toolbox(Protocol):
    """The methods by which a toolbox is recognized."""

    def tools(self) -> Sequence[Tool]: ...

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult: ...


@runtime_checkable
class _InstructingToolbox(Protocol):
    """Toolbox with a text about its tools for the model, such as the catalogue of skills."""

    def instructions(self) -> str: ...

"""Tools that a page runs itself, as a run remembers them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from string import hexdigits

from antiphon.engine.page_tools import ASK, PAGE_TOOLS, page_tools
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Run

MAX_TOOLS = 512


def asking_tools(run: Run) -> frozenset[str]:
    """Return the names of a page's tools whose calls a person must approve."""
    bits = run.metadata.get(PAGE_TOOLS, "").partition(ASK)[2]
    if not bits or set(bits) - set(hexdigits):
        return frozenset()
    tools = enumerate(page_tools(run))
    return frozenset(tool.name for place, tool in tools if int(bits, 16) >> place & 1)


def mark_tools(tools: Sequence[ToolSpec], ask: Collection[str]) -> dict[str, str]:
    """Return the metadata of a run with these tools of a page, of which some ask."""
    if not tools:
        return {}
    bits = sum(1 << place for place, tool in enumerate(tools) if tool.name in ask)
    return {PAGE_TOOLS: f"{len(tools)}{ASK}{bits:x}" if bits else str(len(tools))}


def check_names(tools: Sequence[ToolSpec], given: Sequence[ToolSpec]) -> None:
    """Raise `InvalidRequest` for a page's tool with the name of one of the assistant's.

    There may be as many of both together as a run can have.
    """
    if len(tools) + len(given) > MAX_TOOLS:
        raise InvalidRequest(
            "These are too many tools.",
            expected=f"at most {MAX_TOOLS}, those of the assistant included",
            received=str(len(tools) + len(given)),
            where="$.tools",
        )
    taken = {tool.name for tool in given}
    for tool in tools:
        if tool.name in taken:
            raise InvalidRequest(
                f"The page's tool {tool.name} has the name of one of the assistant's.",
                expected="another name",
                where="$.tools",
            )


def has_other_tools(run: Run, tools: Sequence[ToolSpec] | None) -> bool:
    """Return whether a page now has other tools than those that a run offers."""
    if tools is None:
        return False
    before = {tool.name: tool for tool in page_tools(run)}
    return before != {tool.name: tool for tool in tools}

"""Selects the tools that a model is offered in a turn: the client's and the worker's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from antiphon.types.messages import Tool, ToolSpec
from antiphon.types.runs import Action, HostedTool, Run, Sampling


class ToolSelection(msgspec.Struct, frozen=True):
    """Tools of one request, the sampling for them, and the worker's tools by name."""

    tools: tuple[ToolSpec, ...]
    sampling: Sampling
    hosted: Mapping[str, HostedTool]


def select_tools(run: Run, there: Sequence[Tool]) -> ToolSelection:
    """Return the run's own tools and those of its servers; on equal names the run's own win.

    Servers come and go: if a chosen tool is missing, the choice is left to the model.
    """
    servers = {server.name: server for server in run.mcp_servers}
    own = {tool.name for tool in run.tools}
    hosted: dict[str, HostedTool] = {}
    specs: list[ToolSpec] = []
    for tool in there:
        server = servers.get(tool.server or "")
        name = tool.spec.name
        if server is None or name in own or name in hosted or not server.offers(tool.own_name):
            continue
        specs.append(tool.spec)
        hosted[name] = HostedTool(server.name, server.asks(tool.own_name), _digest(tool))
    return ToolSelection(
        (*run.tools, *specs), _drop_lost_choice(run.sampling, own | hosted.keys()), hosted
    )


def has_changed(action: Action, there: Sequence[Tool]) -> bool:
    """Return whether the tool differs from the one whose call was approved."""
    return action.approval is not None and any(
        tool.spec.name == action.name and _digest(tool) != action.tool_digest for tool in there
    )


def _digest(tool: Tool) -> str:
    facts = (tool.origin, tool.own_name, tool.spec, tool.hints)
    return sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()


def _drop_lost_choice(sampling: Sampling, names: set[str]) -> Sampling:
    chosen = sampling.chosen_tool
    lost = chosen not in names if chosen is not None else not names
    if sampling.tool_choice in (None, "auto", "none") or not lost:
        return sampling
    return replace(sampling, tool_choice=None)

"""What a model is offered in a turn: the client's tools, and those that the worker runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from antiphon.types.messages import Tool, ToolSpec
from antiphon.types.runs import Action, Hosted, Run, Sampling


class ToolSelection(msgspec.Struct, frozen=True):
    """The tools of a question, what it asks of the choice among them, and which are the worker's.

    `hosted` are those by name.
    """

    tools: tuple[ToolSpec, ...]
    sampling: Sampling
    hosted: Mapping[str, Hosted]


def select_tools(run: Run, there: Sequence[Tool]) -> ToolSelection:
    """The run's tools and those of its servers that are there; a name that is both is the client's.

    Servers come and go: a choice that was meant for a tool which is not there is left to the model.
    """
    servers = {server.name: server for server in run.mcp_servers}
    own = {tool.name for tool in run.tools}
    hosted: dict[str, Hosted] = {}
    specs: list[ToolSpec] = []
    for tool in there:
        server = servers.get(tool.server or "")
        name = tool.spec.name
        if server is None or name in own or name in hosted or not server.offers(tool.own_name):
            continue
        specs.append(tool.spec)
        hosted[name] = Hosted(server.name, server.asks(tool.own_name), _digest(tool))
    return ToolSelection(
        (*run.tools, *specs), _drop_lost_choice(run.sampling, own | hosted.keys()), hosted
    )


def has_changed(action: Action, there: Sequence[Tool]) -> bool:
    """Whether the tool is another than the one of which a call was approved."""
    return action.approval is not None and any(
        tool.spec.name == action.name and _digest(tool) != action.tool_digest for tool in there
    )


def _digest(tool: Tool) -> str:
    facts = (tool.origin, tool.own_name, tool.spec, tool.hints)
    said = msgspec.json.encode(facts, order="deterministic")
    return sha256(said).hexdigest()


def _drop_lost_choice(sampling: Sampling, names: set[str]) -> Sampling:
    chosen = sampling.chosen_tool
    lost = chosen not in names if chosen is not None else not names
    if sampling.tool_choice in (None, "auto", "none") or not lost:
        return sampling
    return replace(sampling, tool_choice=None)

"""Stored facts about the calls of a run, as their items need them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from antiphon.api.operations import GetRun, ListActions, ListMessages
from antiphon.mcp.metadata import model_tool_name, tool_name_prefix
from antiphon.server.caller_api import PAGE, CallerApi
from antiphon.server.openai.pictures import IMAGES, load_pictures
from antiphon.types.errors import NotFound
from antiphon.types.ids import reply_id
from antiphon.types.runs import Run
from antiphon.wires.openai.hosted_tools import (
    NO_HOSTED_RUN,
    HostedCalls,
    HostedRun,
    find_sources,
    parse_hosted_tools,
)
from antiphon.wires.openai.items import NamespacedName, is_custom
from antiphon.wires.openai.response_object import has_mcp_items
from antiphon.wires.openai.response_tools import read_namespaces
from antiphon.wires.openai.stored_items import NO_ACTIONS, Actions, index_actions

HOSTED_TOOLS = "hosted_tools"
"""Field of a response's record: the setting of that name, as far as the request needed it."""


class RunToolFacts(NamedTuple):
    """Actions of a run, the names of its custom tools, and its hosted tools.

    `namespaces` are those of its tools, `mcp_replies` the ids of replies whose calls that the
    backend ran are items `mcp_call`.
    """

    actions: Actions = NO_ACTIONS
    custom: Collection[str] = ()
    hosted: HostedRun = NO_HOSTED_RUN
    namespaces: Mapping[str, NamespacedName] = {}
    mcp_replies: Collection[str] = ()


async def read_tool_facts(api: CallerApi, run_id: str, *, has_calls: bool) -> RunToolFacts:
    """Return the tools of a run; none if it is not there any more, no actions without calls."""
    try:
        run = await api.ask(GetRun(run_id))
        actions = await api.list_all(ListActions(run_id, limit=PAGE)) if has_calls else ()
        hosted = await read_hosted_run(api, run)
    except NotFound:
        return RunToolFacts()
    custom = [tool.name for tool in run.tools if is_custom(tool)]
    namespaces: dict[str, NamespacedName] = {}
    mcp_replies: set[str] = set()
    for turns, request in _requests_of(run):
        namespaces |= read_namespaces(request.get("tools") or ())
        if has_mcp_items(request):
            mcp_replies |= {reply_id(run.id, turn) for turn in turns}
    return RunToolFacts(index_actions(actions), custom, hosted, namespaces, mcp_replies)


def _requests_of(run: Run) -> Iterator[tuple[range, Mapping[str, Any]]]:
    """Yield the turns of each of a run's responses, with what its request said."""
    if run.responses is msgspec.UNSET:
        return
    lasts = [*(record.turn for record in run.responses[1:]), run.turn]
    first: Mapping[str, Any] = {}
    for record, last in zip(run.responses, lasts, strict=True):
        first = first or record.request
        yield range(record.turn + 1, last + 1), {**first, **record.request}


async def read_hosted_run(api: CallerApi, run: Run) -> HostedRun:
    """Return the hosted tools of a run, with what its searches have found."""
    mapped: dict[str, str] = {}
    for _, request in _requests_of(run):
        mapped |= request.get(HOSTED_TOOLS) or {}
    if not mapped:
        return NO_HOSTED_RUN
    messages = await api.list_all(ListMessages(run.thread_id, PAGE, run_id=run.id))
    hosted = find_sources(name_hosted_calls(mapped), messages)
    if IMAGES in mapped:
        await load_pictures(api, hosted, chain(*(each.file_ids for each in messages)))
    return hosted


def name_hosted_calls(mapped: Mapping[str, str]) -> HostedCalls:
    """Return how calls are named of hosted tools, whose targets are by their types."""
    names: dict[str, str] = {}
    prefixes: dict[str, str] = {}
    texts = [f"{kind}={target}" for kind, target in mapped.items()]
    for kind, target in parse_hosted_tools(texts).items():
        if target.tool is not None:
            names[model_tool_name(target.server, target.tool)] = kind
        elif prefix := tool_name_prefix(target.server):
            prefixes[prefix] = kind
    return HostedCalls(names, prefixes)

"""The response object of OpenAI's wire, and what a run keeps so that it can be made again.

A run with hand-offs to the client gives several responses, one from each request to the next
hand-off. The id of a response is that of its run with its place among these.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import msgspec

from antiphon.types.ids import response_id as response_id
from antiphon.types.runs import McpServer, ResponseRecord, Run, Usage
from antiphon.wires.openai.hosted_tools import NO_HOSTED_RUN, HostedRun
from antiphon.wires.openai.items import Item, NamespacedName
from antiphon.wires.openai.object_ids import conversation_id

ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]

LIST_TOOLS, LISTED_TOOLS = "list_tools", "listed_tools"
"""Fields of a response's record: servers whose tools it lists, and those listed before it."""

_ID = re.compile(r"resp_([0-9A-Za-z-]{35})(0|[1-9][0-9]{0,4})", re.ASCII)


def parse_response_id(id: str) -> tuple[str, int] | None:
    """Return the id of a response's run and its place there; None if it is no id of ours."""
    found = _ID.fullmatch(id)
    return None if found is None else (f"run_{found[1]}", int(found[2]))


class CarriedCall(msgspec.Struct, frozen=True):
    """A call of a reply that the backend runs; `asked` if a person was asked about it before."""

    reply_id: str
    place: int
    name: str
    arguments: str
    asked: bool = False


class ResponseHead(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a response that are known before its first event and never change.

    `created_at` is in seconds since 1970. `request` has the fields of the request that the response
    repeats. `turn` is the number of turns before. `client_tools` are the names of the tools that
    the client runs, `custom_tools` those of them without a schema, and `namespaces` has those in a
    namespace. `servers` are the run's MCP
    servers by the prefixes of their tools' names. With `mcp_items` the calls of these are items of
    the type `mcp_call`. `carried` are calls of the reply before, by their ids. `hosted` are the
    hosted tools of the run, with what earlier responses have found.
    """

    id: str
    run_id: str
    thread_id: str
    created_at: int
    request: Mapping[str, Any]
    turn: int = 0
    client_tools: frozenset[str] = frozenset()
    custom_tools: frozenset[str] = frozenset()
    namespaces: Mapping[str, NamespacedName] = {}
    servers: Mapping[str, McpServer] = {}
    mcp_items: bool = False
    carried: Mapping[str, CarriedCall] = {}
    hosted: HostedRun = NO_HOSTED_RUN

    @property
    def include(self) -> Sequence[str]:
        """The optional fields of items that the request asked for."""
        return self.request.get("include") or ()

    @property
    def background(self) -> bool:
        """True if the request asked for an answer before the run ends."""
        return bool(self.request.get("background"))

    def find_server(self, tool: str) -> tuple[McpServer, str] | None:
        """Return the server of a tool, and the tool's own name there."""
        for prefix, server in self.servers.items():
            if tool.startswith(prefix):
                return server, tool.removeprefix(prefix)
        return None

    def asks(self, tool: str) -> bool:
        """Return whether a call of the server's tool of this name needs approval."""
        found = self.find_server(tool)
        return found is not None and found[0].asks(found[1])


class ResponseState(msgspec.Struct, frozen=True, kw_only=True):
    """A response as far as it has come; `completed_at` in seconds since 1970."""

    status: ResponseStatus
    output: Sequence[Item] = ()
    usage: Usage | None = None
    error: Mapping[str, str] | None = None
    incomplete_reason: str | None = None
    completed_at: int | None = None


def response_object(head: ResponseHead, state: ResponseState) -> dict[str, Any]:
    """Return the object of a response, every field of the original included."""
    request = head.request
    reasoning: Mapping[str, Any] = request.get("reasoning") or {}
    text: Mapping[str, Any] = request.get("text") or {}
    ended = state.status not in ("queued", "in_progress")
    incomplete = None
    if state.incomplete_reason is not None:
        incomplete = {"reason": state.incomplete_reason}
    return {
        "id": head.id,
        "object": "response",
        "created_at": head.created_at,
        "status": state.status,
        "background": head.background,
        "completed_at": state.completed_at if state.status == "completed" else None,
        "conversation": (
            {"id": conversation_id(head.thread_id)} if request.get("conversation") else None
        ),
        "error": state.error,
        "frequency_penalty": 0.0,
        "incomplete_details": incomplete,
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "max_tool_calls": request.get("max_tool_calls"),
        "metadata": request.get("metadata") or {},
        "model": request.get("model"),
        "output": list(state.output),
        "parallel_tool_calls": _or(request.get("parallel_tool_calls"), True),
        "presence_penalty": 0.0,
        "previous_response_id": request.get("previous_response_id"),
        "prompt": request.get("prompt"),
        "prompt_cache_key": request.get("prompt_cache_key"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "safety_identifier": request.get("safety_identifier"),
        "service_tier": "default",
        "store": _or(request.get("store"), True),
        "temperature": _or(request.get("temperature"), 1.0),
        "text": {
            "format": text.get("format") or {"type": "text"},
            "verbosity": text.get("verbosity") or "medium",
        },
        "tool_choice": request.get("tool_choice") or "auto",
        "tools": request.get("tools") or [],
        "top_logprobs": 0,
        "top_p": _or(request.get("top_p"), 1.0),
        "truncation": request.get("truncation") or "disabled",
        "usage": usage_object(state.usage) if ended and state.usage is not None else None,
        "user": request.get("user"),
    }


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the usage in the words of this wire."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def record_request(run: Run, place: int) -> Mapping[str, Any] | None:
    """Return what the request for a run's response at this place said; None without a response."""
    record = find_record(run, place)
    if record is None or run.responses is msgspec.UNSET:
        return None
    return {**run.responses[0].request, **record.request}


def has_mcp_items(request: Mapping[str, Any]) -> bool:
    """Return whether a response shows calls that the backend ran as items `mcp_call`."""
    style = request.get("server_tools")
    if style:
        return bool(style == "mcp_call")
    return any(tool.get("type") == "mcp" for tool in request.get("tools") or ())


def servers_with_listed_tools(run: Run | None) -> frozenset[str]:
    """Return the MCP servers whose tools were listed up to the responses of a run."""
    if run is None or not run.responses:
        return frozenset()
    request = run.responses[0].request
    return frozenset([*(request.get(LIST_TOOLS) or ()), *(request.get(LISTED_TOOLS) or ())])


def list_tools_once(request: Mapping[str, Any], listed: Collection[str]) -> dict[str, Any]:
    """Return what a response's record says, with the MCP servers whose tools it lists.

    These are those of its tools of the type `mcp`, without `listed` ones.
    """
    if not has_mcp_items(request):
        return dict(request)
    tools: Sequence[Mapping[str, Any]] = request.get("tools") or ()
    labels = [tool["server_label"] for tool in tools if tool.get("type") == "mcp"]
    new = [label for label in dict.fromkeys(labels) if label not in listed]
    return {**request, LIST_TOOLS: new, LISTED_TOOLS: sorted(listed)}


def find_record(run: Run, place: int) -> ResponseRecord | None:
    """Return the record of a run's response at this place, unless it was deleted."""
    records = () if run.responses is msgspec.UNSET else run.responses
    if place >= len(records) or records[place].deleted:
        return None
    return records[place]


def request_difference(run: Run, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a later request says differently from the run's first one."""
    first = {} if run.responses is msgspec.UNSET else run.responses[0].request
    changed = {name: value for name, value in request.items() if first.get(name) != value}
    return changed | dict.fromkeys(first.keys() - request.keys())


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value

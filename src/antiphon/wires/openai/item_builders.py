"""Items, each made from what it shows.

Streams make them while a run goes on, lists from what is stored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from antiphon.types.messages import (
    Citation,
    File,
    Hints,
    Image,
    Message,
    MessagePart,
    Refusal,
    Text,
    ToolCall,
    ToolListing,
)
from antiphon.wires.openai import items as kinds
from antiphon.wires.openai.hosted_tools import citations
from antiphon.wires.openai.items import Item, NamespacedName, Opaque, custom_input, encode_opaque
from antiphon.wires.openai.object_ids import call_item_id, item_id, public_file_id
from antiphon.wires.openai.sent_items import SERVER_SEPARATOR

ENCRYPTED_REASONING = "reasoning.encrypted_content"
"""The value of `include` that asks for `encrypted_content` of reasoning."""


def select_fields(item: Item, include: Collection[str]) -> Item:
    """Return the item with those optional fields that a request asks for in `include`."""
    match item:
        case kinds.ReasoningItem() if ENCRYPTED_REASONING not in include:
            return replace(item, encrypted_content=UNSET)
        case kinds.FileSearchCall() if "file_search_call.results" not in include:
            return replace(item, results=None)
        case kinds.CodeInterpreterCall() if "code_interpreter_call.outputs" not in include:
            return replace(item, outputs=None)
        case kinds.WebSearchCall(action=dict(action)) if (
            "web_search_call.action.sources" not in include
        ):
            return replace(item, action={k: v for k, v in action.items() if k != "sources"})
        case _:
            return item


def message_content(content: Iterable[MessagePart], *, of_model: bool) -> list[kinds.ContentPart]:
    """Return the parts of a message's content as parts of an item."""
    return [_part(part, of_model=of_model) for part in content]


def reasoning_item(reply_id: str, text: str) -> kinds.ReasoningItem:
    """Return the item of a reply's reasoning."""
    return kinds.ReasoningItem(
        id=item_id("rs", reply_id),
        summary=(kinds.SummaryText(text),),
        encrypted_content=encode_opaque(Opaque(reasoning=text)),
    )


def call_item(reply_id: str, place: int, call: ToolCall, *, custom: bool) -> Item:
    """Return the item of a call that a client runs, or of one that looks so."""
    if custom:
        return kinds.CustomToolCall(
            id=call_item_id("ctc", reply_id, place),
            call_id=call.id,
            name=call.name,
            input=custom_input(call.arguments),
        )
    return kinds.FunctionCall(
        id=call_item_id("fc", reply_id, place),
        call_id=call.id,
        name=call.name,
        arguments=call.arguments,
    )


def name_in_namespace(item: Item, namespaces: Mapping[str, NamespacedName]) -> Item:
    """Return a call with its namespace, if it has one, and the name there."""
    if isinstance(item, kinds.FunctionCall | kinds.CustomToolCall) and item.name in namespaces:
        namespace, name = namespaces[item.name]
        return replace(item, namespace=namespace, name=name)
    return item


def output_item(
    reply_id: str,
    place: int,
    call_id: str,
    output: str | tuple[kinds.InputPart, ...],
    *,
    custom: bool,
) -> Item:
    """Return the item of a call's output."""
    if custom:
        return kinds.CustomToolCallOutput(
            id=call_item_id("ctco", reply_id, place), call_id=call_id, output=output
        )
    return kinds.FunctionCallOutput(
        id=call_item_id("fco", reply_id, place), call_id=call_id, output=output
    )


def list_tools_item(reply_id: str, place: int, listing: ToolListing) -> kinds.McpListTools:
    """Return the item of the list of an MCP server's tools, the one at this place of its reply."""
    tools = tuple(
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": tool.parameters,
            "annotations": _annotations(tool.hints),
        }
        for tool in listing.tools
    )
    return kinds.McpListTools(
        id=call_item_id("mcpl", reply_id, place),
        server_label=listing.server,
        tools=tools,
        error=listing.error,
    )


def _annotations(hints: Hints) -> dict[str, Any] | None:
    """Return a tool's annotations in the words of MCP."""
    words = {
        "title": hints.title,
        "readOnlyHint": hints.read_only,
        "destructiveHint": hints.destructive,
        "idempotentHint": hints.idempotent,
        "openWorldHint": hints.open_world,
    }
    return {word: value for word, value in words.items() if value is not None} or None


def mcp_call_item(
    reply_id: str,
    place: int,
    call: ToolCall,
    server: str,
    output: Message | None,
    *,
    approved: bool = False,
) -> kinds.McpCall:
    """Return the item of a call that the backend ran; it is in progress without its output."""
    failed = output is not None and output.is_error
    text = None if output is None else output.text
    return kinds.McpCall(
        id=call_item_id("mcp", reply_id, place),
        server_label=server,
        name=_own_name(call.name, server),
        arguments=call.arguments,
        output=None if failed else text,
        error={"type": "mcp_tool_execution_error", "content": text} if failed else None,
        approval_request_id=call_item_id("mcpr", reply_id, place) if approved else None,
        status="in_progress" if output is None else "failed" if failed else "completed",
    )


def approval_request_item(
    reply_id: str, place: int, name: str, arguments: str, server: str
) -> kinds.McpApprovalRequest:
    """Return the question whether the backend may run a call."""
    return kinds.McpApprovalRequest(
        id=call_item_id("mcpr", reply_id, place),
        server_label=server,
        name=_own_name(name, server),
        arguments=arguments,
    )


def _own_name(name: str, server: str) -> str:
    """Return the server's own name of a tool, which has the server's before it for the model."""
    return name.removeprefix(f"{server}{SERVER_SEPARATOR}")


def cite(
    part: kinds.ContentPart, titles: Mapping[str, str], cited: Sequence[Citation] = ()
) -> kinds.ContentPart:
    """Return a part of a reply with the citations of its text."""
    if (titles or cited) and isinstance(part, kinds.OutputText):
        return replace(part, annotations=citations(part.text, titles, cited))
    return part


def _part(part: MessagePart, *, of_model: bool) -> kinds.ContentPart:
    match part:
        case Text(text):
            return kinds.OutputText(text) if of_model else kinds.InputText(text)
        case Refusal(text):
            return kinds.RefusalPart(text)
        case Image(url=str(url)):
            return kinds.InputImage(image_url=url)
        case Image(file_id=file_id):
            return kinds.InputImage(file_id=public_file_id(file_id or ""))
        case File(file_id):
            return kinds.InputFile(file_id=public_file_id(file_id))

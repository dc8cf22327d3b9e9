"""Items of the Responses wire: messages, reasoning, tool calls and their outputs.

By the types of OpenAI's Python package (`openai.types.responses`, `openai.types.conversations`,
3.54). The same types are read and written. Clients may omit what has a default, and send `null` for
it, as they echo items of earlier answers; fields that are not listed here are ignored.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from antiphon.types.messages import ToolSpec

CallId = Annotated[str, Meta(min_length=1, max_length=128)]
ToolName = Annotated[str, Meta(min_length=1, max_length=128)]
Arguments = Annotated[str, Meta(max_length=1_000_000)]
Progress = Literal["in_progress", "completed", "incomplete"]
"""The `status` of most items."""


# Parts of content.


class InputText(msgspec.Struct, frozen=True, tag_field="type", tag="input_text"):
    """Text of a user, or of a tool's output."""

    text: str


class PlainText(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text as some clients send it. Only read."""

    text: str


class InputImage(msgspec.Struct, frozen=True, tag_field="type", tag="input_image"):
    """A picture: a URL (https or data), or the id of a file."""

    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = "auto"


class InputFile(
    msgspec.Struct, frozen=True, tag_field="type", tag="input_file", omit_defaults=True
):
    """A file: its id, or its name and its data as base64."""

    file_id: str | None = None
    filename: str | None = None
    file_data: str | None = None
    file_url: str | None = None


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text"):
    """Text of a model, with citations as `annotations`."""

    text: str
    annotations: tuple[dict[str, Any], ...] | None = ()
    logprobs: tuple[dict[str, Any], ...] | None = ()


class RefusalPart(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """A model's text of a refusal."""

    refusal: str


class SummaryText(msgspec.Struct, frozen=True, tag_field="type", tag="summary_text"):
    """A part of a summary of reasoning."""

    text: str


class ReasoningText(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning_text"):
    """A part of the reasoning itself."""

    text: str


InputPart = InputText | InputImage | InputFile | PlainText | OutputText
ContentPart = InputPart | RefusalPart | SummaryText | ReasoningText
_Parts = Annotated[tuple[ContentPart, ...], Meta(max_length=256)]
_OutputParts = Annotated[tuple[InputPart, ...], Meta(max_length=256)]


# Messages and reasoning.


class MessageItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """A message. `phase` is the model's own word for a kind of answer."""

    id: str | None = None
    role: Literal["user", "assistant", "system", "developer"]
    status: Progress | None = "completed"
    content: str | _Parts | None
    phase: Literal["commentary", "final_answer"] | UnsetType | None = UNSET


class ReasoningItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """A model's reasoning. `encrypted_content` is opaque; it brings the reasoning back."""

    id: str | None = None
    summary: Annotated[tuple[SummaryText, ...], Meta(max_length=256)] | None = ()
    content: (
        Annotated[tuple[ReasoningText | PlainText, ...], Meta(max_length=256)] | UnsetType | None
    ) = UNSET
    encrypted_content: str | UnsetType | None = UNSET
    status: Progress | UnsetType | None = UNSET


class CompactionItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="compaction"):
    """A summary in the place of all items before it; `encrypted_content` is opaque."""

    id: str | None = None
    encrypted_content: str


# Tool calls that a client runs.


class FunctionCall(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call"
):
    """A call of a function. `arguments` is a JSON object as text."""

    id: str | None = None
    call_id: CallId
    name: ToolName
    namespace: ToolName | UnsetType | None = UNSET
    arguments: Arguments
    status: Progress | None = "completed"


class FunctionCallOutput(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call_output"
):
    """The output of a function."""

    id: str | None = None
    call_id: CallId
    output: str | _OutputParts
    status: Progress | None = "completed"


class CustomToolCall(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="custom_tool_call"
):
    """A call of a custom tool, whose input is any text."""

    id: str | None = None
    call_id: CallId
    name: ToolName
    namespace: ToolName | UnsetType | None = UNSET
    input: Arguments
    status: Progress | None = "completed"


class CustomToolCallOutput(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="custom_tool_call_output"
):
    """The output of a custom tool."""

    id: str | None = None
    call_id: CallId
    output: str | _OutputParts
    status: Progress | None = "completed"


# MCP servers, whose tools the backend runs.


class McpListTools(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="mcp_list_tools"
):
    """The tools of an MCP server."""

    id: str | None = None
    server_label: str
    tools: tuple[dict[str, Any], ...] = ()
    error: str | None = None


class McpCall(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="mcp_call"):
    """A call of an MCP server's tool, with its output. `error` is an object, or text."""

    id: str | None = None
    server_label: str
    name: ToolName
    arguments: Arguments
    output: str | None = None
    error: Any = None
    approval_request_id: str | None = None
    status: Literal["in_progress", "completed", "incomplete", "calling", "failed"] | None = (
        "completed"
    )


class McpApprovalRequest(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="mcp_approval_request"
):
    """A question to a person: may the backend call this tool?"""

    id: str | None = None
    server_label: str
    name: ToolName
    arguments: Arguments


class McpApprovalResponse(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="mcp_approval_response"
):
    """The person's answer; the model reads the reason."""

    id: str | None = None
    approval_request_id: CallId
    approve: bool
    reason: Annotated[str, Meta(max_length=10_000)] | None = None


# Hosted tools. Each is a call and its result in one.


class WebSearchCall(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="web_search_call"
):
    """A search of the web. `action` has the query, and the sources where they are asked for."""

    id: str | None = None
    action: dict[str, Any] | None = None
    status: str | None = "completed"


class FileSearchCall(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="file_search_call"
):
    """A search in files."""

    id: str | None = None
    queries: tuple[str, ...] = ()
    results: tuple[dict[str, Any], ...] | None = None
    status: str | None = "completed"


class CodeInterpreterCall(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="code_interpreter_call"
):
    """A program that was run."""

    id: str | None = None
    code: str | None = None
    container_id: str = ""
    outputs: tuple[dict[str, Any], ...] | None = None
    status: str | None = "completed"


class ImageGenerationCall(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="image_generation_call"
):
    """A picture that was made; `result` is base64."""

    id: str | None = None
    result: str | None = None
    revised_prompt: str | None = None
    output_format: str | None = None
    status: str | None = "completed"


HostedCall = WebSearchCall | FileSearchCall | CodeInterpreterCall | ImageGenerationCall


# What only a request has.


class ItemReference(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="item_reference"
):
    """Stands for a stored item."""

    id: CallId


class CompactionTrigger(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="compaction_trigger"
):
    """Asks for a summary of all items before it."""

    id: str | None = None


ToolItem = (
    FunctionCall
    | FunctionCallOutput
    | CustomToolCall
    | CustomToolCallOutput
    | McpListTools
    | McpCall
    | McpApprovalRequest
    | McpApprovalResponse
    | HostedCall
)
"""An item about a tool."""

Item = MessageItem | ReasoningItem | CompactionItem | ToolItem
"""An item as it is stored and listed."""

InputItem = Item | ItemReference | CompactionTrigger
"""An item of a request."""


# Tools of a namespace are offered to models under a name with it.


class NamespacedName(NamedTuple):
    """The name of a tool in its namespace."""

    namespace: str
    name: str


def full_tool_name(namespace: str | UnsetType | None, name: str) -> str:
    """Return the name under which a tool is offered to models."""
    return f"{namespace}__{name}" if namespace else name


# Custom tools are offered to models as functions with one argument.

CUSTOM_INPUT = "input"
"""Name of the only argument of a custom tool."""

CUSTOM_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        CUSTOM_INPUT: {"type": "string", "description": "The whole input of the tool, as text."}
    },
    "required": [CUSTOM_INPUT],
    "additionalProperties": False,
}
"""Parameters of every custom tool, by which it is told from a function."""


def is_custom(tool: ToolSpec) -> bool:
    """Return whether a tool was offered as a custom tool."""
    return tool.parameters == CUSTOM_PARAMETERS


def custom_input(arguments: str) -> str:
    """Return the input of a custom tool's call from its arguments, a JSON object as text."""
    try:
        return msgspec.json.decode(arguments, type=_CustomArguments).input
    except (msgspec.DecodeError, UnicodeError):
        return arguments


def custom_arguments(text: str) -> str:
    """Return the arguments of a custom tool's call."""
    return msgspec.json.encode(_CustomArguments(text)).decode()


class _CustomArguments(msgspec.Struct):
    input: str


# Opaque content, which a client keeps and sends back. It is encoded, not secret.


class Opaque(msgspec.Struct, frozen=True, omit_defaults=True):
    """Content of `encrypted_content`: the text of reasoning, or a summary."""

    reasoning: str | None = None
    summary: str | None = None


def encode_opaque(content: Opaque) -> str:
    """Return opaque content as text."""
    return base64.urlsafe_b64encode(msgspec.json.encode(content)).decode()


def decode_opaque(text: str) -> Opaque | None:
    """Return the content of an opaque text; None if it is not from here."""
    try:
        return msgspec.json.decode(base64.b64decode(text, b"-_", validate=True), type=Opaque)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return None

"""Requests of Chat Completions: their fields, and what they mean for a run.

By the reference of OpenAI and the types of its Python package (`openai.types.chat`, 3.54). Fields
that are not listed here are ignored, as programs send fields of other vendors along; `FIELDS` says
what happens to each one of the original.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from antiphon.api.fields import Metadata
from antiphon.api.operation import convert
from antiphon.api.threads import PastCall, PastMessage
from antiphon.types.errors import InvalidRequest, UnsupportedByProvider
from antiphon.types.messages import File, Image, Part, Text, ToolSpec
from antiphon.types.runs import McpServer, Sampling
from antiphon.wires.framing import InlineFile
from antiphon.wires.openai.hosted_tools import WEB_SEARCH, HostedTarget, choose_hosted_servers
from antiphon.wires.openai.object_ids import parse_file_id

MAX_MESSAGES = 10_000
MAX_TOOLS = 512


# Messages.


class _TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    text: str


class _RefusalPart(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    refusal: str


class _ImageUrl(msgspec.Struct, frozen=True):
    url: str


class _ImagePart(msgspec.Struct, frozen=True, tag_field="type", tag="image_url"):
    image_url: _ImageUrl


class _FileField(msgspec.Struct, frozen=True):
    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class _FilePart(msgspec.Struct, frozen=True, tag_field="type", tag="file"):
    file: _FileField


class _AudioPart(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio"):
    input_audio: Any = None


_Content = (
    str
    | Annotated[
        tuple[_TextPart | _RefusalPart | _ImagePart | _FilePart | _AudioPart, ...],
        Meta(max_length=256),
    ]
)


class _CalledFunction(msgspec.Struct, frozen=True):
    name: str
    arguments: str = ""


class _RequestCall(msgspec.Struct, frozen=True):
    id: str
    function: _CalledFunction | None = None
    type: str = "function"


class _Message(msgspec.Struct, frozen=True):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: _Content | None = None
    tool_calls: Annotated[tuple[_RequestCall, ...], Meta(max_length=MAX_TOOLS)] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None


# Tools and options.


class _Function(msgspec.Struct, frozen=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _RequestTool(msgspec.Struct, frozen=True):
    type: str = "function"
    function: _Function | None = None


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a request that are honoured, or refused unless they ask for nothing."""

    messages: Annotated[tuple[_Message, ...], Meta(min_length=1, max_length=MAX_MESSAGES)]
    model: Annotated[str, Meta(min_length=1, max_length=256)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: Annotated[tuple[_RequestTool, ...], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop: str | Annotated[tuple[str, ...], Meta(max_length=16)] | None = None
    seed: int | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, Any] | None = None
    logit_bias: dict[str, float] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    metadata: Metadata | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    modalities: tuple[str, ...] | None = None
    audio: Any = None
    moderation: Any = None
    prediction: Any = None
    web_search_options: dict[str, Any] | None = None
    functions: Any = None
    function_call: Any = None

    @property
    def include_usage(self) -> bool:
        """True if a stream ends with a chunk of usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


Treatment = Literal["honoured", "ignored", "refused"]

FIELDS: Mapping[str, tuple[Treatment, str]] = {
    "messages": ("honoured", "text, pictures, files, refusals, tool calls and their outputs"),
    "model": ("honoured", "a model, or the name or id of one of your assistants"),
    "stream": ("honoured", ""),
    "stream_options": ("honoured", "`include_usage`; `include_obfuscation` is ignored"),
    "tools": ("honoured", "functions; `custom` tools are refused"),
    "tool_choice": ("honoured", "also `allowed_tools` with functions"),
    "parallel_tool_calls": ("honoured", ""),
    "temperature": ("honoured", ""),
    "top_p": ("honoured", ""),
    "max_tokens": ("honoured", ""),
    "max_completion_tokens": ("honoured", ""),
    "stop": ("honoured", ""),
    "seed": ("honoured", ""),
    "reasoning_effort": ("honoured", ""),
    "response_format": ("honoured", "`text`, `json_object` and `json_schema`"),
    "logit_bias": ("honoured", ""),
    "presence_penalty": ("honoured", ""),
    "frequency_penalty": ("honoured", ""),
    "metadata": ("honoured", "becomes the metadata of the run"),
    "n": ("refused", "unless it is 1"),
    "logprobs": ("refused", "unless it is false"),
    "top_logprobs": ("refused", "unless it is 0"),
    "modalities": ("refused", "unless it is `text` alone"),
    "audio": ("refused", ""),
    "moderation": ("refused", ""),
    "prediction": ("refused", ""),
    "web_search_options": (
        "honoured",
        "the MCP server that is mapped to `web_search`; the options themselves are ignored",
    ),
    "functions": ("refused", "the older form of `tools`"),
    "function_call": ("refused", "the older form of `tool_choice`"),
    "store": ("ignored", "name a thread with `Antiphon-Thread` to keep the conversation"),
    "user": ("ignored", "the owner of the key is the user"),
    "safety_identifier": ("ignored", "the owner of the key is the user"),
    "service_tier": ("ignored", ""),
    "prompt_cache_key": ("ignored", "the provider's own cache decides"),
    "prompt_cache_options": ("ignored", "the provider's own cache decides"),
    "prompt_cache_retention": ("ignored", "the provider's own cache decides"),
    "verbosity": ("ignored", ""),
}
"""Treatment of each field of the original, and a remark."""

_NOTHING: Mapping[str, tuple[object, ...]] = {
    "n": (None, 1),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "modalities": (None, ("text",), ()),
}
"""Values of refused fields that ask for nothing."""


def parse_chat_request(fields: Mapping[str, Any]) -> CompletionRequest:
    """Return the request of a decoded body. Raises `InvalidRequest` and `UnsupportedByProvider`."""
    request = convert(dict(fields), CompletionRequest)
    for name, (treatment, remark) in FIELDS.items():
        if treatment != "refused":
            continue
        value = getattr(request, name)
        if value not in _NOTHING.get(name, (None,)):
            raise UnsupportedByProvider(
                f"`{name}` is not served here.",
                expected=f"no {name}" + (f": {remark}" if remark else ""),
                received=str(msgspec.to_builtins(value))[:100],
                where=f"$.{name}",
            )
    return request


def list_ignored_fields(
    fields: Iterable[str], known: Mapping[str, tuple[Treatment, str]] = FIELDS
) -> Sequence[str]:
    """Return the names of fields that are ignored, in order."""
    return sorted(name for name in fields if known.get(name, ("ignored",))[0] == "ignored")


# What it means for a run.


class SentMessage(NamedTuple):
    """A message of the request. `files` stand for the `File` parts whose id is empty, in order."""

    message: PastMessage
    files: tuple[InlineFile, ...] = ()


def past_messages(request: CompletionRequest) -> list[SentMessage]:
    """Return the messages of the request as messages of a thread. Raises `InvalidRequest`."""
    return [
        _past_message(message, f"$.messages[{place}]")
        for place, message in enumerate(request.messages)
    ]


def tool_specs(request: CompletionRequest) -> tuple[ToolSpec, ...] | None:
    """Return the tools of the request; None if it has no field `tools`. Raises `InvalidRequest`."""
    if request.tools is None:
        return None
    return tuple(_tool_spec(tool, place) for place, tool in enumerate(request.tools))


def search_servers(
    request: CompletionRequest, targets: Mapping[str, HostedTarget]
) -> tuple[McpServer, ...]:
    """Return the MCP server that searches the web, if the request asks for a search.

    `targets` are the servers that do hosted tools. Raises `UnsupportedByProvider`.
    """
    if request.web_search_options is None:
        return ()
    if WEB_SEARCH not in targets:
        raise UnsupportedByProvider(
            "There is no search of the web here: the operator has configured none.",
            expected="no web_search_options",
            hint=f"The setting hosted_tools maps it to an MCP server: {WEB_SEARCH}=SERVER/TOOL.",
            where="$.web_search_options",
        )
    return choose_hosted_servers([WEB_SEARCH], targets)


def sampling(request: CompletionRequest) -> Sampling:
    """Return the sampling settings of the request. Raises `InvalidRequest`."""
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or ()
    return convert(
        {
            name: value
            for name, value in {
                "temperature": request.temperature,
                "top_p": request.top_p,
                "max_output_tokens": request.max_completion_tokens or request.max_tokens,
                "stop": [word for word in stop if word] or None,
                "seed": request.seed,
                "tool_choice": _tool_choice(request.tool_choice),
                # Sent by many clients, though true is what the original does by itself; a
                # provider without the setting would refuse it.
                "parallel_tool_calls": False if request.parallel_tool_calls is False else None,
                "reasoning_effort": request.reasoning_effort,
                "response_format": request.response_format,
                "logit_bias": request.logit_bias or None,
                "presence_penalty": request.presence_penalty or None,
                "frequency_penalty": request.frequency_penalty or None,
            }.items()
            if value is not None
        },
        Sampling,
    )


def _tool_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"mode": str(mode)}}:
            return mode  # the tools that are not allowed are left out of the request's tools
        case {"type": "custom"}:
            raise _no_custom_tools("$.tool_choice")
        case _:
            return choice


def find_allowed_tools(request: CompletionRequest) -> frozenset[str] | None:
    """Return the names of the tools that `tool_choice` allows; None for all."""
    match request.tool_choice:
        case {"type": "allowed_tools", "allowed_tools": {"tools": [*tools]}}:
            return frozenset(_name_of_allowed(tool) for tool in tools)
        case _:
            return None


def _name_of_allowed(tool: object) -> str:
    match tool:
        case {"type": "function", "function": {"name": str(name)}}:
            return name
        case _:
            raise InvalidRequest(
                "This is no tool that can be allowed.",
                expected='{"type": "function", "function": {"name": ...}}',
                received=str(tool)[:100],
                where="$.tool_choice.allowed_tools.tools",
            )


def _tool_spec(tool: _RequestTool, place: int) -> ToolSpec:
    where = f"$.tools[{place}]"
    if tool.type == "custom":
        raise _no_custom_tools(where)
    if tool.type != "function" or tool.function is None:
        raise InvalidRequest(
            "This is no tool that is known here.",
            expected='{"type": "function", "function": {"name": ..., "parameters": {...}}}',
            received=tool.type[:100],
            where=where,
        )
    function = tool.function
    spec: dict[str, Any] = {"name": function.name, "description": function.description or ""}
    if function.parameters:
        spec["parameters"] = {"type": "object", **function.parameters}
    try:
        return msgspec.convert(spec, ToolSpec)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            "This is no name of a tool.",
            expected="1 to 128 letters, digits, and _ . -",
            received=function.name[:100],
            where=f"{where}.function.name",
        ) from error


def _no_custom_tools(where: str) -> UnsupportedByProvider:
    return UnsupportedByProvider(
        "Tools of the type `custom` are not served here.",
        expected="tools of the type function",
        received="custom",
        where=where,
    )


def _past_message(message: _Message, where: str) -> SentMessage:
    content, files = _content(message.content, f"{where}.content")
    match message.role:
        case "system" | "developer":
            return SentMessage(PastMessage(content=content, role="system"), files)
        case "user":
            return SentMessage(PastMessage(content=content, role="user"), files)
        case "assistant":
            calls = tuple(
                _past_call(call, f"{where}.tool_calls[{place}]")
                for place, call in enumerate(message.tool_calls or ())
            )
            if message.refusal and not content:
                content = (Text(message.refusal),)
            past = PastMessage(
                content=content,
                role="assistant",
                tool_calls=calls,
                reasoning=message.reasoning_content or None,
            )
            return SentMessage(past, files)
        case "tool":
            if message.tool_call_id is None:
                raise InvalidRequest(
                    "A message of the role `tool` names the call that it answers.",
                    expected="a tool_call_id",
                    received="none",
                    where=f"{where}.tool_call_id",
                )
            past = PastMessage(content=content, role="tool", tool_call_id=message.tool_call_id)
            return SentMessage(past, files)
        case "function":
            raise InvalidRequest(
                "Messages of the role `function` are the older form of tool outputs.",
                expected="the role tool, with a tool_call_id",
                received="function",
                where=f"{where}.role",
            )


def _past_call(call: _RequestCall, where: str) -> PastCall:
    if call.function is None:
        raise _no_custom_tools(where)
    return PastCall(call.id, call.function.name, call.function.arguments.strip() or "{}")


def _content(
    content: _Content | None, where: str
) -> tuple[tuple[Part, ...], tuple[InlineFile, ...]]:
    if content is None:
        return (), ()
    if isinstance(content, str):
        return ((Text(content),) if content else ()), ()
    parts: list[Part] = []
    files: list[InlineFile] = []
    for place, part in enumerate(content):
        match part:
            case _TextPart(text) | _RefusalPart(text):
                parts.append(Text(text))
            case _ImagePart(_ImageUrl(url)):
                parts.append(Image(url=url))
            case _FilePart(_FileField(file_id=str(file_id))):
                parts.append(File(parse_file_id(file_id)))
            case _FilePart(_FileField(file_data=str(data), filename=name)):
                parts.append(File(""))
                files.append(InlineFile(name or "file", data, f"{where}[{place}].file.file_data"))
            case _FilePart():
                raise InvalidRequest(
                    "This file has neither an id nor data.",
                    expected="a file_id, or file_data and a filename",
                    where=f"{where}[{place}].file",
                )
            case _AudioPart():
                raise UnsupportedByProvider(
                    "Sound is not served here.",
                    expected="text, image_url or file",
                    received="input_audio",
                    where=f"{where}[{place}]",
                )
    return tuple(parts), tuple(files)

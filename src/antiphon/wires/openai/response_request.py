"""Requests of Responses: their fields, and what they mean for a run.

By the reference of OpenAI and the types of its Python package (`openai.types.responses`, 3.54).
Fields that are not listed here are ignored, as programs send fields of other vendors along;
`FIELDS` says what happens to each one of the original.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from antiphon.api.fields import Metadata
from antiphon.api.operation import convert
from antiphon.types.errors import InvalidRequest, UnsupportedByProvider
from antiphon.types.runs import MAX_TOOL_CALLS, Sampling
from antiphon.wires.openai.chat_request import Treatment
from antiphon.wires.openai.errors import MissingParameter

Id = Annotated[str, Meta(min_length=1, max_length=128)]
MAX_TOOLS = 512


class _Reasoning(msgspec.Struct, frozen=True):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class _Text(msgspec.Struct, frozen=True):
    format: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class _Prompt(msgspec.Struct, frozen=True):
    id: Id
    version: str | None = None
    variables: dict[str, Any] | None = None


class _Conversation(msgspec.Struct, frozen=True):
    id: Id


class ResponseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a request that are honoured, or refused unless they ask for nothing."""

    input: str | list[Any] | None = None
    model: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    instructions: Annotated[str, Meta(max_length=1_000_000)] | None = None
    stream: bool | None = None
    background: bool | None = None
    store: bool | None = None
    previous_response_id: Id | None = None
    conversation: Id | _Conversation | None = None
    prompt: _Prompt | None = None
    tools: Annotated[tuple[dict[str, Any], ...], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Annotated[int, Meta(ge=1)] | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    reasoning: _Reasoning | None = None
    text: _Text | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: Annotated[tuple[str, ...], Meta(max_length=32)] | None = None
    metadata: Metadata | None = None
    safety_identifier: Annotated[str, Meta(max_length=512)] | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=512)] | None = None
    user: Annotated[str, Meta(max_length=512)] | None = None
    top_logprobs: int | None = None
    moderation: Any = None

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation that the request names."""
        named = self.conversation
        return named.id if isinstance(named, _Conversation) else named

    @property
    def is_stored(self) -> bool:
        """True if the response is kept."""
        return self.store is not False


FIELDS: Mapping[str, tuple[Treatment, str]] = {
    "input": ("honoured", "text or items; see the types of items"),
    "model": ("honoured", "a model, or the name or id of one of your assistants"),
    "instructions": ("honoured", "after those of the assistant; for this response alone"),
    "stream": ("honoured", ""),
    "stream_options": ("ignored", "there is no obfuscation"),
    "background": ("honoured", "not together with `store: false`"),
    "background_options": ("ignored", ""),
    "store": ("honoured", "with `false`, nothing is stored but usage"),
    "previous_response_id": ("honoured", "also of a response that is not the latest"),
    "conversation": ("honoured", "not together with `previous_response_id`"),
    "prompt": ("honoured", "the name or id of an assistant; `version` and `variables` are refused"),
    "tools": (
        "honoured",
        "`function`, `custom`, `namespace`, `mcp`, and hosted tools that are mapped",
    ),
    "tool_choice": ("honoured", "also `allowed_tools`"),
    "parallel_tool_calls": ("honoured", ""),
    "max_tool_calls": ("honoured", "over the whole run"),
    "max_output_tokens": ("honoured", ""),
    "temperature": ("honoured", ""),
    "top_p": ("honoured", ""),
    "reasoning": ("honoured", "`effort`; reasoning that a model shows is always sent as a summary"),
    "text": ("honoured", "`format`: `text`, `json_object`, `json_schema`; `verbosity` is ignored"),
    "truncation": ("honoured", "repeated in the response; the operator's window decides"),
    "include": ("honoured", "`reasoning.encrypted_content`; logprobs are refused"),
    "metadata": ("honoured", ""),
    "safety_identifier": ("honoured", "repeated in the response; the owner of the key is the user"),
    "prompt_cache_key": ("honoured", "repeated in the response; the provider's own cache decides"),
    "prompt_cache_options": ("ignored", "the provider's own cache decides"),
    "prompt_cache_retention": ("ignored", "the provider's own cache decides"),
    "user": ("honoured", "repeated in the response; the owner of the key is the user"),
    "service_tier": ("ignored", ""),
    "context_management": ("ignored", "threads are compacted by request"),
    "access_programs": ("ignored", ""),
    "image": ("ignored", ""),
    "top_logprobs": ("refused", "unless it is 0"),
    "moderation": ("refused", ""),
}
"""Treatment of each field of the original, and a remark."""

_REPEATED = (
    "background",
    "include",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
    "user",
)
"""Fields that the response repeats."""

_LOGPROBS = "message.output_text.logprobs"


def parse_response_request(
    fields: Mapping[str, Any], *, needs_model: bool = True
) -> ResponseRequest:
    """Return the request of a decoded body. Raises `InvalidRequest` and `UnsupportedByProvider`."""
    request = convert(dict(fields), ResponseRequest)
    for name, asked in (
        ("top_logprobs", request.top_logprobs),
        ("moderation", request.moderation),
        ("include", _LOGPROBS in (request.include or ())),
        ("prompt.version", request.prompt and request.prompt.version),
        ("prompt.variables", request.prompt and request.prompt.variables),
    ):
        if asked:
            raise UnsupportedByProvider(
                f"`{name}` is not served here.",
                expected=f"no {name}" if name != "include" else f"no {_LOGPROBS}",
                received=str(asked)[:100],
                where=f"$.{name}",
            )
    if request.conversation is not None and request.previous_response_id is not None:
        raise InvalidRequest(
            "Mutually exclusive parameters: `conversation` and `previous_response_id`.",
            expected="one of the two",
            received="both",
            where="$.previous_response_id",
        )
    if request.background and not request.is_stored:
        raise InvalidRequest(
            "A response in the background is stored.",
            expected="background without store: false",
            received="background: true, store: false",
            hint="Leave `store` out, and delete the response once you have it.",
            where="$.background",
        )
    if needs_model and request.model is None and request.prompt is None:
        raise MissingParameter(
            "Missing required parameter: `model`.",
            expected="a model, or a prompt",
            received="neither",
            where="$.model",
        )
    return request


def select_repeated_fields(request: ResponseRequest) -> dict[str, Any]:
    """Return the fields that the response repeats, as JSON values; only those that were sent."""
    values = {name: msgspec.to_builtins(getattr(request, name)) for name in _REPEATED}
    values["conversation"] = request.conversation_id
    return {name: value for name, value in values.items() if value is not None}


def sampling(request: ResponseRequest, tool_choice: str | dict[str, Any] | None) -> Sampling:
    """Return the sampling settings of the request. Raises `InvalidRequest`."""
    settings = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_output_tokens": request.max_output_tokens,
        "tool_choice": tool_choice,
        "parallel_tool_calls": request.parallel_tool_calls,
        "reasoning_effort": request.reasoning.effort if request.reasoning else None,
        "response_format": _response_format(request.text),
    }
    return convert({name: each for name, each in settings.items() if each is not None}, Sampling)


def max_tool_calls(request: ResponseRequest) -> int | None:
    """Return the limit on tool calls, no higher than a run has one."""
    limit = request.max_tool_calls
    return None if limit is None else min(limit, MAX_TOOL_CALLS)


def _response_format(text: _Text | None) -> dict[str, Any] | None:
    match text.format if text else None:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "json_object"}
        case {"type": "json_schema", "name": str(name), "schema": {}} as schema if name:
            kept = ("name", "description", "schema", "strict")
            inner = {key: schema[key] for key in kept if schema.get(key) is not None}
            return {"type": "json_schema", "json_schema": inner}
        case other:
            raise InvalidRequest(
                "This is no format of text.",
                expected="text, json_object, or json_schema with a name and a schema",
                received=str(other)[:100],
                where="$.text.format",
            )

"""Span attributes of agents, requests, replies and tool calls.

The names are those of OpenTelemetry's conventions for generative AI, as of semantic conventions
1.41: https://github.com/open-telemetry/semantic-conventions-genai. Attributes with text of people
and models are separate, because most operators of traces may not see that text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from antiphon.engine.turn import TurnResult
from antiphon.telemetry.tracing import Attributes, AttributeValue
from antiphon.types.chunks import ModelRequest
from antiphon.types.messages import Feedback, Message, ToolCall, ToolResult
from antiphon.types.runs import Run, Sampling

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertexai": "gcp.vertex_ai",
    "vertexaianthropic": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""The conventions' names of some providers; the others have the same name there."""
_ROLES = ("system", "user", "assistant", "tool")
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@-]{1,128}")


def span_name(operation: str, what: str) -> str:
    """Return a span's name: with the model or tool if that is a plain name."""
    return f"{operation} {what}" if _PLAIN.fullmatch(what) else operation


def agent_attributes(run: Run) -> Attributes:
    """Return attributes of an agent's turn, as a worker runs it."""
    return _without_none(
        {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.id": run.assistant_id,
            "gen_ai.conversation.id": run.thread_id,
            "gen_ai.request.model": run.model,
            "antiphon.run.id": run.id,
            "antiphon.turn": run.turn,
            "antiphon.attempt": run.attempt,
        }
    )


def conversation_attributes(run_id: str | None, thread_id: str | None) -> Attributes:
    """Return attributes of an agent's whole run, as the client sees it."""
    return _without_none(
        {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.conversation.id": thread_id,
            "antiphon.run.id": run_id,
        }
    )


def request_attributes(
    request: ModelRequest, provider: str, thread_id: str, *, stream: bool
) -> Attributes:
    """Return attributes of a request to a model, without its text."""
    sampling = request.sampling
    return _without_none(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
            "gen_ai.request.model": request.model,
            "gen_ai.request.stream": stream,
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
            "gen_ai.request.max_tokens": sampling.max_output_tokens,
            "gen_ai.request.seed": sampling.seed,
            "gen_ai.output.type": _output_type(sampling),
            "gen_ai.conversation.id": thread_id,
            "antiphon.run.id": request.run_id,
            "antiphon.turn": request.turn,
        }
    )


def request_content(request: ModelRequest) -> Attributes:
    """Return the text of a request."""
    words: dict[str, AttributeValue] = {
        "gen_ai.input.messages": _json(map(_message, request.decode_messages()))
    }
    if request.instructions:
        words["gen_ai.system_instructions"] = _json([_text(request.instructions)])
    if request.tools:
        words["gen_ai.tool.definitions"] = _json(
            {"type": "function", **msgspec.to_builtins(tool)} for tool in request.tools
        )
    return words


def reply_attributes(reply: TurnResult, first_chunk: float | None) -> Attributes:
    """Return attributes of a reply; `first_chunk` is the seconds until its first chunk."""
    used = reply.usage
    return _without_none(
        {
            "gen_ai.response.finish_reasons": [reply.finish_reason]
            if reply.finish_reason
            else None,
            "gen_ai.response.time_to_first_chunk": first_chunk,
            "gen_ai.usage.input_tokens": used.input_tokens if used else None,
            "gen_ai.usage.output_tokens": used.output_tokens if used else None,
            "gen_ai.usage.cache_read.input_tokens": used.cached_tokens if used else None,
            "gen_ai.usage.reasoning.output_tokens": used.reasoning_tokens if used else None,
            "antiphon.outcome": reply.outcome,
        }
    )


def reply_content(reply: TurnResult) -> Attributes:
    """Return the text of a reply."""
    parts = [_text(text) for text in (reply.text, reply.refusal) if text]
    if reply.reasoning:
        parts.insert(0, {"type": "reasoning", "content": reply.reasoning})
    parts += (_convert_call(call.id, call.name, call.arguments) for call in reply.calls)
    message = {"role": "assistant", "parts": parts, "finish_reason": reply.finish_reason or ""}
    return {"gen_ai.output.messages": _json([message])}


def feedback_attributes(message: Message, feedback: Feedback, *, content: bool) -> Attributes:
    """Return attributes of a person's rating: those of the event `gen_ai.evaluation.result`.

    The comment is text of a person, and only there with `content`.
    """
    return _without_none(
        {
            "gen_ai.evaluation.name": "user_feedback",
            "gen_ai.evaluation.score.label": feedback.rating,
            "gen_ai.evaluation.score.value": 1.0 if feedback.rating == "up" else -1.0,
            "gen_ai.evaluation.explanation": (content and feedback.comment) or None,
            "gen_ai.conversation.id": message.thread_id,
            "antiphon.run.id": message.run_id,
            "antiphon.message.id": message.id,
        }
    )


def tool_attributes(call: ToolCall, run_id: str) -> Attributes:
    """Return attributes of a tool call, without its text."""
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.call.id": call.id,
        "gen_ai.tool.type": "function",
        "antiphon.run.id": run_id,
    }


def tool_content(call: ToolCall, result: ToolResult) -> Attributes:
    """Return the tool's arguments and its result."""
    return {
        "gen_ai.tool.call.arguments": call.arguments,
        "gen_ai.tool.call.result": result.output,
    }


def _output_type(sampling: Sampling) -> str | None:
    match sampling.response_format:
        case {"type": "json_object" | "json_schema"}:
            return "json"
        case {"type": "text"}:
            return "text"
        case _:
            return None


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a chat-completions message to the conventions' parts."""
    role = message.get("role")
    return {"role": role if role in _ROLES else "user", "parts": [*_parts(message)]}


def _parts(message: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    if reasoning := message.get("reasoning_content"):
        yield {"type": "reasoning", "content": reasoning}
    content = message.get("content")
    if message.get("role") == "tool":
        yield {
            "type": "tool_call_response",
            "id": message.get("tool_call_id"),
            "response": content,
        }
        return
    yield from [_text(content)] if isinstance(content, str) else map(_convert_part, content or ())
    for call in message.get("tool_calls", ()):
        function = call.get("function", {})
        yield _convert_call(call.get("id"), function.get("name"), function.get("arguments"))


def _convert_part(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return text as it is; of pictures and files only the kind, never the bytes."""
    kind = part.get("type", "text")
    return _text(part.get("text")) if kind == "text" else {"type": kind}


def _convert_call(id: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    given: Any = arguments
    with suppress(msgspec.DecodeError):
        given = msgspec.json.decode(arguments or "{}")
    return {"type": "tool_call", "id": id, "name": name, "arguments": given}


def _text(text: str | None) -> dict[str, Any]:
    return {"type": "text", "content": text or ""}


def _json(value: Iterable[Any]) -> str:
    return msgspec.json.encode(list(value)).decode()


def _without_none(facts: Mapping[str, AttributeValue | None]) -> Attributes:
    return {name: fact for name, fact in facts.items() if fact is not None}

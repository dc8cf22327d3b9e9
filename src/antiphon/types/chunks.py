"""Chunks of a model's streamed reply, and the request that it answers."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.types.messages import DETAILS, EXTRA, REASONING, REFUSAL, Citation, ToolSpec
from antiphon.types.runs import Reason, Sampling, Usage


class TextPiece(msgspec.Struct, frozen=True):
    """The next characters of the answer."""

    text: str


class ReasoningPiece(msgspec.Struct, frozen=True):
    """The next characters of the model's reasoning."""

    text: str


class RefusalPiece(msgspec.Struct, frozen=True):
    """The next characters of a refusal, from servers that send refusals apart from the answer."""

    text: str


class CitationsPiece(msgspec.Struct, frozen=True):
    """Sources that the provider names for its reply; they may repeat earlier ones."""

    citations: tuple[Citation, ...]


class DetailsPiece(msgspec.Struct, frozen=True):
    """Opaque pieces of the reasoning, which are returned to the server `origin` with the reply."""

    origin: str
    details: tuple[dict[str, Any], ...]


class CallPiece(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a tool call, with the provider's own information on the call that it continues.

    `index` and `id` are None if the provider sent none (an empty id counts as none); `position` is
    the piece's place in a chunk with several. `engine/turn` decides which call the piece continues.
    A `leaked` piece is a whole call found in the text; the provider may also have sent the same
    call as a proper tool call.
    """

    index: int | None = None
    position: int | None = None
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    extra: dict[str, Any] | None = None
    leaked: bool = False


class UsagePiece(msgspec.Struct, frozen=True):
    """Usage so far; the last one of a reply counts."""

    usage: Usage


class Finish(msgspec.Struct, frozen=True):
    """End marker with a finish reason, None for a bare `[DONE]`. More chunks may follow."""

    reason: str | None = None


Chunk = (
    TextPiece
    | ReasoningPiece
    | RefusalPiece
    | CitationsPiece
    | DetailsPiece
    | CallPiece
    | UsagePiece
    | Finish
)


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a model.

    `model` is the provider's name of the model. `messages` is the conversation in the form of chat
    completions: JSON objects joined by commas, without the brackets, so that long threads stay
    bytes. `run_id` and `turn` identify the request in logs and to a scripted provider. `trace` is
    sent to providers that may know it.
    """

    model: str
    messages: bytes
    instructions: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    sampling: Sampling = Sampling()
    run_id: str = ""
    turn: int = 1
    trace: str | None = None

    def decode_messages(self) -> list[dict[str, Any]]:
        """Return the conversation as objects.

        Reasoning is the field `reasoning_content` of its message, an extra the field
        `extra_content` of its call: only some servers accept these. A refusal becomes part of its
        message's text. Reasoning details, which are for one server only, are left out.
        """
        decoded: list[dict[str, Any]] = msgspec.json.decode(b"[" + self.messages + b"]")
        for message in decoded:
            if REASONING in message:
                message["reasoning_content"] = message.pop(REASONING)
            if REFUSAL in message:
                texts = [message["content"], message.pop(REFUSAL)]
                message["content"] = "\n\n".join(filter(None, texts))
            message.pop(DETAILS, None)
            for call in message.get("tool_calls", ()):
                if EXTRA in call:
                    call["extra_content"] = msgspec.json.decode(call.pop(EXTRA))
        return decoded


# Finish reasons of servers that mean that a reply was cut off.


_CUT: dict[str, Reason] = {
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
}


def cut_reason(word: str | None) -> Reason | None:
    """Return why a reply with this finish reason is incomplete; None if it is complete."""
    return _CUT.get(word.lower()) if word else None

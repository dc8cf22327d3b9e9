"""The words that a provider speaks while a model answers, and the question it was asked."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.types.messages import DETAILS, EXTRA, REASONING, REFUSAL, ToolSpec
from antiphon.types.runs import Reason, Sampling, Usage


class TextPiece(msgspec.Struct, frozen=True):
    """The next characters of the answer."""

    text: str


class ReasoningPiece(msgspec.Struct, frozen=True):
    """The next characters of the model's reasoning."""

    text: str


class RefusalPiece(msgspec.Struct, frozen=True):
    """The next characters of why the model will not answer, where its server tells them apart."""

    text: str


class DetailsPiece(msgspec.Struct, frozen=True):
    """Opaque pieces of the reasoning, which the server `origin` wants back with the reply."""

    origin: str
    details: tuple[dict[str, Any], ...]


class CallPiece(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a tool call, with exactly what the provider said of where it belongs.

    `index` and `id` are None where the provider gave none (an empty id is none); `position` is the
    piece's place in its chunk where the chunk held several. Which call the piece continues is
    decided in `engine/turn`. A `leaked` piece is a whole call that stood in the text: the provider
    may have given the same call where calls belong as well.
    """

    index: int | None = None
    position: int | None = None
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    extra: dict[str, Any] | None = None
    leaked: bool = False


class UsagePiece(msgspec.Struct, frozen=True):
    """Tokens so far; the last report of a reply counts."""

    usage: Usage


class Finish(msgspec.Struct, frozen=True):
    """A terminal marker: a finish reason, None for a bare `[DONE]`. Pieces may still follow."""

    reason: str | None = None


Chunk = TextPiece | ReasoningPiece | RefusalPiece | DetailsPiece | CallPiece | UsagePiece | Finish


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a model.

    `model` is the provider's own name for it. `messages` is the conversation as chat completions
    takes it, JSON objects joined by commas without the brackets: long threads travel as bytes.
    `run_id` and `turn` name the request in logs and let a scripted provider know where it is; a
    provider that may know which `trace` it belongs to is told.
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
        """The conversation as objects, for providers that must look into it.

        Reasoning stands in its message as `reasoning_content`, an extra in its call as
        `extra_content`: only some servers take them. A refusal is a part of its message's text, and
        what one server alone wants back is left out.
        """
        decoded: list[dict[str, Any]] = msgspec.json.decode(b"[" + self.messages + b"]")
        for message in decoded:
            if REASONING in message:
                message["reasoning_content"] = message.pop(REASONING)
            if REFUSAL in message:
                said = [message["content"], message.pop(REFUSAL)]
                message["content"] = "\n\n".join(filter(None, said))
            message.pop(DETAILS, None)
            for call in message.get("tool_calls", ()):
                if EXTRA in call:
                    call["extra_content"] = msgspec.json.decode(call.pop(EXTRA))
        return decoded


# The words by which servers say why a reply ended, where they mean that it was cut.


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
    """Return why a reply that ended with this word is incomplete; None where it is whole."""
    return _CUT.get(word.lower()) if word else None

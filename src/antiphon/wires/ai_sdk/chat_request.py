"""Parses a request of the AI SDK's `useChat`.

A client sends the whole conversation each time. Only what is new is used: the user's last message,
or the answers to approval requests in the last message. Earlier messages are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from antiphon.api.operation import convert
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import File, Part, Text
from antiphon.types.terminal_safe import clean

FILES = "/api/files/"
"""Path of uploaded files; files at other addresses are rejected."""

_Name = Annotated[str, Meta(min_length=1, max_length=128)]
_Json = dict[str, Any]


class CallAnswer(msgspec.Struct, frozen=True):
    """A person's answer about a tool call; `input` are the arguments that the person saw."""

    tool_call_id: str
    approved: bool
    reason: str = ""
    input: Any = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The new part of a request; `chat_id` is the client's own name of the thread.

    It is a new message of this `content`, which the client calls `message_id`; or `answers` about
    tool calls; or the message to `regenerate`, None for the last one.
    """

    chat_id: str
    kind: Literal["message", "answers", "regenerate"]
    content: tuple[Part, ...] = ()
    message_id: str | None = None
    answers: tuple[CallAnswer, ...] = ()
    regenerate: str | None = None


def parse_chat_request(body: Mapping[str, Any]) -> ChatRequest:
    """Parse a JSON body. Raises `InvalidRequest` if it is invalid or contains nothing new."""
    sent = convert(body, _ChatBody)
    if sent.trigger == "regenerate-message":
        return ChatRequest(chat_id=sent.id, kind="regenerate", regenerate=sent.message_id)
    last = sent.messages[-1] if sent.messages else None
    match last:
        case _SentMessage(role="user", parts=parts):
            content = tuple(part for sent_part in parts for part in _content(sent_part))
            if not content:
                raise InvalidRequest(
                    "The new message is empty.", expected="a text", received="none"
                )
            return ChatRequest(chat_id=sent.id, kind="message", content=content, message_id=last.id)
        case _SentMessage(role="assistant", parts=parts) if answers := tuple(_answers(parts)):
            return ChatRequest(chat_id=sent.id, kind="answers", answers=answers)
        case _:
            raise InvalidRequest(
                "There is nothing new in these messages.",
                expected="a user message at their end, or one whose approvals are answered",
                received=f"{len(sent.messages)} messages",
            )


# The request's JSON.


class _SentMessage(msgspec.Struct, frozen=True):
    role: Literal["system", "user", "assistant"]
    parts: Annotated[tuple[_Json, ...], Meta(max_length=10_000)]
    id: Annotated[str, Meta(max_length=128)] = ""


class _ChatBody(msgspec.Struct, frozen=True, rename="camel"):
    id: _Name
    messages: Annotated[tuple[_SentMessage, ...], Meta(max_length=10_000)]
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: Annotated[str, Meta(max_length=128)] | None = None


# Conversion.


def _content(part: _Json) -> Sequence[Part]:
    match part:
        case {"type": "text", "text": str(text)}:
            return (Text(text),)
        case {"type": "file", "url": str(url)} if url.startswith(FILES):
            return (File(file_id=url.removeprefix(FILES).partition("?")[0]),)
        case {"type": "file"}:
            raise InvalidRequest(
                "A file comes with an address that is not ours.",
                expected=f"{FILES}ID of a file that was uploaded before",
                hint="POST it to /api/files first.",
            )
        case {"type": str(kind)} if kind.startswith("data-"):
            return ()
        case _:
            raise InvalidRequest(
                "The message has a part that cannot be sent here.",
                expected="parts of type text or file",
                received=f"type {clean(str(part.get('type'))[:40])}",
            )


def _answers(parts: Sequence[_Json]) -> Sequence[CallAnswer]:
    """Return the last answer about each call: a person may have answered in two tabs."""
    found: dict[str, CallAnswer] = {}
    for part in parts:
        match part:
            case {
                "state": "approval-responded",
                "toolCallId": str(call_id),
                "approval": {"approved": bool(approved), **more},
            }:
                reason = more.get("reason")
                text = reason if isinstance(reason, str) else ""
                found[call_id] = CallAnswer(call_id, approved, text[:10_000], part.get("input"))
            case _:
                pass
    return tuple(found.values())

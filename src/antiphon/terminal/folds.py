"""What is shown in short and can be opened whole: what a model thought, and what tools gave.

They are the thread's own messages, so that whatever was folded in any chat can still be opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from antiphon.messages import Message, ToolCall

_BEGINNING = 100
"""Characters of what a title is made of."""


class Fold(msgspec.Struct, frozen=True):
    """Something that is shown in short, whole. Nothing in it is cleaned."""

    title: str
    text: str


def folds(messages: Iterable[Message]) -> list[Fold]:
    """All that can be opened, in the order in which it was shown."""
    calls: dict[str, ToolCall] = {}
    found: list[Fold] = []
    for message in messages:
        calls |= {call.id: call for call in message.tool_calls}
        if message.role == "tool":
            call = calls.get(message.tool_call_id or "")
            found.append(Fold(_called(call), message.text))
        found += _thought(message)
    return found


def thoughts(messages: Iterable[Message]) -> list[Fold]:
    """The reasoning of replies, in order."""
    return [fold for message in messages for fold in _thought(message)]


def _thought(message: Message) -> Iterator[Fold]:
    if message.reasoning and message.reasoning.strip():
        yield Fold(f"Thought before: {_said(message)}", message.reasoning)


def _said(message: Message) -> str:
    called = ", ".join(_called(call) for call in message.tool_calls)
    return _begun(message.full_text.strip() or called or "(nothing was said)")


def _called(call: ToolCall | None) -> str:
    return f"{call.name}({_begun(call.arguments)})" if call else "a tool"


def _begun(text: str) -> str:
    line = " ".join(text[: 2 * _BEGINNING].split())
    return line if len(line) <= _BEGINNING else f"{line[:_BEGINNING]}..."

"""Messages of a branch of an imported conversation, before they have a thread."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from antiphon.runtime.imports.conversations import SourceFile, SourceMessage
from antiphon.types.messages import Message, ToolCall

_TOOL_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


class Draft(msgspec.Struct, frozen=True):
    """A message before it has a thread. `key` is equal for the same message of another branch."""

    key: str
    role: Literal["user", "assistant", "tool"]
    text: str
    at: int
    model: str = ""
    reasoning: str = ""
    files: tuple[SourceFile, ...] = ()
    call: ToolCall | None = None
    answers: str | None = None


def draft_messages(path: Sequence[SourceMessage]) -> Iterator[Draft]:
    """Yield the messages of a branch.

    Reasoning belongs to the reply after it. A call and its output are a pair; one without the
    other becomes text, because a model accepts no half of one.
    """
    reasoning: list[str] = []
    waiting: str | None = None
    for place, message in enumerate(path):
        following = path[place + 1] if place + 1 < len(path) else None
        if message.role == "assistant" and message.reasoning:
            reasoning.append(message.reasoning)
            alone = not (message.text or message.call or message.files)
            if alone and following is not None and following.role == "assistant":
                continue
        thought = "\n\n".join(reasoning) if message.role == "assistant" else ""
        reasoning = [] if message.role != "user" else reasoning
        draft = Draft(
            message.id, "assistant", message.text, message.at, message.model, thought, message.files
        )
        if message.call and following is not None and following.role == "tool":
            waiting = f"call_{place}"
            name = _TOOL_NAME.sub("_", message.call[0])[:128] or "tool"
            call = ToolCall(waiting, name, message.call[1])
            yield msgspec.structs.replace(draft, call=call)
        elif message.call:
            yield msgspec.structs.replace(draft, text=_to_code(message.call[1]))
        elif message.role == "tool" and waiting is not None:
            yield msgspec.structs.replace(
                draft, role="tool", reasoning="", model="", answers=waiting, files=()
            )
            waiting = None
            if message.files:
                yield Draft(f"{message.id} files", "assistant", "", message.at, files=message.files)
        elif message.role == "tool":
            text = _to_code(message.text) if message.text else ""
            yield msgspec.structs.replace(draft, text=text)
        else:
            yield msgspec.structs.replace(draft, role=message.role)


class StoredBranch(NamedTuple):
    """A branch that has become a thread, with its messages."""

    thread_id: str
    drafts: list[Draft]
    messages: list[Message]


def find_source(
    drafts: Sequence[Draft], earlier: Sequence[StoredBranch]
) -> tuple[StoredBranch | None, int]:
    """Return the earlier branch with the longest common beginning, and the length of that."""
    best, longest = None, -1
    for branch in earlier:
        common = 0
        for own, other in zip(drafts, branch.drafts, strict=False):
            if own != other:
                break
            common += 1
        if common > longest:
            best, longest = branch, common
    return best, max(longest, 0)


def _to_code(text: str) -> str:
    fence = "`" * max(3, 1 + max((len(each) for each in re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"

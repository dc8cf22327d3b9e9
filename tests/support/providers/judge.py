"""A strict judge of requests: reports what servers are known to refuse.

It is independent of the code that it judges, and shares only the names of the quirks with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from antiphon.providers.quirks import Quirks

FIELDS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls"},
    "tool": {"role", "content", "tool_call_id"},
}
CALL_FIELDS = {"id", "type", "function"}
FORMS = {"short": r".{1,40}", "nine": r"[A-Za-z0-9]{9}"}
PART_FIELDS = {"text": "text", "image_url": "image_url", "file": "file"}


def faults(body: bytes, quirks: Quirks) -> list[str]:
    """Return the errors in the messages of a request, a sentence each."""
    messages = json.loads(body)["messages"]
    if not messages:
        return ["messages must not be empty"]
    return [*_shapes(messages, quirks), *_answers(messages), *_order(messages, quirks)]


def _shapes(messages: list[Any], quirks: Quirks) -> Iterator[str]:
    for at, message in enumerate(messages):
        known = set(FIELDS.get(message["role"], ()))
        if message["role"] == "assistant":
            known |= {quirks.reasoning_back} - {None}
            known |= {"refusal"} if quirks.refusal_back else set()
            if quirks.reasoning_required and not message.get(quirks.reasoning_back):
                yield f"{at}: {quirks.reasoning_back} must be passed back"
        if unknown := set(message) - known:
            yield f"{at}: {sorted(unknown)} is not supported for {message['role']}"
        content = message.get("content")
        blank = not content or (isinstance(content, str) and content.isspace())
        if message.get("refusal"):
            blank = content == ""
        if blank and ("content" in message or not message.get("tool_calls")):
            yield f"{at}: the message with role {message['role']} must not be empty"
        if isinstance(message.get("content"), list):
            for part in message["content"]:
                if set(part) != {"type", PART_FIELDS[part["type"]]} or part.get("text") == "":
                    yield f"{at}: {part} is no part"
        for call in message.get("tool_calls", ()):
            yield from (f"{at}: {fault}" for fault in _call(call, quirks))


def _call(call: Any, quirks: Quirks) -> Iterator[str]:
    extra = {"extra_content"} if quirks.extra_content else set()
    if unknown := set(call) - CALL_FIELDS - extra:
        yield f"{sorted(unknown)} is not supported in a call"
    if not re.fullmatch(FORMS[quirks.call_ids], call["id"]):
        yield f"tool call id was {call['id']!r}"
    if not isinstance(json.loads(call["function"]["arguments"]), dict):
        yield "arguments are no object"


def _answers(messages: list[Any]) -> Iterator[str]:
    due: list[str] = []
    seen: set[str] = set()
    for at, message in enumerate([*messages, {"role": "end"}]):
        if message["role"] == "tool":
            if message["tool_call_id"] not in due:
                yield f"{at}: no preceding call {message['tool_call_id']!r}"
            else:
                due.remove(message["tool_call_id"])
            continue
        if due:
            yield f"{at}: calls without an output: {due}"
        due = [call["id"] for call in message.get("tool_calls", ())]
        if len({*due} - seen) < len(due):
            yield f"{at}: an id comes twice: {due}"
        seen |= {*due}


def _order(messages: list[Any], quirks: Quirks) -> Iterator[str]:
    roles = [message["role"] for message in messages]
    if quirks.roles != "any" and "system" in roles[1:]:
        yield "the system message must be at the beginning"
    if quirks.roles != "alternate":
        return
    turns = [role for role in roles if role != "system"]
    successors = {
        "user": {"assistant"},
        "assistant": {"user", "tool"},
        "tool": {"assistant", "tool"},
    }
    if not turns or turns[0] != "user":
        yield "the user must speak first"
    elif turns[-1] == "assistant":
        yield "the last role must be user or tool"
    for at in range(1, len(turns)):
        if turns[at] not in successors[turns[at - 1]]:
            yield f"unexpected role {turns[at]} after role {turns[at - 1]}"

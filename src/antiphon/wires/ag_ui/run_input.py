"""Parses an AG-UI client's request, its `RunAgentInput`.

A client sends the whole conversation each time. Only what is new is used: its last message, the
outputs of its own tools, and its answers to questions. The rest is kept for snapshots that are sent
back to it. `forwardedProps` may name the `assistantId` or the `model` that answers; `state` is
ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from antiphon.api.operation import convert
from antiphon.api.operations import Id, Name, NewMessage
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import File, Image, Part, Text, ToolSpec
from antiphon.types.runs import Approval
from antiphon.types.terminal_safe import clean
from antiphon.wires.ag_ui.events import Json, Version
from antiphon.wires.framing import CamelStruct, InlineFile

DROPPED = "The question was closed without an answer."

_Name = Annotated[str, Meta(min_length=1, max_length=128)]
_REPLIES = frozenset({"assistant", "tool"})


class ClientOutput(msgspec.Struct, frozen=True):
    """Output of a tool of the client."""

    tool_call_id: str
    output: str
    is_error: bool = False


class Wants(CamelStruct, frozen=True):
    """The assistant or the model that the client wants to answer."""

    assistant_id: Id | None = None
    model: Name | None = None


class AgUiRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The new part of a request; both ids are the client's own names.

    `message_id` is the client's name of the new message: the same id again is the same message.
    `outputs` are those in all messages since the user's last one, or between the last two if that
    is new; some may have come from us. `approvals` are keyed by the ids of the actions. `tools` are
    run by the client. `history` are all of the client's messages. `files` stand for the `File`
    parts of the message, which have no id. `context` is what the page says about itself, in lines.
    """

    thread_id: str
    run_id: str
    version: Version
    message: NewMessage | None = None
    message_id: str | None = None
    outputs: tuple[ClientOutput, ...] = ()
    approvals: Mapping[str, Approval] = {}
    tools: tuple[ToolSpec, ...] = ()
    history: tuple[Json, ...] = ()
    wants: Wants = Wants()
    files: tuple[InlineFile, ...] = ()
    context: str = ""


def parse_run_input(body: Mapping[str, Any]) -> AgUiRequest:
    """Parse a JSON body. Raises `InvalidRequest` if it is invalid or requests nothing."""
    sent = convert(body, _RunAgentInput)
    heads = convert(body, _Heads).messages
    spoke = max((place for place, head in enumerate(heads) if head.role == "user"), default=-1)
    before = max((place for place in range(spoke) if heads[place].role == "user"), default=-1)
    since = [place for place in range(spoke + 1, len(heads)) if heads[place].role in _REPLIES]
    new = spoke if spoke >= 0 and not since else None
    message, files = (None, ()) if new is None else _message(sent.messages[new])
    properties = sent.forwarded_props
    request = AgUiRequest(
        thread_id=sent.thread_id,
        run_id=sent.run_id,
        version="1" if sent.protocol_version else "0",
        message=message,
        message_id=None if new is None else heads[new].id,
        outputs=tuple(
            _output(sent.messages[at])
            for at in (range(before + 1, spoke) if new is not None else since)
            if heads[at].role == "tool"
        ),
        approvals=_approvals(sent.resume or ()),
        tools=tuple(
            convert(
                {"name": tool.name, "description": tool.description}
                | ({"parameters": tool.parameters} if tool.parameters else {}),
                ToolSpec,
            )
            for tool in sent.tools or ()
        ),
        history=sent.messages,
        wants=convert(cast("Json", properties), Wants) if isinstance(properties, dict) else Wants(),
        files=files,
        context="\n".join(f"{each.description}: {each.value}" for each in sent.context or ()),
    )
    if request.message is None and not request.outputs and not request.approvals:
        raise InvalidRequest(
            "There is nothing to do: no new message, no output of a tool, no answer.",
            expected="a user message at the end of `messages`, a tool message, or `resume`",
            received=f"{len(heads)} messages, and nothing new",
        )
    return request


# The request's JSON.


class _ClientTool(CamelStruct, frozen=True):
    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None


class _Context(CamelStruct, frozen=True):
    description: str
    value: str


class _Resume(CamelStruct, frozen=True):
    interrupt_id: Id
    status: Literal["resolved", "cancelled"]
    payload: Any = None


class _RunAgentInput(CamelStruct, frozen=True):
    thread_id: _Name
    run_id: _Name
    messages: Annotated[tuple[Json, ...], Meta(max_length=10_000)]
    protocol_version: Annotated[str, Meta(max_length=16)] | None = None
    tools: Annotated[tuple[_ClientTool, ...], Meta(max_length=512)] | None = None
    resume: Annotated[tuple[_Resume, ...], Meta(max_length=512)] | None = None
    forwarded_props: Any = None
    context: Annotated[tuple[_Context, ...], Meta(max_length=128)] | None = None


class _Head(msgspec.Struct, frozen=True):
    id: _Name
    role: Literal["user", "assistant", "tool", "system", "developer", "reasoning", "activity"]


class _Heads(msgspec.Struct, frozen=True):
    messages: tuple[_Head, ...]


class _ToolMessage(CamelStruct, frozen=True):
    tool_call_id: _Name
    content: str | list[Json]
    error: str | None = None


class _UserMessage(msgspec.Struct, frozen=True):
    content: str | list[Json]


# Conversion.


def _message(sent: Json) -> tuple[NewMessage, tuple[InlineFile, ...]]:
    """Return the new message, and the files for its `File` parts."""
    content = convert(sent, _UserMessage).content
    if isinstance(content, str) or all(part.get("type") == "text" for part in content):
        text = _text(content)
        if not text:
            raise InvalidRequest("The new message is empty.", expected="a text", received="none")
        return convert({"content": text}, NewMessage), ()
    files: list[InlineFile] = []
    return NewMessage(tuple(_content(part, files) for part in content)), tuple(files)


def _content(part: Json, files: list[InlineFile]) -> Part:
    """Return a part of the new message; a file is added to `files`."""
    match part:
        case {"type": "text", "text": str(text)}:
            return Text(text)
        case {
            "type": "image" | "document",
            "source": {"type": "data", "value": str(data), "mimeType": str(kind)},
        } | {"type": "binary", "mimeType": str(kind), "data": str(data)}:
            url = f"data:{kind};base64,{data}"
        case {"type": "image", "source": {"type": "url", "value": str(url)}}:
            pass
        case {"type": "binary", "mimeType": str(kind), "url": str(url)} if kind.startswith(
            "image/"
        ):
            pass
        case _:
            raise _part_error(part)
    if url.startswith(("data:image/", "https://")):
        return Image(url=url)
    if not url.startswith("data:"):
        raise _part_error(part)
    name = part.get("filename")
    files.append(InlineFile(name if isinstance(name, str) and name else "file", url))
    return File(file_id="")


def _text(content: str | list[Json]) -> str:
    return content if isinstance(content, str) else "".join(map(_text_part, content))


def _text_part(part: Json) -> str:
    match part:
        case {"type": "text", "text": str(text)}:
            return text
        case _:
            raise _part_error(part)


def _part_error(part: Json) -> InvalidRequest:
    return InvalidRequest(
        "A message has a part that cannot be sent here.",
        expected="a text, a picture, or a document with its data",
        received=f"type {clean(str(part.get('type'))[:40])}",
        where="$.messages",
    )


def _output(sent: Json) -> ClientOutput:
    output = convert(sent, _ToolMessage)
    text = _text(output.content)
    return ClientOutput(
        output.tool_call_id, text or output.error or "", is_error=bool(output.error)
    )


def _approvals(resume: Sequence[_Resume]) -> dict[str, Approval]:
    answers = {entry.interrupt_id: _approval(entry) for entry in resume}
    if len(answers) < len(resume):
        raise InvalidRequest(
            "`resume` answers one question twice.",
            expected="one answer to each",
            received=f"{len(resume)} answers to {len(answers)} questions",
        )
    return answers


def _approval(entry: _Resume) -> Approval:
    """Convert an answer to an interrupt. Only `approved: true` approves."""
    match entry:
        case _Resume(status="cancelled"):
            return Approval(approve=False, reason=DROPPED)
        case _Resume(payload={"approved": bool(approved), **more}):
            reason = more.get("reason") or ""
            return convert({"approve": approved, "reason": reason}, Approval)
        case _:
            raise InvalidRequest(
                f"This is no answer to question {clean(entry.interrupt_id)}.",
                expected='{"approved": true} or {"approved": false, "reason": "..."} as payload',
                received=_kind(entry.payload),
            )


def _kind(value: object) -> str:
    match value:
        case None:
            return "no payload"
        case dict():
            return "an object without `approved`"
        case _:
            return type(value).__name__

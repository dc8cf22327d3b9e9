"""Parses a request of `useChat` whose page runs tools itself.

A client sends the whole conversation each time. What is new in it is used: the user's last message,
the outputs of the page's own tools in the last reply, which may stand before a new message, and the
answers about calls in the last message. Beside the fields of the AI SDK, a body may have `tools`,
which the page runs, and the `assistantId` or `model` that answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from antiphon.api.operation import Id, Name, convert
from antiphon.api.operations import NewToolOutput
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import File, Image, Part, Text, ToolSpec
from antiphon.types.runs import Approval
from antiphon.types.terminal_safe import clean
from antiphon.wires.framing import InlineFile

FORMAT = "format"
"""Metadata key of an output that is JSON: the client gave a value, which it gets back as one."""

_ChatId = Annotated[str, Meta(min_length=1, max_length=128)]
_MessageId = Annotated[str, Meta(max_length=128)]
_Json = dict[str, Any]


class ChatPageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a page; `chat_id` is its own name of the thread.

    `message` is the content of the user's message at the end, None if it ends otherwise; the client
    calls it `message_id`. `files` stand for the `File` parts in it whose id is empty, in order.
    `regenerate` is the message to answer again, "" for the last answer. `tools` is None if the
    request has no such field; a person must approve the calls of those that `ask`. `approved` are
    the actions of the last reply that the client says a person has approved, sooner or later.
    """

    chat_id: str
    message: tuple[Part, ...] | None = None
    message_id: str = ""
    files: tuple[InlineFile, ...] = ()
    outputs: tuple[NewToolOutput, ...] = ()
    approvals: Mapping[str, Approval] = {}
    regenerate: str | None = None
    tools: tuple[ToolSpec, ...] | None = None
    ask: frozenset[str] = frozenset()
    approved: frozenset[str] = frozenset()
    assistant_id: str | None = None
    model: str | None = None


def parse_page_request(body: Mapping[str, Any]) -> ChatPageRequest:
    """Parse a JSON body. Raises `InvalidRequest` if it is invalid or contains nothing new."""
    sent = convert(body, _PageBody)
    last = sent.messages[-1] if sent.messages else None
    regenerates = sent.trigger == "regenerate-message"
    content: tuple[Part, ...] | None = None
    files: list[InlineFile] = []
    if not regenerates and last is not None and last.role == "user":
        content = tuple(part for each in last.parts for part in _content(each, files))
        if not content:
            raise InvalidRequest("The new message is empty.", expected="a text", received="none")
    replies = [message for message in sent.messages if message.role == "assistant"]
    reply = replies[-1].parts if replies else ()  # a run is one message
    outputs = {output.tool_call_id: output for output in _outputs(reply)}
    answers = reply if replies and last is replies[-1] else ()
    named: Sequence[_Json] = () if sent.tools is UNSET else _list_named_tools(sent.tools)
    request = ChatPageRequest(
        chat_id=sent.id,
        message=content,
        message_id="" if content is None or last is None else last.id,
        files=tuple(files),
        outputs=tuple(outputs.values()),
        approvals=dict(_approvals(answers)),
        regenerate=(sent.message_id or "") if regenerates else None,
        tools=None if sent.tools is UNSET else tuple(map(_page_tool, named)),
        ask=frozenset(str(tool.get("name")) for tool in named if tool.get("needsApproval")),
        approved=frozenset(_find_approved(reply)),
        assistant_id=sent.assistant_id,
        model=sent.model,
    )
    if not (content or regenerates or request.outputs or request.approvals):
        raise InvalidRequest(
            "There is nothing new in these messages.",
            expected="a user message at their end, or one whose calls have outputs or answers",
            received=f"{len(sent.messages)} messages",
        )
    return request


# The request's JSON.


class _PageMessage(msgspec.Struct, frozen=True):
    role: Literal["system", "user", "assistant"]
    parts: Annotated[tuple[_Json, ...], Meta(max_length=10_000)]
    id: _MessageId = ""


class _PageBody(msgspec.Struct, frozen=True, rename="camel"):
    id: _ChatId
    messages: Annotated[tuple[_PageMessage, ...], Meta(max_length=10_000)] = ()
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: _MessageId | None = None
    tools: (
        Annotated[dict[str, _Json], Meta(max_length=512)]
        | Annotated[tuple[_Json, ...], Meta(max_length=512)]
        | UnsetType
        | None
    ) = UNSET
    assistant_id: Id | None = None
    model: Name | None = None


# Conversion.


def _content(part: _Json, files: list[InlineFile]) -> Iterator[Part]:
    match part:
        case {"type": "text", "text": str(text)}:
            yield Text(text)
        case {"type": "file", "url": str(url), "mediaType": str(media_type)} if (
            media_type.startswith("image/") and url.startswith(("data:image/", "https://"))
        ):
            yield Image(url=url)
        case {"type": "file", "url": str(url), **more} if url.startswith("data:"):
            name = more.get("filename")
            files.append(InlineFile(name if isinstance(name, str) and name else "file", url))
            yield File(file_id="")
        case {"type": "file"}:
            raise InvalidRequest(
                "A file comes with an address that is not read here.",
                expected="a data URL, or the https address of a picture",
                where="$.messages",
            )
        case {"type": str(kind)} if kind.startswith("data-"):
            pass
        case _:
            raise InvalidRequest(
                "The message has a part that cannot be sent here.",
                expected="parts of type text or file",
                received=f"type {clean(str(part.get('type'))[:40])}",
                where="$.messages",
            )


def _outputs(parts: Sequence[_Json]) -> Iterator[NewToolOutput]:
    """Yield the outputs of calls that the client says it ran."""
    for part in parts:
        match part:
            case {"providerExecuted": True} | {"preliminary": True}:
                pass
            case {"state": "output-available", "toolCallId": str(call_id), "output": output}:
                is_text = isinstance(output, str)
                text = output if is_text else msgspec.json.encode(output).decode()
                metadata = {} if is_text else {FORMAT: "json"}
                yield _output(call_id, text, is_error=False, metadata=metadata)
            case {"state": "output-error", "toolCallId": str(call_id), **more}:
                words = more.get("errorText")
                words = words if isinstance(words, str) and words else "The tool failed."
                yield _output(call_id, words, is_error=True, metadata={})
            case _:
                pass


def _output(call_id: str, text: str, *, is_error: bool, metadata: dict[str, str]) -> NewToolOutput:
    return convert(
        {"tool_call_id": call_id, "output": text, "is_error": is_error, "metadata": metadata},
        NewToolOutput,
    )


def _approvals(parts: Sequence[_Json]) -> Iterator[tuple[str, Approval]]:
    """Yield the answers about calls, by the ids of their actions; the last of each counts."""
    for part in parts:
        match part:
            case {
                "state": "approval-responded",
                "approval": {"id": str(action_id), "approved": bool(approved), **more},
            }:
                reason = more.get("reason")
                text = reason if isinstance(reason, str) else ""
                yield action_id, Approval(approve=approved, reason=text[:10_000])
            case _:
                pass


def _find_approved(parts: Sequence[_Json]) -> Iterator[str]:
    """Yield the actions of calls that were approved, whatever has become of the calls."""
    for part in parts:
        match part:
            case {"approval": {"id": str(action_id), "approved": True}}:
                yield action_id
            case _:
                pass


def _list_named_tools(sent: dict[str, _Json] | tuple[_Json, ...] | None) -> Sequence[_Json]:
    """Return the page's tools, which come by name or as a list, each with its name."""
    match sent:
        case None:
            return ()
        case dict():
            return [tool | {"name": name} for name, tool in sent.items()]
        case _:
            return sent


def _page_tool(tool: _Json) -> ToolSpec:
    """Return a tool as pages describe it. Raises `InvalidRequest`."""
    schema: Any = tool.get("parameters") or tool.get("inputSchema")
    given: dict[str, Any] = {
        "name": tool.get("name"),
        "description": tool.get("description") or "",
    }
    match schema:
        case {"jsonSchema": inner}:  # as `jsonSchema()` of the AI SDK
            given["parameters"] = inner
        case _ if schema:
            given["parameters"] = schema
        case _:
            pass
    return convert(given, ToolSpec)

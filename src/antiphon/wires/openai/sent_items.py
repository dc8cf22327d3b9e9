"""Items of a request as messages of a thread.

    sent = read_items(items, "input")

An assistant's message, its reasoning and its calls are items of their own; the ones that stand
beside each other become one message. A thread has the outputs of calls right after them, so they
are moved there, wherever the request has them. What answers calls that are not among the items is
returned apart: the thread must have those calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from antiphon.api.threads import PastCall, PastMessage
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import METADATA_VALUE, File, Image, Part, Text
from antiphon.types.runs import Approval
from antiphon.wires.framing import InlineFile
from antiphon.wires.openai import items as kinds
from antiphon.wires.openai.chat_request import SentMessage
from antiphon.wires.openai.items import InputItem, decode_opaque
from antiphon.wires.openai.object_ids import parse_file_id

ROLE = "openai_role"
"""Metadata key of a system message that came with the role `developer`."""
PHASE = "openai_phase"
"""Metadata key of a reply with a `phase`."""
CALLS = "openai_calls"
"""Metadata key of a reply: JSON of those calls that are not functions, by their places."""
SERVER_SEPARATOR = "__"
"""Stands between the names of an MCP server and its tool in the name for a model."""
SUMMARY = "openai_summary"
"""Metadata key of a message that came as an item `compaction`."""


class SentOutput(NamedTuple):
    """The output of a call that is not among the items, as the message that it becomes."""

    call_id: str
    message: SentMessage
    where: str


class SentApproval(NamedTuple):
    """A person's answer about a call that waits for approval, asked for by that item."""

    request_id: str
    approval: Approval
    where: str


class SentItems(NamedTuple):
    """Meaning of a request's items for a thread.

    `outputs` and `approvals` answer calls that are not among the items. `open_calls` are the places
    of calls that have no output, by their ids: a thread cannot continue with these. `listed` are
    the MCP servers whose tools are listed.
    """

    messages: tuple[SentMessage, ...]
    outputs: tuple[SentOutput, ...] = ()
    approvals: tuple[SentApproval, ...] = ()
    open_calls: Mapping[str, str] = {}
    listed: frozenset[str] = frozenset()


def read_items(items: Sequence[InputItem], where: str) -> SentItems:
    """Return what the items mean. Raises `InvalidRequest` with the place of an item."""
    reader = _ItemReader()
    for place, item in enumerate(items):
        reader.add(item, f"$.{where}[{place}]")
    return reader.result()


def require_outputs(sent: SentItems) -> None:
    """Raise `InvalidRequest` if a call of the items has no output."""
    for call_id, where in sent.open_calls.items():
        raise InvalidRequest(
            f"No tool output found for function call {call_id}.",
            expected="an item of the type function_call_output with this call_id",
            where=where,
        )


class _Reply:
    """A message of the assistant, as far as its items were read, and the outputs of its calls."""

    def __init__(self) -> None:
        self.content: tuple[Part, ...] = ()
        self.files: tuple[InlineFile, ...] = ()
        self.reasoning: list[str] = []
        self.calls: dict[str, tuple[PastCall, str]] = {}
        self.outputs: dict[str, SentMessage] = {}
        self.phase: str | None = None
        self.other_calls: dict[str, list[str]] = {}

    @property
    def open_calls(self) -> Mapping[str, str]:
        return {
            call_id: where
            for call_id, (_, where) in self.calls.items()
            if call_id not in self.outputs
        }

    def messages(self) -> list[SentMessage]:
        """Return the message and the outputs of its calls."""
        metadata = {PHASE: self.phase} if self.phase else {}
        if self.other_calls:
            metadata[CALLS] = msgspec.json.encode(self.other_calls).decode()
        past = PastMessage(
            content=self.content,
            role="assistant",
            tool_calls=tuple(call for call, _ in self.calls.values()),
            reasoning="\n\n".join(self.reasoning) or None,
            metadata={
                key: value for key, value in metadata.items() if len(value) <= METADATA_VALUE
            },
        )
        return [SentMessage(past, self.files), *self.outputs.values()]


class _ItemReader:
    """Joins items to messages."""

    def __init__(self) -> None:
        self._read: list[SentMessage | _Reply] = []
        self._reply: _Reply | None = None  # the one that the next item may belong to
        self._owners: dict[str, _Reply] = {}  # the latest reply with each call
        self._outputs: dict[str, SentOutput] = {}
        self._approvals: dict[str, SentApproval] = {}
        self._listed: set[str] = set()

    def add(self, item: InputItem, where: str) -> None:
        """Read the next item; `where` is its place."""
        match item:
            case kinds.MessageItem(role="assistant"):
                reply = self._reply_before_text()
                reply.content, reply.files = _content(item.content, f"{where}.content")
                reply.phase = item.phase or None
            case kinds.MessageItem():
                self._add_message(item, where)
            case kinds.ReasoningItem():
                if text := _reasoning(item):
                    self._reply_before_text().reasoning.append(text)
            case kinds.CompactionItem(encrypted_content=content):
                self._add_summary(content, where)
            case kinds.ItemReference():
                raise NotFound(f"Item with id '{item.id}' not found.", where=f"{where}.id")
            case kinds.CompactionTrigger():
                raise InvalidRequest(
                    "A compaction_trigger is the last item of a request for a response.",
                    where=where,
                )
            case _:
                self._add_tool_item(item, where)

    def _add_tool_item(self, item: kinds.ToolItem, where: str) -> None:
        match item:
            case kinds.FunctionCall(call_id=call_id, arguments=arguments):
                name = kinds.full_tool_name(item.namespace, item.name)
                call = PastCall(call_id, name, _require_object(arguments, where))
                kind = "function_call" if item.namespace else ""
                self._add_call(call, where, kind, item.namespace or "")
            case kinds.CustomToolCall(call_id=call_id, input=text):
                name = kinds.full_tool_name(item.namespace, item.name)
                call = PastCall(call_id, name, kinds.custom_arguments(text))
                self._add_call(call, where, "custom_tool_call", item.namespace or "")
            case kinds.FunctionCallOutput() | kinds.CustomToolCallOutput():
                content, files = _content(item.output, f"{where}.output")
                self._add_output(item.call_id, content, where, files)
            case kinds.McpCall():
                self._add_mcp_call(item, where)
            case kinds.McpApprovalResponse():
                asked = item.approval_request_id
                given = SentApproval(asked, Approval(item.approve, item.reason or ""), where)
                known = self._approvals.setdefault(asked, given)
                if known.approval != given.approval:
                    raise _second_answer_error("answer", asked, f"{where}.approval_request_id")
            case kinds.McpListTools(server_label=server):
                self._listed.add(server)
            case kinds.McpApprovalRequest():
                pass  # it repeats what the thread has
            case _:
                self._add_hosted_call(item, where)

    def result(self) -> SentItems:
        """Return what was read."""
        messages: list[SentMessage] = []
        open_calls: dict[str, str] = {}
        for each in self._read:
            if isinstance(each, _Reply):
                messages += each.messages()
                open_calls |= each.open_calls
            else:
                messages.append(each)
        return SentItems(
            tuple(messages),
            tuple(self._outputs.values()),
            tuple(self._approvals.values()),
            open_calls,
            frozenset(self._listed),
        )

    # Which message an item belongs to.

    def _begin_reply(self) -> _Reply:
        self._reply = reply = _Reply()
        self._read.append(reply)
        return reply

    def _reply_before_text(self) -> _Reply:
        """Return the reply that reasoning or text belongs to: these come before its calls."""
        reply = self._reply
        return self._begin_reply() if reply is None or reply.content or reply.calls else reply

    def _add(self, message: SentMessage) -> None:
        self._reply = None
        self._read.append(message)

    def _add_message(self, item: kinds.MessageItem, where: str) -> None:
        content, files = _content(item.content, f"{where}.content")
        if item.role == "user":
            self._add(SentMessage(PastMessage(content=content, role="user"), files))
            return
        metadata = {ROLE: "developer"} if item.role == "developer" else {}
        past = PastMessage(content=content, role="system", metadata=metadata)
        self._add(SentMessage(past, files))

    def _add_summary(self, encrypted_content: str, where: str) -> None:
        opaque = decode_opaque(encrypted_content)
        if opaque is None or opaque.summary is None:
            raise InvalidRequest(
                "This compaction was not made here.",
                expected="the encrypted_content of an item from this server",
                where=f"{where}.encrypted_content",
            )
        # Of the user's role, as text that a client wrote must not get the weight of instructions.
        text = (Text(opaque.summary),)
        self._add(SentMessage(PastMessage(content=text, role="user", metadata={SUMMARY: "1"})))

    # Calls and outputs.

    def _add_call(self, call: PastCall, where: str, kind: str = "", detail: str = "") -> None:
        reply = self._reply
        if reply is None or reply.outputs:
            reply = self._begin_reply()
        owner = self._owners.get(call.id)
        if call.id in reply.calls or (owner is not None and call.id in owner.open_calls):
            raise InvalidRequest(
                "Two calls have one id.",
                expected="a call_id of its own for each",
                received=call.id,
                where=f"{where}.call_id",
            )
        if kind:
            reply.other_calls[str(len(reply.calls))] = [kind, detail] if detail else [kind]
        reply.calls[call.id] = call, where
        self._owners[call.id] = reply

    def _add_output(
        self,
        call_id: str,
        content: tuple[Part, ...],
        where: str,
        files: tuple[InlineFile, ...] = (),
        *,
        is_error: bool = False,
    ) -> None:
        past = PastMessage(content=content, role="tool", tool_call_id=call_id, is_error=is_error)
        message = SentMessage(past, files)
        owner = self._owners.get(call_id)
        if owner is not None:
            known = owner.outputs.setdefault(call_id, message)
        else:
            output = SentOutput(call_id, message, where)
            known = self._outputs.setdefault(call_id, output).message
        if known != message:
            raise _second_answer_error("output", call_id, f"{where}.call_id")

    def _add_mcp_call(self, item: kinds.McpCall, where: str) -> None:
        call_id = _call_id(item.id, where)
        name = f"{item.server_label}{SERVER_SEPARATOR}{item.name}"[:_MAX_CALL_ID]
        call = PastCall(call_id, name, _require_object(item.arguments, where))
        self._add_call(call, where, "mcp_call", item.server_label)
        failed = item.error is not None
        text = _error_text(item.error) if failed else item.output or ""
        self._add_output(call_id, _text(text), where, is_error=failed)

    def _add_hosted_call(self, item: kinds.HostedCall, where: str) -> None:
        """Add a call of a hosted tool; what it has beside its call is its output."""
        fields: dict[str, Any] = msgspec.to_builtins(item)
        kind, status = fields.pop("type"), fields.pop("status")
        call_id = _call_id(fields.pop("id"), where)
        files: tuple[InlineFile, ...] = ()
        content: tuple[Part, ...] = ()
        if isinstance(item, kinds.ImageGenerationCall):
            picture = fields.pop("result")
            if picture:
                extension = item.output_format or "png"
                data = f"data:image/{extension};base64,{picture}"
                files = (InlineFile(f"image.{extension}", data, f"{where}.result"),)
                content = (File(""),)
        else:
            results = {name: fields.pop(name) for name in ("results", "outputs") if name in fields}
            text = [msgspec.json.encode(value).decode() for value in results.values() if value]
            content = _text("".join(text))
        given = {name: value for name, value in fields.items() if value is not None}
        call = PastCall(call_id, kind.removesuffix("_call"), msgspec.json.encode(given).decode())
        self._add_call(call, where, kind)
        self._add_output(call_id, content, where, files, is_error=status == "failed")


def _second_answer_error(what: str, id: str, where: str) -> InvalidRequest:
    return InvalidRequest(
        f"There are two different {what}s for {id}.",
        expected=f"one {what}, or the same again",
        received="another one",
        where=where,
    )


def _call_id(id: str | None, where: str) -> str:
    """Return the id of a call whose item is call and output in one."""
    if id and len(id) <= _MAX_CALL_ID:
        return id
    return f"call_item_{where.rpartition('[')[2].removesuffix(']')}"


_MAX_CALL_ID = 128


def _require_object(arguments: str, where: str) -> str:
    text = arguments.strip() or "{}"
    try:
        msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidRequest(
            "The arguments of a call are a JSON object as text.",
            expected='such as "{}"',
            received=arguments[:100],
            where=f"{where}.arguments",
        ) from error
    return text


def _reasoning(item: kinds.ReasoningItem) -> str:
    texts = item.content or item.summary or ()
    if texts:
        return "\n\n".join(part.text for part in texts if part.text)
    opaque = decode_opaque(item.encrypted_content or "")
    return (opaque and opaque.reasoning) or ""


def _error_text(error: object) -> str:
    match error:
        case str(text) | {"message": str(text)} | {"content": str(text)}:
            return text
        case _:
            return msgspec.json.encode(error).decode()


def _text(text: str) -> tuple[Part, ...]:
    return (Text(text),) if text else ()


def _content(
    content: str | Sequence[kinds.ContentPart] | None, where: str
) -> tuple[tuple[Part, ...], tuple[InlineFile, ...]]:
    if content is None or isinstance(content, str):
        return _text(content or ""), ()
    parts: list[Part] = []
    files: list[InlineFile] = []
    for place, part in enumerate(content):
        match part:
            case kinds.InputImage():
                parts.append(_image(part, f"{where}[{place}]"))
            case kinds.InputFile(file_id=str(file_id)):
                parts.append(File(parse_file_id(file_id)))
            case kinds.InputFile(file_data=str(data), filename=name):
                parts.append(File(""))
                files.append(InlineFile(name or "file", data, f"{where}[{place}].file_data"))
            case kinds.InputFile():
                raise InvalidRequest(
                    "This file has neither an id nor data.",
                    expected="a file_id, or file_data and a filename; a file_url is not fetched",
                    where=f"{where}[{place}]",
                )
            case kinds.RefusalPart(refusal=text):
                parts.append(Text(text))
            case _:
                parts.append(Text(part.text))
    return tuple(parts), tuple(files)


def _image(part: kinds.InputImage, where: str) -> Image:
    if part.file_id:
        return Image(file_id=parse_file_id(part.file_id))
    if not part.image_url:
        raise InvalidRequest(
            "This picture has neither a URL nor an id.",
            expected="an image_url, or a file_id",
            where=where,
        )
    return Image(url=part.image_url)

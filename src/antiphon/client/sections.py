"""A conversation in sections, for exports in any format.

A section is one message under its heading. Text of users, models and tools is complete and
unchanged: the export must escape it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from antiphon.types.messages import File, Image, Message, changed_arguments
from antiphon.types.run_ends import find_run_end
from antiphon.types.runs import Run

Speaker = Literal["user", "assistant", "system", "tool", "summary"]


class TextPiece(msgspec.Struct, frozen=True):
    """Text of the message. `markdown` if a model wrote it."""

    text: str
    markdown: bool = False


class ReasoningPiece(msgspec.Struct, frozen=True):
    """Reasoning of a model, which exports fold."""

    text: str


class ToolCallPiece(msgspec.Struct, frozen=True):
    """A tool call; `arguments` is JSON unless the reply was cut off."""

    name: str
    arguments: str


def format_arguments(arguments: str) -> str:
    """Return arguments as indented JSON; unchanged if they are not JSON."""
    try:
        return msgspec.json.format(arguments, indent=2)
    except msgspec.DecodeError:
        return arguments


class ToolResultPiece(msgspec.Struct, frozen=True):
    """Result of a call; `fault` is the reason of a failure in words, "" without one."""

    name: str
    output: str
    fault: str = ""


class AttachmentsPiece(msgspec.Struct, frozen=True):
    """Names of attached files."""

    names: tuple[str, ...]


class NotePiece(msgspec.Struct, frozen=True):
    """A remark about the message, by the export itself."""

    text: str


Piece = TextPiece | ReasoningPiece | ToolCallPiece | ToolResultPiece | AttachmentsPiece | NotePiece


class Section(msgspec.Struct, frozen=True):
    """One message. `model` wrote it, "" if unknown; `at` is in milliseconds since 1970."""

    speaker: Speaker
    at: int
    pieces: tuple[Piece, ...]
    model: str = ""


class RunSummary(msgspec.Struct, frozen=True):
    """Facts of a run for exports: its model, and its end if that was not normal."""

    model: str
    ended: str = ""


def summarize_run(run: Run) -> RunSummary:
    """Return the facts of this run for exports."""
    return RunSummary(run.model, find_run_end(run.status, run.reason).export_note)


class SectionReader:
    """Reads messages in order, and names results by the calls before them.

    `names` are file names by id, `runs` facts of runs by id; both may be filled meanwhile.
    """

    def __init__(self, names: Mapping[str, str], runs: Mapping[str, RunSummary]) -> None:
        self._names = names
        self._runs = runs
        self._tool_names: dict[str, str] = {}

    def section(self, message: Message) -> Section | None:
        """Return the message as a section; None for the message that revokes a summary."""
        match message.role:
            case "assistant":
                run = self._runs.get(message.run_id or "", RunSummary(""))
                self._tool_names = {call.id: call.name for call in message.tool_calls}
                pieces = tuple(self._reply_pieces(message, run))
                return Section("assistant", message.created_at, pieces, run.model)
            case "tool":
                return Section("tool", message.created_at, tuple(self._result_pieces(message)))
            case "system" if message.compacts is not None:
                return _summary_section(message, message.compacts)
            case role:
                return Section(role, message.created_at, tuple(self._content_pieces(message)))

    def _content_pieces(self, message: Message) -> Iterator[Piece]:
        if message.text:
            yield TextPiece(message.text)
        if names := tuple(self._attachment_names(message)):
            yield AttachmentsPiece(names)

    def _reply_pieces(self, message: Message, run: RunSummary) -> Iterator[Piece]:
        if message.reasoning:
            yield ReasoningPiece(message.reasoning)
        if message.text:
            yield TextPiece(message.text, markdown=True)
        if message.refusal:
            yield NotePiece("refuses to answer")
            yield TextPiece(message.refusal, markdown=True)
        if names := tuple(self._attachment_names(message)):
            yield AttachmentsPiece(names)
        for call in message.tool_calls:
            yield ToolCallPiece(call.name, call.arguments)
        if message.status == "incomplete":
            yield NotePiece(run.ended or "cut off here")
        elif not message.content and not message.tool_calls:
            yield NotePiece("empty answer")

    def _result_pieces(self, message: Message) -> Iterator[Piece]:
        name = self._tool_names.get(message.tool_call_id or "", "a tool")
        if (changed := changed_arguments(message.metadata)) is not None:
            yield NotePiece("the arguments were changed by the user; it ran with these")
            yield ToolCallPiece(name, changed)
        fault = message.metadata.get("fault", "failed") if message.is_error else ""
        yield ToolResultPiece(name, message.text, fault.replace("_", " "))
        if names := tuple(self._attachment_names(message)):
            yield AttachmentsPiece(names)

    def _attachment_names(self, message: Message) -> Iterator[str]:
        for part in message.content:
            match part:
                case Image(url=str(url)):
                    yield "a picture" if url.startswith("data:") else url
                case Image(file_id=str(file_id)) | File(file_id):
                    yield self._names.get(file_id, file_id)
                case _:
                    pass
        yield from (self._names.get(each, each) for each in message.file_ids)


def file_ids(message: Message) -> Iterator[str]:
    """Yield the ids of the uploads in the message, whose names an export needs."""
    for part in message.content:
        match part:
            case Image(file_id=str(file_id)) | File(file_id):
                yield file_id
            case _:
                pass
    yield from message.file_ids


def _summary_section(message: Message, compacts: int) -> Section | None:
    if not compacts:
        return None
    note = NotePiece(f"models were told this in place of the messages up to number {compacts}")
    return Section("summary", message.created_at, (TextPiece(message.text, markdown=True), note))

"""Converts a stored thread to messages of the AI SDK, as a client builds them from the streams.

    for entry in group_entries(messages, runs):
        if not entry.is_active:
            show(as_ui_message(entry, actions=..., files=...))

A run that has ended is one message with the run's id, and with the parts that a client of version 5
builds from its stream. Two things are not stored and therefore missing: the order of reasoning and
text within a reply, and calls that were cut before they were complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from antiphon.types.documents import Document
from antiphon.types.messages import (
    File,
    Image,
    Message,
    Rating,
    Refusal,
    Text,
    ToolCall,
    Upload,
)
from antiphon.types.run_ends import find_run_end
from antiphon.types.runs import Action, Fault, Run, Status
from antiphon.types.terminal_safe import clean, one_line
from antiphon.types.thread_view import (
    CallView,
    Entry,
    ReasoningView,
    RefusalView,
    TextView,
    ThreadReader,
)
from antiphon.wires.ai_sdk import parts as ui
from antiphon.wires.ai_sdk.page_request import FORMAT
from antiphon.wires.ai_sdk.tool_parts import safe_input
from antiphon.wires.framing import NOT_ANSWERED

UNKNOWN_TYPE = "application/octet-stream"
SOME_PICTURE = "image/*"
"""Media type of a picture at an address."""


class StepStart(msgspec.Struct, frozen=True, tag_field="type", tag="step-start"):
    """A reply of the model begins."""


class _TaggedPart(msgspec.Struct, frozen=True, rename="camel", tag_field="type", kw_only=True):
    """Struct with camelCase JSON names."""


class TextPart(_TaggedPart, frozen=True, tag="text"):
    """A text; `state` if a model wrote it."""

    text: str
    state: Literal["done"] | UnsetType = UNSET
    provider_metadata: ui.TextMetadata | UnsetType = UNSET


class ReasoningPart(_TaggedPart, frozen=True, tag="reasoning"):
    """A model's reasoning."""

    text: str
    state: Literal["done"] = "done"
    provider_metadata: ui.ReasoningMetadata | UnsetType = UNSET


class UnreadFileState(msgspec.Struct, frozen=True):
    """State of the reading of a document that has no text yet, or none at all."""

    document: Document


class FileMetadata(msgspec.Struct, frozen=True):
    """Metadata of a file, under its provider's name."""

    antiphon: UnreadFileState


class FilePart(_TaggedPart, frozen=True, tag="file"):
    """A file or picture; `provider_metadata` if its text is not read."""

    url: str
    media_type: str
    filename: str | UnsetType = UNSET
    provider_metadata: FileMetadata | UnsetType = UNSET


class ToolPart(_TaggedPart, frozen=True, tag="dynamic-tool"):
    """A tool call with its output, or the reason why there is none."""

    tool_name: str
    tool_call_id: str
    state: Literal["output-available", "output-error"]
    input: Any
    output: str | UnsetType = UNSET
    error_text: str | UnsetType = UNSET
    provider_executed: bool | UnsetType = UNSET


class PageToolPart(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A call of a tool that the page runs; `type` is `tool-` and its name.

    The output is the value that the page gave.
    """

    type: str
    tool_call_id: str
    state: Literal["output-available", "output-error"]
    input: Any
    output: Any = UNSET
    error_text: str | UnsetType = UNSET


class CompactionData(msgspec.Struct, frozen=True, kw_only=True):
    """Summary that models read instead of the messages up to `compacts`; 0 undoes it."""

    compacts: int
    text: str


class DataCompaction(_TaggedPart, frozen=True, tag="data-compaction"):
    """Marks the border between summarized and whole messages."""

    id: str
    data: CompactionData


class CallFiles(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Files of a call beside its output text."""

    tool_call_id: str
    files: Sequence[FilePart]


class DataFiles(_TaggedPart, frozen=True, tag="data-files"):
    """The files of a call; streams do not contain them."""

    id: str
    data: CallFiles


StoredPart = (
    StepStart
    | TextPart
    | ReasoningPart
    | FilePart
    | ToolPart
    | PageToolPart
    | DataCompaction
    | DataFiles
    | ui.SourceUrlPart
    | ui.DataApproval
    | ui.DataStatus
)


class GivenFeedback(msgspec.Struct, frozen=True):
    """A person's rating of the last reply of a message."""

    rating: Rating
    comment: str


class MessageMetadata(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Metadata of a message outside this thread's runs; `status` of a copied answer."""

    number: int
    created_at: int
    thread_id: str
    status: str | UnsetType = UNSET
    feedback: GivenFeedback | UnsetType = UNSET


class StoredRunMetadata(ui.RunMetadata, frozen=True, kw_only=True):
    """Metadata of a run: as at the end of its stream, plus its place, start, model and rating."""

    number: int
    created_at: int
    model: str
    feedback: GivenFeedback | UnsetType = UNSET


class PageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Relation of a page to its thread: `tools` are those that it runs in the run of the entry.

    `names` is the metadata key of a user's message with the page's own id of it. `file_path` is
    where the page reads a file, whose id takes the place of the braces.
    """

    tools: frozenset[str] = frozenset()
    names: str = ""
    file_path: str = "/v1/files/{}/content"


class UIMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message in the form of the AI SDK's client."""

    id: str
    role: Literal["system", "user", "assistant"]
    parts: Sequence[StoredPart]
    metadata: MessageMetadata | StoredRunMetadata


def as_ui_message(
    entry: Entry,
    *,
    actions: Iterable[Action] = (),
    files: Mapping[str, Upload],
    page: PageFacts | None = None,
) -> UIMessage:
    """Return the entry as a page's message; `page` if that page runs tools itself.

    `actions` are those of its run, needed only for runs with `mcp_servers`: they hold the
    approvals. `files` are the uploads that its messages name, by id, as far as they still exist.
    """
    match entry:
        case Entry(run=Run() as run):
            parts: list[StoredPart] = [
                *_replies(entry, actions, files, page),
                ui.DataStatus(
                    id=run.id, data=ui.RunDone(run_id=run.id, run_status=run.status.value)
                ),
            ]
            return UIMessage(
                id=run.id, role="assistant", parts=parts, metadata=_account(run, entry)
            )
        case Entry(messages=(Message(role="user" | "system" as role) as message, *_)):
            parts = list(_words(message, files, page))
            own_id = message.metadata.get(page.names) if page else None
            return UIMessage(
                id=own_id or message.id,
                role=role,
                parts=parts,
                metadata=_message_metadata(message),
            )
        case _:
            copied, last = entry.messages[0], entry.messages[-1]
            parts = list(_replies(entry, (), files, page))
            about = msgspec.structs.replace(
                _message_metadata(copied), status=last.status, feedback=_feedback(entry)
            )
            return UIMessage(id=copied.id, role="assistant", parts=parts, metadata=about)


def _message_metadata(message: Message) -> MessageMetadata:
    return MessageMetadata(
        number=message.number, created_at=message.created_at, thread_id=message.thread_id
    )


def _feedback(entry: Entry) -> GivenFeedback | UnsetType:
    """Return the rating of the last reply, which is that of the whole message on a page."""
    replies = [message for message in entry.messages if message.role == "assistant"]
    given = replies[-1].feedback if replies else None
    return GivenFeedback(given.rating, given.comment) if given else UNSET


def _account(run: Run, entry: Entry) -> StoredRunMetadata:
    fault = run.error or Fault("internal", "The run failed.")
    return StoredRunMetadata(
        run_id=run.id,
        thread_id=run.thread_id,
        status=run.status.value,
        reason=run.reason or UNSET,
        error=(
            ui.Problem(code=fault.code, message=clean(fault.message))
            if run.status is Status.FAILED
            else UNSET
        ),
        usage=ui.TokenUsage(
            input_tokens=run.usage.input_tokens,
            output_tokens=run.usage.output_tokens,
            cached_tokens=run.usage.cached_tokens,
            reasoning_tokens=run.usage.reasoning_tokens,
        ),
        cost=run.usage.cost,
        number=entry.number,
        created_at=run.created_at,
        model=one_line(run.model),
        feedback=_feedback(entry),
    )


# Messages of the user and the system.


def _words(
    message: Message, files: Mapping[str, Upload], page: PageFacts | None
) -> Iterator[StoredPart]:
    if message.compacts is not None:
        compacted = CompactionData(compacts=message.compacts, text=message.text)
        yield DataCompaction(id=message.id, data=compacted)
        return
    for part in message.content:
        match part:
            case Text(text=text):
                yield TextPart(text=text)
            case Image(url=str(url)):
                kind = SOME_PICTURE
                if url.startswith("data:image/"):  # such an address begins with the media type
                    kind = url.removeprefix("data:").partition(",")[0].partition(";")[0]
                yield FilePart(url=url, media_type=kind)
            case Image(file_id=file_id) | File(file_id=file_id):
                yield _file_part(file_id or "", files, page)
            case Refusal():
                pass  # only models refuse


def _file_part(file_id: str, files: Mapping[str, Upload], page: PageFacts | None) -> FilePart:
    upload = files.get(file_id)
    unread = upload.unread_document if upload else None
    return FilePart(
        url=page.file_path.format(file_id) if page else f"/api/files/{file_id}",
        media_type=upload.media_type if upload else UNKNOWN_TYPE,
        filename=upload.name if upload else file_id,
        provider_metadata=FileMetadata(UnreadFileState(unread)) if unread else UNSET,
    )


# Replies of the model and the results of their calls.


def _replies(
    entry: Entry,
    actions: Iterable[Action],
    files: Mapping[str, Upload],
    page: PageFacts | None,
) -> Iterator[StoredPart]:
    called = entry.calls
    replies = [message for message in entry.messages if message.role == "assistant"]
    if _has_dropped_calls(entry):  # the stream had no outputs of them
        for last in [message for message in replies if message.tool_calls][-1:]:
            called |= {call.id: CallView(call) for call in last.tool_calls}
    by_call = {action.tool_call_id: action for action in actions if action.approval is not None}
    for message in replies:
        calls = [called[call.id] for call in message.tool_calls]
        yield from _reply(message)
        for each in calls:
            is_of_page = page is not None and each.call.name in page.tools
            yield _page_tool_part(each) if is_of_page else _tool_part(each, page)
        if message.reasoning or message.content or message.tool_calls:
            yield from ui.source_parts(message)
        yield from _file_data_parts(calls, files, page)
        yield from _approvals(calls, by_call)
        # One part for each saved output, in the order in which they were saved.
        saved = [(each.output.created_at, each.call) for each in calls if each.output is not None]
        for _, call in sorted(saved, key=lambda each: each[0]):
            complete = ui.OutputSaved(tool_call_id=call.id, tool_name=call.name)
            yield ui.DataStatus(id=call.id, data=complete)


def _has_dropped_calls(entry: Entry) -> bool:
    """Return whether a limit of the run was reached with a reply whose calls then never ran.

    The run does not count those. A limit of time can also be reached later, in a reply without
    calls.
    """
    run = entry.run
    if run is None or not find_run_end(run.status, run.reason).limit_reached:
        return False
    called = sum(len(message.tool_calls) for message in entry.messages)
    return called > sum(each.tool_calls for each in entry.runs)


def _reply(message: Message) -> Iterator[StoredPart]:
    if message.reasoning or message.content or message.tool_calls:
        yield StepStart()
    view = ThreadReader().read(message)
    for part in view.parts if view else ():
        match part:
            case ReasoningView(text, seconds):
                took = ui.reasoning_metadata(seconds)
                yield ReasoningPart(text=text, provider_metadata=took)
            case TextView(text):
                yield TextPart(text=text, state="done")
            case RefusalView(text):
                yield TextPart(text=text, state="done", provider_metadata=ui.REFUSAL)
            case _:
                pass


def _page_tool_part(called: CallView) -> PageToolPart:
    output = called.output
    text = called.text if output else NOT_ANSWERED
    value: Any = text
    if output is not None and output.metadata.get(FORMAT) == "json":
        value = safe_input(text)
    return PageToolPart(
        type=f"tool-{called.call.name}",
        tool_call_id=called.call.id,
        state="output-error" if called.is_error else "output-available",
        input=safe_input(called.call.arguments),
        output=UNSET if called.is_error else value,
        error_text=text if called.is_error else UNSET,
    )


def _tool_part(called: CallView, page: PageFacts | None) -> ToolPart:
    text = called.text if called.output else NOT_ANSWERED
    return ToolPart(
        tool_name=called.call.name,
        tool_call_id=called.call.id,
        state="output-error" if called.is_error else "output-available",
        input=safe_input(called.changed_arguments or called.call.arguments),
        output=UNSET if called.is_error else text,
        error_text=text if called.is_error else UNSET,
        provider_executed=UNSET if page is None else True,
    )


def _file_data_parts(
    calls: Iterable[CallView], files: Mapping[str, Upload], page: PageFacts | None
) -> Iterator[DataFiles]:
    """Yield the files of calls that still exist."""
    for called in calls:
        if there := [each for each in called.file_ids if each in files]:
            attached = [_file_part(each, files, page) for each in there]
            files_of_call = CallFiles(tool_call_id=called.call.id, files=attached)
            yield DataFiles(id=called.call.id, data=files_of_call)


def _approvals(
    calls: Iterable[CallView], by_call: Mapping[str, Action]
) -> Iterator[ui.DataApproval]:
    """Yield the approvals of calls; for the client's own tools only refusals are stored."""
    for called in calls:
        call = called.call
        if call.id in by_call:
            yield _approval(call, by_call[call.id])
        elif state := _ENDS.get(called.fault):
            ended = ui.ApprovalState(
                approval_id=call.id,
                tool_call_id=call.id,
                tool_name=call.name,
                input=safe_input(call.arguments),
                state=state,
            )
            yield ui.DataApproval(id=call.id, data=ended)


_ENDS: Mapping[str, Literal["refused", "cancelled"]] = {
    "refused": "refused",
    "cancelled": "cancelled",
}
"""Faults of calls that a person ended."""


def _approval(call: ToolCall, action: Action) -> ui.DataApproval:
    state: Literal["approved", "refused", "unanswered", "cancelled"] = "unanswered"
    if action.status == "cancelled":
        state = "cancelled"
    elif action.approval != "required":
        state = "approved" if action.approval == "given" else "refused"
    approval = ui.ApprovalState(
        approval_id=action.id,
        tool_call_id=call.id,
        tool_name=call.name,
        input=safe_input(call.arguments),
        server=action.server or UNSET,
        expires_at=action.expires_at,
        state=state,
    )
    return ui.DataApproval(id=call.id, data=approval)

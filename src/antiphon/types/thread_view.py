"""A stored thread as people read it: the fold of messages and runs that every face shows.

    reader = ThreadReader(names, runs)
    for message in messages:
        show(reader.read(message))

    for entry in group_entries(messages, runs):
        show(entry)

`ThreadReader` reads message by message, so that a thread may be of any length. `group_entries`
joins the messages of a run, for faces that show a run as one. Text of users, models and tools is
complete and unchanged: each face escapes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Literal

import msgspec

from antiphon.types.messages import (
    Citation,
    File,
    Image,
    Message,
    Text,
    ToolCall,
    list_pages,
    read_changed_arguments,
)
from antiphon.types.run_ends import find_run_end
from antiphon.types.runs import Run, Status
from antiphon.types.source_marks import renumber_marks

# Replies that were cut, and their rest.


class ReplyJoiner:
    """Joins a reply that continues the one before it to that one, as readers see them.

    Only a reply that was cut is held until the next message.
    """

    def __init__(self) -> None:
        self._cut: Message | None = None

    def add(self, message: Message) -> Sequence[Message]:
        """Return the messages that are complete with this one, in order."""
        cut, self._cut = self._cut, None
        if cut is not None and message.role == "assistant" and message.continues is True:
            message = _join_replies(cut, message)
            cut = None
        before = (cut,) if cut is not None else ()
        if message.role == "assistant" and message.status == "incomplete":
            self._cut = message
            return before
        return (*before, message)

    def close(self) -> Sequence[Message]:
        """Return the reply that nothing followed."""
        return (self._cut,) if self._cut is not None else ()


def join_replies(messages: Iterable[Message]) -> Iterator[Message]:
    """Yield the messages, each cut reply with its rest as one."""
    joiner = ReplyJoiner()
    for message in messages:
        yield from joiner.add(message)
    yield from joiner.close()


def _join_replies(cut: Message, rest: Message) -> Message:
    others = (part for part in (*cut.content, *rest.content) if not isinstance(part, Text))
    citations = (*(cut.citations or ()), *(rest.citations or ()))
    # Marks in the rest count the sources of the rest, and its readers get one list.
    numbers = {page.url: number for number, page in enumerate(list_pages(citations), 1)}
    own = enumerate(list_pages(rest.citations), 1)
    joined = renumber_marks(
        cut.text + rest.text, len(cut.text), {number: numbers[page.url] for number, page in own}
    )
    text = (Text(joined),) if joined else ()
    return msgspec.structs.replace(
        rest,
        id=cut.id,
        number=cut.number,
        content=(*text, *others),
        reasoning="\n\n".join(filter(None, (cut.reasoning, rest.reasoning))) or None,
        reasoning_seconds=(cut.reasoning_seconds or 0) + (rest.reasoning_seconds or 0)
        or msgspec.UNSET,
        citations=citations or msgspec.UNSET,
        continues=cut.continues,
        created_at=cut.created_at,
    )


# Parts of a message.


class TextView(msgspec.Struct, frozen=True):
    """Text of the message. `markdown` if a model wrote it."""

    text: str
    markdown: bool = False


class RefusalView(msgspec.Struct, frozen=True):
    """The model's words of a refusal, in Markdown."""

    text: str


class ReasoningView(msgspec.Struct, frozen=True):
    """Reasoning of a model, which faces fold; `seconds` that it took, 0 if unknown or below 1."""

    text: str
    seconds: int = 0


class AttachmentView(msgspec.Struct, frozen=True):
    """An attached file or picture; a picture at an address has no `file_id`."""

    name: str
    file_id: str | None = None
    is_picture: bool = False


class AttachmentsView(msgspec.Struct, frozen=True):
    """Attached files and pictures."""

    attachments: tuple[AttachmentView, ...]


class ChangedCallView(msgspec.Struct, frozen=True):
    """A tool call with the arguments with which it ran, after the user changed them."""

    name: str
    arguments: str


class CallView(msgspec.Struct, frozen=True):
    """A tool call and its output; None while no output is stored."""

    call: ToolCall
    output: Message | None = None

    @property
    def changed_arguments(self) -> str | None:
        """The arguments that the user put in place of the model's; None if none."""
        return read_changed_arguments(self.output.metadata) if self.output else None

    @property
    def is_error(self) -> bool:
        """True if there is no result: no output is stored, or that of a failure."""
        return self.output is None or self.output.is_error

    @property
    def text(self) -> str:
        """The text of the output."""
        return self.output.text if self.output else ""

    @property
    def file_ids(self) -> tuple[str, ...]:
        """Ids of files that hold parts of the output."""
        return self.output.file_ids if self.output else ()

    @property
    def reason(self) -> str:
        """The fault in words."""
        return self.fault.replace("_", " ")

    @property
    def fault(self) -> str:
        """Reason why there is no result, such as `timed_out`; "" if none is stored."""
        if self.output is None:
            return ""
        return self.output.metadata.get("fault") or ("failed" if self.output.is_error else "")


class SourcesView(msgspec.Struct, frozen=True):
    """Pages that the provider names as sources of the reply, numbered from 1."""

    pages: tuple[Citation, ...]

    @property
    def text(self) -> str:
        """A line for each page: its number, title and address."""
        return "\n".join(
            " ".join(filter(None, (f"[{number}]", page.title, page.url)))
            for number, page in enumerate(self.pages, 1)
        )


class NoteView(msgspec.Struct, frozen=True):
    """A remark about the message, by the program itself."""

    text: str


PartView = (
    TextView
    | RefusalView
    | ReasoningView
    | AttachmentsView
    | ToolCall
    | ChangedCallView
    | CallView
    | SourcesView
    | NoteView
)

# One message.

Speaker = Literal["user", "assistant", "system", "tool", "summary"]


class MessageView(msgspec.Struct, frozen=True):
    """One message. `model` wrote it, "" if unknown; `at` is in milliseconds since 1970."""

    speaker: Speaker
    at: int
    parts: tuple[PartView, ...]
    model: str = ""


class RunSummary(msgspec.Struct, frozen=True):
    """Facts of a run beside its messages: its model, and its end if that was not normal."""

    model: str
    ended: str = ""


def summarize_run(run: Run) -> RunSummary:
    """Return the facts of this run."""
    return RunSummary(run.model, find_run_end(run.status, run.reason).export_note)


class ThreadReader:
    """Reads messages in order, and pairs tool outputs with the calls before them.

    `names` are file names by id, `runs` facts of runs by id; both may be filled meanwhile.
    """

    def __init__(
        self,
        names: Mapping[str, str] | None = None,
        runs: Mapping[str, RunSummary] | None = None,
    ) -> None:
        self._names: Mapping[str, str] = {} if names is None else names
        self._runs: Mapping[str, RunSummary] = {} if runs is None else runs
        self._calls: dict[str, ToolCall] = {}

    def read(self, message: Message) -> MessageView | None:
        """Return the message as people read it; None for one that revokes a summary."""
        at = message.created_at
        match message.role:
            case "assistant":
                run = self._runs.get(message.run_id or "", RunSummary(""))
                self._calls = {call.id: call for call in message.tool_calls}
                parts = tuple(self._reply_parts(message, run.ended))
                return MessageView("assistant", at, parts, run.model)
            case "tool":
                return MessageView("tool", at, tuple(self._output_parts(message)))
            case "system" if message.compacts is not None:
                if not message.compacts:
                    return None
                until = f"up to number {message.compacts}"
                note = NoteView(f"models get this in place of the messages {until}")
                parts = (TextView(message.text, markdown=True), note)
                return MessageView("summary", at, parts)
            case role:
                text = (TextView(message.text),) if message.text else ()
                return MessageView(role, at, (*text, *self._attachment_parts(message)))

    def _reply_parts(self, message: Message, ended: str) -> Iterator[PartView]:
        if message.reasoning:
            yield ReasoningView(message.reasoning, message.reasoning_seconds or 0)
        if message.text:
            yield TextView(message.text, markdown=True)
        if message.refusal:
            yield NoteView("refuses to answer")
            yield RefusalView(message.refusal)
        if pages := list_pages(message.citations):
            yield SourcesView(pages)
        yield from self._attachment_parts(message)
        yield from message.tool_calls
        if message.status == "incomplete":
            yield NoteView(ended or "cut off here")
        elif not message.content and not message.tool_calls:
            yield NoteView("empty answer")

    def _output_parts(self, message: Message) -> Iterator[PartView]:
        call_id = message.tool_call_id or ""
        call = self._calls.get(call_id) or ToolCall(call_id, "a tool", "")
        called = CallView(call, message)
        if (changed := called.changed_arguments) is not None:
            yield NoteView("the arguments were changed by the user; it ran with these")
            yield ChangedCallView(call.name, changed)
        yield called
        yield from self._attachment_parts(message)

    def _attachment_parts(self, message: Message) -> Iterator[AttachmentsView]:
        if found := tuple(list_attachments(message, self._names)):
            yield AttachmentsView(found)


def list_attachments(message: Message, names: Mapping[str, str]) -> Iterator[AttachmentView]:
    """Yield the files and pictures of a message; `names` are file names by id."""
    for part in message.content:
        match part:
            case Image(url=str(url)):
                yield AttachmentView(
                    "a picture" if url.startswith("data:") else url, is_picture=True
                )
            case Image(file_id=str(file_id)) | File(file_id):
                yield AttachmentView(names.get(file_id, file_id), file_id, isinstance(part, Image))
            case _:
                pass
    yield from (AttachmentView(names.get(each, each), each) for each in message.file_ids)


def file_ids(message: Message) -> Iterator[str]:
    """Yield the ids of the uploads that the message names."""
    return (each.file_id for each in list_attachments(message, {}) if each.file_id)


# Everything of a run as one.


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A single message, or everything of a run, and of the runs before it that it continues.

    The usage of `run` is that of all of them; `continued` are those before it. `number` is that of
    its first message in the thread, or of the message that a silent run answered. A copy in a
    branch has no `run`.
    """

    number: int
    messages: tuple[Message, ...] = ()
    run: Run | None = None
    continued: tuple[Run, ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        """All its runs, in order."""
        return (*self.continued, *([self.run] if self.run is not None else []))

    @property
    def is_active(self) -> bool:
        """True if its run has not ended."""
        return self.run is not None and not self.run.status.ended

    @property
    def calls(self) -> dict[str, CallView]:
        """All tool calls by id, with their outputs."""
        outputs = {each.tool_call_id: each for each in self.messages if each.role == "tool"}
        return {
            call.id: CallView(call, outputs.get(call.id))
            for message in self.messages
            for call in message.tool_calls
        }


def group_entries(messages: Iterable[Message], runs: Iterable[Run]) -> list[Entry]:
    """Return a thread's messages in order as entries. An active run is apart from those before it.

    `runs` are the thread's runs in any order. A run that ended without a message stands after the
    message that it answered, unless the next run replaced it.
    """
    stored = list(messages)
    known = {run.id: run for run in runs}
    entries: list[Entry] = []
    for run_id, group in groupby(stored, key=_source):
        if run_id is None:
            entries += (Entry(number=each.number, messages=(each,)) for each in group)
        else:
            joined = tuple(join_replies(group))
            entries.append(Entry(number=joined[0].number, messages=joined, run=known.get(run_id)))
    spoke = {message.run_id for message in stored}
    silent = [run for run in known.values() if run.id not in spoke and run.status.ended]
    entries += _silent_entries(stored, silent, known.values())
    return _join_entries(sorted(entries, key=_place))


def _join_entries(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries, each run that continues another one with that one."""
    joined: list[Entry] = []
    for entry in entries:
        before = joined[-1] if joined else None
        if before is not None and _continues(entry, before):
            joined[-1] = _join_entry(before, entry)
        else:
            joined.append(entry)
    return joined


def _continues(entry: Entry, before: Entry) -> bool:
    if entry.is_active or not before.messages or _source(before.messages[0]) is None:
        return False
    if entry.run is not None:
        return entry.run.continues
    return entry.messages[0].continues is True


def _join_entry(before: Entry, entry: Entry) -> Entry:
    run, earlier = entry.run, before.run
    if run is not None and earlier is not None:
        run = msgspec.structs.replace(run, usage=earlier.usage + run.usage)
    return Entry(
        number=before.number,
        messages=tuple(join_replies((*before.messages, *entry.messages))),
        run=run or earlier,
        continued=(*before.continued, *([earlier] if earlier is not None else [])),
    )


def _source(message: Message) -> str | None:
    """Return the run of a message, "" for copies of one; None for a person's message."""
    return None if message.role in ("user", "system") else message.run_id or ""


def _silent_entries(
    messages: Sequence[Message], silent: Iterable[Run], runs: Iterable[Run]
) -> Iterator[Entry]:
    by_number = {message.number: message for message in messages}
    for run in silent:
        question = by_number.get(run.messages_before + 1)
        came_along = question is not None and question.created_at <= run.created_at
        if not _is_rolled_back(run, runs):
            yield Entry(number=run.messages_before + came_along, run=run)


def _is_rolled_back(run: Run, others: Iterable[Run]) -> bool:
    """Return whether another run began at the same message: then this run's was rolled back."""
    return run.status is Status.CANCELLED and any(
        other.messages_before == run.messages_before
        and (other.created_at, other.id) > (run.created_at, run.id)
        for other in others
    )


def _place(entry: Entry) -> tuple[int, bool, int]:
    """Return the sort key; a silent run stands after the message with its number."""
    silent = not entry.messages
    return entry.number, silent, entry.run.created_at if entry.run and silent else 0

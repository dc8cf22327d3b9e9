"""Draw earlier messages as they were drawn when they arrived.

The messages of a thread go through the handler that draws a run, so that a thread always looks the
same. The duration of reasoning is not stored, so it is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.streaming_response_handler import StreamingResponseHandler
from antiphon.terminal.themes import Theme
from antiphon.types.events import (
    Event,
    MessageCompleted,
    ReasoningDelta,
    RefusalDelta,
    RunStatus,
    TextDelta,
    ToolCallReady,
    ToolOutputAdded,
    UsageAdded,
)
from antiphon.types.messages import Message, ToolCall
from antiphon.types.runs import Run
from antiphon.types.terminal_safe import clean, one_line
from antiphon.types.thread_view import (
    CallView,
    Entry,
    PartView,
    ReasoningView,
    RefusalView,
    TextView,
    ThreadReader,
    group_entries,
    list_attachments,
)

SCREENS = 2
"""Screens of earlier messages that are shown when a thread is resumed."""


class TranscriptTail(msgspec.Struct, frozen=True):
    """The end of a thread as lines, and the number of messages before it."""

    lines: Sequence[Line]
    earlier: int


def user_lines(text: str, theme: Theme) -> list[Line]:
    """Return a user's message as it stands above its answer."""
    mark = "You: " if theme.roles else "> "
    first, *more = clean(text).split("\n")
    said: list[Line] = [(StyledText(mark, "mark"), StyledText(first))]
    said += ((StyledText(" " * len(mark)), StyledText(line)) for line in more)
    return said if theme.roles else [(), *said, ()]


def recent(
    messages: Sequence[Message], runs: Iterable[Run], theme: Theme, *, columns: int, rows: int
) -> TranscriptTail:
    """Return the last exchanges that fit a screen or two of this size, at least one.

    `runs` are the thread's; the outcome of a run that is missing is not shown.
    """
    room = max(1, SCREENS * rows)
    lines: list[Line] = []
    earlier = len(messages)
    for exchange in reversed(_split_exchanges(group_entries(messages, runs))):
        more = [line for each in exchange for line in _draw_entry(each, theme, columns)]
        if lines and len(more) + len(lines) > room:
            break
        lines, earlier = [*more, *lines], earlier - sum(len(each.messages) for each in exchange)
    if len(lines) > room:
        left = (StyledText(f"({len(lines) - room} more lines of this answer)", "faint"),)
        lines = [left, *lines[-room:]]
    return TranscriptTail(lines, earlier)


def _split_exchanges(entries: Iterable[Entry]) -> Sequence[Sequence[Entry]]:
    """Split the entries before each message of the user."""
    found: list[list[Entry]] = []
    for entry in entries:
        if not found or (entry.messages and entry.messages[0].role == "user"):
            found.append([])
        found[-1].append(entry)
    return found


def _draw_entry(entry: Entry, theme: Theme, columns: int) -> Sequence[Line]:
    """Draw a message or a run. A tool call that waits is left out: resuming its run shows it."""
    match entry.messages:
        case (Message(role="user" | "system") as message, *_):
            return _draw_message(message, theme)
        case messages:
            return _draw_reply(messages, entry.run, theme, columns)


def _draw_message(message: Message, theme: Theme) -> Sequence[Line]:
    if message.role == "user":
        attached = list_attachments(message, {})
        marks = ["[picture]" if each.is_picture else "[file]" for each in attached]
        return user_lines(" ".join(filter(None, (*marks, message.text))), theme)
    if message.compacts is not None:
        return [(StyledText("(here a summary stands in for what was said before)", "faint"),)]
    return [(StyledText(f"(system: {one_line(message.text)})", "faint"),)]


def _draw_reply(
    messages: Sequence[Message], run: Run | None, theme: Theme, columns: int
) -> list[Line]:
    began = (run.started_at or run.created_at) / 1000 if run else 0.0
    handler = StreamingResponseHandler(theme, began=began)
    handler.frame(columns, SCREENS, began)  # so that it knows how wide the terminal is
    reader = ThreadReader()
    for message in messages:
        view = reader.read(message)
        for part in view.parts if view else ():
            if (event := _part_event(part)) is not None:
                handler.handle_event(event, began)
        if message.role == "assistant":
            handler.handle_event(MessageCompleted(message=message), began)
    if run and run.status.ended:
        _feed_end(handler, run)
    elif not run and messages and messages[-1].status == "incomplete":
        handler.abandon("[stopped]", began)
    return list(handler.frame(columns, SCREENS, began).finished)


def _part_event(part: PartView) -> Event | None:
    """Return the event with which this part of a reply came; None for notes."""
    match part:
        case ReasoningView(text):
            return ReasoningDelta(text=text)
        case TextView(text):
            return TextDelta(text=text)
        case RefusalView(text):
            return RefusalDelta(text=text)
        case ToolCall(id=id, name=name, arguments=arguments):
            return ToolCallReady(tool_call_id=id, name=name, arguments=arguments)
        case CallView():
            return ToolOutputAdded(
                tool_call_id=part.call.id,
                output=part.text,
                is_error=part.is_error,
                cancelled=part.fault == "cancelled",
                arguments=part.changed_arguments,
            )
        case _:
            return None


def _feed_end(handler: StreamingResponseHandler, run: Run) -> None:
    handler.handle_event(UsageAdded(usage=run.usage), 0.0)
    ended = RunStatus(
        run_id=run.id,
        thread_id=run.thread_id,
        status=run.status,
        reason=run.reason,
        error=run.error,
    )
    handler.handle_event(ended, (run.ended_at or run.created_at) / 1000)

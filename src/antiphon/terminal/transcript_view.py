"""Draw earlier messages as they were drawn when they arrived.

The messages of a thread go through the handler that draws a run, so that a thread always looks the
same. The duration of reasoning is not stored, so it is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.streaming_response_handler import StreamingResponseHandler
from antiphon.terminal.themes import Theme
from antiphon.types.events import (
    MessageCompleted,
    ReasoningDelta,
    RefusalDelta,
    RunStatus,
    TextDelta,
    ToolCallReady,
    ToolOutputAdded,
    UsageAdded,
)
from antiphon.types.messages import File, Image, Message, Refusal, Text, changed_arguments
from antiphon.types.runs import Run
from antiphon.types.terminal_safe import clean, one_line

SCREENS = 2
"""Screens of earlier messages that are shown when a thread is resumed."""

Exchange = Sequence[Message]
"""A user's message and everything that followed it."""


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
    known = sorted(runs, key=lambda run: (run.created_at, run.id))
    room = max(1, SCREENS * rows)
    lines: list[Line] = []
    earlier = len(messages)
    for exchange in reversed(_exchanges(messages)):
        more = _draw_exchange(exchange, known, theme, columns)
        if lines and len(more) + len(lines) > room:
            break
        lines, earlier = [*more, *lines], earlier - len(exchange)
    if len(lines) > room:
        left = (StyledText(f"({len(lines) - room} more lines of this answer)", "faint"),)
        lines = [left, *lines[-room:]]
    return TranscriptTail(lines, earlier)


def _exchanges(messages: Iterable[Message]) -> Sequence[Exchange]:
    """Split the messages before each one of the user."""
    found: list[list[Message]] = []
    for message in messages:
        if message.role == "user" or not found:
            found.append([])
        found[-1].append(message)
    return found


def _draw_exchange(
    exchange: Exchange, runs: Sequence[Run], theme: Theme, columns: int
) -> list[Line]:
    """Draw one exchange. A tool call that still waits is left out: resuming its run shows it."""
    lines: list[Line] = []
    ran = {run.id: run for run in runs}
    for run_id, messages in groupby(exchange, key=_source):
        match run_id:
            case "user" | "system" as role:
                lines += [line for each in messages for line in _draw_message(role, each, theme)]
            case _:
                lines += _draw_reply(list(messages), ran.pop(run_id, None), theme, columns)
    numbers = range(exchange[0].number - 1, exchange[-1].number)
    for run in ran.values():
        if run.messages_before in numbers and run.status.ended:
            lines += _draw_reply((), run, theme, columns)  # it ended before anything was said
    return lines


def _source(message: Message) -> str:
    """Return the author: a role, or a run's id; copies in a branch have no run id."""
    return message.role if message.role in ("user", "system") else message.run_id or "a run"


def _draw_message(role: str, message: Message, theme: Theme) -> list[Line]:
    if role == "user":
        return user_lines(
            " ".join(filter(None, (*_attachment_marks(message), message.text))), theme
        )
    if message.compacts is not None:
        return [(StyledText("(here a summary stands in for what was said before)", "faint"),)]
    return [(StyledText(f"(system: {one_line(message.text)})", "faint"),)]


def _attachment_marks(message: Message) -> Iterator[str]:
    for part in message.content:
        match part:
            case Image():
                yield "[picture]"
            case File():
                yield "[file]"
            case Text() | Refusal():
                pass


def _draw_reply(
    messages: Sequence[Message], run: Run | None, theme: Theme, columns: int
) -> list[Line]:
    began = (run.started_at or run.created_at) / 1000 if run else 0.0
    handler = StreamingResponseHandler(theme, began=began)
    handler.frame(columns, SCREENS, began)  # so that it knows how wide the terminal is
    for message in messages:
        _feed_message(handler, message, began)
    if run and run.status.ended:
        _feed_end(handler, run)
    elif not run and messages and messages[-1].status == "incomplete":
        handler.abandon("[stopped]", began)
    return list(handler.frame(columns, SCREENS, began).finished)


def _feed_message(handler: StreamingResponseHandler, message: Message, now: float) -> None:
    if message.role == "tool":
        call, output = message.tool_call_id or "", message.text
        told = ToolOutputAdded(
            tool_call_id=call,
            output=output,
            is_error=message.is_error,
            cancelled=message.metadata.get("fault") == "cancelled",
            arguments=changed_arguments(message.metadata),
        )
        handler.handle_event(told, now)
        return
    if message.reasoning:
        handler.handle_event(ReasoningDelta(text=message.reasoning), now)
    if message.text:
        handler.handle_event(TextDelta(text=message.text), now)
    if message.refusal:
        handler.handle_event(RefusalDelta(text=message.refusal), now)
    for each in message.tool_calls:
        ready = ToolCallReady(tool_call_id=each.id, name=each.name, arguments=each.arguments)
        handler.handle_event(ready, now)
    handler.handle_event(MessageCompleted(message=message), now)


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

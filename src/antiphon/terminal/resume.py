"""Find the thread that the user names, switch the chat to it, and show its last messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from antiphon.api.operations import ListActions, ListMessages, SearchHit
from antiphon.client.async_client import AsyncClient
from antiphon.client.formatting import split_found_words
from antiphon.client.thread_families import find_threads_by_id, latest_threads
from antiphon.terminal.chat_state import ChatState
from antiphon.terminal.input.keyboard import Box, KeyChoice
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.streaming_response_handler import StreamingResponseHandler
from antiphon.terminal.themes import Theme
from antiphon.terminal.ui_manager import Ui
from antiphon.types.errors import InvalidRequest, NotFound
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
from antiphon.types.runs import Run, Status, Thread
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

PAGE = 100
SEVERAL = 100  # threads with some words; more are not counted
LAST = "last"
ID = "thread_"


async def find_thread(client: AsyncClient, state: ChatState, words: str) -> Thread:
    """Return the thread for `last`, a number of the last list, an id or its beginning, or words.

    Raises `NotFound` for none, `InvalidRequest` for several.
    """
    if words == LAST:
        async for thread in client.paginate(latest_threads()):
            if thread.id != state.thread_id:
                return thread
        raise NotFound("There is no other thread", hint="/new begins one.")
    numbered = state.listed_threads
    if words.isdecimal() and 0 < int(words) <= len(numbered):
        return await client.get_thread(numbered[int(words) - 1])
    if words.startswith(ID):
        with suppress(NotFound):
            return await client.get_thread(words)
        beginning = await find_threads_by_id(client, words)
        return _only([thread for thread in beginning if thread.messages], words)
    found = (await client.transport.send(latest_threads(words, limit=SEVERAL))).data
    if words.isdecimal() and not found:
        raise InvalidRequest(
            f"The last list has no thread {words}, and no thread contains it",
            expected=f"1 to {len(numbered)}" if numbered else "a number of a list",
            hint="/threads lists them.",
        )
    return _only(found, words)


def _only(found: Sequence[Thread], words: str) -> Thread:
    match found:
        case [thread]:
            return thread
        case []:
            raise NotFound(f"No thread has {words!r} in it", hint="/threads lists them.")
        case several:
            count = f"{SEVERAL} or more" if len(several) == SEVERAL else str(len(several))
            raise InvalidRequest(
                f"{count} threads have {words!r} in them",
                hint=f"/threads {words} numbers them, and /resume takes a number.",
            )


async def load_messages(client: AsyncClient, state: ChatState) -> list[Message]:
    """Return all messages of the chat's thread; none for a thread that does not exist yet."""
    if state.thread_id is None:
        return []
    listing = ListMessages(state.thread_id, limit=PAGE)
    return [message async for message in client.paginate(listing)]


# Switch to a thread.


async def switch_thread(
    client: AsyncClient, ui: Ui, state: ChatState, thread: Thread
) -> Run | None:
    """Move the chat to this thread, and show its end. Return its run that has not ended, if any.

    The chat takes the model and the instructions of the last run where it has none of its own.
    """
    first = state.thread_id is None
    state.enter_thread(thread)
    runs = (await client.list_runs(thread.id, limit=PAGE)).data
    columns, rows = ui.size()
    messages = await load_messages(client, state)
    shown = recent(messages, runs, ui.theme, columns=columns, rows=rows)
    ui.say(f"{state.title or 'A thread without a title'} ({state.thread_id})", "faint")
    if shown.earlier:
        ui.say(f"{shown.earlier} earlier messages; /export shows all.", "faint")
    ui.show(shown.lines)
    if runs:
        state.model = state.model or runs[0].model
        system = runs[0].instructions
        state.system = state.system or system if first else system or state.system
    return next((run for run in runs if not run.status.ended), None)


async def show_found(client: AsyncClient, ui: Ui, hit: SearchHit, words: str) -> None:
    """Show the message that a search has found, its words marked, below the end of its thread."""
    if hit.message_id is None:
        return
    message = await client.get_message(hit.message_id)
    ui.say(f"Found in message {message.number}, of role {message.role}:", "faint")
    lines: list[list[StyledText]] = [[StyledText("  ")]]
    for text, highlighted in split_found_words(clean(message.text), words):
        first, *more = text.split("\n")
        lines[-1].append(StyledText(first, "strong" if highlighted else ""))
        lines += ([StyledText("  "), StyledText(line)] for line in more)
    marked = next((n for n, line in enumerate(lines) if any(s.style == "strong" for s in line)), 0)
    _, rows = ui.size()
    start = max(0, marked - rows // 4)
    ui.show([tuple(line) for line in lines[start : start + max(1, rows // 2)]])


async def confirm_resume(client: AsyncClient, ui: Ui, run: Run) -> bool:
    """Announce that the run is resumed; ask first if its tool calls wait.

    Another chat may be about to run those calls, which nothing shows: so the user decides.
    """
    if run.status is Status.ACTION_REQUIRED and not await _confirm_takeover(client, ui, run):
        ui.say("They are left alone. /continue asks again.", "faint")
        return False
    if run.status is Status.IN_PROGRESS:
        ui.say("A reply is under way; it is followed.", "faint")
    else:
        ui.say("This thread has an unfinished run; it continues.", "faint")
    return True


async def _confirm_takeover(client: AsyncClient, ui: Ui, run: Run) -> bool:
    listing = ListActions(run.id, status="pending")
    waiting = {clean(action.name, "approval") async for action in client.paginate(listing)}
    names = ", ".join(sorted(waiting))
    rows: list[Line] = [
        (StyledText(f"Tool calls wait in this thread: {names}", "strong"),),
        (StyledText("Another chat may be running them. Run them here?", "faint"),),
    ]
    choices = (KeyChoice("n", "no, leave them"), KeyChoice("y", "yes, continue here"))
    box = Box(rows=lambda columns: rows, choices=choices, default="n")
    return await ui.keyboard.choose(box) == "y"


# Earlier messages are drawn as they were drawn when they arrived: they go through the handler that
# draws a run.


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
    lines: list[Line] = [(StyledText(mark, "mark"), StyledText(first))]
    lines += ((StyledText(" " * len(mark)), StyledText(line)) for line in more)
    return lines if theme.roles else [(), *lines, ()]


def recent(
    messages: Sequence[Message], runs: Iterable[Run], theme: Theme, *, columns: int, rows: int
) -> TranscriptTail:
    """Return the last exchanges that fit a screen or two of this size, at least one.

    `runs` are the thread's; the outcome of a run that is missing is not shown.
    """
    room = max(1, SCREENS * rows)
    lines: list[Line] = []
    entries = group_entries(messages, runs)
    earlier = sum(len(each.messages) for each in entries)
    for exchange in reversed(_split_exchanges(entries)):
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
        case ReasoningView(text, seconds):
            return ReasoningDelta(text=text, seconds=seconds)
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

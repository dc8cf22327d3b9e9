"""Which thread a chat is in: threads are found, and gone over to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from antiphon.api.operations import ListActions, ListMessages
from antiphon.client.thread_list import latest_threads, listed
from antiphon.terminal import transcript_view
from antiphon.terminal.input.keyboard import Box, Choice
from antiphon.terminal.spans import Line, Span
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Message
from antiphon.types.runs import Run, Status, Thread
from antiphon.types.terminal_safe import clean

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

PAGE = 100
SEVERAL = 100  # threads that hold some words; it is not counted how many more there are
LAST = "last"
ID = "thread_"


async def find_thread(chat: Chat, words: str) -> Thread:
    """The one that is meant: `last`, a number of the last list, an id or its beginning, or words.

    Raises `NotFound` for none, `InvalidRequest` for several.
    """
    if words == LAST:
        return await _find_latest(chat)
    if words.isdecimal() and 0 < int(words) <= len(chat.listed):
        return await chat.client.get_thread(chat.listed[int(words) - 1])
    if words.startswith(ID):
        return await _find_by_id(chat, words)
    found = (await chat.client.transport.send(latest_threads(words, limit=SEVERAL))).data
    if words.isdecimal() and not found:
        raise InvalidRequest(
            f"There is no number {words}, and no thread has it in it",
            expected=f"1 to {len(chat.listed)}" if chat.listed else "a number of a list",
            hint="/threads lists them.",
        )
    return _only(found, words)


async def _find_latest(chat: Chat) -> Thread:
    async for thread in listed(chat.client):
        if thread.id != chat.thread_id:
            return thread
    raise NotFound("There is no other thread", hint="/new begins one.")


async def _find_by_id(chat: Chat, beginning: str) -> Thread:
    try:
        return await chat.client.get_thread(beginning)
    except NotFound:
        known = listed(chat.client, hidden=True)
    return _only([thread async for thread in known if thread.id.startswith(beginning)], beginning)


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


async def load_messages(chat: Chat) -> list[Message]:
    """All that was said in the thread of the chat; nothing where it has yet to begin."""
    if chat.thread_id is None:
        return []
    listing = ListMessages(chat.thread_id, limit=PAGE)
    return [message async for message in chat.client.paginate(listing)]


# Going on.


async def switch_thread(chat: Chat, thread: Thread) -> None:
    """Go on in this thread: its end is shown, and a run that was left in it is taken up."""
    first = chat.thread_id is None
    chat.be_in(thread)
    runs = (await chat.client.list_runs(thread.id, limit=PAGE)).data
    await _show_end(chat, runs)
    if runs:
        chat.model = chat.model or runs[0].model
        told = runs[0].instructions
        chat.system = chat.system or told if first else told or chat.system
    if (left := find_open_run(runs)) is not None:
        await resume_run(chat, left)


async def _show_end(chat: Chat, runs: Sequence[Run]) -> None:
    columns, rows = chat.surface.size()
    said = await load_messages(chat)
    shown = transcript_view.recent(said, runs, chat.surface.theme, columns=columns, rows=rows)
    chat.surface.say(f"{chat.title or 'A thread without a title'} ({chat.thread_id})", "faint")
    if shown.earlier:
        chat.surface.say(f"{shown.earlier} earlier messages; /export shows all.", "faint")
    chat.surface.show(shown.lines)


def find_open_run(runs: Sequence[Run]) -> Run | None:
    """The run that has not ended, of which a thread has one at most."""
    return next((run for run in runs if not run.status.ended), None)


async def resume_run(chat: Chat, run: Run) -> None:
    """Go on with a run that was left, or that another chat drives just now.

    Nobody can know whether another chat is about to run the tools that wait: a person is asked.
    """
    if run.status is Status.ACTION_REQUIRED and not await _confirm_takeover(chat, run):
        chat.surface.say("They are left alone. /continue asks again.", "faint")
        return
    chat.surface.say(_describe_open_run(run.status), "faint")
    await chat.take_up(run.id)


async def _confirm_takeover(chat: Chat, run: Run) -> bool:
    listing = ListActions(run.id, status="pending")
    waiting = {clean(action.name, "approval") async for action in chat.client.paginate(listing)}
    names = ", ".join(sorted(waiting))
    rows: list[Line] = [
        (Span(f"Tool calls wait in this thread: {names}", "strong"),),
        (Span("Another chat may be running them. Shall this one?", "faint"),),
    ]
    choices = (Choice("n", "no, leave them"), Choice("y", "yes, go on here"))
    box = Box(rows=lambda columns: rows, choices=choices, default="n")
    return await chat.surface.keyboard.choose(box) == "y"


def _describe_open_run(status: Status) -> str:
    match status:
        case Status.IN_PROGRESS:
            return "A reply is under way; it is followed."
        case _:
            return "A run was left here; it goes on."

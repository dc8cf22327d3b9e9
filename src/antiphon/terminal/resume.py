"""Find the thread that the user names, and switch the chat to it."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.api.operations import ListActions, ListMessages
from antiphon.client.async_client import AsyncClient
from antiphon.client.thread_families import (
    find_threads_by_id,
    latest_threads,
)
from antiphon.terminal import transcript_view
from antiphon.terminal.chat_state import ChatState
from antiphon.terminal.input.keyboard import Box, KeyChoice
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.ui_manager import Ui
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Message
from antiphon.types.runs import Run, Status, Thread
from antiphon.types.terminal_safe import clean

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
        return await _find_by_id(client, words)
    found = (await client.transport.send(latest_threads(words, limit=SEVERAL))).data
    if words.isdecimal() and not found:
        raise InvalidRequest(
            f"There is no number {words}, and no thread has it in it",
            expected=f"1 to {len(numbered)}" if numbered else "a number of a list",
            hint="/threads lists them.",
        )
    return _only(found, words)


async def _find_by_id(client: AsyncClient, beginning: str) -> Thread:
    try:
        return await client.get_thread(beginning)
    except NotFound:
        found = await find_threads_by_id(client, beginning)
    return _only([thread for thread in found if thread.messages], beginning)


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
    shown = transcript_view.recent(messages, runs, ui.theme, columns=columns, rows=rows)
    ui.say(f"{state.title or 'A thread without a title'} ({state.thread_id})", "faint")
    if shown.earlier:
        ui.say(f"{shown.earlier} earlier messages; /export shows all.", "faint")
    ui.show(shown.lines)
    if runs:
        state.model = state.model or runs[0].model
        told = runs[0].instructions
        state.system = state.system or told if first else told or state.system
    return next((run for run in runs if not run.status.ended), None)


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
        ui.say("A run was left here; it goes on.", "faint")
    return True


async def _confirm_takeover(client: AsyncClient, ui: Ui, run: Run) -> bool:
    listing = ListActions(run.id, status="pending")
    waiting = {clean(action.name, "approval") async for action in client.paginate(listing)}
    names = ", ".join(sorted(waiting))
    rows: list[Line] = [
        (StyledText(f"Tool calls wait in this thread: {names}", "strong"),),
        (StyledText("Another chat may be running them. Shall this one?", "faint"),),
    ]
    choices = (KeyChoice("n", "no, leave them"), KeyChoice("y", "yes, go on here"))
    box = Box(rows=lambda columns: rows, choices=choices, default="n")
    return await ui.keyboard.choose(box) == "y"

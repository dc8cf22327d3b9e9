"""Compact a thread that gets too long for its model, between two messages, where the user sees it.

Nothing is lost: models get the summary, users still see all messages, and /compact undo removes the
summary.
"""

from __future__ import annotations

import asyncio

from antiphon.client.async_client import AsyncClient
from antiphon.client.compaction import SHARE, Compaction, due
from antiphon.client.formatting import count_noun
from antiphon.terminal.chat_state import ChatState
from antiphon.terminal.ui import Ui
from antiphon.types.errors import AntiphonError
from antiphon.types.messages import Progress
from antiphon.types.runs import Usage

WHY = (
    f"This thread takes {SHARE:.0%} of what the model takes, or more, so it is summed up first."
    " Ctrl+C leaves it as it is."
)

BEGUN = "summing up; Ctrl+C leaves it"
"""Shown until the first word of the summary: some models think first."""


async def compact_if_due(client: AsyncClient, ui: Ui, state: ChatState) -> None:
    """Compact the thread if the next message might not fit and there is something older.

    If that fails, or the user stops it, it is not tried again in this thread.
    """
    if state.thread_id in state.uncompacted or not due(state.context_tokens, state.window.tokens):
        return
    try:
        await compact(client, ui, state, WHY)
    except AntiphonError as problem:
        _stop_trying(state)
        ui.say(f"It was not summed up. {problem.told}", "warning")
        return
    except asyncio.CancelledError:
        _stop_trying(state)
        raise


def _stop_trying(state: ChatState) -> None:
    if state.thread_id is not None:
        state.uncompacted.add(state.thread_id)


async def compact(
    client: AsyncClient, ui: Ui, state: ChatState, why: str = ""
) -> Compaction | None:
    """Summarize all but the last exchanges, printing `why` first; return None if none is older."""
    if state.thread_id is None:
        return None

    def report(progress: Progress) -> None:
        if state.activity == BEGUN and why:
            ui.say(why, "faint")
        state.activity = f"summing up {progress.message}, {progress.done:,.0f} letters"
        ui.repaint()

    state.activity = BEGUN
    ui.repaint()
    try:
        done = await client.compact(state.thread_id, model=state.model, tell=report)
    finally:
        state.activity = ""
        ui.repaint()
    if done is not None:
        state.used += done.usage
        state.last_turn = Usage(input_tokens=done.tokens_after)
        ui.say(
            f"Compacted {count_noun(done.message.compacts or 0, 'message')}:"
            f" {done.tokens_before:,} -> {done.tokens_after:,} tokens; /compact undo",
            "faint",
        )
    return done

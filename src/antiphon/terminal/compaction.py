"""A thread that gets too long for its model is summed up, between two messages, in sight.

Nothing is lost: models are told the summary, people see all that was said, and it is taken back by
/compact undo.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from antiphon.client.compaction import SHARE, Compaction, due
from antiphon.client.formatting import counted
from antiphon.types.errors import AntiphonError
from antiphon.types.messages import Progress
from antiphon.types.runs import Usage

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

WHY = (
    f"This thread takes {SHARE:.0%} of what the model takes, or more, so it is summed up first."
    " Ctrl+C leaves it as it is."
)

BEGUN = "summing up; Ctrl+C leaves it"
"""Before the first word of a summary: some models think first."""


def context_tokens(chat: Chat) -> int:
    """How many tokens the model has been told or has said in its last turn: the next has more."""
    return chat.last.input_tokens + chat.last.output_tokens


async def compact_if_due(chat: Chat) -> None:
    """Sum the thread up if the next message might not fit, and there is something older.

    Where that fails, or the person stops it, it is not tried again in this thread.
    """
    if chat.thread_id in chat.uncompacted or not due(context_tokens(chat), chat.window.tokens):
        return
    try:
        await compact(chat, WHY)
    except AntiphonError as problem:
        _stop_trying(chat)
        chat.surface.say(f"It was not summed up. {problem.told}", "warning")
        return
    except asyncio.CancelledError:
        _stop_trying(chat)
        raise


def _stop_trying(chat: Chat) -> None:
    if chat.thread_id is not None:
        chat.uncompacted.add(chat.thread_id)


async def compact(chat: Chat, why: str = "") -> Compaction | None:
    """Sum up all but the last exchanges, having said why; None where there is nothing else."""
    if chat.thread_id is None:
        return None

    def tell(progress: Progress) -> None:
        if chat.doing == BEGUN and why:
            chat.surface.say(why, "faint")
        chat.doing = f"summing up {progress.message}, {progress.done:,.0f} letters"
        chat.surface.repaint()

    chat.doing = BEGUN
    chat.surface.repaint()
    try:
        done = await chat.client.compact(chat.thread_id, model=chat.model, tell=tell)
    finally:
        chat.doing = ""
        chat.surface.repaint()
    if done is not None:
        chat.used += done.usage
        chat.last = Usage(input_tokens=done.tokens_after)
        chat.surface.say(_describe(done), "faint")
    return done


def _describe(done: Compaction) -> str:
    return (
        f"Compacted {counted(done.message.compacts or 0, 'message')}:"
        f" {done.tokens_before:,} -> {done.tokens_after:,} tokens; /compact undo"
    )

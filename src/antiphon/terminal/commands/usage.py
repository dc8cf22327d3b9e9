"""What a thread took, how full its model's window is, and the summary that makes room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from antiphon.api.operations import ListRuns
from antiphon.client.compaction import SHARE, standing
from antiphon.client.formatting import counted, dollars
from antiphon.terminal import compaction, status, thread_choice
from antiphon.terminal.commands import command
from antiphon.terminal.commands.command import Command
from antiphon.terminal.compaction import context_tokens
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import Message
from antiphon.types.runs import Run, Usage

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

NOWHERE = "Nothing was said here yet"


async def _show_usage(chat: Chat, words: str) -> None:
    if chat.thread_id is None:
        raise InvalidRequest(NOWHERE)
    runs = [
        run
        async for run in chat.client.paginate(ListRuns(chat.thread_id, limit=thread_choice.PAGE))
    ]
    command.show_table(
        chat, [("", "turns", "in", "cached", "out", "reasoning", "cost"), *_usage_rows(runs)]
    )
    seconds = sum(map(_seconds, runs))
    chat.surface.say(f"{counted(len(runs), 'reply', 'replies')}, {seconds:,.1f} s in all.", "faint")
    if cost := dollars(chat.used.cost):
        chat.surface.say(f"Since this chat began: {cost}, summaries included.", "faint")
    if chat.settings.verbose:
        chunks = counted(chat.chunks, "chunk")
        chat.surface.say(f"{chunks} came since this chat began.", "faint")


def _seconds(run: Run) -> float:
    return ((run.ended_at or 0) - run.started_at) / 1000 if run.started_at and run.ended_at else 0


def _usage_rows(runs: Sequence[Run]) -> Iterator[Sequence[str]]:
    models = list(dict.fromkeys(run.model for run in reversed(runs)))
    for model in models:
        yield _usage_row(model, [run for run in runs if run.model == model])
    if len(models) > 1:
        yield _usage_row("all", runs)


def _usage_row(name: str, runs: Sequence[Run]) -> Sequence[str]:
    used = Usage()
    for run in runs:
        used += run.usage
    return (
        name,
        f"{sum(run.turn for run in runs):,}",
        f"{used.input_tokens:,}",
        f"{used.cached_tokens:,}",
        f"{used.output_tokens:,}",
        f"{used.reasoning_tokens:,}",
        dollars(used.cost) or "unknown",
    )


# How full the window is.


async def _show_context(chat: Chat, words: str) -> None:
    said = await thread_choice.load_messages(chat)
    chat.window = await status.find_window(chat)
    for line in (*_describe_messages(said), *_describe_tokens(chat)):
        chat.surface.say(line, "faint")


def _describe_messages(said: Sequence[Message]) -> Iterator[str]:
    yield f"{counted(len(said), 'message')} in this thread."
    summary = standing(said)
    if summary is None:
        yield "No summary stands in for any of them."
    else:
        yield f"A summary stands in for the first {summary.compacts}; /compact undo takes it back."


def _describe_tokens(chat: Chat) -> Iterator[str]:
    used, takes = context_tokens(chat), chat.window.tokens
    if used:
        yield f"About {used:,} tokens after the last reply."
    else:
        yield "How many tokens they are, the next reply will tell."
    if not takes:
        yield "How many the model takes is not known; the setting context_tokens says it."
        yield "/compact sums the older messages up."
        return
    share = f"; {used / takes:.0%} of that is used" if used else ""
    yield f"{chat.window.model} takes {takes:,}{share}."
    yield f"At {SHARE:.0%} the older messages are summed up by themselves; /compact does it now."


async def _compact(chat: Chat, words: str) -> None:
    if chat.thread_id is None:
        raise InvalidRequest(NOWHERE)
    match words:
        case "":
            chat.uncompacted.discard(chat.thread_id)
            if await compaction.compact(chat) is None:
                said = "There is nothing to sum up: the last two exchanges are always told whole."
                chat.surface.say(said, "faint")
        case "undo":
            await chat.client.uncompact(chat.thread_id)
            chat.uncompacted.add(chat.thread_id)
            chat.last = Usage()  # what it was told last is not what it will be told
            chat.surface.say("The model is told the whole thread again.", "faint")
        case other:
            raise InvalidRequest(
                "This is not understood", expected="/compact or /compact undo", received=other
            )


COMMANDS: tuple[Command, ...] = (
    Command(
        name="usage",
        meaning="what this thread took: turns, tokens, cost, time",
        run=_show_usage,
        at_once=True,
    ),
    Command(
        name="context",
        meaning="how full the model's window is",
        run=_show_context,
        at_once=True,
    ),
    Command(
        name="compact",
        arguments="[undo]",
        meaning="have the model told a summary of the older messages, or all of them again",
        run=_compact,
    ),
)

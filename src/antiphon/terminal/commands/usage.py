"""Commands about usage and the context window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from antiphon.api.operations import ListRuns
from antiphon.client.compaction import SHARE, current_summary
from antiphon.client.formatting import count_noun, dollars
from antiphon.terminal import compaction, resume, status
from antiphon.terminal.commands.command import CommandContext, SlashCommand, show_table
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import Message
from antiphon.types.runs import Run, Usage

NOWHERE = "Nothing was said here yet"


async def _show_usage(chat: CommandContext, words: str) -> None:
    if chat.state.thread_id is None:
        raise InvalidRequest(NOWHERE)
    listing = ListRuns(chat.state.thread_id, limit=resume.PAGE)
    runs = [run async for run in chat.client.paginate(listing)]
    show_table(
        chat.ui, [("", "turns", "in", "cached", "out", "reasoning", "cost"), *_usage_rows(runs)]
    )
    seconds = sum(map(_seconds, runs))
    chat.ui.say(f"{count_noun(len(runs), 'reply', 'replies')}, {seconds:,.1f} s in all.", "faint")
    if cost := dollars(chat.state.used.cost):
        chat.ui.say(f"Since this chat began: {cost}, summaries included.", "faint")
    if chat.settings.verbose:
        chunks = count_noun(chat.state.chunks, "chunk")
        chat.ui.say(f"{chunks} came since this chat began.", "faint")


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


# The context window.


async def _show_context(chat: CommandContext, words: str) -> None:
    said = await resume.load_messages(chat.client, chat.state)
    chat.state.window = await status.find_window(chat.client, chat.state)
    for line in (*_describe_messages(said), *_describe_tokens(chat)):
        chat.ui.say(line, "faint")


def _describe_messages(said: Sequence[Message]) -> Iterator[str]:
    yield f"{count_noun(len(said), 'message')} in this thread."
    summary = current_summary(said)
    if summary is None:
        yield "No summary stands in for any of them."
    else:
        yield f"A summary stands in for the first {summary.compacts}; /compact undo takes it back."


def _describe_tokens(chat: CommandContext) -> Iterator[str]:
    used, takes = chat.state.context_tokens, chat.state.window.tokens
    if used:
        yield f"About {used:,} tokens after the last reply."
    else:
        yield "How many tokens they are, the next reply will tell."
    if not takes:
        yield "How many the model takes is not known; the setting context_tokens says it."
        yield "/compact sums the older messages up."
        return
    share = f"; {used / takes:.0%} of that is used" if used else ""
    yield f"{chat.state.window.model} takes {takes:,}{share}."
    yield f"At {SHARE:.0%} the older messages are summed up by themselves; /compact does it now."


async def _compact(chat: CommandContext, words: str) -> None:
    if chat.state.thread_id is None:
        raise InvalidRequest(NOWHERE)
    match words:
        case "":
            chat.state.uncompacted.discard(chat.state.thread_id)
            if await compaction.compact(chat.client, chat.ui, chat.state) is None:
                said = "There is nothing to sum up: the last two exchanges are always told whole."
                chat.ui.say(said, "faint")
        case "undo":
            await chat.client.uncompact(chat.state.thread_id)
            chat.state.uncompacted.add(chat.state.thread_id)
            chat.state.last_turn = Usage()  # what it was told last is not what it will be told
            chat.ui.say("The model is told the whole thread again.", "faint")
        case other:
            raise InvalidRequest(
                "This is not understood", expected="/compact or /compact undo", received=other
            )


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="usage",
        meaning="what this thread took: turns, tokens, cost, time",
        run=_show_usage,
        at_once=True,
    ),
    SlashCommand(
        name="context",
        meaning="how full the model's window is",
        run=_show_context,
        at_once=True,
    ),
    SlashCommand(
        name="compact",
        arguments="[undo]",
        meaning="have the model told a summary of the older messages, or all of them again",
        run=_compact,
    ),
)

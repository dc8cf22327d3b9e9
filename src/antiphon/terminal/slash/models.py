"""Who answers, with which words beforehand, what it took, and how full their window is."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

from antiphon.calls import ListRuns, Model
from antiphon.clean import one_line
from antiphon.client.amounts import counted, dollars, short
from antiphon.client.compaction import SHARE
from antiphon.errors import InvalidRequest
from antiphon.runs import Run, Usage
from antiphon.terminal import cells, compacting, spans, threads, window
from antiphon.terminal.compacting import told
from antiphon.terminal.slash.command import Command
from antiphon.terminal.spans import Line, Span

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

LISTED = 50
NOWHERE = "Nothing was said here yet"


async def _model(chat: Chat, words: str) -> None:
    if words:
        chosen = await _known(chat, words)
        chat.window = await window.of_model(chat, chosen)
        chat.model = chosen
    else:
        chat.window = await window.of(chat)
    name = chat.window.model
    if not name:
        chat.surface.say("The runtime chooses a model for your first message.", "faint")
        return
    takes = f", which takes {chat.window.tokens:,} tokens" if chat.window.tokens else ""
    chat.surface.say(f"{name} answers{takes}.", "faint")


async def _known(chat: Chat, words: str) -> str:
    """The name of the one that is meant. What its provider does not list at all is believed."""
    names = [model.id for model in await _listed(chat)]
    if words in names:
        return words
    match [name for name in names if name.partition(":")[2] == words]:
        case [name]:
            return name
        case _:
            pass
    provider, colon, _ = words.partition(":")
    if colon and not any(name.startswith(f"{provider}:") for name in names):
        return (await window.of_model(chat, words)).model
    near = difflib.get_close_matches(words, names, n=1, cutoff=0.4)
    raise InvalidRequest(
        f"There is no model {words}",
        hint=f"did you mean {near[0]}?" if near else "/models lists them.",
    )


async def _models(chat: Chat, words: str) -> None:
    wanted = words.casefold().split()
    listed = await _listed(chat)
    found = [each for each in listed if all(word in each.id.casefold() for word in wanted)]
    if not found:
        raise InvalidRequest(f"No model has {words} in its name", hint="/models lists all.")
    _table(chat, [_row(chat, each) for each in found[:LISTED]])
    more = f" {len(found) - LISTED} more: name words of it." if len(found) > LISTED else ""
    chat.surface.say(f"/model NAME has it answer from now on.{more}", "faint")


def _row(chat: Chat, model: Model) -> Sequence[str]:
    here = model.id == chat.model or (not chat.model and model.default)
    takes = f"{short(model.context_tokens)} tokens" if model.context_tokens else ""
    return (model.id, takes, "answers here" if here else "default" if model.default else "")


async def _listed(chat: Chat) -> Sequence[Model]:
    chat.models = (await chat.client.list_models()).data
    return chat.models


async def _proposed(chat: Chat, begun: str) -> AsyncIterator[tuple[str, str]]:
    for model in chat.models or await _listed(chat):  # no provider is asked at every letter
        if begun.casefold() in model.id.casefold():
            yield model.id, f"{short(model.context_tokens)} tokens" if model.context_tokens else ""


async def _system(chat: Chat, words: str) -> None:
    match words:
        case "":
            said = "The model is told nothing beforehand. /system TEXT changes that."
            chat.surface.say(chat.system or said, "" if chat.system else "faint")
        case "clear":
            chat.system = None
            chat.surface.say("From your next message on the model is told nothing more.", "faint")
        case text:
            chat.system = text
            chat.surface.say("The model is told this from your next message on.", "faint")


# What it took.


async def _usage(chat: Chat, words: str) -> None:
    if chat.thread_id is None:
        raise InvalidRequest(NOWHERE)
    runs = [run async for run in chat.client.every(ListRuns(chat.thread_id, limit=threads.PAGE))]
    _table(chat, [("", "turns", "in", "cached", "out", "reasoning", "cost"), *_used(runs)])
    seconds = sum(map(_seconds, runs))
    chat.surface.say(f"{counted(len(runs), 'reply', 'replies')}, {seconds:,.1f} s in all.", "faint")
    if cost := dollars(chat.used.cost):
        chat.surface.say(f"Since this chat began: {cost}, summaries included.", "faint")
    if chat.settings.verbose:
        chunks = counted(chat.chunks, "chunk")
        chat.surface.say(f"{chunks} came since this chat began.", "faint")


def _seconds(run: Run) -> float:
    return ((run.ended_at or 0) - run.started_at) / 1000 if run.started_at and run.ended_at else 0


def _used(runs: Sequence[Run]) -> Iterator[Sequence[str]]:
    models = list(dict.fromkeys(run.model for run in reversed(runs)))
    for model in models:
        yield _sum(model, [run for run in runs if run.model == model])
    if len(models) > 1:
        yield _sum("all", runs)


def _sum(name: str, runs: Sequence[Run]) -> Sequence[str]:
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


async def _context(chat: Chat, words: str) -> None:
    said = await threads.messages(chat)
    chat.window = await window.of(chat)
    takes = chat.window.tokens
    summary = next((each for each in reversed(said) if each.compacts is not None), None)
    for line in (
        f"{counted(len(said), 'message', 'messages')} in this thread.",
        f"A summary stands in for the first {summary.compacts}; /compact undo takes it back."
        if summary and summary.compacts
        else "No summary stands in for any of them.",
        f"About {told(chat):,} tokens after the last reply."
        if told(chat)
        else "How many tokens they are, the next reply will tell.",
        _takes(chat.window.model, takes, told(chat))
        if takes
        else "How many the model takes is not known; the setting context_tokens says it.",
        f"At {SHARE:.0%} the older messages are summed up by themselves; /compact does it now."
        if takes
        else "/compact sums the older messages up.",
    ):
        chat.surface.say(line, "faint")


def _takes(model: str, tokens: int, used: int) -> str:
    share = f"; {used / tokens:.0%} of that is used" if used else ""
    return f"{model} takes {tokens:,}{share}."


async def _compact(chat: Chat, words: str) -> None:
    if chat.thread_id is None:
        raise InvalidRequest(NOWHERE)
    match words:
        case "":
            chat.uncompacted.discard(chat.thread_id)
            if await compacting.compact(chat) is None:
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


# Rows.


def _table(chat: Chat, rows: Sequence[Sequence[str]]) -> None:
    """The rows, the first column to the left; what is too wide is cut."""
    cleaned = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(cells.width, column)) for column in zip(*cleaned, strict=True)]
    chat.surface.show_rows(_aligned(row, widths) for row in cleaned)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Line:
    first, *rest = zip(row, widths, strict=True)
    name, width = first
    head = Span(name + " " * (width - cells.width(name)), "mark")
    return spans.stripped(
        (head, *(Span(" " * (2 + width - cells.width(cell)) + cell) for cell, width in rest))
    )


COMMANDS: tuple[Command, ...] = (
    Command(
        name="model",
        arguments="[NAME]",
        meaning="who answers; another model answers from now on",
        carry_out=_model,
        proposals=_proposed,
    ),
    Command(
        name="models",
        arguments="[WORDS]",
        meaning="list models, or those with these words",
        carry_out=_models,
        at_once=True,
    ),
    Command(
        name="system",
        arguments="[TEXT|clear]",
        meaning="what the model is told beforehand",
        carry_out=_system,
    ),
    Command(
        name="usage",
        meaning="what this thread took: turns, tokens, cost, time",
        carry_out=_usage,
        at_once=True,
    ),
    Command(
        name="context",
        meaning="how full the model's window is",
        carry_out=_context,
        at_once=True,
    ),
    Command(
        name="compact",
        arguments="[undo]",
        meaning="have the model told a summary of the older messages, or all of them again",
        carry_out=_compact,
    ),
)

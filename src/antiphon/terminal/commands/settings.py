"""Commands about what a chat uses: model, instructions, context window; theme and settings."""

from __future__ import annotations

import difflib
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgspec

from antiphon.api.operation import convert
from antiphon.api.operations import ListRuns, Model
from antiphon.client.compaction import SHARE, current_summary
from antiphon.client.formatting import count_noun, dollars, short_number
from antiphon.settings.paths import config_folder
from antiphon.terminal import chat_state, conversation_processor, resume
from antiphon.terminal.commands.command import CommandContext, SlashCommand, show_table
from antiphon.terminal.spans import StyledText
from antiphon.terminal.themes import BARE, THEMES, choose_theme
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import Message
from antiphon.types.runs import Run, ThreadOptions, Usage
from antiphon.types.terminal_safe import clean

LISTED = 50


async def _set_model(chat: CommandContext, words: str) -> None:
    if words:
        chosen = await _resolve_model(chat, words)
        chat.state.window = await chat_state.model_window(chat.client, chosen)
        chat.state.model = chosen
    else:
        chat.state.window = await chat_state.find_window(chat.client, chat.state)
    name = chat.state.window.model
    if not name:
        chat.ui.say("The runtime chooses a model for your first message.", "faint")
        return
    takes = f", which takes {chat.state.window.tokens:,} tokens" if chat.state.window.tokens else ""
    chat.ui.say(f"{name} answers{takes}.", "faint")


async def _resolve_model(chat: CommandContext, words: str) -> str:
    """Return the model's whole name. Models of a provider that lists none are accepted."""
    names = [model.id for model in await _fetch_models(chat)]
    if words in names:
        return words
    match [name for name in names if name.partition(":")[2] == words]:
        case [name]:
            return name
        case _:
            pass
    provider, colon, _ = words.partition(":")
    if colon and not any(name.startswith(f"{provider}:") for name in names):
        return (await chat_state.model_window(chat.client, words)).model
    near = difflib.get_close_matches(words, names, n=1, cutoff=0.4)
    raise InvalidRequest(
        f"There is no model {words}",
        hint=f"did you mean {near[0]}?" if near else "/models lists them.",
    )


async def _list_models(chat: CommandContext, words: str) -> None:
    wanted = words.casefold().split()
    listed = await chat.client.list_models()
    chat.state.models = listed.data
    for problem in listed.problems:
        chat.ui.say(f"{problem.provider} lists no models: {problem.message}", "warning")
    found = [each for each in listed.data if all(word in each.id.casefold() for word in wanted)]
    if not found:
        raise InvalidRequest(f"No model has {words} in its name", hint="/models lists all.")
    rows: list[Sequence[str]] = []
    for each in found[:LISTED]:
        here = each.id == chat.state.model or (each.default and not chat.state.model)
        note = "answers here" if here else "default" if each.default else ""
        rows.append((each.id, _describe_window(each), note))
    show_table(chat.ui, rows)
    more = f" {len(found) - LISTED} more: name words of it." if len(found) > LISTED else ""
    chat.ui.say(f"/model NAME has it answer from now on.{more}", "faint")


def _describe_window(model: Model) -> str:
    return f"{short_number(model.context_tokens)} tokens" if model.context_tokens else ""


async def _fetch_models(chat: CommandContext) -> Sequence[Model]:
    chat.state.models = (await chat.client.list_models()).data
    return chat.state.models


async def _complete_models(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    # Providers are asked once, not at every letter.
    for model in chat.state.models or await _fetch_models(chat):
        if begun.casefold() in model.id.casefold():
            yield model.id, _describe_window(model)


async def _set_instructions(chat: CommandContext, words: str) -> None:
    match words:
        case "":
            unset = "There are no instructions. /system TEXT sets them."
            chat.ui.say(chat.state.system or unset, "" if chat.state.system else "faint")
        case "clear":
            chat.state.system = None
            chat.ui.say("The instructions are removed, from your next message on.", "faint")
        case text:
            chat.state.system = text
            chat.ui.say("These are the instructions, from your next message on.", "faint")


# Options of the thread.


OPTIONS = {
    "temperature": "temperature",
    "effort": "reasoning_effort",
    "length": "max_output_tokens",
    "tools": "allowed_tools",
}
"""Fields of `ThreadOptions` by the names that are typed."""
_EXPECTED = {
    "temperature": "a number from 0 to 2",
    "effort": "a word such as low, medium or high",
    "length": "a number of tokens, 1 or more",
    "tools": "names or patterns of tools, such as read_*",
}
"""Values of the options, in words."""


async def _set_option(chat: CommandContext, words: str) -> None:
    name, _, value = words.partition(" ")
    if name == "default":
        await _change_options(chat, ThreadOptions())
    elif name and name not in OPTIONS:
        raise InvalidRequest(
            f"There is no option {name}", expected=f"{', '.join(OPTIONS)} or default"
        )
    elif value := value.strip():
        given: object = tuple(value.split()) if name == "tools" else value
        chosen = None if value == "default" else given
        fields = {**msgspec.structs.asdict(chat.state.options), OPTIONS[name]: chosen}
        try:
            options = convert(fields, ThreadOptions, strict=False)
        except InvalidRequest as wrong:
            expected = f"{_EXPECTED[name]}, or default"
            raise InvalidRequest(
                f"This value of {name} cannot be used", expected=expected, received=value
            ) from wrong
        await _change_options(chat, options)
    for each in [name] if name in OPTIONS else OPTIONS:
        shown: Any = getattr(chat.state.options, OPTIONS[each])
        text = " ".join(shown) if each == "tools" and shown else str(shown)
        chat.ui.say(f"{each}: {'the default' if shown is None else clean(text)}", "faint")


async def _change_options(chat: CommandContext, options: ThreadOptions) -> None:
    if chat.state.thread_id is not None:
        await chat.client.update_thread(chat.state.thread_id, options=options)
    chat.state.options = options


async def _complete_options(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    for name, field in {**OPTIONS, "default": "all of them"}.items():
        if begun and name.startswith(begun):
            yield name, field.replace("_", " ")


# Commands about usage and the context window.


NOWHERE = "This thread has no messages yet"


async def _show_usage(chat: CommandContext, words: str) -> None:
    if chat.state.thread_id is None:
        raise InvalidRequest(NOWHERE)
    listing = ListRuns(chat.state.thread_id, limit=resume.PAGE)
    runs = [run async for run in chat.client.paginate(listing)]
    rows = [("", "turns", "in", "cached", "out", "reasoning", "cost")]
    models = list(dict.fromkeys(run.model for run in reversed(runs)))
    rows += (_usage_row(model, [run for run in runs if run.model == model]) for model in models)
    if len(models) > 1:
        rows.append(_usage_row("all", runs))
    show_table(chat.ui, rows)
    took = sum(run.ended_at - run.started_at for run in runs if run.started_at and run.ended_at)
    replies = count_noun(len(runs), "reply", "replies")
    chat.ui.say(f"{replies}, {took / 1000:,.1f} s in all.", "faint")
    if cost := dollars(chat.state.used.cost):
        chat.ui.say(f"Since this chat began: {cost}, summaries included.", "faint")
    if chat.settings.verbose:
        chunks = count_noun(chat.state.chunks, "chunk")
        chat.ui.say(f"{chunks} came since this chat began.", "faint")


def _usage_row(name: str, runs: Sequence[Run]) -> tuple[str, str, str, str, str, str, str]:
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
    messages = await resume.load_messages(chat.client, chat.state)
    chat.state.window = await chat_state.find_window(chat.client, chat.state)
    for line in (*_describe_messages(messages), *_describe_tokens(chat)):
        chat.ui.say(line, "faint")


def _describe_messages(messages: Sequence[Message]) -> Iterator[str]:
    yield f"{count_noun(len(messages), 'message')} in this thread."
    summary = current_summary(messages)
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
            if await conversation_processor.compact(chat.client, chat.ui, chat.state) is None:
                text = (
                    "There is nothing to summarize: the last two exchanges are always sent whole."
                )
                chat.ui.say(text, "faint")
        case "undo":
            await chat.client.uncompact(chat.state.thread_id)
            chat.state.uncompacted.add(chat.state.thread_id)
            chat.state.last_turn = Usage()  # the next turn is longer than the last
            chat.ui.say("The model gets the whole thread again.", "faint")
        case other:
            raise InvalidRequest(
                "This is not understood", expected="/compact or /compact undo", received=other
            )


MODELS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="model",
        arguments="[NAME]",
        meaning="who answers; another model answers from now on",
        run=_set_model,
        proposals=_complete_models,
    ),
    SlashCommand(
        name="models",
        arguments="[WORDS]",
        meaning="list models, or those with these words",
        run=_list_models,
        at_once=True,
    ),
    SlashCommand(
        name="system",
        arguments="[TEXT|clear]",
        meaning="the instructions of the model",
        run=_set_instructions,
    ),
    SlashCommand(
        name="set",
        arguments="[NAME [VALUE|default]]",
        meaning="options of this thread: temperature, effort, length, tools; `default` resets them",
        run=_set_option,
        proposals=_complete_options,
    ),
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
        meaning="send the model a summary of the older messages, or all of them again",
        run=_compact,
    ),
)


# Commands about colours and settings.


_MEANINGS = {
    "auto": "what the terminal says of its background, else colours that are read on any",
    "dark": "for a dark background",
    "light": "for a light background",
    "contrast": "bold and underlined, colour for errors only",
    "none": "without colours",
}


async def _set_theme(chat: CommandContext, words: str) -> None:
    ui = chat.ui
    if not words:
        width = max(map(len, THEMES)) + 2
        ui.show(
            (StyledText(f"  {name:<{width}}", "mark"), StyledText(_MEANINGS[name]))
            for name in THEMES
        )
        ui.say(f"Now: {ui.theme.name}. /theme NAME changes it.", "faint")
        return
    if words not in THEMES:
        raise InvalidRequest(f"There is no theme {words}", expected=", ".join(THEMES))
    if ui.theme.name == BARE.name:
        ui.say("Nothing has a style here, so a theme would change nothing.", "faint")
        return
    ui.set_theme(ui.theme.in_colors_of(choose_theme(words, os.environ, color="always")))
    file = config_folder(os.environ) / "antiphon.toml"
    ui.say(f'The theme is {words}. For good: theme = "{words}" in {file}', "faint")


async def _complete_themes(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    for name in THEMES:
        if name.startswith(begun):
            yield name, _MEANINGS[name]


async def _show_settings(chat: CommandContext, words: str) -> None:
    wanted = words.replace("-", "_").casefold()
    rows = await chat.reports["settings"]()
    found = [row for row in rows if wanted in row[0]]
    if not found:
        raise InvalidRequest(f"No setting has {words} in its name", hint="/settings shows all.")
    width = max(len(name) for name, *_ in rows) + 2
    chat.ui.show(
        (
            StyledText(f"{name:<{width}}", "mark"),
            StyledText(clean(value)),
            StyledText(f"  ({clean(origin)})", "faint"),
        )
        for name, value, origin in found
    )


async def _show_report(chat: CommandContext, words: str) -> None:
    for state, about, found, to_do in await chat.reports["doctor"]():
        style = {"ok": "ok", "broken": "error"}.get(state, "warning")
        head = (StyledText(f"{state:<8}", style), StyledText(f"{about:<10}", "strong"))
        chat.ui.show([(*head, StyledText(clean(found)))])
        if to_do:
            chat.ui.show([(StyledText(f"{'':<18}"), StyledText(clean(to_do)))])


APPEARANCE: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="theme",
        arguments="[NAME]",
        meaning="other colours, or a list of what there is",
        run=_set_theme,
        at_once=True,
        proposals=_complete_themes,
    ),
    SlashCommand(
        name="settings",
        arguments="[WORD]",
        meaning="the settings in force, and where each comes from",
        run=_show_settings,
        at_once=True,
    ),
    SlashCommand(
        name="doctor",
        meaning="what is there, what is missing, and what to do about it",
        run=_show_report,
        at_once=True,
    ),
)

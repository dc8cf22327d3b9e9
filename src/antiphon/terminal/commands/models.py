"""Commands about the model and its instructions."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Sequence

from antiphon.api.operations import Model
from antiphon.client.formatting import short_number
from antiphon.terminal import status
from antiphon.terminal.commands.command import CommandContext, SlashCommand, show_table
from antiphon.types.errors import InvalidRequest

LISTED = 50


async def _set_model(chat: CommandContext, words: str) -> None:
    if words:
        chosen = await _resolve_model(chat, words)
        chat.state.window = await status.model_window(chat.client, chosen)
        chat.state.model = chosen
    else:
        chat.state.window = await status.find_window(chat.client, chat.state)
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
        return (await status.model_window(chat.client, words)).model
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
    show_table(chat.ui, [_row(chat, each) for each in found[:LISTED]])
    more = f" {len(found) - LISTED} more: name words of it." if len(found) > LISTED else ""
    chat.ui.say(f"/model NAME has it answer from now on.{more}", "faint")


def _row(chat: CommandContext, model: Model) -> Sequence[str]:
    here = model.id == chat.state.model or (not chat.state.model and model.default)
    takes = f"{short_number(model.context_tokens)} tokens" if model.context_tokens else ""
    return (model.id, takes, "answers here" if here else "default" if model.default else "")


async def _fetch_models(chat: CommandContext) -> Sequence[Model]:
    chat.state.models = (await chat.client.list_models()).data
    return chat.state.models


async def _complete_models(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    for model in chat.state.models or await _fetch_models(
        chat
    ):  # no provider is asked at every letter
        if begun.casefold() in model.id.casefold():
            yield (
                model.id,
                f"{short_number(model.context_tokens)} tokens" if model.context_tokens else "",
            )


async def _set_instructions(chat: CommandContext, words: str) -> None:
    match words:
        case "":
            said = "The model is told nothing beforehand. /system TEXT changes that."
            chat.ui.say(chat.state.system or said, "" if chat.state.system else "faint")
        case "clear":
            chat.state.system = None
            chat.ui.say("From your next message on the model is told nothing more.", "faint")
        case text:
            chat.state.system = text
            chat.ui.say("The model is told this from your next message on.", "faint")


COMMANDS: tuple[SlashCommand, ...] = (
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
        meaning="what the model is told beforehand",
        run=_set_instructions,
    ),
)

"""Who answers, and what they are told beforehand."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from antiphon.api.operations import Model
from antiphon.client.formatting import short
from antiphon.terminal import status
from antiphon.terminal.commands import command
from antiphon.terminal.commands.command import Command
from antiphon.types.errors import InvalidRequest

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

LISTED = 50


async def _set_model(chat: Chat, words: str) -> None:
    if words:
        chosen = await _resolve_model(chat, words)
        chat.window = await status.model_window(chat, chosen)
        chat.model = chosen
    else:
        chat.window = await status.find_window(chat)
    name = chat.window.model
    if not name:
        chat.surface.say("The runtime chooses a model for your first message.", "faint")
        return
    takes = f", which takes {chat.window.tokens:,} tokens" if chat.window.tokens else ""
    chat.surface.say(f"{name} answers{takes}.", "faint")


async def _resolve_model(chat: Chat, words: str) -> str:
    """The name of the one that is meant. What its provider does not list at all is believed."""
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
        return (await status.model_window(chat, words)).model
    near = difflib.get_close_matches(words, names, n=1, cutoff=0.4)
    raise InvalidRequest(
        f"There is no model {words}",
        hint=f"did you mean {near[0]}?" if near else "/models lists them.",
    )


async def _list_models(chat: Chat, words: str) -> None:
    wanted = words.casefold().split()
    listed = await chat.client.list_models()
    chat.models = listed.data
    for problem in listed.problems:
        chat.surface.say(f"{problem.provider} lists no models: {problem.message}", "warning")
    found = [each for each in listed.data if all(word in each.id.casefold() for word in wanted)]
    if not found:
        raise InvalidRequest(f"No model has {words} in its name", hint="/models lists all.")
    command.show_table(chat, [_row(chat, each) for each in found[:LISTED]])
    more = f" {len(found) - LISTED} more: name words of it." if len(found) > LISTED else ""
    chat.surface.say(f"/model NAME has it answer from now on.{more}", "faint")


def _row(chat: Chat, model: Model) -> Sequence[str]:
    here = model.id == chat.model or (not chat.model and model.default)
    takes = f"{short(model.context_tokens)} tokens" if model.context_tokens else ""
    return (model.id, takes, "answers here" if here else "default" if model.default else "")


async def _fetch_models(chat: Chat) -> Sequence[Model]:
    chat.models = (await chat.client.list_models()).data
    return chat.models


async def _complete_models(chat: Chat, begun: str) -> AsyncIterator[tuple[str, str]]:
    for model in chat.models or await _fetch_models(chat):  # no provider is asked at every letter
        if begun.casefold() in model.id.casefold():
            yield model.id, f"{short(model.context_tokens)} tokens" if model.context_tokens else ""


async def _set_instructions(chat: Chat, words: str) -> None:
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


COMMANDS: tuple[Command, ...] = (
    Command(
        name="model",
        arguments="[NAME]",
        meaning="who answers; another model answers from now on",
        run=_set_model,
        proposals=_complete_models,
    ),
    Command(
        name="models",
        arguments="[WORDS]",
        meaning="list models, or those with these words",
        run=_list_models,
        at_once=True,
    ),
    Command(
        name="system",
        arguments="[TEXT|clear]",
        meaning="what the model is told beforehand",
        run=_set_instructions,
    ),
)

"""How much of a conversation the model takes that answers here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from antiphon.errors import NotFound

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat


class Window(msgspec.Struct, frozen=True):
    """The model that answers, by the runtime's name for it, and the tokens that it takes.

    `tokens` is None where nobody knows.
    """

    model: str = ""
    tokens: int | None = None


async def of(chat: Chat) -> Window:
    """As things are: of the model that was chosen, that answered here last, or of the usual one."""
    model = chat.model or await _answering(chat)
    if not model:
        return Window()
    return await of_model(chat, model)


async def of_model(chat: Chat, model: str) -> Window:
    """As its provider, or a list, has it. Raises `NotFound`, or what the runtime says of it."""
    for known in (await chat.client.list_models(model=model)).data:
        return Window(known.id, known.context_tokens)
    raise NotFound(f"There is no model {model}", hint="/models lists them.")


async def _answering(chat: Chat) -> str:
    if chat.thread_id is None:
        return chat.usual_model
    newest = (await chat.client.list_runs(chat.thread_id, limit=1)).data
    return newest[0].model if newest else chat.usual_model

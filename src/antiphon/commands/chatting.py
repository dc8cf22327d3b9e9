"""Behind the prompt of the terminal chat: the runtime, the servers, the chat itself."""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import nullcontext

from antiphon.client.aio import AsyncClient
from antiphon.commands import config, doctor
from antiphon.commands.answering import choice
from antiphon.commands.chat_servers import attended
from antiphon.configuration import Loaded
from antiphon.folders import data_folder
from antiphon.settings import Settings
from antiphon.terminal.chat import Chat, Start
from antiphon.terminal.consent import Asking
from antiphon.terminal.questions import Questions
from antiphon.terminal.surface import Surface
from antiphon.terminal.threads import LAST
from antiphon.tools import builtin
from antiphon.tools.consent import Consent
from antiphon.tools.functions import Function, load
from antiphon.tools.grants import NAME, GrantsFile
from antiphon.tools.rules import Rules


async def chat(surface: Surface, asked: Namespace, loaded: Loaded) -> None:
    """Chat at this surface until the person leaves it."""
    settings = loaded.settings
    start = Start(
        model=settings.model,
        system=asked.system,
        resume=asked.thread or (LAST if asked.resume else None),
        max_turns=asked.max_turns,
        functions=tuple(_functions(surface, asked.tools, settings)),
        reports={
            "settings": lambda: asyncio.to_thread(config.rows, loaded),
            "doctor": lambda: asyncio.to_thread(doctor.rows, loaded),
        },
    )
    async with AsyncClient(settings=settings) as client:
        consent = _consent(surface, settings, asked.yes)
        chat = Chat(surface, client, settings, consent, start, lambda: _usual(client))
        async with nullcontext() if asked.no_tools else attended(chat, settings):
            await chat.run()


async def _usual(client: AsyncClient) -> str:
    chosen = await choice(client)
    return chosen[0] if chosen else ""


def _functions(surface: Surface, specs: Iterable[str], settings: Settings) -> Iterator[Function]:
    """What --tools names; in a chat there is somebody to be asked."""
    ask_user = builtin.Asking(Questions(surface)).ask_user
    for spec in specs:
        for function in load(spec, settings):
            yield ask_user if function == builtin.ask_user else function
        if spec == builtin.__name__:
            yield ask_user


def _consent(surface: Surface, settings: Settings, yes: bool) -> Consent:
    def warn(text: str) -> None:
        surface.say(text, "warning")

    rules = Rules(allow=settings.allow, ask=settings.ask, deny=settings.deny)
    asking = Asking(surface)
    consent = Consent(
        Rules(allow=("*",), deny=settings.deny) if yes else rules,
        grants=GrantsFile(data_folder(os.environ) / NAME, warn),
        asker=asking,
        warn=warn,
    )
    asking.place = lambda: consent.place
    return consent

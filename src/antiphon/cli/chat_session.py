"""A session of the terminal chat: its client, its MCP servers and its consent."""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from antiphon.cli import config, doctor
from antiphon.cli.exit_codes import code_for_failure
from antiphon.cli.question import find_default_model, run_options
from antiphon.client.async_client import AsyncClient
from antiphon.mcp.startup import start_servers
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.paths import data_folder
from antiphon.settings.settings import Settings
from antiphon.skills.workspace import load_workspace
from antiphon.terminal.chat import Chat, ChatOptions
from antiphon.terminal.commands.servers import ServerAnnouncer
from antiphon.terminal.commands.table import COMMANDS
from antiphon.terminal.consent import ConsentPrompt
from antiphon.terminal.person import ServerRequestHandler, sample
from antiphon.terminal.resume import LAST
from antiphon.terminal.ui_manager import UiManager
from antiphon.tools import builtin
from antiphon.tools.consent import Consent
from antiphon.tools.functions import Function
from antiphon.tools.permission_modes import PermissionMode, mode_rules
from antiphon.tools.permissions import NAME, GrantsFile
from antiphon.tools.todos import write_todos
from antiphon.tools.tool_loading import open_tools

# The MCP servers of a chat: they start behind its prompt, and end with it.


@asynccontextmanager
async def run_servers(chat: Chat, settings: Settings) -> AsyncGenerator[None]:
    """Run the configured servers for the chat during the block.

    Raises `BadSettings` for a file that cannot be read.
    """
    announcer = ServerAnnouncer(chat.ui, chat.state.servers, chat.prompt_commands)
    host = ServerRequestHandler(
        chat.ui,
        lambda wanted: sample(chat.client, chat.state.model, wanted),
        verbose=settings.verbose,
    )
    async with start_servers(settings, host, changed=announcer.on_change) as (servers, usable):
        for each in usable.unapproved:
            chat.ui.say(each.explanation, "warning")
        announcer.announce_unusable(usable.problem_states)
        if usable.enabled:
            chat.use_servers(servers)
        yield


async def chat(ui: UiManager, args: Namespace, loaded: LoadedSettings) -> int:
    """Chat until the user leaves; return the exit code of what failed."""
    with open_tools(args.tools, loaded.settings) as functions:
        if builtin.__name__ in args.tools:
            # Here is a person to ask, and to show a list to.
            here = (builtin.ask_user, write_todos)
            functions += [each for each in here if each not in functions]
        return await _chat(ui, args, loaded, functions)


async def _chat(
    ui: UiManager, args: Namespace, loaded: LoadedSettings, functions: Iterable[Function]
) -> int:
    settings = loaded.settings
    start = ChatOptions(
        model=settings.model,
        system=args.system,
        resume=args.thread or (LAST if args.resume else None),
        options=run_options(args),
        mode="allow" if args.yes else args.mode or "ask",
        functions=tuple(functions),
        reports={
            "settings": lambda: asyncio.to_thread(config.rows, loaded),
            "doctor": lambda: asyncio.to_thread(doctor.rows, loaded),
        },
        find_workspace=lambda: load_workspace(
            Path.cwd(), settings, with_tools=not args.no_tools, reserved=COMMANDS
        ),
        environ=os.environ,
    )

    async def find_model() -> str:
        chosen = await find_default_model(client)
        return chosen[0] if chosen else ""

    async with AsyncClient(settings=settings) as client:
        consent = _make_consent(ui, settings, start.mode)
        chat = Chat(ui, client, settings, consent, start, find_model)
        async with nullcontext() if args.no_tools else run_servers(chat, settings):
            await chat.run()
        return code_for_failure(chat.failure)


def _make_consent(ui: UiManager, settings: Settings, mode: PermissionMode) -> Consent:
    def warn(text: str) -> None:
        ui.say(text, "warning")

    asking = ConsentPrompt(ui)
    consent = Consent(
        mode_rules(mode, settings),
        grants=GrantsFile(data_folder(os.environ) / NAME, warn),
        asker=asking,
        warn=warn,
    )
    asking.place = lambda: consent.place
    return consent

"""Help, and the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antiphon.terminal.slash.command import Command

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat


async def _help(chat: Chat, words: str) -> None:
    for command in chat.commands:
        usage = f"/{command.name} {command.arguments}".rstrip()
        chat.surface.say(f"{usage:<34} {command.meaning}")


async def _quit(chat: Chat, words: str) -> None:
    chat.surface.leave()


COMMANDS = (
    Command(name="help", meaning="this list, and the keys", carry_out=_help, at_once=True),
    Command(name="quit", meaning="leave; the thread is kept", carry_out=_quit, at_once=True),
)

"""What a slash command is: a row of the one table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

CarryOut = Callable[["Chat", str], Awaitable[None]]
"""Does it; the text is what stands behind the command's name, without blanks around it."""

Proposals = Callable[["Chat", str], AsyncIterator[tuple[str, str]]]
"""What may stand behind the name, for what was begun: whole words, each with its meaning."""


async def nothing(chat: Chat, begun: str) -> AsyncIterator[tuple[str, str]]:
    """Proposes nothing."""
    return
    yield  # so that it is a generator


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command. `arguments` is how they are written in the help, "" where there are none.

    `at_once`: it need not wait while something runs. Raises `AntiphonError` for what the person can
    mend: the chat says so.
    """

    name: str
    meaning: str
    carry_out: CarryOut
    arguments: str = ""
    at_once: bool = False
    proposals: Proposals = nothing

    @property
    def usage(self) -> str:
        """How it is typed."""
        return f"/{self.name} {self.arguments}".rstrip()


class Group(msgspec.Struct, frozen=True):
    """Commands about one thing, as the help has them together."""

    title: str
    commands: Sequence[Command]

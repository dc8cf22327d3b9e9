"""What a slash command is: a row of the one table."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from antiphon.terminal import spans
from antiphon.terminal.spans import Line, Span
from antiphon.types.errors import InvalidRequest
from antiphon.types.terminal_safe import one_line

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

RunCommand = Callable[["Chat", str], Awaitable[None]]
"""Does it; the text is what stands behind the command's name, without blanks around it."""

Proposals = Callable[["Chat", str], AsyncIterator[tuple[str, str]]]
"""What may stand behind the name, for what was begun: whole words, each with its meaning."""


async def no_proposals(chat: Chat, begun: str) -> AsyncIterator[tuple[str, str]]:
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
    run: RunCommand
    arguments: str = ""
    at_once: bool = False
    proposals: Proposals = no_proposals

    @property
    def usage(self) -> str:
        """How it is typed."""
        return f"/{self.name} {self.arguments}".rstrip()


class Group(msgspec.Struct, frozen=True):
    """Commands about one thing, as the help has them together."""

    title: str
    commands: Sequence[Command]


# Rows of cells that stand one below the other.


def show_table(chat: Chat, rows: Sequence[Sequence[str]]) -> None:
    """The rows, the first column to the left; what is too wide is cut."""
    cleaned = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(spans.width, column)) for column in zip(*cleaned, strict=True)]
    chat.surface.show_rows(_align(row, widths) for row in cleaned)


def _align(row: Sequence[str], widths: Sequence[int]) -> Line:
    first, *rest = zip(row, widths, strict=True)
    name, width = first
    head = Span(name + " " * (width - spans.width(name)), "mark")
    return spans.strip(
        (head, *(Span(" " * (2 + width - spans.width(cell)) + cell) for cell, width in rest))
    )


# What stands behind the name of a command, parted as a shell would part it.


def split_words(words: str, example: str) -> list[str]:
    """The words, without their quotes. Raises `InvalidRequest`, with an example of a right one."""
    try:
        return shlex.split(words)
    except ValueError as error:
        raise InvalidRequest(
            "A quote has no end", hint=f"{example} keeps words together."
        ) from error

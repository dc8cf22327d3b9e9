"""Commands for help and for leaving."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Iterable, Iterator

from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.errors import InvalidRequest
from antiphon.types.terminal_safe import clean

_WIDEST = 26
"""Columns of a command with its arguments; a longer one gets its own row."""
_NARROWEST = 24
"""Least columns for the meaning beside it."""

_Rows = Iterable[tuple[str, str]]

_KEYS = (
    ("Enter", "send; while an answer comes, the message waits its turn"),
    ("Ctrl+J", "a new line; so do Alt+Enter, Shift+Enter, and a backslash before Enter"),
    ("Tab", "complete a command, a file behind @, a name"),
    ("Up, Down", "earlier messages; in an empty line first the one that waits"),
    ("Ctrl+R", "search in earlier messages"),
    ("Ctrl+C", "stop what runs; else clear the line; twice in an empty one leaves"),
    ("Esc", "stop what runs"),
    ("Ctrl+O", "see the last reasoning or result whole"),
    ("Ctrl+T", "give the reply more time"),
    ("Ctrl+G", "write the message in your $EDITOR"),
    ("Ctrl+Z", "put the chat aside; fg comes back"),
    ("Ctrl+D", "leave"),
)
_LINES = (
    ("Enter", "send the line"),
    ("\\ at the end", "go on in the next line"),
    ("Ctrl+C", "stop what runs, or answer No; twice at the prompt leaves"),
    ("Ctrl+D", "leave"),
)
"""In line mode the terminal handles all other keys."""


async def _show_help(chat: CommandContext, words: str) -> None:
    if words:
        _explain(chat, words.removeprefix("/"))
        return
    shown: list[Line] = []
    for group in chat.command_groups:
        if group.commands:
            rows = [(command.usage, command.meaning) for command in group.commands]
            shown += _section(chat, group.title, rows)
    shown += _section(chat, "Keys", _LINES if chat.ui.keyboard.by_lines else _KEYS)
    chat.ui.show([*shown, (), (StyledText("/help COMMAND says more of one.", "faint"),)])


def _explain(chat: CommandContext, name: str) -> None:
    for group in chat.command_groups:
        for command in group.commands:
            if command.name == name:
                chat.ui.show(_section(chat, group.title, [(command.usage, command.meaning)]))
                when = "at once" if command.at_once else "when what runs has ended"
                chat.ui.say(f"It is carried out {when}.", "faint")
                return
    raise InvalidRequest(f"There is no command /{name}", hint="/help lists them.")


def _section(chat: CommandContext, title: str, rows: _Rows) -> Iterator[Line]:
    yield ()
    yield (StyledText(title, "heading"),)
    if chat.ui.keyboard.by_lines:
        yield from ((StyledText(f"{clean(name)}: {clean(meaning)}"),) for name, meaning in rows)
        return
    columns, _ = chat.ui.size()
    for name, meaning in rows:
        yield from _two_columns(clean(name), clean(meaning), columns - 1)


def _two_columns(name: str, meaning: str, columns: int) -> Iterator[Line]:
    """Yield the name with its meaning beside it, or below if there is no room."""
    room = columns - _WIDEST - 4
    indent = " " * (_WIDEST + 4 if room >= _NARROWEST else 4)
    first, *more = textwrap.wrap(meaning, max(8, columns - len(indent))) or [""]
    if room >= _NARROWEST and len(name) <= _WIDEST:
        yield (StyledText(f"  {name:<{_WIDEST}}  ", "mark"), StyledText(first))
    else:
        yield (StyledText(f"  {name}", "mark"),)
        yield (StyledText(f"{indent}{first}"),)
    yield from ((StyledText(f"{indent}{each}"),) for each in more)


async def _complete_names(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    for group in chat.command_groups:
        for command in group.commands:
            if command.name.startswith(begun.removeprefix("/")):
                yield command.name, command.meaning


async def _quit(chat: CommandContext, words: str) -> None:
    chat.ui.leave()


COMMANDS = (
    SlashCommand(
        name="help",
        arguments="[COMMAND]",
        meaning="this list, and the keys",
        run=_show_help,
        at_once=True,
        proposals=_complete_names,
    ),
    SlashCommand(name="quit", meaning="leave; the thread is kept", run=_quit, at_once=True),
)

"""Commands for help, for leaving, and for colours and settings."""

from __future__ import annotations

import os
import textwrap
from collections.abc import AsyncIterator, Iterable, Iterator

from antiphon.settings.paths import config_folder
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.themes import BARE, THEMES, choose_theme
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

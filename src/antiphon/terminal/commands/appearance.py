"""Commands about colours and settings."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from antiphon.settings.paths import config_folder
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.spans import StyledText
from antiphon.terminal.themes import BARE, THEMES, choose_theme
from antiphon.types.errors import InvalidRequest
from antiphon.types.terminal_safe import clean

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


COMMANDS: tuple[SlashCommand, ...] = (
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

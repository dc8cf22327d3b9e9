"""Lines that begin with `!`: run a command in the user's shell, and show the model its output."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from antiphon.client.mentions import AttachedFile
from antiphon.terminal import spans
from antiphon.terminal.commands.command import CommandContext
from antiphon.terminal.input.keyboard import Box, KeyChoice
from antiphon.terminal.spans import Line, StyledText
from antiphon.tools.programs import run_program
from antiphon.types.errors import InvalidRequest
from antiphon.types.terminal_safe import clean, one_line

SHOWN_LINES = 200
"""Lines of an output that are shown; the model gets all that is kept."""
MOST_CHARACTERS = 600
"""Characters of a command: the question shows all of them."""
SHOWN_COMMAND = 60
"""Characters of a command in the name of its output."""


async def run_shell_line(chat: CommandContext, line: str) -> None:
    """Run the line if the user agrees; its output is sent with the next message.

    Raises `InvalidRequest` for an empty line.
    """
    if not line:
        raise InvalidRequest("There is no command", hint="!ls runs one; !! begins a message.")
    if "\n" in line or len(line) > MOST_CHARACTERS:
        raise InvalidRequest(
            "This command cannot be shown whole before it runs",
            expected=f"one line of at most {MOST_CHARACTERS} characters",
        )
    if not await _confirm(chat, line):
        chat.ui.say("It was not run.", "faint")
        return
    result = await run_program([*_shell(os.environ), line], Path.cwd(), os.environ)
    lines = result.output.split("\n")
    shown = lines[:SHOWN_LINES]
    if len(lines) > len(shown):
        shown.append(f"({len(lines) - len(shown)} more lines, which the model gets)")
    chat.ui.show([(StyledText(text),) for text in clean("\n".join(shown), "code").split("\n")])
    name = f"output of {shlex.quote(one_line(line)[:SHOWN_COMMAND])}"
    chat.state.attached.append(
        AttachedFile(name, "text", "text/plain", result.output.encode("utf-8", "replace"))
    )
    chat.ui.say("The output goes with your next message; /attach clear drops it.", "faint")


def _shell(environ: Mapping[str, str]) -> tuple[str, str]:
    if os.name == "nt":
        return environ.get("COMSPEC", "cmd"), "/c"
    return environ.get("SHELL") or "/bin/sh", "-c"


async def _confirm(chat: CommandContext, line: str) -> bool:
    """Ask whether to run the line; it may have been pasted."""
    if chat.state.runs_shell_lines:
        return True

    def rows(columns: int) -> list[Line]:
        question = StyledText("Run this here, and show the model its output?", "strong")
        return [(question,), *spans.fold([StyledText(clean(line, "approval"))], columns - 1)]

    choices = (
        KeyChoice("n", "no"),
        KeyChoice("y", "yes"),
        KeyChoice("a", "yes, and all such lines of this chat"),
    )
    box = Box(rows=rows, choices=choices, default="n")
    async with chat.ui.question_lock:
        key = await chat.ui.keyboard.choose(box)
    chat.state.runs_shell_lines = key == "a"
    return key in ("y", "a")

"""Ask the user a question of the model: by the `ask_user` tool, answered by key or in own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from antiphon.terminal import arguments
from antiphon.terminal.input.keyboard import NEXT_PART, Box, Field, KeyChoice, in_rows
from antiphon.terminal.paging import Parts
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.ui import Ui
from antiphon.types.terminal_safe import clean

_HEAD: Line = (StyledText("The model asks you:", "faint"),)
BY_KEY = 9
"""Answers that get a key each; more are listed, and one is typed."""


class Questions:
    """Asks the user a question of the model; returns None if the user does not answer."""

    def __init__(self, ui: Ui) -> None:
        self._ui = ui

    async def __call__(self, question: str, choices: Sequence[str] = ()) -> str | None:
        """Return the answer. Cancelling removes the question."""
        async with self._ui.question_lock:
            if not 0 < len(choices) <= BY_KEY:
                return await self._ask_text(question, choices)
            numbered = {str(number): choice for number, choice in enumerate(choices, 1)}
            parts = Parts(self._ui, head=lambda: [_HEAD], lines=lambda: _paragraph(question))
            while (key := await self._ask_choice(parts, numbered)) == NEXT_PART:
                parts.turn()
            return await self._ask_text(question) if key == "o" else numbered.get(key)

    async def _ask_choice(self, parts: Parts, numbered: Mapping[str, str]) -> str:
        choices = (
            *(KeyChoice(key, clean(choice)) for key, choice in numbered.items()),
            *parts.choices,
            KeyChoice("o", "something else"),
            KeyChoice("x", "no answer"),
        )
        return await self._ui.keyboard.choose(Box(rows=parts.rows, choices=choices, default="x"))

    async def _ask_text(self, question: str, choices: Sequence[str] = ()) -> str | None:
        if choices:
            self._ui.say("\n".join(f"- {choice}" for choice in choices), place="approval")
        answer = await self._ui.keyboard.write(
            Field(label="Your answer:", rows=in_rows([_HEAD, *_paragraph(question)]))
        )
        return answer or None


def _paragraph(question: str) -> Sequence[Line]:
    return arguments.paragraph(question, "strong")

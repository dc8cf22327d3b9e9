"""What a model asks the person, by a tool: answered by a key, or in their own words."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.clean import clean
from antiphon.terminal import arguments
from antiphon.terminal.keyboard import Box, Choice, Field, Rows, in_rows
from antiphon.terminal.spans import Span
from antiphon.terminal.surface import Surface

BY_KEY = 9
"""Answers that have a key each; where there are more, they are listed and one is typed."""


class Questions:
    """Puts a model's question to whoever sits at the surface; None where they do not answer."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface

    async def __call__(self, question: str, choices: Sequence[str] = ()) -> str | None:
        """The answer; cancelling takes the question away."""
        async with self._surface.in_turn:
            if not 0 < len(choices) <= BY_KEY:
                return await self._written(question, choices)
            numbered = {str(number): choice for number, choice in enumerate(choices, 1)}
            key = await self._surface.keyboard.choose(
                Box(
                    rows=_rows(question),
                    choices=(
                        *(Choice(key, clean(choice)) for key, choice in numbered.items()),
                        Choice("o", "something else"),
                        Choice("x", "no answer"),
                    ),
                    default="x",
                )
            )
            return await self._written(question) if key == "o" else numbered.get(key)

    async def _written(self, question: str, choices: Sequence[str] = ()) -> str | None:
        if choices:
            self._surface.say("\n".join(f"- {choice}" for choice in choices), place="approval")
        answer = await self._surface.keyboard.write(
            Field(label="Your answer:", rows=_rows(question))
        )
        return answer or None


def _rows(question: str) -> Rows:
    head = (Span("The model asks you:", "faint"),)
    return in_rows([head, *arguments.paragraph(question, "strong")])

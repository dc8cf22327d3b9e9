"""Asks before a tool runs: what is shown is what runs, and No is the default."""

from __future__ import annotations

from antiphon.clean import clean
from antiphon.terminal.keyboard import Box, Choice
from antiphon.terminal.spans import Line, Span
from antiphon.terminal.surface import Surface
from antiphon.tools.questions import Answer, Question


class Asking:
    """Puts a question about a call to whoever sits at the surface."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface

    async def __call__(self, question: Question) -> Answer:
        """What the person said."""
        tool = question.tool
        rows: list[Line] = [
            (Span(f"{tool.server or 'here'} wants to run {clean(question.call.name)}", "strong"),),
            (Span(clean(question.call.arguments, "approval")),),
        ]
        key = await self._surface.keyboard.choose(
            Box(
                rows=lambda columns: rows,
                choices=(Choice("n", "no"), Choice("y", "yes"), Choice("s", "this session")),
                default="n",
            )
        )
        return Answer(allowed=key != "n", keep="session" if key == "s" else "once")

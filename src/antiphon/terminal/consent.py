"""Asks before a tool runs: what is shown is what runs, and No is the default.

Every word of a server or a model stands as it is, with nothing hidden in it; what has no room is
counted, and one key opens all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, takewhile
from typing import Literal

from antiphon.clean import clean
from antiphon.errors import InvalidRequest
from antiphon.messages import Tool
from antiphon.terminal import arguments, changes, pager, spans
from antiphon.terminal.keyboard import Box, Choice, Field
from antiphon.terminal.spans import Line, Span
from antiphon.terminal.surface import Surface
from antiphon.tools import schemas
from antiphon.tools.questions import Answer, Question, shape

MOST_ROWS, FEWEST_ROWS = 16, 4
"""Of a question, without the keys that answer it."""
BELOW = 7
"""Rows of the terminal that are left to the keys and the status line."""
LAST_ROWS = 2
"""Of arguments that are cut in their middle, before the closing brackets: what matters may well
stand at their end."""
DESCRIBED = 2
"""Rows of what a server says of its tool."""
MOST_CHANGES = 4
"""Of a tool that was allowed before: one is enough for another look."""
LONGEST_NAME = 100
LONGEST_LIST = 20
"""Tools of a server that are named, where an answer is for all of them."""

Place = Callable[[], tuple[int, int]]


class Asking:
    """Puts a question about a call to whoever sits at the surface, one at a time.

    `place` says which of how many it is.
    """

    def __init__(self, surface: Surface) -> None:
        self.place: Place = lambda: (1, 1)
        self._surface = surface

    async def __call__(self, question: Question) -> Answer:
        """What the person said; cancelling takes the question away."""
        async with self._surface.in_turn:
            return await _Asked(self._surface, question, self.place).answer()


class _Asked:
    """One question, from its first box to its answer."""

    def __init__(self, surface: Surface, question: Question, place: Place) -> None:
        self._surface = surface
        self._question = question
        self._place = place
        self._wide = False
        self._edited: str | None = None
        self._listened = surface.keyboard.spoken
        self._drawn: tuple[int, list[Line]] = (0, [])

    async def answer(self) -> Answer:
        """The first answer that is one: keys that look, edit or widen only come before it."""
        while True:
            match await self._surface.keyboard.choose(self._box()):
                case "y":
                    return self._yes("once")
                case "s":
                    return self._yes("session")
                case "a":
                    return self._yes("always")
                case "t":
                    self._wide = not self._wide
                case "e":
                    await self._edit()
                case "v":
                    await self._open()
                case "w":
                    if (word := await self._word()) is not None:
                        return Answer(word=word)
                case _:
                    return Answer()

    def _yes(self, keep: Literal["once", "session", "always"]) -> Answer:
        return Answer(
            allowed=True,
            keep=keep,
            scope="server" if self._wide else "tool",
            arguments=self._edited,
        )

    # The keys that only come before an answer.

    async def _edit(self) -> None:
        """Change what the call is made with; what was typed is shown again before it runs."""
        typed = await self._surface.keyboard.write(
            Field(
                label="arguments:",
                text=arguments.editable(self._arguments),
                wrong=self._wrong,
                rows=lambda columns: [
                    (Span("Enter takes them, Esc leaves them as they were.", "faint"),)
                ],
            )
        )
        if typed is not None:
            self._edited = arguments.compact(typed)
            self._drawn = (0, [])

    def _wrong(self, typed: str) -> str | None:
        try:
            found = arguments.compact(typed)
        except InvalidRequest as problem:
            return problem.message
        return schemas.fault(found, self._question.tool.spec.parameters)

    async def _word(self) -> str | None:
        return await self._surface.keyboard.write(Field(label="No. Tell the model why:"))

    async def _open(self) -> None:
        """All of it, which nothing in it can act on any more."""
        tool = self._question.tool
        lines: list[Line] = [
            *self._head(),
            (),
            *arguments.shown(self._arguments),
            *self._described(),
            *([] if not self._others else [(), *self._named()]),
        ]
        whole = "\n".join(spans.text(line) for line in lines)
        await pager.opened(self._surface, _name(tool), whole)

    # What is seen.

    def _box(self) -> Box:
        others = self._others
        choices = [
            Choice("n", "no"),
            Choice("y", "yes, once"),
            Choice("s", "this session"),
            Choice("a", "always"),
            *([Choice("t", "this tool only" if self._wide else "all tools")] if others else []),
            Choice("e", "edit"),
            Choice("w", "no, and why"),
            *([] if self._listened else [Choice("v", "view all")]),
        ]
        return Box(rows=self._rows, choices=tuple(choices), default="n")

    def _rows(self, columns: int) -> Sequence[Line]:
        if self._listened:
            shown = arguments.shown(self._arguments)
            return [*self._head(), *shown, *self._scope(), *self._described()]
        head = spans.all_folded(self._head(), columns - 1)
        described = spans.all_folded(self._described(), columns - 1)
        below = [*spans.all_folded(self._scope(), columns - 1), *described[:DESCRIBED]]
        _, rows = self._surface.size()
        room = max(FEWEST_ROWS, min(MOST_ROWS, rows - BELOW))
        left = max(FEWEST_ROWS, room - len(head) - len(below))
        return [*head, *_cut(self._given(columns), left), *below]

    def _given(self, columns: int) -> list[Line]:
        """The rows of the arguments; they are laid out once, for they may be long."""
        if self._drawn[0] != columns:
            self._drawn = (columns, spans.all_folded(arguments.shown(self._arguments), columns - 1))
        return self._drawn[1]

    def _head(self) -> Iterator[Line]:
        tool, question = self._question.tool, self._question
        number, of = self._place()
        yield (
            Span(f"{number} of {of}: " if of > 1 else "", "faint"),
            Span("May the model call "),
            Span(_name(tool), "strong"),
            *self._whose(),
            Span(" with this, as edited?" if self._edited else " with this?"),
        )
        if tool.hints.destructive:
            yield (Span(f"{self._server} says of it: it destroys or overwrites.", "warning"),)
        elif tool.hints.read_only:
            yield (Span(f"{self._server} says of it: it only reads.", "faint"),)
        if question.before is not None:
            said = "You have allowed it before, but it has changed:"
            yield (Span(said, "warning"),)
            yield from islice(changes.told(question.before, shape(tool)), MOST_CHANGES)

    def _whose(self) -> Line:
        match self._question.tool.server:
            case None:
                return (Span(", a function of this program,"),)
            case "":
                return (Span(", which runs on the server,"),)
            case _:
                return (Span(" of "), Span(self._server, "strong"))

    def _described(self) -> Iterator[Line]:
        tool = self._question.tool
        if not tool.spec.description.strip():
            return
        first, *rest = arguments.paragraph(tool.spec.description.strip(), "quote")
        whose = f"{self._server} says: " if tool.server else "It says of itself: "
        yield (Span(whose, "faint"), *first)
        yield from rest

    def _scope(self) -> Iterator[Line]:
        """What an answer for longer is for, where that can be chosen."""
        if self._others:
            many = f"all {len(self._others) + 1} tools of {self._server}"
            held = Span(many if self._wide else "this tool", "warning" if self._wide else "strong")
            yield (Span("This session and always mean: ", "faint"), held)

    def _named(self) -> Iterator[Line]:
        yield (Span(f"The other tools of {self._server}:"),)
        for each in self._others[:LONGEST_LIST]:
            yield (Span(f"  {_name(each)}"),)
        if (more := len(self._others) - LONGEST_LIST) > 0:
            yield (Span(f"  and {more} more"),)

    @property
    def _arguments(self) -> str:
        return self._question.call.arguments if self._edited is None else self._edited

    @property
    def _others(self) -> tuple[Tool, ...]:
        return self._question.others

    @property
    def _server(self) -> str:
        return _short(self._question.tool.server or "The tool")


def _name(tool: Tool) -> str:
    return _short(tool.own_name or tool.spec.name)


def _short(name: str) -> str:
    """A name on one line, of which nothing is hidden."""
    shown = clean(name, "approval").replace("\n", "\u240a").replace("\t", "\u2409")
    return shown if len(shown) <= LONGEST_NAME else f"{shown[:LONGEST_NAME]}..."


def _cut(rows: Sequence[Line], most: int) -> Sequence[Line]:
    """The first and the last of them, and how many are not seen between."""
    if len(rows) <= most:
        return rows
    closing = sum(1 for _ in takewhile(_only_closes, reversed(rows)))
    last = min(closing + LAST_ROWS, most // 2)
    first = most - last - 1
    more = (Span(f"({len(rows) - most + 1} more lines: v shows them)", "warning"),)
    return [*rows[:first], more, *rows[-last:]]


def _only_closes(row: Line) -> bool:
    return not spans.text(row).strip(" ]},")

"""The person at the surface, as servers have them: fills in forms, opens pages, lets them ask.

A server's words stand under its name, and nothing is sent before the person has seen what.
"""

from __future__ import annotations

import asyncio
import os
import webbrowser
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from antiphon.clean import clean
from antiphon.errors import InvalidRequest
from antiphon.terminal import keyboard, pager, spans
from antiphon.terminal.keyboard import Box, Choice, Rows
from antiphon.terminal.sampling import in_words
from antiphon.terminal.spans import Line, Span
from antiphon.terminal.surface import Surface
from antiphon.tools.mcp.forms import Field, Form
from antiphon.tools.mcp.hosting import (
    AddressAsked,
    Answer,
    FormAsked,
    Logged,
    Question,
    Sample,
    SampleAsked,
)
from antiphon.tools.mcp.metadata import is_list
from antiphon.tools.mcp.pages import openable

Sampler = Callable[[SampleAsked], Awaitable[Sample | None]]
"""Has the chat's model answer what a server wants to know; the person has agreed to it."""

BY_KEY = 9
"""Options of a choice that have a key each; where there are more, numbers are typed."""
SHOWN_ROWS = 10
"""Of a foreign text in a question: the rest is opened by a key."""
SHOWN_VALUE = 200
"""Characters of an answer in the summary."""
_TROUBLE = ("warning", "error", "critical", "alert", "emergency")


class Person:
    """The host of a chat's servers. Questions wait for those that are put already.

    Without a `sampler` no server may ask the model. `verbose` shows all that servers log.
    """

    asks = True

    def __init__(
        self, surface: Surface, sampler: Sampler | None = None, *, verbose: bool = False
    ) -> None:
        self._surface = surface
        self._sampler = sampler
        self._verbose = verbose
        self._may_sample: set[str] = set()

    @property
    def samples(self) -> bool:
        """Whether a server may ask for the model's replies."""
        return self._sampler is not None

    async def ask(self, question: Question) -> Answer:
        """The person's answer; cancelling takes the question away."""
        async with self._surface.in_turn:
            match question:
                case FormAsked():
                    return await _Filling(self._surface, question).answer()
                case AddressAsked():
                    return await self._sent(question)

    async def sample(self, wanted: SampleAsked) -> Sample | None:
        """The model's reply, if the person lets the server have one."""
        if self._sampler is None or not await self._may(wanted):
            return None
        self._note(f"{wanted.server} asks the model.")
        return await self._sampler(wanted)

    def log(self, line: Logged) -> None:
        """Trouble is shown, and everything where the chat is to tell much."""
        if self._verbose or line.level in _TROUBLE:
            where = f"{line.server} ({line.logger})" if line.logger else line.server
            self._note(f"{where}: {line.level}: {line.text}")

    def updated(self, server: str, uri: str) -> None:
        """Say that there is something new."""
        self._note(f"{server}: {uri} has changed.")

    def finished(self, server: str, id: str) -> None:
        """Say that nothing is left to do at the page."""
        self._note(f"{server}: what you were sent to a page for is done.")

    def _note(self, text: str) -> None:
        self._surface.say(" ".join(clean(text).split()), "faint")

    # Pages.

    async def _sent(self, asked: AddressAsked) -> Answer:
        self._surface.say(f"{asked.server} sends you to a page: {asked.message}")
        self._surface.show([_address(asked.url)])
        may_open = openable(asked.url)
        choices = [
            Choice("n", "no"),
            *([Choice("o", "open it in the browser")] if may_open else []),
            Choice("y", "I open it myself"),
        ]
        key = await self._surface.keyboard.choose(
            Box(rows=_page_rows(asked), choices=tuple(choices), default="n")
        )
        if key == "n":
            return Answer("decline")
        if key == "o" and not await asyncio.to_thread(_browsed, asked.url):
            self._surface.say("No browser could be opened here: open the page yourself.", "warning")
        return Answer("accept")

    # The model.

    async def _may(self, wanted: SampleAsked) -> bool:
        if wanted.server in self._may_sample:
            return True
        async with self._surface.in_turn:
            key = await self._consent(wanted)
        if key == "s":
            self._may_sample.add(wanted.server)
        return key in ("y", "s")

    async def _consent(self, wanted: SampleAsked) -> str:
        whole = _told(wanted)
        box = Box(
            rows=_shortened(_sample_head(wanted), whole, self._surface),
            choices=(
                Choice("n", "no"),
                Choice("y", "yes, once"),
                Choice("s", f"this session, whatever {wanted.server} asks"),
                Choice("v", "see all of it"),
            ),
            default="n",
        )
        while (key := await self._surface.keyboard.choose(box)) == "v":
            await pager.opened(self._surface, f"{wanted.server} asks the model", whole)
        return key


class _Filling:
    """A form while it is filled in: field by field, then the whole of it."""

    def __init__(self, surface: Surface, asked: FormAsked) -> None:
        self._surface = surface
        self._asked = asked
        self._form: Form = asked.form
        self._values: dict[str, Any] = {}

    async def answer(self) -> Answer:
        """What the person sends, or that they do not."""
        await self._fill()
        while True:
            match await self._decided():
                case "a":
                    return Answer("accept", self._form.checked(self._values))
                case "e":
                    await self._fill()
                case "d":
                    return Answer("decline")
                case _:
                    return Answer("cancel")

    async def _fill(self) -> None:
        """Every field, until the person has had enough of it."""
        for number, field in enumerate(self._form.fields, 1):
            given = await self._given(field, f"{number} of {len(self._form.fields)}")
            if isinstance(given, _Left):
                return
            self._values[field.name] = given

    async def _given(self, field: Field, place: str) -> object:
        if field.kind == "boolean":
            return await self._by_key(field, place, [("y", "yes", True), ("n", "no", False)])
        if field.kind == "choice" and len(field.options) <= BY_KEY:
            options = [
                (str(number), option.label, option.value)
                for number, option in enumerate(field.options, 1)
            ]
            return await self._by_key(field, place, options)
        return await self._by_line(field, place)

    async def _by_key(
        self, field: Field, place: str, options: Sequence[tuple[str, str, object]]
    ) -> object:
        """One of these: key, what it means, and the value."""
        before = self._values.get(field.name, field.default)
        values = {key: value for key, _, value in options}
        default = next((key for key, value in values.items() if value == before), "")
        choices = [Choice(key, clean(meaning)) for key, meaning, _ in options]
        if not field.required and field.default is None:
            choices.append(Choice("s", "skip"))
        choices.append(Choice("x", "leave the form"))
        default = default or ("x" if field.required else "s")
        key = await self._surface.keyboard.choose(
            Box(rows=self._rows(field, place), choices=tuple(choices), default=default)
        )
        return _LEFT if key == "x" else values.get(key)

    async def _by_line(self, field: Field, place: str) -> object:
        if field.options:
            listed = [f"{number}. {each.label}" for number, each in enumerate(field.options, 1)]
            self._surface.say("\n".join(listed))
        typed = await self._surface.keyboard.write(
            keyboard.Field(
                label=f"{field.title or field.name}:",
                rows=self._rows(field, place),
                text=_written(field, self._values.get(field.name, field.default)),
                hidden=field.secret,
                wrong=lambda line: _wrong(field, line),
            )
        )
        return _LEFT if typed is None else field.read(typed)

    def _rows(self, field: Field, place: str) -> Rows:
        lines = list(self._head(f" ({place})"))
        if field.secret:
            said = f"This looks like a secret, which {self._asked.server} should not ask for here."
            lines.append((Span(said, "warning"),))
        name = field.title or field.name
        lines.append((Span(name, "strong"), Span(f"  {_wish(field)}", "faint")))
        lines += _paragraph(field.description, "faint")
        return _folding(lines)

    def _head(self, place: str = "") -> Iterator[Line]:
        asked = self._asked
        yield (Span(clean(asked.server), "strong"), Span(f" asks you{place}:"))
        yield from _paragraph(asked.message, "quote")

    async def _decided(self) -> str:
        wrong = self._missing()
        lines = [*self._head(), *(self._summed(field) for field in self._form.fields)]
        if wrong:
            lines.append((Span(wrong, "warning"),))
        choices = [
            Choice("c", "cancel"),
            *([] if wrong else [Choice("a", f"send this to {clean(self._asked.server)}")]),
            *([Choice("e", "edit")] if self._form.fields else []),
            Choice("d", "decline"),
        ]
        return await self._surface.keyboard.choose(
            Box(rows=_folding(lines), choices=tuple(choices), default="c")
        )

    def _missing(self) -> str:
        try:
            self._form.checked(self._values)
        except InvalidRequest as problem:
            return clean(problem.message)
        return ""

    def _summed(self, field: Field) -> Line:
        value = self._values.get(field.name)
        said = _written(field, field.default if value is None else value)
        if field.secret:
            said = "*" * len(said)
        elif len(said) > SHOWN_VALUE:
            said = f"{said[:SHOWN_VALUE]} ... ({len(said)} characters)"
        shown = Span(clean(said, "approval")) if said else Span("(nothing)", "faint")
        return (Span(f"{clean(field.title or field.name)}: ", "faint"), shown)


class _Left(msgspec.Struct, frozen=True):
    """The person does not want to go on with the fields."""


_LEFT = _Left()


def _wrong(field: Field, line: str) -> str | None:
    """What is wrong with the line, or nothing."""
    try:
        field.read(line)
    except InvalidRequest as problem:
        return problem.message
    return None


def _wish(field: Field) -> str:
    """What may be given, in a few words."""
    said: dict[str, str] = {
        "number": "a number",
        "integer": "a whole number",
        "boolean": "yes or no",
        "choices": "numbers with commas between",
        "choice": "one of these",
    }
    words = [said.get(field.kind, field.format), _bounds(field)]
    words.append("" if field.required else "may be left empty")
    return ", ".join(filter(None, words))


def _bounds(field: Field) -> str:
    unit = " characters" if field.kind == "text" else ""
    match field.least, field.most:
        case None, None:
            return ""
        case least, None:
            return f"at least {least:g}{unit}"
        case None, most:
            return f"at most {most:g}{unit}"
        case least, most:
            return f"{least:g} to {most:g}{unit}"


def _written(field: Field, value: Any) -> str:
    """The value as a person would type it."""
    labels: Mapping[str, str] = {option.value: option.label for option in field.options}
    if is_list(value):
        numbers = {option.value: str(n) for n, option in enumerate(field.options, 1)}
        return ", ".join(numbers.get(str(each), str(each)) for each in value)
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case str():
            return labels.get(value, value)
        case _:
            return f"{value}"


def _paragraph(text: str, style: str) -> Iterator[Line]:
    for line in clean(text, "approval").split("\n") if text else ():
        yield (Span(line, style),)


def _folding(lines: Sequence[Line]) -> Rows:
    return lambda columns: [row for line in lines for row in spans.folded(line, columns - 1)]


def _shortened(head: Sequence[Line], whole: str, surface: Surface) -> Rows:
    """The head, and as much of the whole as has room; a listener hears all of it."""

    def rows(columns: int) -> Sequence[Line]:
        above = _folding(head)(columns)
        below = _folding(list(_paragraph(whole, "")))(columns)
        if surface.keyboard.spoken or len(below) <= SHOWN_ROWS:
            return [*above, *below]
        left = len(below) - SHOWN_ROWS
        return [*above, *below[:SHOWN_ROWS], (Span(f"({left} more lines: v shows them)", "faint"),)]

    return rows


# Pages.


def _address(url: str) -> Line:
    """The whole address, its host standing out: what stands before an @ is none."""
    host = urlsplit(url).hostname or ""
    shown = clean(url, "approval")
    at = shown.lower().find(host, shown.rfind("@", 0, _path_at(shown)) + 1) if host else -1
    if at < 0:
        return (Span(shown),)
    end = at + len(host)
    return (Span(shown[:at]), Span(shown[at:end], "strong"), Span(shown[end:]))


def _path_at(url: str) -> int:
    """Where the part behind the host begins."""
    begins = url.find("//") + 2
    ends = [at for mark in "/?#" if (at := url.find(mark, begins)) >= 0]
    return min(ends, default=len(url))


def _page_rows(asked: AddressAsked) -> Rows:
    parts = urlsplit(asked.url)
    lines: list[Line] = [
        (
            Span(clean(asked.server), "strong"),
            Span(" sends you to a page of "),
            Span(clean(parts.hostname or asked.url, "approval"), "strong"),
            Span(". The whole address stands above."),
        )
    ]
    if parts.username is not None:
        said = "What stands before the @ is a name, and not where the page is."
        lines.append((Span(said, "warning"),))
    return _folding(lines)


def _browsed(url: str) -> bool:
    """Whether a browser has taken it; one that would take the terminal is not asked."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    chosen = "BROWSER" in os.environ
    in_terminal = not chosen and type(browser) is webbrowser.GenericBrowser
    return not in_terminal and browser.open(url)


# The model.


def _sample_head(wanted: SampleAsked) -> Sequence[Line]:
    likes = f", by {' or '.join(wanted.models)} if it may choose" if wanted.models else ""
    said = f" wants an answer of the model, of at most {wanted.max_tokens} tokens{likes}:"
    return [(Span(clean(wanted.server), "strong"), Span(clean(said)))]


def _told(wanted: SampleAsked) -> str:
    """Everything that the model would be told."""
    parts = [f"instructions: {wanted.system}"] if wanted.system else []
    parts += [
        f"{message.role}: {' '.join(map(in_words, message.content))}" for message in wanted.messages
    ]
    return clean("\n".join(parts), "approval")

"""Ask the user: a form for an MCP server, field by field, or a question of the model.

Nothing is sent to a server before the user has seen the whole form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from antiphon.mcp.client.client_features import ElicitationAnswer, FormElicitation
from antiphon.mcp.client.forms import Form, FormField
from antiphon.terminal import arguments
from antiphon.terminal.input import keyboard
from antiphon.terminal.input.keyboard import NEXT_PART, Box, Field, KeyChoice, Rows, in_rows
from antiphon.terminal.paging import Parts
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.ui_manager import Ui
from antiphon.types.errors import InvalidRequest
from antiphon.types.json_values import is_list
from antiphon.types.terminal_safe import clean

BY_KEY = 9
"""Options or answers that get a key each; of more, one is typed."""
SHOWN_VALUE = 200
"""Characters of a value in the summary."""


class FormDialog:
    """One form while it is filled in."""

    def __init__(self, ui: Ui, elicitation: FormElicitation) -> None:
        self._ui = ui
        self._asked = elicitation
        self._form: Form = elicitation.form
        self._values: dict[str, Any] = {}

    async def answer(self) -> ElicitationAnswer:
        """Return the values that the user sends, or that the user declines or cancels."""
        await self._fill()
        parts = self._parts()
        while True:
            match await self._ask_decision(parts):
                case "m":
                    parts.turn()
                case "a":
                    return ElicitationAnswer("accept", self._form.validate(self._values))
                case "e":
                    await self._fill()
                    parts.forget()
                case "d":
                    return ElicitationAnswer("decline")
                case _:
                    return ElicitationAnswer("cancel")

    async def _fill(self) -> None:
        """Ask for every field until the user stops."""
        for number, field in enumerate(self._form.fields, 1):
            given = await self._ask_field(field, f"{number} of {len(self._form.fields)}")
            if isinstance(given, _Aborted):
                return
            self._values[field.name] = given

    async def _ask_field(self, field: FormField, place: str) -> object:
        if field.kind == "boolean":
            return await self._ask_by_key(field, place, [("y", "yes", True), ("n", "no", False)])
        if field.kind == "choice" and len(field.options) <= BY_KEY:
            options = [
                (str(number), option.label, option.value)
                for number, option in enumerate(field.options, 1)
            ]
            return await self._ask_by_key(field, place, options)
        return await self._ask_by_line(field, place)

    async def _ask_by_key(
        self, field: FormField, place: str, options: Sequence[tuple[str, str, object]]
    ) -> object:
        """Ask for one of the options, each with key, meaning and value."""
        before = self._values.get(field.name, field.default)
        values = {key: value for key, _, value in options}
        default = next((key for key, value in values.items() if value == before), "")
        choices = [KeyChoice(key, clean(meaning)) for key, meaning, _ in options]
        if not field.required and field.default is None:
            choices.append(KeyChoice("s", "skip"))
        choices.append(KeyChoice("x", "leave the form"))
        default = default or ("x" if field.required else "s")
        key = await self._ui.keyboard.choose(
            Box(rows=self._rows(field, place), choices=tuple(choices), default=default)
        )
        return _ABORTED if key == "x" else values.get(key)

    async def _ask_by_line(self, field: FormField, place: str) -> object:
        if field.options:
            listed = [f"{number}. {each.label}" for number, each in enumerate(field.options, 1)]
            self._ui.say("\n".join(listed))
        typed = await self._ui.keyboard.write(
            keyboard.Field(
                label=f"{field.title or field.name}:",
                rows=self._rows(field, place),
                text=_format_value(field, self._values.get(field.name, field.default)),
                hidden=field.secret,
                wrong=lambda line: _find_fault(field, line),
            )
        )
        return _ABORTED if typed is None else field.parse(typed)

    def _rows(self, field: FormField, place: str) -> Rows:
        lines = list(self._head(f" ({place})"))
        if field.secret:
            warning = (
                f"This looks like a secret, which {self._asked.server} should not ask for here."
            )
            lines.append((StyledText(warning, "warning"),))
        name = field.title or field.name
        lines.append(
            (StyledText(name, "strong"), StyledText(f"  {_describe_expected(field)}", "faint"))
        )
        lines += _quote(field.description, "faint")
        return in_rows(lines)

    def _head(self, place: str = "") -> Iterator[Line]:
        elicitation = self._asked
        yield (StyledText(clean(elicitation.server), "strong"), StyledText(f" asks you{place}:"))
        yield from _quote(elicitation.message, "quote")

    def _parts(self) -> Parts:
        return Parts(
            self._ui,
            head=lambda: [*self._head()],
            lines=lambda: [self._summary_line(field) for field in self._form.fields],
            below=lambda columns: (
                in_rows([(StyledText(self._missing(), "warning"),)])(columns)
                if self._missing()
                else ()
            ),
        )

    async def _ask_decision(self, parts: Parts) -> str:
        sent = KeyChoice("a", f"send this to {clean(self._asked.server)}")
        choices = [
            KeyChoice("c", "cancel"),
            *([sent] if parts.shown and not self._missing() else []),
            *parts.choices,
            *([KeyChoice("e", "edit")] if self._form.fields else []),
            KeyChoice("d", "decline"),
        ]
        return await self._ui.keyboard.choose(
            Box(rows=parts.rows, choices=tuple(choices), default="c")
        )

    def _missing(self) -> str:
        try:
            self._form.validate(self._values)
        except InvalidRequest as problem:
            return clean(problem.message)
        return ""

    def _summary_line(self, field: FormField) -> Line:
        value = self._values.get(field.name)
        text = _format_value(field, field.default if value is None else value)
        if field.secret:
            text = "*" * len(text)
        elif len(text) > SHOWN_VALUE:
            text = f"{text[:SHOWN_VALUE]} ... ({len(text)} characters)"
        shown = StyledText(clean(text, "approval")) if text else StyledText("(nothing)", "faint")
        return (StyledText(f"{clean(field.title or field.name)}: ", "faint"), shown)


class _Aborted(msgspec.Struct, frozen=True):
    """The user stops filling in fields."""


_ABORTED = _Aborted()


def _find_fault(field: FormField, line: str) -> str | None:
    """Return the error in the line, or None."""
    try:
        field.parse(line)
    except InvalidRequest as problem:
        return problem.message
    return None


def _describe_expected(field: FormField) -> str:
    """Return the accepted values in a few words."""
    kinds: dict[str, str] = {
        "number": "a number",
        "integer": "a whole number",
        "boolean": "yes or no",
        "choices": "numbers with commas between",
        "choice": "one of these",
    }
    words = [kinds.get(field.kind, field.format), _describe_bounds(field)]
    words.append("" if field.required else "may be left empty")
    return ", ".join(filter(None, words))


def _describe_bounds(field: FormField) -> str:
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


def _format_value(field: FormField, value: Any) -> str:
    """Return the value as a user would type it."""
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


def _quote(text: str, style: str) -> Sequence[Line]:
    return arguments.paragraph(text, style) if text else ()


# Ask the user a question of a tool, such as `ask_user`: answered by key or in own words.


_HEAD: Line = (StyledText("You are asked:", "faint"),)


class Questions:
    """Asks the user a question of a tool; returns None if the user does not answer."""

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

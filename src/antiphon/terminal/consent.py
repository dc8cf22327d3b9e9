"""Ask before a tool runs: what is shown is what runs, and No is the default.

Text of a server or a model is shown as it is, with nothing hidden in it; what does not fit is
counted, and one key shows all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import msgspec

from antiphon.terminal import arguments, paging, spans
from antiphon.terminal.input.keyboard import Box, Field, KeyChoice
from antiphon.terminal.paging import Parts
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.ui_manager import Ui
from antiphon.tools.argument_check import find_argument_errors
from antiphon.tools.questions import (
    ConsentAnswer,
    ConsentRequest,
    ToolIdentity,
    command_line,
    tool_identity,
)
from antiphon.types.errors import InvalidRequest
from antiphon.types.json_values import is_object
from antiphon.types.messages import Hints, Tool
from antiphon.types.terminal_safe import clean, one_line

# Changes of a tool since the user allowed it.


LONGEST = 160
"""Characters of a description that are shown."""


def describe_changes(before: ToolIdentity, now: ToolIdentity) -> Iterator[Line]:
    """Yield a line for each change, with the old value first."""
    if before.origin != now.origin:
        yield _change_line("it is another program", before.origin, now.origin)
    if before.description != now.description:
        was, become = _excerpts(before.description, now.description)
        yield _change_line("description", was, become)
    old, new = _parameters(before), _parameters(now)
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            yield _change_line(f"parameter {name}", "not there", "new")
        elif name not in new:
            yield _change_line(f"parameter {name}", "there", "gone")
        elif old[name] != new[name]:
            yield _change_line(f"parameter {name}", "", "another one")
    if _other_keywords(before) != _other_keywords(now):
        yield _change_line("parameters", "", "what is needed of them, or how they fit together")
    for name in Hints.__struct_fields__:
        was, become = getattr(before.hints, name), getattr(now.hints, name)
        if was != become:
            yield _change_line(f"it says: {name.replace('_', ' ')}", _claim(was), _claim(become))


def _change_line(what: str, was: str, become: str) -> Line:
    parts = [StyledText(f"  {_short(what)}: ", "faint")]
    if was:
        parts += [StyledText(_short(was)), StyledText(" -> ", "faint")]
    return (*parts, StyledText(_short(become), "strong"))


def _short(text: str) -> str:
    line = one_line(text, "approval")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def _excerpts(was: str, become: str) -> tuple[str, str]:
    """Return both texts from shortly before the place where they begin to differ."""
    same = next(
        (at for at, (one, other) in enumerate(zip(was, become, strict=False)) if one != other),
        min(len(was), len(become)),
    )
    begin = max(0, same - LONGEST // 4)
    mark = "..." if begin else ""
    return f"{mark}{was[begin:]}" or "(none)", f"{mark}{become[begin:]}" or "(none)"


def _claim(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _parameters(shape: ToolIdentity) -> dict[str, Any]:
    found = shape.parameters.get("properties")
    return found if is_object(found) else {}


def _other_keywords(shape: ToolIdentity) -> dict[str, object]:
    return {name: value for name, value in shape.parameters.items() if name != "properties"}


SMALL = 16
"""Rows of a terminal that is too small for the description."""
DESCRIBED = 2
"""Rows of a tool's description."""
MOST_CHANGES = 4
"""Changes of a tool that are shown: one is enough for another look."""
LONGEST_LIST = 20
"""Tools of a server that are named where an answer covers all of them."""

Place = Callable[[], tuple[int, int]]


class ConsentPrompt:
    """Asks the user about calls, one at a time.

    `place` returns the number of the question and how many there are.
    """

    def __init__(self, ui: Ui) -> None:
        self.place: Place = lambda: (1, 1)
        self._ui = ui

    async def __call__(self, question: ConsentRequest) -> ConsentAnswer:
        """Return the user's answer. Cancelling removes the question."""
        async with self._ui.question_lock:
            return await _ConsentDialog(self._ui, question, self.place).answer()


class _ConsentDialog:
    """One question, from its first box to its answer."""

    def __init__(self, ui: Ui, question: ConsentRequest, place: Place) -> None:
        self._ui = ui
        self._question = question
        self._place = place
        self._wide = False
        self._edited: str | None = None
        self._listened = ui.keyboard.by_lines
        self._given = self._parse_arguments()
        self._parts = Parts(
            ui,
            head=lambda: [*self._head(), *self._scope()],
            lines=self._lines,
            brief=lambda columns, most: arguments.overview(self._given, columns, most),
            names=lambda columns: arguments.names_row(self._given, columns - 1),
            below=self._below,
        )

    async def answer(self) -> ConsentAnswer:
        """Return the answer; keys that look, edit or widen the scope come before it."""
        while True:
            match await self._ui.keyboard.choose(self._box()):
                case "y":
                    return self._allow("once")
                case "s":
                    if await self._confirm("until this chat ends"):
                        return self._allow("session")
                case "a":
                    if await self._confirm("always, until it changes"):
                        return self._allow("always")
                case "w":
                    field = Field(label="No. Tell the model why:")
                    if (word := await self._ui.keyboard.write(field)) is not None:
                        return ConsentAnswer(word=word)
                case "n":
                    return ConsentAnswer()
                case key:
                    await self._look(key)

    async def _look(self, key: str) -> None:
        """Handle a key that does not answer."""
        match key:
            case "t":
                self._wide = not self._wide
                self._parts.resize()
            case "e":
                await self._edit()
            case "v":
                await self._open()
            case _:
                self._parts.turn()

    def _allow(self, keep: Literal["once", "session", "always"]) -> ConsentAnswer:
        return ConsentAnswer(
            allowed=True,
            keep=keep,
            scope="server" if self._wide else "tool",
            arguments=self._edited,
        )

    # Keys that do not answer.

    async def _edit(self) -> None:
        """Edit the arguments of the call; they are shown again before it runs."""
        typed = await self._ui.keyboard.write(
            Field(
                label="arguments:",
                text=arguments.to_editable(self._arguments),
                wrong=self._find_fault,
                rows=lambda columns: [
                    (StyledText("Enter takes them, Esc leaves them as they were.", "faint"),)
                ],
            )
        )
        if typed is not None:
            self._edited = arguments.to_compact_json(typed)
            self._given = self._parse_arguments()
            self._parts.forget()

    def _find_fault(self, typed: str) -> str | None:
        try:
            found = arguments.to_compact_json(typed)
        except InvalidRequest as problem:
            return problem.message
        return find_argument_errors(found, self._question.tool.spec.parameters)

    async def _open(self) -> None:
        """Show all of it in a pager, with nothing in it that could control the terminal."""
        tool = self._question.tool
        lines: list[Line] = [
            *self._head(),
            (),
            *self._all_lines(),
            *self._description(),
        ]
        if self._others:
            lines += [(), (StyledText(f"The other tools of {self._server}:"),)]
            lines += ((StyledText(f"  {_name(each)}"),) for each in self._others[:LONGEST_LIST])
        if (more := len(self._others) - LONGEST_LIST) > 0:
            lines.append((StyledText(f"  and {more} more"),))
        whole = "\n".join(spans.text(line) for line in lines)
        await paging.open_pager(self._ui, _name(tool), whole)
        self._parts.open()

    async def _confirm(self, until: str) -> bool:
        """Return True if a lasting yes is meant: a second, different key confirms it."""
        box = Box(
            rows=lambda columns: spans.fold_all(self._lasting_scope(until), columns - 1),
            choices=(KeyChoice("n", "no, back"), KeyChoice("c", f"confirm: {until}")),
            default="n",
        )
        return await self._ui.keyboard.choose(box) == "c"

    # Rows.

    def _box(self) -> Box:
        allowing = [KeyChoice("y", "yes, once")]
        if not self._question.asks_each_time:
            allowing += [KeyChoice("s", "this session"), KeyChoice("a", "always")]
        choices = [
            KeyChoice("n", "no"),
            *(allowing if self._parts.shown else ()),
            *self._parts.choices,
            *(
                [KeyChoice("t", "this tool only" if self._wide else "all tools")]
                if self._others
                else []
            ),
            KeyChoice("e", "edit"),
            KeyChoice("w", "no, and why"),
            *([] if self._listened else [KeyChoice("v", "view all")]),
        ]
        return Box(rows=self._parts.rows, choices=tuple(choices), default="n")

    def _head(self) -> Iterator[Line]:
        tool, question = self._question.tool, self._question
        number, of = self._place()
        yield (
            StyledText(f"{number} of {of}: " if of > 1 else "", "faint"),
            StyledText("May the model call "),
            StyledText(_name(tool), "strong"),
            *self._owner(),
            StyledText(" with this, as edited?" if self._edited else " with this?"),
        )
        if tool.hints.destructive:
            yield (StyledText(f"{self._server} says of it: it destroys or overwrites.", "warning"),)
        elif tool.hints.read_only:
            yield (StyledText(f"{self._server} says of it: it only reads.", "faint"),)
        if question.reason:
            why = f"A hook wants you to decide: {_one_line(question.reason)}"
            yield (StyledText(why, "warning"),)
        if question.elsewhere:
            yield (StyledText(clean(question.elsewhere, "approval"), "warning"),)
        if question.before is not None:
            warning = "You have allowed it before, but it has changed:"
            yield (StyledText(warning, "warning"),)
            yield from islice(describe_changes(question.before, tool_identity(tool)), MOST_CHANGES)

    def _lines(self) -> list[Line]:
        if self._listened:
            return self._all_lines()
        return [line for one in self._given for line in one.lines] or [
            (StyledText("(no arguments)", "faint"),)
        ]

    def _parse_arguments(self) -> list[arguments.Argument]:
        """Return the command line that the call starts, if any, and the arguments."""
        given = [*arguments.parse_arguments(self._arguments)]
        return (
            [*arguments.parse_arguments(command), *given] if (command := self._command) else given
        )

    def _all_lines(self) -> list[Line]:
        lines = arguments.format_arguments(self._arguments)
        return (
            [*arguments.format_arguments(command), *lines] if (command := self._command) else lines
        )

    @property
    def _command(self) -> str:
        """The command line that the call starts, as arguments of its own; "" without one."""
        command = command_line(self._question.tool, self._arguments)
        return msgspec.json.encode({"starts": command}).decode() if command else ""

    def _below(self, columns: int) -> Sequence[Line]:
        described = spans.fold_all(self._description(), columns - 1)
        _, rows = self._ui.size()
        return described if self._listened else described[: DESCRIBED if rows > SMALL else 0]

    def _lasting_scope(self, until: str) -> Iterator[Line]:
        """Yield what would run without a question, and until when."""
        tools = [self._question.tool, *(self._others if self._wide else ())]
        scope = f"all {len(tools)} tools of {self._server}" if self._wide else _name(tools[0])
        asker = self._question.asked_by
        by = f" by {clean(str(asker), 'approval')}" if asker else ""
        yield (
            StyledText("Then "),
            StyledText(scope, "strong"),
            *(() if self._wide else self._owner()),
            StyledText(f" may be called{by} with any arguments, without a question, {until}."),
        )
        if destroying := [_name(each) for each in tools if each.hints.destructive]:
            named = ", ".join(destroying[:LONGEST_LIST])
            more = len(destroying) - LONGEST_LIST
            known = f"{named}, and {more} more" if more > 0 else named
            yield (
                StyledText(f"The tool says that it destroys or overwrites: {known}.", "warning"),
            )

    def _owner(self) -> Line:
        match self._question.tool.server:
            case None:
                return (StyledText(", a function of this program,"),)
            case "":
                return (StyledText(", which runs on the server,"),)
            case _:
                return (StyledText(" of "), StyledText(self._server, "strong"))

    def _description(self) -> Iterator[Line]:
        tool = self._question.tool
        if not tool.spec.description.strip():
            return
        first, *rest = arguments.paragraph(tool.spec.description.strip(), "quote")
        source = f"{self._server} says: " if tool.server else "It says of itself: "
        yield (StyledText(source, "faint"), *first)
        yield from rest

    def _scope(self) -> Iterator[Line]:
        """Yield the scope of a lasting answer, if it can be chosen."""
        if self._others:
            many = f"all {len(self._others) + 1} tools of {self._server}"
            scope = StyledText(
                many if self._wide else "this tool", "warning" if self._wide else "strong"
            )
            yield (StyledText("This session and always mean: ", "faint"), scope)

    @property
    def _arguments(self) -> str:
        return self._question.call.arguments if self._edited is None else self._edited

    @property
    def _others(self) -> tuple[Tool, ...]:
        return self._question.others

    @property
    def _server(self) -> str:
        return _one_line(self._question.tool.server or "The tool")


def _name(tool: Tool) -> str:
    return _one_line(tool.own_name or tool.spec.name)


def _one_line(name: str) -> str:
    """Return a name on one line, complete, with nothing hidden in it."""
    return clean(name, "approval").replace("\n", "\u240a").replace("\t", "\u2409")

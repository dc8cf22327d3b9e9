"""Tool calls as rows: name, growing arguments, running time, result. And reasoning, in short."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from antiphon.client.formatting import count_noun
from antiphon.terminal import spans
from antiphon.terminal.spans import Line, StyledText, Wrapper
from antiphon.terminal.themes import Glyphs
from antiphon.tools.todos import Todo, count_done, parse_todos
from antiphon.types.events import ToolOutputAdded
from antiphon.types.messages import Progress, ToolResult
from antiphon.types.terminal_safe import clean, one_line

_ARGUMENTS = 60
"""Characters of the arguments that a row shows; up to twice as many are kept."""
_RESULT = 200

State = Literal["written", "ready", "asking", "running", "ok", "failed"]
_FAULTS = {
    "unknown_tool": "unknown tool",
    "invalid_arguments": "invalid arguments",
    "timed_out": "timed out",
}


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """One call: the beginning of its arguments, its progress, how it ended and its result.

    Every field but `todos`, the list that it writes, is cleaned. `word` says how it ended.
    """

    name: str
    since: float
    arguments: str = ""
    state: State = "written"
    progress: str = ""
    word: str = ""
    result: str = ""
    todos: tuple[Todo, ...] | None = None

    @property
    def settled(self) -> bool:
        """True once nothing will change any more."""
        return self.state in ("ok", "failed")

    def with_more(self, arguments: str) -> CallRow:
        """Return the row with more of its arguments."""
        if len(self.arguments) > 2 * _ARGUMENTS:
            return self
        more = _one_line(arguments[: 4 * _ARGUMENTS])
        return msgspec.structs.replace(self, arguments=self.arguments + more)

    def ready(self, arguments: str) -> CallRow:
        """Return the row with complete arguments."""
        if self.settled:
            return self
        todos = parse_todos(self.name, arguments)
        shown = _one_line(arguments[: 4 * _ARGUMENTS]) if todos is None else count_done(todos)
        return msgspec.structs.replace(self, arguments=shown, state="ready", todos=todos)

    def with_awaited_servers(self, servers: Sequence[str]) -> CallRow:
        """Return the row waiting for its tool, which one of these servers will bring."""
        names = ", ".join(_one_line(server) for server in servers)
        return msgspec.structs.replace(self, word=f"waits for the MCP server {names} to start")

    def with_state(self, state: State, now: float) -> CallRow:
        """Return the row waiting for the user, or running."""
        if self.settled:
            return self
        return msgspec.structs.replace(self, state=state, since=now, word="", progress="")

    def with_hooks(self, when: str, now: float) -> CallRow:
        """Return the row while hooks run before the call, or after its tool."""
        if when == "before":
            return msgspec.structs.replace(
                self.with_state("running", now), progress="hooks check it"
            )
        return msgspec.structs.replace(self, progress="hooks run after it")

    def with_progress(self, progress: Progress) -> CallRow:
        """Return the row with its progress."""
        share = ""
        if progress.total:
            share = f"{min(100, max(0, round(100 * progress.done / progress.total)))}%"
        message = _one_line(progress.message[:_RESULT])
        return msgspec.structs.replace(self, progress=f"{share} {message}".strip())

    def as_refused(self, by: str, reason: str = "") -> CallRow:
        """Return the row refused; `reason` is that of a hook."""
        words = {"rule": "refused by a rule", "hook": "refused by a hook", "person": "refused"}
        word = words.get(by, "refused: nobody to ask")
        result = _short(reason) if by == "hook" else self.result
        return msgspec.structs.replace(self, state="failed", word=word, result=result)

    def with_result(self, result: ToolResult, seconds: float) -> CallRow:
        """Return the row with its result."""
        if self.settled:
            return self
        fault = _FAULTS.get(result.fault, result.fault) if result.fault else "failed"
        return msgspec.structs.replace(
            self,
            state="failed" if result.is_error else "ok",
            word=f"{fault if result.is_error else 'ok'} {seconds:.1f} s",
            result=_short(result.output),
        )

    def with_output(self, event: ToolOutputAdded) -> CallRow:
        """Return the row with the output that was saved, wherever the call ran."""
        if self.settled:
            return self
        state: State = "failed" if event.is_error else "ok"
        row = self if event.arguments is None else self.ready(event.arguments)
        word = "cancelled" if event.cancelled else state
        return msgspec.structs.replace(row, state=state, word=word, result=_short(event.output))

    def line(self, now: float, glyphs: Glyphs) -> Line:
        """Return its row."""
        arguments = spans.clip([StyledText(self.arguments)], _ARGUMENTS, glyphs.more)
        head = (
            StyledText(f"{self._sign(now, glyphs)} ", self._style),
            StyledText(self.name, "name"),
            StyledText("("),
            *arguments,
            StyledText(") "),
        )
        match self.state:
            case "asking":
                return (*head, StyledText("waits for you", "warning"))
            case "running":
                seconds = StyledText(f"{now - self.since:.0f} s", "faint")
                return (*head, seconds, StyledText(f" {self.progress}", "faint"))
            case "ok" | "failed":
                return (*head, StyledText(self.word, self._style))
            case _:
                return (*head, StyledText(self.word, "faint")) if self.word else head

    def lines(self, glyphs: Glyphs, columns: int) -> list[Line]:
        """Return the final lines, of a settled call or of one that will not settle any more."""
        if not self.settled:
            word = "cancelled" if self.state == "running" else "not run"
            gone = msgspec.structs.replace(self, state="failed", word=word)
            return [spans.clip(gone.line(0, glyphs), columns, glyphs.more)]
        shown = [self.line(0, glyphs)]
        if self.todos and self.state == "ok":
            return [spans.clip(shown[0], columns, glyphs.more), *todo_lines(self.todos, glyphs)]
        if self.result:
            shown.append((StyledText("  "), StyledText(self.result, "faint")))
        return [spans.strip(spans.clip(line, columns, glyphs.more)) for line in shown]

    @property
    def _style(self) -> str:
        return {"ok": "ok", "failed": "error", "asking": "warning"}.get(self.state, "faint")

    def _sign(self, now: float, glyphs: Glyphs) -> str:
        match self.state:
            case "ok":
                return glyphs.ok
            case "failed":
                return glyphs.failed
            case "asking":
                return "?"
            case _:
                return glyphs.spinner[int(now * 10) % len(glyphs.spinner)]


CallChange = Callable[[CallRow], CallRow]


def _one_line(text: str) -> str:
    return " ".join(clean(text, "approval").replace("\n", " ").split("\t"))


def _short(text: str) -> str:
    """Return the first line with text, and the number of further lines."""
    lines = [line for line in text[: 8 * _RESULT].splitlines() if line.strip()]
    if not lines:
        return "(nothing)"
    more = text.count("\n", 0, len(text.rstrip()))
    return clean(lines[0][:_RESULT].strip(), "code") + (f"  (+{more} lines)" if more else "")


def todo_lines(todos: Iterable[Todo], glyphs: Glyphs) -> list[Line]:
    """Return a to-do list, one line for each item; the text is cleaned."""
    looks = {
        "pending": (glyphs.task, ""),
        "in_progress": (glyphs.doing, "strong"),
        "done": (glyphs.done, "faint"),
    }
    lines: list[Line] = []
    for item in todos:
        sign, style = looks[item.status]
        lines.append((StyledText(f"  {sign} {one_line(item.text)}", style),))
    return lines


# Reasoning: a few rows while it streams, one line when it has ended.


PREVIEW = 3
"""Rows of reasoning that are shown while it streams."""
_CHARACTERS_PER_TOKEN = 4


class Reasoning:
    """The reasoning of one reply; only its end is formatted when it is drawn."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0
        self._since = 0.0
        self._told = 0  # seconds, by the server

    @property
    def text(self) -> str:
        """All of it, as it came."""
        return "".join(self._pieces)

    def feed(self, text: str, now: float, seconds: int = 0) -> None:
        """Append more of it; `seconds` is how long it has taken, where the server says so."""
        if not self._pieces:
            self._since = now
        self._told = max(self._told, seconds)
        self._pieces.append(text)
        self._size += len(text)

    def lines(self, columns: int, now: float, glyphs: Glyphs) -> list[Line]:
        """Return its rows while it streams."""
        if not self._pieces:
            return []
        end = clean(self._end(2 * PREVIEW * columns), "prose").replace("\n", " ")
        wrapper = Wrapper(breaking=True)
        preview = wrapper.feed([StyledText(end, "faint")], max(1, columns - 2)) + wrapper.close()
        shown = [(StyledText("  "), *line) for line in preview[-PREVIEW:]]
        sign = glyphs.spinner[int(now * 10) % len(glyphs.spinner)]
        status = self._with_size(f"{sign} thinking {self._took(now):.0f} s")
        return [spans.clip(status, columns, glyphs.more), *shown]

    def summary(self, now: float) -> Line | None:
        """Return the line that stays, with seconds from 1 s on; None if there was no reasoning."""
        if not self._pieces:
            return None
        took = self._took(now)
        seconds = f" for {took:.0f} s" if took >= 1 else ""
        return self._with_size(f"thought{seconds}")

    def _took(self, now: float) -> float:
        """Return the seconds: more than were seen, if the reasoning began earlier."""
        return max(now - self._since, self._told)

    def _with_size(self, words: str) -> Line:
        tokens = max(1, self._size // _CHARACTERS_PER_TOKEN)
        return (StyledText(f"{words}, {count_noun(tokens, 'token')}", "faint"),)

    def _end(self, size: int) -> str:
        found: list[str] = []
        for piece in reversed(self._pieces):
            found.append(piece)
            size -= len(piece)
            if size <= 0:
                break
        return "".join(reversed(found))

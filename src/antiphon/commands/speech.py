"""An answer as it is spoken: text to stdout, what else happens to stderr."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any, Protocol, TextIO

import msgspec

from antiphon import events
from antiphon.clean import Cleaner, clean
from antiphon.client.amounts import dollars
from antiphon.commands.exit_codes import DONE, FAILED, INCOMPLETE, of_fault
from antiphon.errors import AntiphonError
from antiphon.events import (
    Event,
    MessageCompleted,
    ReasoningDelta,
    RunStatus,
    TextDelta,
    ToolCallReady,
    ToolOutputAdded,
    TurnRestarted,
    UsageAdded,
)
from antiphon.runs import Fault, Reason, Status, Usage
from antiphon.tools.happenings import ConsentAsked, Happening, ToolEnded

_CODES = {
    Status.COMPLETED: DONE,
    Status.INCOMPLETE: INCOMPLETE,
    Status.EXPIRED: INCOMPLETE,
}
_WIDTH = 200  # characters of a tool's arguments or output that a note shows


def code(run: RunStatus) -> int:
    """The exit code of a run that has ended so."""
    return of_fault(run.error.code) if run.error else _CODES.get(run.status, FAILED)


class Page(Protocol):
    """Where an answer is written."""

    on_terminal: bool

    @property
    def used(self) -> bool:
        """Whether anything was written."""
        ...

    def write(self, text: str) -> None:
        """The next piece of the answer."""
        ...

    def end(self) -> None:
        """End the line, if one is begun."""
        ...

    def blank(self) -> None:
        """Leave a line blank; what follows is another paragraph."""
        ...


class Paper:
    """Where bytes are written at once: as they are into a pipe, cleaned on a terminal.

    `raw`: as they are on a terminal too.
    """

    def __init__(self, out: TextIO, *, raw: bool = False) -> None:
        self.on_terminal = out.isatty()
        self._out = out
        self._cleaner = Cleaner() if self.on_terminal and not raw else None
        self._last = ""

    @property
    def used(self) -> bool:
        """Whether anything was written."""
        return bool(self._last)

    def write(self, text: str) -> None:
        """The next piece; it is seen at once."""
        if not text:
            return
        self._last = text[-1]
        shown = self._cleaner.feed(text) if self._cleaner else text
        self._out.buffer.write(shown.encode("utf-8", "replace"))
        self._out.buffer.flush()

    def end(self) -> None:
        """End the line, if one is begun."""
        if self._last and self._last != "\n":
            self.write("\n")

    def blank(self) -> None:
        """Leave a line blank."""
        self.end()
        self.write("\n")


def note(text: str) -> None:
    """A line on stderr for whoever watches; foreign words in it cannot act on the terminal."""
    with suppress(OSError):  # an answer is not lost because nobody can be told about it
        print(clean(text), file=sys.stderr, flush=True)


class Speech(Protocol):
    """What is made of a run's events."""

    @property
    def code(self) -> int:
        """The exit code that they come to."""
        ...

    def tell(self, number: int, event: Event) -> None:
        """The next event."""
        ...

    def happened(self, happening: Happening) -> None:
        """What happens to a tool here."""
        ...

    def close(self, end: BaseException | None = None) -> None:
        """No more will come; `end` is what cut it short."""
        ...


class Thoughts:
    """Writes a model's reasoning to stderr, with whatever else is made of its events."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._cleaner = Cleaner()
        self._mid_line = False

    @property
    def code(self) -> int:
        """That of the speech."""
        return self._speech.code

    def tell(self, number: int, event: Event) -> None:
        """The next event."""
        if isinstance(event, ReasoningDelta):
            self._speech.tell(number, event)
            self._think(event.text)
            return
        self._end_line()
        self._speech.tell(number, event)

    def happened(self, happening: Happening) -> None:
        """What happens to a tool here."""
        self._speech.happened(happening)

    def close(self, end: BaseException | None = None) -> None:
        """No more will come."""
        self._end_line()
        self._speech.close(end)

    def _think(self, text: str) -> None:
        with suppress(OSError):
            print(self._cleaner.feed(text), end="", file=sys.stderr, flush=True)
        self._mid_line = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._mid_line:
            self._think("\n")


class Answer:
    """Writes the text of a run's events; `code` is the exit code they come to."""

    def __init__(self, page: Page, *, quiet: bool) -> None:
        self.code = FAILED
        self._page = page
        self._quiet = quiet
        self._paragraph = False
        self._used = Usage()

    def tell(self, number: int, event: Event) -> None:
        """The next event."""
        match event:
            case TextDelta(text=text):
                if self._paragraph:
                    self._page.blank()
                    self._paragraph = False
                self._page.write(text)
            case ReasoningDelta() if self._page.on_terminal:
                self._page.end()
            case MessageCompleted():
                self._paragraph = self._page.used
            case ToolCallReady(name=name, arguments=arguments):
                self._aside(f"{name}({_short(arguments)})")
            case ToolOutputAdded(output=output, is_error=is_error):
                self._aside(f"{'failed' if is_error else 'gave'}: {_short(output)}")
            case TurnRestarted(reason=reason):
                self._page.end()
                self._paragraph = False
                self._aside(f"the reply begins again ({reason}); what was written of it is void")
            case UsageAdded(usage=usage):
                self._used += usage
            case RunStatus(status=status) if status.ended:
                self.code = code(event)
                # On one screen, or in one file, the answer's line ends before another begins.
                self._page.end()
                self._end(event)
                self._bill()
            case _:
                pass

    def happened(self, happening: Happening) -> None:
        """What happens to a tool here: what is worth a line comes as an event too."""

    def close(self, end: BaseException | None = None) -> None:
        """No more will come: the last line ends."""
        self._page.end()

    def _end(self, run: RunStatus) -> None:
        if run.error is not None:
            note(f"antiphon: {run.error.message} ({run.error.code})")
        elif self.code != DONE:
            note(f"antiphon: the answer is {run.status}{f' ({run.reason})' if run.reason else ''}")

    def _bill(self) -> None:
        used = self._used
        if used.cost is not None:
            tokens = f"{used.input_tokens:,} tokens in, {used.output_tokens:,} out"
            self._aside(f"antiphon: {tokens}, {dollars(used.cost)}")

    def _aside(self, text: str) -> None:
        if self._quiet:
            return
        if self._page.on_terminal:
            self._page.end()
        note(text)


class Lines:
    """Writes every event as one line of JSON that begins with its number.

    The last line has the final status: `turn.ended`, or `local.ended` where the end came from here.
    """

    def __init__(self, page: Page) -> None:
        self.code = FAILED
        self._page = page
        self._ended = False

    def tell(self, number: int, event: Event) -> None:
        """The next event."""
        self._page.write(f'{{"id":{number},{events.encode(event)[1:].decode()}\n')
        if isinstance(event, RunStatus) and event.status.ended:
            self._ended = True
            self.code = code(event)

    def happened(self, happening: Happening) -> None:
        """What happens to a tool here; its output comes as an event."""
        match happening:
            case ToolEnded(tool_call_id=call_id, result=result, seconds=seconds):
                told = {
                    "type": "local.tool_ended",
                    "tool_call_id": call_id,
                    "seconds": round(seconds, 3),
                    "is_error": result.is_error,
                    "fault": result.fault,
                }
                self._write(told)
            case ConsentAsked():
                pass  # nobody is asked where lines are written
            case _:
                self._write(happening)

    def close(self, end: BaseException | None = None) -> None:
        """No more will come."""
        if end is not None and not self._ended:
            status, fault = _cut_short(end)
            self._write({"type": "local.ended", "status": status, "error": fault})

    def _write(self, told: Any) -> None:
        self._page.write(f"{msgspec.json.encode(told).decode()}\n")


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call and its output, None where it has none; `arguments` are JSON as it came."""

    id: str
    name: str
    arguments: str
    output: str | None = None
    is_error: bool = False


class Told(msgspec.Struct, kw_only=True):
    """A run and its answer, as one object of JSON. `cost` in US dollars, None if unknown."""

    text: str = ""
    status: str = "failed"
    reason: Reason | None = None
    error: Fault | None = None
    usage: dict[str, int] = {}
    cost: float | None = None
    thread_id: str | None = None
    run_id: str | None = None
    tool_calls: list[Called] = []


class Whole:
    """Writes one object of JSON when all is over."""

    def __init__(self, page: Page) -> None:
        self.code = FAILED
        self._page = page
        self._told = Told()
        self._ended = False
        self._texts: list[str] = []
        self._fresh: list[str] = []
        self._calls: dict[str, Called] = {}
        self._open: list[str] = []
        self._used = Usage()

    def tell(self, number: int, event: Event) -> None:
        """The next event."""
        match event:
            case TextDelta(text=text):
                self._fresh.append(text)
            case MessageCompleted():
                self._end_text()
                self._open = []
            case ToolCallReady(tool_call_id=call, name=name, arguments=arguments):
                self._calls[call] = Called(id=call, name=name, arguments=arguments)
                self._open.append(call)
            case ToolOutputAdded(tool_call_id=call, output=output, is_error=is_error):
                if known := self._calls.get(call):
                    self._calls[call] = msgspec.structs.replace(
                        known, output=output, is_error=is_error
                    )
            case TurnRestarted():
                self._take_back()
            case UsageAdded(usage=usage):
                self._used += usage
            case RunStatus():
                self._move(event)
            case _:
                pass

    def happened(self, happening: Happening) -> None:
        """What happens to a tool here: its output comes as an event."""

    def close(self, end: BaseException | None = None) -> None:
        """No more will come: write what there is."""
        if end is not None and not self._ended:
            self._told.status, self._told.error = _cut_short(end)
        self._end_text()
        used = self._used
        self._told.text = "\n\n".join(self._texts)
        self._told.tool_calls = list(self._calls.values())
        self._told.cost = used.cost
        self._told.usage = {
            "input_tokens": used.input_tokens,
            "output_tokens": used.output_tokens,
            "cached_tokens": used.cached_tokens,
            "reasoning_tokens": used.reasoning_tokens,
        }
        self._page.write(f"{msgspec.json.encode(self._told).decode()}\n")

    def _end_text(self) -> None:
        if text := "".join(self._fresh):
            self._texts.append(text)
        self._fresh = []

    def _take_back(self) -> None:
        """What was written of a reply that begins again is void."""
        self._fresh = []
        for call in self._open:
            del self._calls[call]
        self._open = []

    def _move(self, run: RunStatus) -> None:
        told = self._told
        told.run_id, told.thread_id = run.run_id, run.thread_id
        told.status, told.reason, told.error = run.status, run.reason, run.error
        if run.status.ended:
            self._ended = True
            self.code = code(run)


def _cut_short(end: BaseException) -> tuple[str, Fault | None]:
    """The status of an answer that this ended, and why."""
    match end:
        case AntiphonError():
            return "failed", Fault(end.code, end.message)
        case asyncio.CancelledError() | KeyboardInterrupt():
            return "cancelled", None
        case _:
            return "failed", None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "..."

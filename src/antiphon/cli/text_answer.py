"""Write an answer as text, with notes on stderr."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Protocol

from antiphon.cli.exit_codes import DONE, FAILED, INCOMPLETE, code_for_fault
from antiphon.cli.output import TextOutput, note
from antiphon.client.formatting import dollars
from antiphon.client.outcome import hint_for
from antiphon.tools.tool_events import ToolEvent
from antiphon.types.events import (
    Event,
    MessageCompleted,
    ReasoningDelta,
    RefusalDelta,
    RunStatus,
    TextDelta,
    ToolCallReady,
    ToolOutputAdded,
    TurnRestarted,
    UsageAdded,
)
from antiphon.types.runs import Status, Usage
from antiphon.types.terminal_safe import Cleaner

_CODES = {
    Status.COMPLETED: DONE,
    Status.INCOMPLETE: INCOMPLETE,
    Status.EXPIRED: INCOMPLETE,
}
_WIDTH = 200  # characters of a tool's arguments or output that a note shows


def exit_code_of(run: RunStatus) -> int:
    """Return the exit code of an ended run."""
    return code_for_fault(run.error.code) if run.error else _CODES.get(run.status, FAILED)


class AnswerWriter(Protocol):
    """Interface of the writers of a run's events."""

    @property
    def code(self) -> int:
        """The exit code."""
        ...

    def write_event(self, number: int, event: Event) -> None:
        """Write the next event."""
        ...

    def on_tool_event(self, happening: ToolEvent) -> None:
        """Write an event of a tool here."""
        ...

    def close(self, end: BaseException | None = None) -> None:
        """Finish; `end` is the exception that cut the answer short."""
        ...


class ReasoningWriter:
    """Writes the model's reasoning to stderr, and passes the events on to another writer."""

    def __init__(self, speech: AnswerWriter) -> None:
        self._writer = speech
        self._cleaner = Cleaner()
        self._mid_line = False

    @property
    def code(self) -> int:
        """The exit code of the other writer."""
        return self._writer.code

    def write_event(self, number: int, event: Event) -> None:
        """Write the next event."""
        if isinstance(event, ReasoningDelta):
            self._writer.write_event(number, event)
            self._think(event.text)
            return
        self._end_line()
        self._writer.write_event(number, event)

    def on_tool_event(self, happening: ToolEvent) -> None:
        """Pass on an event of a tool here."""
        self._writer.on_tool_event(happening)

    def close(self, end: BaseException | None = None) -> None:
        """Finish."""
        self._end_line()
        self._writer.close(end)

    def _think(self, text: str) -> None:
        with suppress(OSError):
            print(self._cleaner.feed(text), end="", file=sys.stderr, flush=True)
        self._mid_line = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._mid_line:
            self._think("\n")


class TextWriter:
    """Writes the text of a run's events; `code` is the exit code."""

    def __init__(self, page: TextOutput, *, quiet: bool) -> None:
        self.code = FAILED
        self._page = page
        self._quiet = quiet
        self._paragraph = False
        self._refused = False
        self._used = Usage()

    def write_event(self, number: int, event: Event) -> None:
        """Write the next event."""
        match event:
            case TextDelta(text=text):
                if self._paragraph:
                    self._page.blank()
                    self._paragraph = False
                self._page.write(text)
            case RefusalDelta(text=text):
                self._refuse(text)
            case ReasoningDelta() if self._page.on_terminal:
                self._page.end()
            case MessageCompleted():
                self._paragraph = self._page.used
                self._refused = False
            case ToolCallReady(name=name, arguments=arguments):
                self._note(f"{name}({_short(arguments)})")
            case ToolOutputAdded(output=output, is_error=is_error):
                self._note(f"{'failed' if is_error else 'gave'}: {_short(output)}")
            case TurnRestarted(reason=reason):
                self._page.end()
                self._paragraph = self._refused = False
                self._note(f"the reply begins again ({reason}); what was written of it is void")
            case UsageAdded(usage=usage):
                self._used += usage
            case RunStatus(status=status) if status.ended:
                self.code = exit_code_of(event)
                # On one screen, or in one file, the answer's line ends before another begins.
                self._page.end()
                self._end(event)
                self._note_usage()
            case _:
                pass

    def on_tool_event(self, happening: ToolEvent) -> None:
        """Do nothing: the call and its output come as events of the run."""

    def close(self, end: BaseException | None = None) -> None:
        """End the last line."""
        self._page.end()

    def _refuse(self, text: str) -> None:
        """Write a refusal in place of the answer, with a note."""
        if not self._refused:
            self._refused = True
            if self._page.used:
                self._page.blank()
            self._paragraph = False
            self._note("antiphon: the model refuses to answer")
        self._page.write(text)

    def _end(self, run: RunStatus) -> None:
        if run.error is not None:
            note(f"antiphon: {run.error.message} ({run.error.code})")
            if hint := hint_for(run.error.code):
                note(f"antiphon: {hint}")
        elif self.code != DONE:
            note(f"antiphon: the answer is {run.status}{f' ({run.reason})' if run.reason else ''}")

    def _note_usage(self) -> None:
        used = self._used
        if used.cost is not None:
            tokens = f"{used.input_tokens:,} tokens in, {used.output_tokens:,} out"
            self._note(f"antiphon: {tokens}, {dollars(used.cost)}")

    def _note(self, text: str) -> None:
        if self._quiet:
            return
        if self._page.on_terminal:
            self._page.end()
        note(text)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "..."

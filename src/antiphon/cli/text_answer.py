"""An answer as it is spoken: text to a page, what else happens to stderr."""

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
    """The exit code of a run that has ended so."""
    return code_for_fault(run.error.code) if run.error else _CODES.get(run.status, FAILED)


class AnswerWriter(Protocol):
    """What is made of a run's events."""

    @property
    def code(self) -> int:
        """The exit code that they come to."""
        ...

    def tell(self, number: int, event: Event) -> None:
        """The next event."""
        ...

    def happened(self, happening: ToolEvent) -> None:
        """What happens to a tool here."""
        ...

    def close(self, end: BaseException | None = None) -> None:
        """No more will come; `end` is what cut it short."""
        ...


class ReasoningWriter:
    """Writes a model's reasoning to stderr, with whatever else is made of its events."""

    def __init__(self, speech: AnswerWriter) -> None:
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

    def happened(self, happening: ToolEvent) -> None:
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


class TextWriter:
    """Writes the text of a run's events; `exit_code_of` is the exit code they come to."""

    def __init__(self, page: TextOutput, *, quiet: bool) -> None:
        self.code = FAILED
        self._page = page
        self._quiet = quiet
        self._paragraph = False
        self._refused = False
        self._used = Usage()

    def tell(self, number: int, event: Event) -> None:
        """The next event."""
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
                self._aside(f"{name}({_short(arguments)})")
            case ToolOutputAdded(output=output, is_error=is_error):
                self._aside(f"{'failed' if is_error else 'gave'}: {_short(output)}")
            case TurnRestarted(reason=reason):
                self._page.end()
                self._paragraph = self._refused = False
                self._aside(f"the reply begins again ({reason}); what was written of it is void")
            case UsageAdded(usage=usage):
                self._used += usage
            case RunStatus(status=status) if status.ended:
                self.code = exit_code_of(event)
                # On one screen, or in one file, the answer's line ends before another begins.
                self._page.end()
                self._end(event)
                self._bill()
            case _:
                pass

    def happened(self, happening: ToolEvent) -> None:
        """What happens to a tool here: what is worth a line comes as an event too."""

    def close(self, end: BaseException | None = None) -> None:
        """No more will come: the last line ends."""
        self._page.end()

    def _refuse(self, text: str) -> None:
        """Write why the model will not answer in the answer's place, and say that it is that."""
        if not self._refused:
            self._refused = True
            if self._page.used:
                self._page.blank()
            self._paragraph = False
            self._aside("antiphon: the model refuses to answer")
        self._page.write(text)

    def _end(self, run: RunStatus) -> None:
        if run.error is not None:
            note(f"antiphon: {run.error.message} ({run.error.code})")
            if hint := hint_for(run.error.code):
                note(f"antiphon: {hint}")
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


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "..."

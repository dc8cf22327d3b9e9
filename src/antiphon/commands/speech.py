"""An answer as it is spoken: text to stdout, what else happens to stderr."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TextIO

import msgspec

from antiphon import events
from antiphon.clean import Cleaner, clean
from antiphon.events import (
    Event,
    MessageCompleted,
    RunStatus,
    TextDelta,
    ToolCallReady,
    ToolOutputAdded,
    TurnRestarted,
    UsageAdded,
)
from antiphon.runs import Status, Usage
from antiphon.tools.happenings import ConsentAsked, Happening, ToolEnded

ANSWERED, FAILED, INCOMPLETE, REFUSED = 0, 1, 3, 4
_CODES = {
    Status.COMPLETED: ANSWERED,
    Status.INCOMPLETE: INCOMPLETE,
    Status.EXPIRED: INCOMPLETE,
}
_WIDTH = 200  # characters of a tool's arguments or output that a note shows


def code(status: Status) -> int:
    """The exit code of a run that has ended so."""
    return _CODES.get(status, FAILED)


class Paper:
    """Where bytes are written at once: as they are into a pipe, cleaned on a terminal."""

    def __init__(self, out: TextIO) -> None:
        self.on_terminal = out.isatty()
        self._out = out
        self._cleaner = Cleaner() if self.on_terminal else None
        self._last = ""

    @property
    def mid_line(self) -> bool:
        """Whether something was written and its line is not ended."""
        return bool(self._last) and self._last != "\n"

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


def note(text: str) -> None:
    """A line on stderr for whoever watches; foreign words in it cannot act on the terminal."""
    with suppress(OSError):  # an answer is not lost because nobody can be told about it
        print(clean(text), file=sys.stderr, flush=True)


class Answer:
    """Writes the text of a run's events; `code` is the exit code they come to."""

    def __init__(self, paper: Paper, *, quiet: bool) -> None:
        self.code = FAILED
        self._paper = paper
        self._quiet = quiet
        self._paragraph = False
        self._used = Usage()

    def tell(self, number: int, event: Event) -> None:
        """The next event."""
        match event:
            case TextDelta(text=text):
                if self._paragraph:
                    self._break("\n")
                self._paper.write(text)
            case MessageCompleted():
                self._paragraph = self._paper.used
            case ToolCallReady(name=name, arguments=arguments):
                self._aside(f"{name}({_short(arguments)})")
            case ToolOutputAdded(output=output, is_error=is_error):
                self._aside(f"{'failed' if is_error else 'gave'}: {_short(output)}")
            case TurnRestarted(reason=reason):
                self._break("")
                self._aside(f"the reply begins again ({reason}); what was written of it is void")
            case UsageAdded(usage=usage):
                self._used += usage
            case RunStatus(status=status) if status.ended:
                self.code = code(status)
                self._end(event)
                self._bill()
            case _:
                pass

    def happened(self, happening: Happening) -> None:
        """What happens to a tool here: what is worth a line comes as an event too."""

    def close(self) -> None:
        """No more will come: the last line ends."""
        self._end_line()

    def _break(self, blank: str) -> None:
        """What follows is another paragraph than what was written so far."""
        self._end_line()
        self._paper.write(blank)
        self._paragraph = False

    def _end_line(self) -> None:
        if self._paper.mid_line:
            self._paper.write("\n")

    def _end(self, run: RunStatus) -> None:
        if run.error is not None:
            self._end_line()
            note(f"antiphon: {run.error.message} ({run.error.code})")
        elif self.code != ANSWERED:
            self._end_line()
            note(f"antiphon: the answer is {run.status}{f' ({run.reason})' if run.reason else ''}")

    def _bill(self) -> None:
        used = self._used
        if used.cost is not None:
            tokens = f"{used.input_tokens:,} tokens in, {used.output_tokens:,} out"
            self._aside(f"antiphon: {tokens}, {_dollars(used.cost)}")

    def _aside(self, text: str) -> None:
        if self._quiet:
            return
        if self._paper.on_terminal:
            self._end_line()
        note(text)


class Lines:
    """Writes every event as one line of JSON that begins with its number."""

    def __init__(self, paper: Paper) -> None:
        self.code = FAILED
        self._paper = paper

    def tell(self, number: int, event: Event) -> None:
        """The next event."""
        self._paper.write(f'{{"id":{number},{events.encode(event)[1:].decode()}\n')
        if isinstance(event, RunStatus) and event.status.ended:
            self.code = code(event.status)

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
                self._paper.write(f"{msgspec.json.encode(told).decode()}\n")
            case ConsentAsked():
                pass  # nobody is asked where lines are written
            case _:
                self._paper.write(f"{msgspec.json.encode(happening).decode()}\n")

    def close(self) -> None:
        """No more will come: every line has ended."""


def _dollars(cost: float) -> str:
    return "less than $0.0001" if 0 < cost < 0.0001 else f"${cost:.4f}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "..."

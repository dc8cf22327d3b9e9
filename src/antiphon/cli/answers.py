"""Write an answer as text with notes on stderr, or as JSON."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

import msgspec

from antiphon.cli.console import TextOutput, note
from antiphon.cli.exit_codes import DONE, FAILED, INCOMPLETE, code_for_fault
from antiphon.client.formatting import dollars
from antiphon.client.outcome import hint_for
from antiphon.tools.tool_events import ConsentAsked, ToolEnded, ToolEvent
from antiphon.types import events
from antiphon.types.errors import AntiphonError
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
from antiphon.types.messages import Citation, Message, list_pages
from antiphon.types.runs import Fault, Reason, Status, Usage
from antiphon.types.terminal_safe import Cleaner, json_text
from antiphon.types.thread_view import SourcesView

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

    def on_tool_event(self, event: ToolEvent) -> None:
        """Write an event of a tool here."""
        ...

    def close(self, end: BaseException | None = None) -> None:
        """Finish; `end` is the exception that cut the answer short."""
        ...


class ReasoningWriter:
    """Writes the model's reasoning to stderr, and passes the events on to another writer."""

    def __init__(self, writer: AnswerWriter) -> None:
        self._writer = writer
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
            if event.text:
                self._think(event.text)
            return
        self._end_line()
        self._writer.write_event(number, event)

    def on_tool_event(self, event: ToolEvent) -> None:
        """Pass on an event of a tool here."""
        self._writer.on_tool_event(event)

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


class TextAnswerWriter:
    """Writes the text of a run's events; `code` is the exit code."""

    def __init__(self, output: TextOutput, *, quiet: bool) -> None:
        self.code = FAILED
        self._output = output
        self._quiet = quiet
        self._paragraph = False
        self._refused = False
        self._used = Usage()

    def write_event(self, number: int, event: Event) -> None:
        """Write the next event."""
        match event:
            case TextDelta(text=text):
                if self._paragraph:
                    self._output.blank()
                    self._paragraph = False
                self._output.write(text)
            case RefusalDelta(text=text):
                self._refuse(text)
            case ReasoningDelta() if self._output.on_terminal:
                self._output.end()
            case MessageCompleted(message=message):
                self._paragraph = self._output.used
                self._refused = False
                self._list_sources(message)
            case ToolCallReady(name=name, arguments=arguments):
                self._note(f"{name}({_short(arguments)})")
            case ToolOutputAdded(output=output, is_error=is_error):
                self._note(f"{'failed' if is_error else 'gave'}: {_short(output)}")
            case TurnRestarted(reason=reason):
                self._output.end()
                self._paragraph = self._refused = False
                self._note(f"the reply begins again ({reason}); what was written of it is void")
            case UsageAdded(usage=usage):
                self._used += usage
            case RunStatus(status=status) if status.ended:
                self.code = exit_code_of(event)
                # On one screen, or in one file, the answer's line ends before another begins.
                self._output.end()
                self._end(event)
                if self._used.cost is not None:
                    used = self._used
                    tokens = f"{used.input_tokens:,} tokens in, {used.output_tokens:,} out"
                    self._note(f"antiphon: {tokens}, {dollars(used.cost)}")
            case _:
                pass

    def on_tool_event(self, event: ToolEvent) -> None:
        """Do nothing: the call and its output come as events of the run."""

    def close(self, end: BaseException | None = None) -> None:
        """End the last line."""
        self._output.end()

    def _refuse(self, text: str) -> None:
        """Write a refusal in place of the answer, with a note."""
        if not self._refused:
            self._refused = True
            if self._output.used:
                self._output.blank()
            self._paragraph = False
            self._note("antiphon: the model refuses to answer")
        self._output.write(text)

    def _list_sources(self, message: Message) -> None:
        if pages := list_pages(message.citations):
            for line in SourcesView(pages).text.split("\n"):
                self._note(line)

    def _end(self, run: RunStatus) -> None:
        if run.error is not None:
            note(f"antiphon: {run.error.message} ({run.error.code})")
            if hint := hint_for(run.error.code):
                note(f"antiphon: {hint}")
        elif self.code != DONE:
            note(f"antiphon: the answer is {run.status}{f' ({run.reason})' if run.reason else ''}")

    def _note(self, text: str) -> None:
        if self._quiet:
            return
        if self._output.on_terminal:
            self._output.end()
        note(text)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "..."


# An answer as JSON: a line for every event, or one object at the end.


class JsonLinesWriter:
    """Writes every event as a line of JSON that begins with the event's number.

    The last line has the final status: `turn.ended`, or `local.ended` if this program ended it.
    """

    def __init__(self, output: TextOutput) -> None:
        self.code = FAILED
        self._output = output
        self._ended = False

    def write_event(self, number: int, event: Event) -> None:
        """Write the next event."""
        self._output.write(f'{{"id":{number},{json_text(events.encode(event))[1:]}\n')
        if isinstance(event, RunStatus) and event.status.ended:
            self._ended = True
            self.code = exit_code_of(event)

    def on_tool_event(self, event: ToolEvent) -> None:
        """Write an event of a tool here; its output comes as an event of the run."""
        match event:
            case ToolEnded(tool_call_id=call_id, result=result, seconds=seconds):
                ended = {
                    "type": "local.tool_ended",
                    "tool_call_id": call_id,
                    "seconds": round(seconds, 3),
                    "is_error": result.is_error,
                    "fault": result.fault,
                }
                self._write(ended)
            case ConsentAsked():
                pass  # nobody is asked where lines are written
            case _:
                self._write(event)

    def close(self, end: BaseException | None = None) -> None:
        """Write `local.ended` if the answer was cut short here."""
        if end is not None and not self._ended:
            status, fault = _status_of_end(end)
            self._write({"type": "local.ended", "status": status, "error": fault})

    def _write(self, value: Mapping[str, object] | ToolEvent) -> None:
        self._output.write(f"{json_text(msgspec.json.encode(value))}\n")


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call with its output, None without one; `arguments` are the model's JSON text."""

    id: str
    name: str
    arguments: str
    output: str | None = None
    is_error: bool = False


class AnswerRecord(msgspec.Struct, kw_only=True):
    """A run and its answer, as one JSON object.

    `cost` is in US dollars, None if unknown; `refusal` is the text of the model's refusal,
    `citations` are the pages that the provider cites.
    """

    text: str = ""
    refusal: str | None = None
    status: str = "failed"
    reason: Reason | None = None
    error: Fault | None = None
    usage: dict[str, int] = {}
    cost: float | None = None
    thread_id: str | None = None
    run_id: str | None = None
    tool_calls: list[CallRecord] = []
    citations: list[Citation] = []


class JsonObjectWriter:
    """Writes one JSON object at the end."""

    def __init__(self, output: TextOutput) -> None:
        self.code = FAILED
        self._output = output
        self._record = AnswerRecord()
        self._ended = False
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._refused: list[str] = []
        self._fresh: list[str] = []
        self._calls: dict[str, CallRecord] = {}
        self._open: list[str] = []
        self._used = Usage()

    def write_event(self, number: int, event: Event) -> None:
        """Collect the next event."""
        match event:
            case TextDelta(text=text):
                self._fresh.append(text)
            case RefusalDelta(text=text):
                self._refused.append(text)
            case MessageCompleted(message=message):
                self._end_text()
                self._open = []
                self._record.citations += list_pages(message.citations)
            case ToolCallReady(tool_call_id=call, name=name, arguments=arguments):
                self._calls[call] = CallRecord(id=call, name=name, arguments=arguments)
                self._open.append(call)
            case ToolOutputAdded(tool_call_id=call, output=output, is_error=is_error):
                if known := self._calls.get(call):
                    self._calls[call] = msgspec.structs.replace(
                        known, output=output, is_error=is_error
                    )
            case TurnRestarted():
                self._fresh, self._refused = [], []
                for call in self._open:
                    del self._calls[call]
                self._open = []
            case UsageAdded(usage=usage):
                self._used += usage
            case RunStatus():
                self._set_status(event)
            case _:
                pass

    def on_tool_event(self, event: ToolEvent) -> None:
        """Do nothing: the output comes as an event of the run."""

    def close(self, end: BaseException | None = None) -> None:
        """Write the object."""
        if end is not None and not self._ended:
            self._record.status, self._record.error = _status_of_end(end)
        self._end_text()
        used = self._used
        self._record.text = "\n\n".join(self._texts)
        self._record.refusal = "\n\n".join(self._refusals) or None
        self._record.tool_calls = list(self._calls.values())
        self._record.cost = used.cost
        self._record.usage = {
            "input_tokens": used.input_tokens,
            "output_tokens": used.output_tokens,
            "cached_tokens": used.cached_tokens,
            "reasoning_tokens": used.reasoning_tokens,
        }
        self._output.write(f"{json_text(msgspec.json.encode(self._record))}\n")

    def _end_text(self) -> None:
        if text := "".join(self._fresh):
            self._texts.append(text)
        if refusal := "".join(self._refused):
            self._refusals.append(refusal)
        self._fresh, self._refused = [], []

    def _set_status(self, run: RunStatus) -> None:
        record = self._record
        record.run_id, record.thread_id = run.run_id, run.thread_id
        record.status, record.reason, record.error = run.status, run.reason, run.error
        if run.status.ended:
            self._ended = True
            self.code = exit_code_of(run)


def _status_of_end(end: BaseException) -> tuple[str, Fault | None]:
    """Return the status and error of an answer that this exception cut short."""
    match end:
        case AntiphonError():
            return "failed", Fault(end.code, end.message)
        case asyncio.CancelledError() | KeyboardInterrupt():
            return "cancelled", None
        case _:
            return "failed", None

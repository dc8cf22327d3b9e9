"""Write an answer as JSON: a line for every event, or one object at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from antiphon.cli.exit_codes import FAILED
from antiphon.cli.output import TextOutput
from antiphon.cli.text_answer import exit_code_of
from antiphon.tools.tool_events import ConsentAsked, ToolEnded, ToolEvent
from antiphon.types import events
from antiphon.types.errors import AntiphonError
from antiphon.types.events import (
    Event,
    MessageCompleted,
    RefusalDelta,
    RunStatus,
    TextDelta,
    ToolCallReady,
    ToolOutputAdded,
    TurnRestarted,
    UsageAdded,
)
from antiphon.types.runs import Fault, Reason, Usage
from antiphon.types.terminal_safe import json_text


class JsonLinesWriter:
    """Writes every event as a line of JSON that begins with the event's number.

    The last line has the final status: `turn.ended`, or `local.ended` if this program ended it.
    """

    def __init__(self, page: TextOutput) -> None:
        self.code = FAILED
        self._page = page
        self._ended = False

    def write_event(self, number: int, event: Event) -> None:
        """Write the next event."""
        self._page.write(f'{{"id":{number},{json_text(events.encode(event))[1:]}\n')
        if isinstance(event, RunStatus) and event.status.ended:
            self._ended = True
            self.code = exit_code_of(event)

    def on_tool_event(self, happening: ToolEvent) -> None:
        """Write an event of a tool here; its output comes as an event of the run."""
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
        """Write `local.ended` if the answer was cut short here."""
        if end is not None and not self._ended:
            status, fault = _status_of_end(end)
            self._write({"type": "local.ended", "status": status, "error": fault})

    def _write(self, told: Mapping[str, object] | ToolEvent) -> None:
        self._page.write(f"{json_text(msgspec.json.encode(told))}\n")


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call with its output, None without one; `arguments` are the model's JSON text."""

    id: str
    name: str
    arguments: str
    output: str | None = None
    is_error: bool = False


class RunRecord(msgspec.Struct, kw_only=True):
    """A run and its answer, as one JSON object.

    `cost` is in US dollars, None if unknown; `refusal` is the text of the model's refusal.
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


class JsonObjectWriter:
    """Writes one JSON object at the end."""

    def __init__(self, page: TextOutput) -> None:
        self.code = FAILED
        self._page = page
        self._record = RunRecord()
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
            case MessageCompleted():
                self._end_text()
                self._open = []
            case ToolCallReady(tool_call_id=call, name=name, arguments=arguments):
                self._calls[call] = CallRecord(id=call, name=name, arguments=arguments)
                self._open.append(call)
            case ToolOutputAdded(tool_call_id=call, output=output, is_error=is_error):
                if known := self._calls.get(call):
                    self._calls[call] = msgspec.structs.replace(
                        known, output=output, is_error=is_error
                    )
            case TurnRestarted():
                self._discard_reply()
            case UsageAdded(usage=usage):
                self._used += usage
            case RunStatus():
                self._set_status(event)
            case _:
                pass

    def on_tool_event(self, happening: ToolEvent) -> None:
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
        self._page.write(f"{json_text(msgspec.json.encode(self._record))}\n")

    def _end_text(self) -> None:
        if text := "".join(self._fresh):
            self._texts.append(text)
        if refusal := "".join(self._refused):
            self._refusals.append(refusal)
        self._fresh, self._refused = [], []

    def _discard_reply(self) -> None:
        """Discard the reply of a turn that restarts."""
        self._fresh, self._refused = [], []
        for call in self._open:
            del self._calls[call]
        self._open = []

    def _set_status(self, run: RunStatus) -> None:
        told = self._record
        told.run_id, told.thread_id = run.run_id, run.thread_id
        told.status, told.reason, told.error = run.status, run.reason, run.error
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

"""State of a run, read from its events, and a view of it for readers of the events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from antiphon.client.outcome import run_error
from antiphon.client.result import Result, ResultBuilder
from antiphon.engine import partial_json
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.errors import InvalidRequest
from antiphon.types.events import (
    ActionRequired,
    Event,
    MessageCompleted,
    Numbered,
    PendingAction,
    RunStatus,
    ToolOutputAdded,
)
from antiphon.types.runs import Fault, Reason, Run, Status


class RunState:
    """State of one run, read from its events.

    `waiting` holds the calls without an output by tool call id, from the last `action.required`.
    `text` is the text of the last reply, None if its beginning was not read. `after` is the number
    of the event after which reading begins, None for the current position of the run.
    """

    def __init__(self, run_id: str | None = None, after: int | None = None) -> None:
        self.run_id = run_id
        self.thread_id: str | None = None
        self.last_event = after or 0
        self.text: str | None = None
        self.status: Status | None = None
        self.reason: Reason | None = None
        self.error: Fault | None = None
        self.waiting: dict[str, PendingAction] = {}
        self._result = ResultBuilder()

    def add_batch(self, batch: Iterable[Numbered]) -> list[Numbered]:
        """Add a batch and return its new events."""
        new = [each for each in batch if each[0] > self.last_event]
        for number, event in new:
            self.add(number, event)
        return new

    def add(self, number: int, event: Event) -> None:
        """Add the next event."""
        self.last_event = number
        self._result.add(event)
        match event:
            case RunStatus():
                self.run_id, self.thread_id = event.run_id, event.thread_id
                self.status, self.reason, self.error = event.status, event.reason, event.error
                if event.status is not Status.ACTION_REQUIRED:
                    self.waiting.clear()  # approved calls have no output event
                if event.status is Status.IN_PROGRESS:
                    self.text = ""
            case MessageCompleted(message=message) if message.role == "assistant":
                self.text = message.text
            case ActionRequired():
                self.waiting = {action.tool_call_id: action for action in event.actions}
            case ToolOutputAdded():
                self.waiting.pop(event.tool_call_id, None)
            case _:
                pass

    def update(self, run: Run) -> None:
        """Set the status from the run itself."""
        self.run_id, self.thread_id = run.id, run.thread_id
        self.status, self.reason, self.error = run.status, run.reason, run.error

    def result(self) -> Result[str]:
        """Return the result of the events so far. Raises `InvalidRequest` before the first."""
        if self.run_id is None or self.thread_id is None or self.status is None:
            raise InvalidRequest("The run has no result before its first event is read.")
        return self._result.build(self.run_id, self.thread_id, self.status, self.text or "")

    @property
    def current_text(self) -> str:
        """Text of the reply so far, whether it is saved yet or not."""
        return self.text or self._result.unsaved_text

    def raise_for_status(self) -> None:
        """Raise the `RunError` of a run that has ended without completing."""
        if self.status is None:
            return
        ids = self.run_id or "", self.thread_id or ""
        if error := run_error(*ids, self.status, self.reason, self.error, self.text or ""):
            raise error


def partial_value(text: str) -> Any:
    """Return the JSON value that begins with this text; None if it is no JSON.

    The text may be in a code block, as some models write JSON.
    """
    fence, _, code = text.partition("\n")
    if fence.startswith("```"):
        text = code.partition("```")[0]
    try:
        return partial_json.parse_beginning(text)
    except ValueError:
        return None


class RunView:
    """Read-only view of a run's state, for readers of its events."""

    def __init__(self, state: RunState, processor: ToolProcessor | None = None) -> None:
        self._state = state
        self._processor = processor

    @property
    def run_id(self) -> str | None:
        """Id of the run; None before its first event."""
        return self._state.run_id

    @property
    def thread_id(self) -> str | None:
        """Id of the run's thread; None before the first `run.status`."""
        return self._state.thread_id

    @property
    def last_event(self) -> int:
        """Number of the last event read: `events(run_id, after=...)` continues from here."""
        return self._state.last_event

    @property
    def status(self) -> Status | None:
        """Status of the run; None before the first `run.status`."""
        return self._state.status

    @property
    def reason(self) -> Reason | None:
        """Reason of an `incomplete` run."""
        return self._state.reason

    @property
    def error(self) -> Fault | None:
        """Error of a `failed` run."""
        return self._state.error

    def result(self) -> Result[str]:
        """Return the answer so far, with messages, calls and usage of the events that were read.

        Raises `InvalidRequest` before the first event.
        """
        return self._state.result()

    def raise_for_status(self) -> None:
        """Raise the `RunError` of a run that has ended without completing; else do nothing."""
        self._state.raise_for_status()

    def cancel_tool(self, tool_call_id: str) -> bool:
        """Cancel a tool that runs in this process; return False if it is not running.

        Any thread may call this. The model gets an output, and the run goes on.
        """
        return self._processor is not None and self._processor.cancel(tool_call_id)

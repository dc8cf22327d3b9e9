"""Recovery from broken connections: retries, and the event where a stream resumes."""

from __future__ import annotations

from random import uniform
from typing import Any

import msgspec

from antiphon.api.operations import Follow, GetRun, Operation
from antiphon.types import events
from antiphon.types.errors import AntiphonError, ConnectionLost, TryAgain
from antiphon.types.events import TYPES, Event, Numbered, RunStatus, TurnEnded
from antiphon.types.runs import Run, Status
from antiphon.wires.sse import Decoder, SseFrame

PAUSES = (0.0, 0.1, 0.3, 1.0, 3.0)
"""Seconds before each retry. The first is immediate: most often an idle connection was closed."""
MAX_PAUSE = 5.0
REPORT_SECONDS = 3.0
"""Seconds without a connection after which the loss is reported to the user."""

_TURN_ENDINGS = (Status.COMPLETED, Status.INCOMPLETE)


class RetrySchedule:
    """Schedule of the retries of one operation. It reads no clock: the time is an argument.

    `patience` is the time between the first failure and the last retry, in seconds; it may be
    raised meanwhile. `max_retries` is their number, None for as many as there is time for.
    """

    def __init__(self, patience: float, max_retries: int | None = None) -> None:
        self.patience = patience
        self._max_retries = max_retries
        self._failures = 0
        self._failing_since: float | None = None
        self._reported = False

    def pause(self, failure: AntiphonError, now: float, requested_pause: float = 0.0) -> float:
        """Return the seconds until the next retry. Raises the failure if a retry cannot help.

        The pause is at least the failure's `retry_after`, and at least `requested_pause` seconds.
        """
        retry_after = failure.details.get("retry_after")
        if not isinstance(failure, TryAgain) and retry_after is None:
            raise failure
        if self._max_retries is not None and self._failures >= self._max_retries:
            raise failure
        if self._failing_since is None:
            self._failing_since = now
        usual = PAUSES[self._failures] if self._failures < len(PAUSES) else MAX_PAUSE
        self._failures += 1
        pause = max(usual * uniform(0.5, 1.0), float(retry_after or 0.0), requested_pause)  # noqa: S311 - spreads load
        if now + pause > self._failing_since + self.patience:
            raise failure
        return pause

    def reset(self) -> None:
        """Forget earlier failures, because data arrived."""
        self._failures = 0
        self._failing_since = None
        self._reported = False

    def report_loss(self, now: float, pause: float) -> float | None:
        """Return the seconds of patience that are left, once per loss, before a long pause ends.

        None while the connection may be back within `REPORT_SECONDS`.
        """
        since = self._failing_since
        if since is None or self._reported or now + pause < since + REPORT_SECONDS:
            return None
        self._reported = True
        return since + self.patience - now


class ResumableStream:
    """One stream of events over any number of connections.

    Feed it the bytes of each connection; it returns each event once, in order. An operation whose
    first response was lost is sent again with its idempotency key and joins the same turn. `pause`
    is the time that the server requests between two connections, in seconds.
    """

    def __init__(self, operation: Operation[Any]) -> None:
        self.over = False
        self.pause = 0.0
        self.run_id: str | None = getattr(operation, "run_id", None)
        self._operation = operation
        self._whole_run = isinstance(operation, Follow)
        self._types = operation.types if isinstance(operation, Follow) else None
        self._last = operation.after if isinstance(operation, Follow) else None
        self._status: Status | None = None
        self._turn_ended = False
        self._received_events = False
        self._closed_cleanly = False
        self._decoder = Decoder()

    def next_operation(self) -> Operation[Any]:
        """Return the operation to send on a new connection."""
        self._received_events = self._closed_cleanly = False
        self._decoder = Decoder()
        if self._last is None or self.run_id is None:
            return self._operation
        return Follow(self.run_id, after=self._last, types=self._types)

    def feed(self, data: bytes) -> list[Numbered]:
        """Return the events completed by this data. Raises `ConnectionLost` if one is missing."""
        new: list[Numbered] = []
        last = self._last
        frames = self._decoder.feed(data)
        if self._decoder.retry is not None:
            self.pause = self._decoder.retry / 1000
        for frame in frames:
            number = _event_number(frame)
            if last is not None and number <= last:
                continue
            if last is not None and number != last + 1 and self._types is None:
                raise ConnectionLost(f"Event {number} came after event {last}.")
            last = number
            event = _decode_event(frame)
            if event is not None:
                self._apply(event)
                new.append((number, event))
            if self.over:
                break
        self._last = last
        self._received_events = self._received_events or bool(new)
        return new

    def _apply(self, event: Event) -> None:
        self._turn_ended = type(event) is TurnEnded
        if self._turn_ended:
            self.over = not self._whole_run
        elif isinstance(event, RunStatus):
            self.run_id = event.run_id
            self._status = event.status

    def end_connection(self) -> None:
        """Note that the server closed the connection, perhaps after the last event."""
        self._closed_cleanly = True
        ended = self._status is not None and self._status.ended
        # A run that ends between turns has no `turn.ended`: it is over if a connection without
        # events was closed.
        last = self._turn_ended or (self._status not in _TURN_ENDINGS and self._received_nothing)
        self.over = self.over or (ended and last)

    def status_check(self) -> GetRun | None:
        """Return the operation that checks if the run has ended, if a check is needed."""
        silent = self._whole_run and self._closed_cleanly and self._received_nothing
        return GetRun(self.run_id) if self.run_id is not None and silent else None

    @property
    def _received_nothing(self) -> bool:
        """True if this connection brought no data, not even a part of an event."""
        return not self._received_events and not self._decoder.pending

    def set_status(self, run: Run) -> None:
        """Apply the result of `status_check`."""
        self.over = run.status.ended


def _event_number(frame: SseFrame) -> int:
    if frame.id is None or not frame.id.isdecimal():
        raise ConnectionLost(
            "The stream holds an event without a number.",
            expected="server-sent events of an Antiphon server",
            received=repr(frame.id),
        )
    return int(frame.id)


def _decode_event(frame: SseFrame) -> Event | None:
    """Return the event; None for a type of a newer server."""
    try:
        return events.decode(frame.data)
    except msgspec.ValidationError as error:
        if frame.event not in TYPES:
            return None
        raise ConnectionLost(f"Event {frame.id} cannot be read: {error}") from error
    except msgspec.DecodeError as error:
        raise ConnectionLost(f"Event {frame.id} is not JSON: {error}") from error

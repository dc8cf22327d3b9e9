"""What to do when a connection breaks: whether to try again, when, and where to go on."""

from __future__ import annotations

from random import uniform
from typing import Any

import msgspec

from antiphon import events
from antiphon.calls import Call, Follow, GetRun
from antiphon.errors import AntiphonError, ConnectionLost, TryAgain
from antiphon.events import TYPES, Event, Numbered, RunStatus, TurnEnded
from antiphon.runs import Run, Status
from antiphon.sse import Decoder, Frame

PAUSES = (0.0, 0.1, 0.3, 1.0, 3.0)
"""Seconds before each next try. At once at first: mostly it was an old connection that had died."""
LONGEST_PAUSE = 5.0


_ENDS_IN_A_TURN = (Status.COMPLETED, Status.INCOMPLETE)


class Tries:
    """One call's tries: how often, how far apart, for how long. The clock is an argument.

    `patience` is how many seconds may pass between the first failure and the last try; it may grow
    while the call is tried.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._failures = 0
        self._failing_since: float | None = None

    def pause(self, failure: AntiphonError, now: float, asked: float = 0.0) -> float:
        """Seconds until the next try. Raises the failure where another try is pointless.

        It is not shorter than the failure says, nor than what was `asked` for before.
        """
        told = failure.details.get("retry_after")
        if not isinstance(failure, TryAgain) and told is None:
            raise failure
        if self._failing_since is None:
            self._failing_since = now
        usual = PAUSES[self._failures] if self._failures < len(PAUSES) else LONGEST_PAUSE
        self._failures += 1
        pause = max(usual * uniform(0.5, 1.0), float(told or 0.0), asked)  # noqa: S311 - spreads load
        if now + pause > self._failing_since + self.patience:
            raise failure
        return pause

    def begin_anew(self) -> None:
        """Something came through: what failed before does not count any more."""
        self._failures = 0
        self._failing_since = None


class Reading:
    """One stream, over as many connections as it takes: what to ask for next, what came, the end.

    Feed it the bytes of each connection; it gives every event once, in order. A call whose first
    answer was lost is made again under its idempotency key, and gets the same turn. `pause` is how
    many seconds the server wants there to be between two connections.
    """

    def __init__(self, call: Call[Any]) -> None:
        self.over = False
        self.pause = 0.0
        self.run_id: str | None = getattr(call, "run_id", None)
        self._call = call
        self._whole_run = isinstance(call, Follow)
        self._last = call.after if isinstance(call, Follow) else None
        self._status: Status | None = None
        self._turn_ended = False
        self._heard_in_connection = False
        self._closed_in_order = False
        self._decoder = Decoder()

    def ask(self) -> Call[Any]:
        """The call to make now, on a new connection."""
        self._heard_in_connection = self._closed_in_order = False
        self._decoder = Decoder()
        if self._last is None or self.run_id is None:
            return self._call
        return Follow(self.run_id, after=self._last)

    def feed(self, data: bytes) -> list[Numbered]:
        """The events that these bytes complete. Raises `ConnectionLost` where one is missing."""
        heard: list[Numbered] = []
        last = self._last
        frames = self._decoder.feed(data)
        if self._decoder.retry is not None:
            self.pause = self._decoder.retry / 1000
        for frame in frames:
            number = _number(frame)
            if last is not None and number != last + 1:
                if number <= last:
                    continue
                raise ConnectionLost(f"Event {number} came after event {last}.")
            last = number
            event = _event(frame)
            if event is not None:
                self._note(event)
                heard.append((number, event))
            if self.over:
                break
        self._last = last
        self._heard_in_connection = self._heard_in_connection or bool(heard)
        return heard

    def _note(self, event: Event) -> None:
        self._turn_ended = type(event) is TurnEnded
        if self._turn_ended:
            self.over = not self._whole_run
        elif isinstance(event, RunStatus):
            self.run_id = event.run_id
            self._status = event.status

    def closed(self) -> None:
        """The server ended the connection in order: the end, if the run's last event came."""
        self._closed_in_order = True
        ended = self._status is not None and self._status.ended
        # A run that ends at rest has no `turn.ended`; that nothing follows, silence has to say.
        last = self._turn_ended or (self._status not in _ENDS_IN_A_TURN and self._in_silence)
        self.over = self.over or (ended and last)

    def doubt(self) -> GetRun | None:
        """What to ask before going on, where only the run itself can tell how it stands."""
        silent = self._whole_run and self._closed_in_order and self._in_silence
        return GetRun(self.run_id) if self.run_id is not None and silent else None

    @property
    def _in_silence(self) -> bool:
        """Whether this connection brought nothing, not even the beginning of an event."""
        return not self._heard_in_connection and not self._decoder.pending

    def settle(self, run: Run) -> None:
        """The answer to the doubt: whether anything more comes."""
        self.over = run.status.ended


def _number(frame: Frame) -> int:
    if frame.id is None or not frame.id.isdecimal():
        raise ConnectionLost(
            "The stream holds an event without a number.",
            expected="server-sent events of an Antiphon server",
            received=repr(frame.id),
        )
    return int(frame.id)


def _event(frame: Frame) -> Event | None:
    """The event; None for a kind that only newer servers know."""
    try:
        return events.decode(frame.data)
    except msgspec.ValidationError as error:
        if frame.event not in TYPES:
            return None
        raise ConnectionLost(f"Event {frame.id} cannot be read: {error}") from error
    except msgspec.DecodeError as error:
        raise ConnectionLost(f"Event {frame.id} is not JSON: {error}") from error

"""What servers say unasked, in a measure: one that floods does not wash the conversation away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

BURST = 20
"""Lines of one server that are shown one after the other."""
SECONDS_PER_LINE = 3.0
"""Of silence, for which it may say one more, until it has a whole burst again."""
FIRST_TOLD, LAST_TOLD = 2.0, 60.0
"""Seconds until it is said how many lines were left out: twice as many each time, up to these."""


class Chatter:
    """The lines of several servers, each in its own measure. `show` prints one."""

    def __init__(self, show: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._show = show
        self._clock = clock
        self._measures: dict[str, _Measure] = {}

    def heard(self, server: str, line: str) -> None:
        """Show the line, or count it; how many were left out is said a while later."""
        measure = self._measures.setdefault(server, _Measure(self._clock()))
        if measure.takes_one(self._clock()):
            self._show(line)
            return
        if not measure.left_out:
            loop = asyncio.get_running_loop()
            loop.call_later(measure.patience, self._tell, server, measure)
        measure.left_out += 1

    def _tell(self, server: str, measure: _Measure) -> None:
        lines = "1 line was" if measure.left_out == 1 else f"{measure.left_out:,} lines were"
        self._show(f"{server} says a lot: {lines} left out.")
        measure.told()


class _Measure:
    """What one server may still say. `patience`: until it is told what was left out."""

    def __init__(self, now: float) -> None:
        self.left_out = 0
        self.patience = FIRST_TOLD
        self._may = float(BURST)
        self._heard = now

    def takes_one(self, now: float) -> bool:
        """Whether one more line is shown; once one was left out, none is until that is told."""
        silence, self._heard = now - self._heard, now
        if self.left_out:
            return False
        self._may = min(BURST, self._may + silence / SECONDS_PER_LINE)
        if self._may < 1:
            return False
        if self._may == BURST:
            self.patience = FIRST_TOLD
        self._may -= 1
        return True

    def told(self) -> None:
        """Begin to count anew."""
        self.left_out = 0
        self.patience = min(2 * self.patience, LAST_TOLD)

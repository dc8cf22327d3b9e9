"""How far something long is: a bar that moves on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import time
from types import TracebackType
from typing import TextIO

from antiphon.moving import Step

BAR = 24
BAR_SECONDS = 0.1
LINE_SECONDS = 5.0


class Advance:
    """Tells steps on a stream; leave it to end the line of the bar."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bar = out.isatty()
        self._told_at = 0.0
        self._told = ""

    def __enter__(self) -> Advance:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar and self._told:
            print(file=self._out)

    def tell(self, step: Step) -> None:
        """Not each, but whoever looks knows how far it is."""
        now = time.monotonic()
        last = step.done >= step.of
        if not last and now - self._told_at < (BAR_SECONDS if self._bar else LINE_SECONDS):
            return
        self._told_at = now
        share = step.done / step.of if step.of else 1.0
        line = f"{step.doing} {share:4.0%}  {step.done:,} of {step.of:,} rows  {step.table}"
        if line == self._told:
            return
        self._told = line
        if self._bar:
            self._draw(share, line)
        else:
            print(line, file=self._out, flush=True)

    def _draw(self, share: float, line: str) -> None:
        full = round(share * BAR)
        whole = f"[{'#' * full}{'.' * (BAR - full)}] {line}"
        columns = shutil.get_terminal_size().columns - 1
        print(f"\r{whole[:columns]:{columns}}", end="", file=self._out, flush=True)

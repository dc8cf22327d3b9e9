"""Progress of a long command on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import time
from types import TracebackType
from typing import TextIO

BAR = 24
BAR_SECONDS = 0.1
LINE_SECONDS = 5.0


class ProgressBar:
    """Shows the steps of a command on a stream; leaving it ends the line of the bar."""

    def __init__(self, out: TextIO, unit: str = "") -> None:
        self._out = out
        self._unit = unit
        self._is_bar = out.isatty()
        self._shown_at = 0.0
        self._shown = ""

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_bar and self._shown:
            print(file=self._out)

    def show(self, doing: str, what: str, done: int, of: int) -> None:
        """Show a step, unless the last one was shown a moment ago."""
        now = time.monotonic()
        last = done >= of
        if not last and now - self._shown_at < (BAR_SECONDS if self._is_bar else LINE_SECONDS):
            return
        self._shown_at = now
        share = done / of if of else 1.0
        unit = f" {self._unit}" if self._unit else ""
        line = f"{doing} {share:4.0%}  {done:,} of {of:,}{unit}  {what}"
        if line == self._shown:
            return
        self._shown = line
        if self._is_bar:
            self._draw(share, line)
        else:
            print(line, file=self._out, flush=True)

    def _draw(self, share: float, line: str) -> None:
        full = round(share * BAR)
        whole = f"[{'#' * full}{'.' * (BAR - full)}] {line}"
        columns = shutil.get_terminal_size().columns - 1
        print(f"\r{whole[:columns]:{columns}}", end="", file=self._out, flush=True)

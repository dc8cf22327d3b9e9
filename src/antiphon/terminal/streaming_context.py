"""Painter that only appends lines: for a pipe, a dumb terminal, a screen reader.

It moves no cursor, redraws nothing, and writes styles only if the ink has them.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self, TextIO

from antiphon.terminal.painters import Frame, InputRows, Phase
from antiphon.terminal.themes import Ink

PATIENCE = 20.0
"""Seconds of silence after which it is announced that the work continues."""

_ANNOUNCEMENTS: dict[Phase, str] = {
    "waiting": "Waiting.",
    "thinking": "The model thinks.",
    "calling": "The model calls a tool.",
    "running": "A tool runs.",
    "asking": "Waiting for you.",
    "stopping": "Stopping.",
}


class StreamingContext:
    """The fallback display, open while it is entered.

    `announces`: each change of phase is printed once in words, for screen readers. Of the input it
    shows the row with the cursor, as the prompt: once, and again below printed lines. The terminal
    echoes the rest, which `on_echo` reports.
    """

    def __init__(self, out: TextIO, ink: Ink, *, announces: bool = False) -> None:
        self._out = out
        self._ink = ink
        self._announces = announces
        self._phase: Phase = "idle"
        self._last = 0.0
        self._prompt = ""
        self._mid_line = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def paint(self, frame: Frame, typed: InputRows, columns: int, now: float) -> None:
        """Append finished lines and the prompt; the region is not shown."""
        lines = [self._ink.render(line) for line in frame.finished]
        if self._announces and (word := self._announcement(frame.phase, now, bool(lines))):
            lines.append(word)
        if lines:
            self._last = now
            self._end_line()
            self._out.write("".join(f"{line}\n" for line in lines))
        prompt = self._ink.render(typed.rows[typed.cursor[0]]) if typed.cursor else ""
        if prompt != self._prompt:
            self._end_line()
            self._out.write(prompt)
            self._prompt, self._mid_line = prompt, bool(prompt)
        self._out.flush()

    def on_echo(self, ended: bool) -> None:
        """Note that the terminal has shown typed text; `ended` if that ended the line."""
        self._mid_line = not ended
        self._prompt = ""

    def set_clipboard(self, encoded: str) -> bool:
        """Return False: only lines are written here."""
        return False

    def close(self) -> None:
        """End the last line."""
        self._end_line()
        self._out.flush()

    def _end_line(self) -> None:
        if self._mid_line:
            self._out.write("\n")
        self._mid_line, self._prompt = False, ""

    def _announcement(self, phase: Phase, now: float, busy: bool) -> str:
        if phase != self._phase:
            self._phase, self._last = phase, now
            return _ANNOUNCEMENTS.get(phase, "")
        if busy or phase == "idle" or now - self._last < PATIENCE:
            return ""
        return f"Still {phase}, {now - self._last:.0f} s."

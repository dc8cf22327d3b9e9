"""Tell a key that answers a question from one that was typed for something else.

A key answers alone: after a pause in typing, after the question could be read, and with no other
key right behind it. Everything else is text, and stays in the line.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from antiphon.terminal.keyboard import DELIBERATE, PAUSE


class KeyGuard:
    """The moments that matter; `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._opened = -inf
        self._typed = -inf

    def open(self) -> None:
        """Note that a question can be seen from now on."""
        self._opened = self._clock()

    def type(self, *, left: bool) -> None:
        """Note a change of the line; `left` says that text is in it, that was not sent."""
        self._typed = self._clock() if left else -inf

    @property
    def readable(self) -> bool:
        """True once the question has been seen for a moment."""
        return self._clock() - self._opened >= DELIBERATE

    @property
    def deliberate(self) -> bool:
        """True while a key that is pressed may be meant for the question."""
        return self.readable and not self.typing

    @property
    def typing(self) -> bool:
        """True while a message is being typed."""
        return self._clock() - self._typed < PAUSE

    @property
    def typed_on(self) -> bool:
        """True where the line got text after the question was opened."""
        return self._typed >= self._opened

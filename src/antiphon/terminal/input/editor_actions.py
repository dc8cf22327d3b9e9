"""Actions of the keys: what they do with the draft, the text of a field, and the question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

from prompt_toolkit.application.current import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.clipboard import ClipboardData
from prompt_toolkit.document import Document

from antiphon.terminal.input.keyboard import (
    AGAIN_LEAVES,
    DELIBERATE,
    STOP_FIRST,
    TWICE,
    TYPED_ON,
    Box,
    Field,
    KeyGuard,
    Listener,
    Listing,
)
from antiphon.terminal.input.pasted_texts import PastedTexts

SAME_PRESS = 0.5
"""Seconds within which a further Ctrl+C counts as the one that stopped something."""


class EditorActions:
    """Actions of the keys, on the draft, the text of a field, and the question."""

    def __init__(
        self,
        *,
        listener: Listener,
        draft: Buffer,
        asked: Buffer,
        box: Callable[[], Box | None],
        field: Callable[[], Field | None],
        answer: Callable[[str | None], None],
        guard: KeyGuard,
        clock: Callable[[], float],
        suspend: Callable[[], AbstractContextManager[None]],
        memorable: Callable[[str], bool],
    ) -> None:
        self.listener = listener
        self.draft = draft
        self.asked = asked
        self.box = box
        self.field = field
        self.answer = answer
        self.guard = guard
        self.suspend = suspend
        self._memorable = memorable
        self._clock = clock
        self._pressed = -TWICE
        self._stopped = -SAME_PRESS
        self._pressed_key = ""
        self._settling: asyncio.TimerHandle | None = None
        self._pasted = PastedTexts()

    def find_listing(self) -> Listing | None:
        """Return the list above the open field, if it has one."""
        field = self.field() if self.box() is None else None
        return field.listing if field else None

    def press(self, key: str) -> None:
        """Take this key as the answer, unless another one follows at once."""
        self._pressed_key = key
        loop = asyncio.get_running_loop()
        self._settling = loop.call_later(DELIBERATE, self._settle)

    def withdraw(self) -> str:
        """Drop the key that was about to answer and return it; "" for none."""
        if self._settling:
            self._settling.cancel()
        key, self._pressed_key, self._settling = self._pressed_key, "", None
        return key

    def type_on(self, text: str) -> None:
        """Insert text typed while a question is open into the line."""
        self.draft.insert_text(text)
        self.listener.hint(TYPED_ON)

    def _settle(self) -> None:
        if key := self.withdraw():
            self.answer(key)

    def give(self) -> None:
        """Answer with the text of the field, unless Enter was pressed too early to be meant."""
        listed = self.find_listing() is not None
        if self.guard.typing or (listed and not self.guard.readable):
            self.listener.hint(TYPED_ON)
        elif listed or not continue_line(self.asked):
            self.answer(self.asked.text)

    def send(self) -> None:
        """Submit the draft, unless it is empty."""
        self.unfold()
        text = self.draft.text
        if not text.strip():
            return
        if self._memorable(text):
            self.draft.append_to_history()
        self._empty()
        self.listener.submit(text)

    def paste(self, text: str) -> None:
        """Insert a pasted text into the line, a long one as its mark."""
        whole = text.replace("\r\n", "\n").replace("\r", "\n")
        self.draft.insert_text(self._pasted.fold(whole))

    def unfold(self) -> None:
        """Replace the marks of pasted texts by the texts."""
        whole = self._pasted.unfold(self.draft.text)
        if whole != self.draft.text:
            self.draft.document = Document(whole, len(whole))

    def stop(self) -> None:
        """Ctrl+C: stop what runs, else clear the line, else leave at the second press."""
        now = self._clock()
        if self.listener.busy:
            self._stopped = now
            self.listener.stop()
        elif now - self._stopped <= SAME_PRESS:
            self._stopped = now  # meant for what has just been stopped, like the next one
        elif self.draft.text:
            self.clear()
        elif now - self._pressed <= TWICE:
            self.listener.leave()
        else:
            self._pressed = now
            self.listener.hint(AGAIN_LEAVES)

    def clear(self) -> None:
        """Empty the line; Ctrl+Y restores it."""
        get_app().clipboard.set_data(ClipboardData(self.draft.text))
        self._empty()
        self.listener.hint("Ctrl+Y brings the line back.")

    def _empty(self) -> None:
        self.draft.reset()
        self.guard.type(left=False)  # a buffer's reset fires no event

    def end(self) -> None:
        """Ctrl+D: leave from an empty line, else delete the character under the cursor."""
        if self.draft.text:
            self.draft.delete()
        elif self.listener.busy:
            self.listener.hint(STOP_FIRST)
        else:
            self.listener.leave()


def continue_line(buffer: Buffer) -> bool:
    """Replace a backslash before the cursor by a new line; return False if there is none."""
    if not buffer.document.current_line_before_cursor.endswith("\\"):
        return False
    buffer.delete_before_cursor()
    buffer.insert_text("\n")
    return True

"""What each key does in the line that is edited, and in a question; the rest is prompt_toolkit's.

Enter sends; Ctrl+J, Alt+Enter, Shift+Enter and a backslash before Enter make a new line. Ctrl+C
stops what runs, else clears the line, else leaves at the second press. Esc stops too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager

from prompt_toolkit.application.current import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.clipboard import ClipboardData
from prompt_toolkit.completion import CompleteEvent, get_common_complete_suffix
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.input import ansi_escape_sequences
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.vi_state import InputMode
from prompt_toolkit.keys import Keys

from antiphon.terminal.keyboard import AGAIN_LEAVES, STOP_FIRST, TWICE, Box, Field, Listener

SAME_PRESS = 0.5
"""Seconds for which a further Ctrl+C is the one that stopped something."""

_MOUSE = (Keys.Vt100MouseEvent, Keys.WindowsMouseEvent, Keys.ScrollUp, Keys.ScrollDown)

for _sequence in ("\x1b[27;2;13~", "\x1b[13;2u"):
    # Shift+Enter, as xterm and as kitty write it: prompt_toolkit takes one for Enter, and does not
    # know the other.
    ansi_escape_sequences.ANSI_SEQUENCES[_sequence] = Keys.ControlJ


class Editing:
    """What the keys work on: the draft, a text that is asked for, a question, and who listens."""

    def __init__(
        self,
        *,
        listener: Listener,
        draft: Buffer,
        asked: Buffer,
        box: Callable[[], Box | None],
        field: Callable[[], Field | None],
        answer: Callable[[str | None], None],
        deliberate: Callable[[], bool],
        clock: Callable[[], float],
        aside: Callable[[], AbstractContextManager[None]],
        memorable: Callable[[str], bool],
    ) -> None:
        self.listener = listener
        self.draft = draft
        self.asked = asked
        self.box = box
        self.field = field
        self.answer = answer
        self.deliberate = deliberate
        self.aside = aside
        self._memorable = memorable
        self._clock = clock
        self._pressed = -TWICE
        self._stopped = -SAME_PRESS

    def send(self) -> None:
        """The draft is a message, unless there is nothing in it."""
        text = self.draft.text
        if not text.strip():
            return
        if self._memorable(text):
            self.draft.append_to_history()
        self.draft.reset()
        self.listener.said(text)

    def stop(self) -> None:
        """Ctrl+C: stop what runs, else clear the line, else leave at the second press."""
        now = self._clock()
        if self.listener.busy:
            self._stopped = now
            self.listener.stop()
        elif now - self._stopped <= SAME_PRESS:
            self._stopped = now  # it was meant for what has just been stopped, like the next one
        elif self.draft.text:
            self.clear()
        elif now - self._pressed <= TWICE:
            self.listener.leave()
        else:
            self._pressed = now
            self.listener.hint(AGAIN_LEAVES)

    def clear(self) -> None:
        """Empty the line; Ctrl+Y brings back what stood there."""
        get_app().clipboard.set_data(ClipboardData(self.draft.text))
        self.draft.reset()
        self.listener.hint("Ctrl+Y brings the line back.")

    def end(self) -> None:
        """Ctrl+D: leave from an empty line, else delete the letter under the cursor."""
        if self.draft.text:
            self.draft.delete()
        elif self.listener.busy:
            self.listener.hint(STOP_FIRST)
        else:
            self.listener.leave()


def bindings(editing: Editing) -> KeyBindings:
    """The table of keys."""
    keys = KeyBindings()
    _answering(keys, editing)
    _asked_for(keys, editing)
    _drafting(keys, editing)
    _unheard(keys)
    return keys


def _answering(keys: KeyBindings, editing: Editing) -> None:
    """A question is open: each key is an answer, or none."""
    boxed = Condition(lambda: editing.box() is not None)

    def _choose(key: str) -> None:
        box = editing.box()
        if box is None or not editing.deliberate():
            return
        known = {choice.key for choice in box.choices}
        if key in known:
            editing.answer(key)

    @keys.add(Keys.Any, filter=boxed, eager=True)
    @keys.add(Keys.BracketedPaste, filter=boxed, eager=True)
    def _letter(event: KeyPressEvent) -> None:
        if editing.deliberate() and event.key_sequence[0].key != Keys.BracketedPaste:
            _choose(event.data)
        elif event.data.isprintable() or event.key_sequence[0].key == Keys.BracketedPaste:
            editing.draft.insert_text(event.data)  # typed before the question could be read

    @keys.add("enter", filter=boxed, eager=True)
    @keys.add("c-d", filter=boxed, eager=True)
    def _default(event: KeyPressEvent) -> None:
        box = editing.box()
        if box is not None and editing.deliberate():
            editing.answer(box.default)

    @keys.add("escape", filter=boxed, eager=True)
    @keys.add("c-c", filter=boxed, eager=True)
    @keys.add("<sigint>", filter=boxed, eager=True)
    def _no(event: KeyPressEvent) -> None:
        if (box := editing.box()) is not None:
            editing.answer(box.default)


def _asked_for(keys: KeyBindings, editing: Editing) -> None:
    """A text is asked for: Enter gives it, Esc and Ctrl+C do not."""
    asked = Condition(lambda: editing.box() is None and editing.field() is not None)

    @keys.add("enter", filter=asked, eager=True)
    def _give(event: KeyPressEvent) -> None:
        if not _continued(editing.asked):
            editing.answer(editing.asked.text)

    @keys.add("escape", filter=asked)
    @keys.add("c-c", filter=asked, eager=True)
    @keys.add("c-d", filter=asked, eager=True)
    @keys.add("<sigint>", filter=asked, eager=True)
    def _give_up(event: KeyPressEvent) -> None:
        editing.answer(None)


def _drafting(keys: KeyBindings, editing: Editing) -> None:
    """A message is written."""
    drafting = Condition(lambda: editing.box() is None and editing.field() is None) & ~is_searching
    completing = Condition(lambda: editing.draft.complete_state is not None)
    idle_line = Condition(lambda: not editing.draft.text)
    stopping = Condition(lambda: editing.listener.busy and not _vi_typing())

    @keys.add("enter", filter=drafting, eager=True)
    def _send(event: KeyPressEvent) -> None:
        state = editing.draft.complete_state
        if state is not None and state.current_completion is not None:
            editing.draft.complete_state = None  # what was chosen stands; the next Enter sends
        elif not _continued(editing.draft):
            editing.send()

    @keys.add("tab", filter=drafting)
    async def _complete(event: KeyPressEvent) -> None:
        await _completed(editing.draft)

    @keys.add("c-j", eager=True, filter=~is_searching)
    @keys.add("escape", "enter", filter=~is_searching)
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c", filter=drafting, eager=True)
    @keys.add("<sigint>", filter=drafting, eager=True)
    def _stop(event: KeyPressEvent) -> None:
        editing.stop()

    @keys.add("escape", filter=drafting & completing)
    def _dismiss(event: KeyPressEvent) -> None:
        editing.draft.cancel_completion()

    @keys.add("escape", filter=drafting & stopping & ~completing)
    def _escape(event: KeyPressEvent) -> None:
        editing.listener.stop()

    @keys.add("c-d", filter=drafting, eager=True)
    def _leave(event: KeyPressEvent) -> None:
        editing.end()

    @keys.add("up", filter=drafting & idle_line & ~completing)
    def _recall(event: KeyPressEvent) -> None:
        if (text := editing.listener.recall()) is None:
            event.current_buffer.auto_up()
        else:
            editing.draft.text = text
            editing.draft.cursor_position = len(text)

    @keys.add("c-o", filter=drafting, eager=True)
    def _unfold(event: KeyPressEvent) -> None:
        editing.listener.unfold()

    @keys.add("c-t", filter=drafting, eager=True)
    def _more_time(event: KeyPressEvent) -> None:
        editing.listener.more_time()

    @keys.add("c-g", filter=drafting, eager=True)
    async def _write_elsewhere(event: KeyPressEvent) -> None:
        with editing.aside():
            await editing.draft.open_in_editor()

    @keys.add("c-z", filter=~is_searching, eager=True)
    def _suspend(event: KeyPressEvent) -> None:
        if hasattr(signal, "SIGTSTP"):
            _sleep(event, editing)


def _unheard(keys: KeyBindings) -> None:
    """What would do harm unseen: the mouse, for nothing here is its; a mark, for no selection is
    painted, and while there is one prompt_toolkit drops the letters that are typed.
    """

    def _nothing(event: KeyPressEvent) -> None:
        return

    for key in (*_MOUSE, Keys.ControlAt):
        keys.add(key)(_nothing)


async def _completed(buffer: Buffer) -> None:
    """Tab: what can only be meant is written, of several what they begin with, else the next.

    All are looked for anew: those that are seen may still be coming, and prompt_toolkit drops a Tab
    that is pressed meanwhile.
    """
    state, document = buffer.complete_state, buffer.document
    if state is not None and state.complete_index is not None:
        buffer.complete_next()
        return
    asked = CompleteEvent(completion_requested=True)
    looked_for = buffer.completer.get_completions_async(document, asked)
    found = [each async for each in looked_for]
    if buffer.document != document:
        return  # typed on meanwhile
    begun = get_common_complete_suffix(document, found)
    if len(found) == 1:
        buffer.apply_completion(found[0])
    elif begun:
        buffer.insert_text(begun)
    elif found and buffer.complete_state is not None:
        buffer.complete_next()
    elif found:
        buffer.start_completion(select_first=True)


def _sleep(event: KeyPressEvent, editing: Editing) -> None:
    source = event.app.input
    with editing.aside(), source.detach(), source.cooked_mode():
        os.kill(0, signal.SIGTSTP)


def _continued(buffer: Buffer) -> bool:
    """Whether a backslash before the cursor has turned Enter into a new line."""
    if not buffer.document.current_line_before_cursor.endswith("\\"):
        return False
    buffer.delete_before_cursor()
    buffer.insert_text("\n")
    return True


def _vi_typing() -> bool:
    """Whether Esc would end vi's insert mode."""
    app = get_app()
    return (
        app.editing_mode is EditingMode.VI and app.vi_state.input_mode is not InputMode.NAVIGATION
    )

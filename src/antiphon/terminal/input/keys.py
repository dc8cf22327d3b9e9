"""Key bindings of the line editor and of questions; all other keys are prompt_toolkit's.

Enter sends; Ctrl+J, Alt+Enter, Shift+Enter and a backslash before Enter insert a new line. Ctrl+C
stops what runs, else clears the line, else leaves at the second press. Esc stops too.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager

from prompt_toolkit.application.current import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.clipboard import ClipboardData
from prompt_toolkit.completion import CompleteEvent, get_common_complete_suffix
from prompt_toolkit.document import Document
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.input import ansi_escape_sequences
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.vi_state import InputMode
from prompt_toolkit.keys import Keys

from antiphon.terminal.input.keyboard import (
    AGAIN_LEAVES,
    DELIBERATE,
    NEXT_PART,
    STOP_FIRST,
    TWICE,
    TYPED_ON,
    Box,
    Field,
    KeyGuard,
    Listener,
    Listing,
)
from antiphon.terminal.input.listing_keys import bind_listing
from antiphon.terminal.input.pasted_texts import PastedTexts

SAME_PRESS = 0.5
"""Seconds within which a further Ctrl+C counts as the one that stopped something."""

_MOUSE = (Keys.Vt100MouseEvent, Keys.WindowsMouseEvent, Keys.ScrollUp, Keys.ScrollDown)

for _sequence in ("\x1b[27;2;13~", "\x1b[13;2u"):
    # Shift+Enter, as xterm and as kitty write it: prompt_toolkit takes one for Enter, and does not
    # know the other.
    ansi_escape_sequences.ANSI_SEQUENCES[_sequence] = Keys.ControlJ


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
        elif listed or not _continue_line(self.asked):
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
        """Put the pasted texts in place of their marks."""
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


def bindings(editing: EditorActions) -> KeyBindings:
    """Return the key bindings."""
    keys = KeyBindings()
    _bind_box(keys, editing)
    _bind_field(keys, editing)
    bind_listing(keys, editing.find_listing)
    _bind_draft(keys, editing)
    _bind_actions(keys, editing)
    _bind_ignored(keys)
    return keys


def _bind_box(keys: KeyBindings, editing: EditorActions) -> None:
    """Bind keys while a question is open."""
    boxed = Condition(lambda: editing.box() is not None)

    def _is_choice(key: str) -> bool:
        box = editing.box()
        return box is not None and any(choice.key == key for choice in box.choices)

    @keys.add(Keys.Any, filter=boxed, eager=True)
    def _letter(event: KeyPressEvent) -> None:
        key = event.data
        if not key.isprintable():
            return
        before = editing.withdraw()
        if not before and editing.guard.deliberate and _is_choice(key):
            editing.press(key)
        else:
            editing.type_on(before + key)

    @keys.add(Keys.BracketedPaste, filter=boxed, eager=True)
    def _paste(event: KeyPressEvent) -> None:
        editing.type_on(editing.withdraw() + event.data)

    @keys.add("backspace", filter=boxed, eager=True)
    def _rub_out(event: KeyPressEvent) -> None:
        if not editing.withdraw():
            editing.draft.delete_before_cursor()

    @keys.add("pagedown", filter=boxed, eager=True)
    @keys.add("down", filter=boxed, eager=True)
    def _next_part(event: KeyPressEvent) -> None:
        if editing.guard.readable and _is_choice(NEXT_PART):
            editing.withdraw()
            editing.answer(NEXT_PART)

    @keys.add("enter", filter=boxed, eager=True)
    @keys.add("c-d", filter=boxed, eager=True)
    def _default(event: KeyPressEvent) -> None:
        box = editing.box()
        if before := editing.withdraw():
            editing.type_on(before)  # Enter at once after a letter: a typed line
        elif editing.guard.typed_on:
            editing.listener.hint(TYPED_ON)
        elif box is not None and editing.guard.deliberate:
            editing.answer(box.default)

    @keys.add("escape", filter=boxed, eager=True)
    @keys.add("c-c", filter=boxed, eager=True)
    @keys.add("<sigint>", filter=boxed, eager=True)
    def _no(event: KeyPressEvent) -> None:
        editing.withdraw()
        if (box := editing.box()) is not None:
            editing.answer(box.default)


def _bind_field(keys: KeyBindings, editing: EditorActions) -> None:
    """Bind keys while a text is asked for: Enter gives it, Esc and Ctrl+C decline.

    Keys typed within a pause of earlier typing go to the line.
    """
    is_open = Condition(lambda: editing.box() is None and editing.field() is not None)
    amid = is_open & Condition(lambda: editing.guard.typing)

    @keys.add(Keys.Any, filter=amid, eager=True)
    @keys.add(Keys.BracketedPaste, filter=amid, eager=True)
    def _type_on(event: KeyPressEvent) -> None:
        if event.data.isprintable() or event.key_sequence[0].key == Keys.BracketedPaste:
            editing.type_on(event.data)

    @keys.add("enter", filter=is_open, eager=True)
    def _give(event: KeyPressEvent) -> None:
        editing.give()

    @keys.add("escape", filter=is_open)
    @keys.add("c-c", filter=is_open, eager=True)
    @keys.add("c-d", filter=is_open, eager=True)
    @keys.add("<sigint>", filter=is_open, eager=True)
    def _give_up(event: KeyPressEvent) -> None:
        editing.answer(None)


def _bind_draft(keys: KeyBindings, editing: EditorActions) -> None:
    """Bind keys that write a message and send it."""
    drafting = Condition(lambda: editing.box() is None and editing.field() is None) & ~is_searching
    completing = Condition(lambda: editing.draft.complete_state is not None)
    idle_line = Condition(lambda: not editing.draft.text)

    @keys.add("enter", filter=drafting, eager=True)
    def _send(event: KeyPressEvent) -> None:
        state = editing.draft.complete_state
        if state is not None and state.current_completion is not None:
            editing.draft.complete_state = None  # what was chosen stands; the next Enter sends
        elif not _continue_line(editing.draft):
            editing.send()

    @keys.add(Keys.BracketedPaste, filter=drafting, eager=True)
    def _paste(event: KeyPressEvent) -> None:
        editing.paste(event.data)

    @keys.add("tab", filter=drafting)
    async def _complete(event: KeyPressEvent) -> None:
        await _complete_word(editing.draft)

    @keys.add("c-j", eager=True, filter=~is_searching)
    @keys.add("escape", "enter", filter=~is_searching)
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("escape", filter=drafting & completing)
    def _dismiss(event: KeyPressEvent) -> None:
        editing.draft.cancel_completion()

    @keys.add("up", filter=drafting & idle_line & ~completing)
    def _recall(event: KeyPressEvent) -> None:
        if (text := editing.listener.recall()) is None:
            event.current_buffer.auto_up()
        else:
            editing.draft.text = text
            editing.draft.cursor_position = len(text)

    @keys.add("c-g", filter=drafting, eager=True)
    async def _write_elsewhere(event: KeyPressEvent) -> None:
        editing.unfold()
        with editing.suspend():
            await editing.draft.open_in_editor()


def _bind_actions(keys: KeyBindings, editing: EditorActions) -> None:
    """Bind keys that do something else while a message is written: stop, leave, open."""
    drafting = Condition(lambda: editing.box() is None and editing.field() is None) & ~is_searching
    completing = Condition(lambda: editing.draft.complete_state is not None)
    stopping = Condition(lambda: editing.listener.busy and not _is_vi_inserting())

    @keys.add("c-c", filter=drafting, eager=True)
    @keys.add("<sigint>", filter=drafting, eager=True)
    def _stop(event: KeyPressEvent) -> None:
        editing.stop()

    @keys.add("escape", filter=drafting & stopping & ~completing)
    def _escape(event: KeyPressEvent) -> None:
        editing.listener.stop()

    @keys.add("c-d", filter=drafting, eager=True)
    def _leave(event: KeyPressEvent) -> None:
        editing.end()

    @keys.add("c-o", filter=drafting, eager=True)
    def _unfold(event: KeyPressEvent) -> None:
        editing.listener.unfold()

    @keys.add("c-t", filter=drafting, eager=True)
    def _more_time(event: KeyPressEvent) -> None:
        editing.listener.more_time()

    @keys.add("s-tab", filter=drafting & ~completing, eager=True)
    def _toggle_plan(event: KeyPressEvent) -> None:
        editing.listener.toggle_plan()

    @keys.add("c-z", filter=~is_searching, eager=True)
    def _suspend(event: KeyPressEvent) -> None:
        source = event.app.input
        if hasattr(signal, "SIGTSTP"):
            with editing.suspend(), source.detach(), source.cooked_mode():
                os.kill(0, signal.SIGTSTP)


def _bind_ignored(keys: KeyBindings) -> None:
    """Ignore keys that would do invisible harm: mouse events, and the mark.

    A selection is not painted, and during one prompt_toolkit drops typed characters.
    """

    def _nothing(event: KeyPressEvent) -> None:
        return

    for key in (*_MOUSE, Keys.ControlAt):
        keys.add(key)(_nothing)


async def _complete_word(buffer: Buffer) -> None:
    """Complete by Tab: a single proposal, else the common beginning, else the next proposal.

    Proposals are collected again: those shown may be incomplete, and prompt_toolkit drops a Tab
    pressed meanwhile.
    """
    state, document = buffer.complete_state, buffer.document
    if state is not None and state.complete_index is not None:
        buffer.complete_next()
        return
    event = CompleteEvent(completion_requested=True)
    looked_for = buffer.completer.get_completions_async(document, event)
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


def _continue_line(buffer: Buffer) -> bool:
    """Replace a backslash before the cursor by a new line; return False if there is none."""
    if not buffer.document.current_line_before_cursor.endswith("\\"):
        return False
    buffer.delete_before_cursor()
    buffer.insert_text("\n")
    return True


def _is_vi_inserting() -> bool:
    """Return True if Esc would end vi's insert mode."""
    app = get_app()
    return (
        app.editing_mode is EditingMode.VI and app.vi_state.input_mode is not InputMode.NAVIGATION
    )

"""Key bindings of the line editor and of questions; all other keys are prompt_toolkit's.

Enter sends; Ctrl+J, Alt+Enter, Shift+Enter and a backslash before Enter insert a new line. Ctrl+C
stops what runs, else clears the line, else leaves at the second press. Esc stops too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from prompt_toolkit.application.current import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, get_common_complete_suffix
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.input import ansi_escape_sequences
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.vi_state import InputMode
from prompt_toolkit.keys import Keys

from antiphon.terminal.input.editor_actions import EditorActions, continue_line
from antiphon.terminal.input.keyboard import NEXT_PART, TYPED_ON, Listing

_MOUSE = (Keys.Vt100MouseEvent, Keys.WindowsMouseEvent, Keys.ScrollUp, Keys.ScrollDown)

for _sequence in ("\x1b[27;2;13~", "\x1b[13;2u"):
    # Shift+Enter, as xterm and as kitty write it: prompt_toolkit takes one for Enter, and does not
    # know the other.
    ansi_escape_sequences.ANSI_SEQUENCES[_sequence] = Keys.ControlJ


def bindings(editing: EditorActions) -> KeyBindings:
    """Return the key bindings."""
    keys = KeyBindings()
    _bind_box(keys, editing)
    _bind_field(keys, editing)
    _bind_listing(keys, editing.find_listing)
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


def _bind_listing(keys: KeyBindings, find_listing: Callable[[], Listing | None]) -> None:
    """Bind the keys that move in a list above a field; the field takes all other keys."""
    is_open = Condition(lambda: find_listing() is not None)

    def _bind(key: str, act: Callable[[Listing], None]) -> None:
        @keys.add(key, filter=is_open, eager=True)
        def _act(event: KeyPressEvent) -> None:
            if (listing := find_listing()) is not None:
                act(listing)

    for key in ("down", "c-n"):
        _bind(key, lambda listing: listing.move(1))
    for key in ("up", "c-p"):
        _bind(key, lambda listing: listing.move(-1))
    _bind("pagedown", lambda listing: listing.turn(1))
    _bind("pageup", lambda listing: listing.turn(-1))


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
        elif not continue_line(editing.draft):
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


def _is_vi_inserting() -> bool:
    """Return True if Esc would end vi's insert mode."""
    app = get_app()
    return (
        app.editing_mode is EditingMode.VI and app.vi_state.input_mode is not InputMode.NAVIGATION
    )

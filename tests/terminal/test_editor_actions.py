"""Actions of the keys on a clock that the test sets."""

from __future__ import annotations

from contextlib import nullcontext

from prompt_toolkit.buffer import Buffer

from antiphon.terminal.input.editor_actions import SAME_PRESS, EditorActions
from antiphon.terminal.input.keyboard import (
    AGAIN_LEAVES,
    DELIBERATE,
    PAUSE,
    TYPED_ON,
    Field,
    KeyGuard,
)


class ReplyingChat:
    """Chat in which a reply is shown until it is stopped."""

    attentive = False

    def __init__(self) -> None:
        self.busy = True
        self.stops = 0
        self.sent: list[str] = []
        self.hints: list[str] = []

    def submit(self, text: str) -> None:
        self.sent.append(text)

    def stop(self) -> None:
        self.busy = False
        self.stops += 1

    def leave(self) -> None:
        raise AssertionError("the chat was left")

    def end(self) -> None:
        raise AssertionError("the input ended")

    def unfold(self) -> None:
        raise AssertionError("nothing was shown in short")

    def more_time(self) -> None:
        raise AssertionError("nothing waits")

    def toggle_plan(self) -> None:
        raise AssertionError("no mode was asked for")

    def recall(self) -> str | None:
        return None

    def hint(self, text: str) -> None:
        self.hints.append(text)


class Clock:
    """Seconds that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Entries:
    """List above a field, in which nothing moves."""

    def filter(self, text: str) -> None:
        raise AssertionError("no words were typed")

    def move(self, by: int) -> None:
        raise AssertionError("no arrow was pressed")

    def turn(self, pages: int) -> None:
        raise AssertionError("no page was turned")


def open_actions(
    chat: ReplyingChat,
    clock: Clock,
    draft: str,
    field: Field | None = None,
    answers: list[str | None] | None = None,
) -> EditorActions:
    results: list[str | None] = [] if answers is None else answers
    actions = EditorActions(
        listener=chat,
        draft=Buffer(),
        asked=Buffer(),
        box=lambda: None,
        field=lambda: field,
        answer=results.append,
        guard=KeyGuard(clock),
        clock=clock,
        suspend=nullcontext,
        memorable=lambda text: False,
    )
    actions.draft.text = draft
    return actions


def test_pressing_ctrl_c_on_and_on_stops_the_reply_alone_and_keeps_the_line() -> None:
    chat, clock = ReplyingChat(), Clock()
    actions = open_actions(chat, clock, "a draft")

    for _ in range(10):  # for longer in all than one press lasts
        actions.stop()
        clock.now += SAME_PRESS / 2

    assert (chat.stops, chat.hints, actions.draft.text) == (1, [], "a draft")


def test_after_a_pause_ctrl_c_is_meant_for_the_line_and_then_for_the_chat() -> None:
    chat, clock = ReplyingChat(), Clock()
    actions = open_actions(chat, clock, "a draft")
    actions.stop()
    clock.now += 2 * SAME_PRESS

    actions.stop()
    cleared_text = actions.draft.text
    actions.stop()

    assert (chat.stops, cleared_text) == (1, "")
    assert chat.hints[-1] == AGAIN_LEAVES


def test_enter_opens_an_entry_of_a_list_only_once_the_list_has_been_visible_for_a_moment() -> None:
    chat, clock = ReplyingChat(), Clock()
    answers: list[str | None] = []
    field = Field(label="Search:", listing=Entries())
    actions = open_actions(chat, clock, "", field, answers)
    actions.guard.open()
    clock.now += 0.9 * DELIBERATE
    actions.give()
    assert (answers, chat.hints) == ([], [TYPED_ON])

    clock.now += DELIBERATE
    actions.guard.type(left=True)  # a message is being typed
    actions.give()
    assert answers == []
    clock.now += PAUSE
    actions.give()

    assert answers == [""]


def test_a_backslash_before_enter_continues_a_text_but_not_the_words_of_a_search() -> None:
    answers: list[str | None] = []
    for field in (Field(label="Text:"), Field(label="Search:", listing=Entries())):
        clock = Clock()
        actions = open_actions(ReplyingChat(), clock, "", field, answers)
        actions.asked.text = "C:\\"
        actions.asked.cursor_position = 3
        actions.guard.open()
        clock.now += 2 * DELIBERATE
        actions.give()

    assert answers == ["C:\\"]

"""Keys that are meant for a question, and keys that are meant for the line."""

from __future__ import annotations

from antiphon.terminal.input.keyboard import DELIBERATE, PAUSE, KeyGuard


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_key_counts_only_after_a_pause_since_the_last_one_not_since_the_question() -> None:
    clock = Clock()
    guard = KeyGuard(clock)
    guard.type(left=True)
    guard.open()
    deliberate = []
    for _ in range(20):  # a person types on, slowly, over a question that has been there for long
        clock.now += 0.9 * PAUSE
        deliberate.append(guard.deliberate)
        guard.type(left=True)
    clock.now += PAUSE

    assert not any(deliberate)
    assert guard.deliberate
    assert guard.typed_on


def test_a_question_must_have_been_seen_for_a_moment() -> None:
    clock = Clock()
    guard = KeyGuard(clock)
    guard.open()
    clock.now += 0.9 * DELIBERATE

    assert not guard.deliberate
    clock.now += DELIBERATE
    assert guard.deliberate


def test_a_person_whose_line_was_sent_is_not_typing_any_more() -> None:
    clock = Clock()
    guard = KeyGuard(clock)
    guard.type(left=True)
    guard.type(left=False)
    guard.open()
    clock.now += 2 * DELIBERATE

    assert guard.deliberate
    assert not guard.typed_on

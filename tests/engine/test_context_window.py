import json
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.engine.context_window import (
    SUMMARY_PREFACE,
    Context,
    Landmark,
    apply_summary,
    cut_to_window,
    encode_landmarks,
    tokens,
)
from antiphon.types.messages import Message, Text, to_chat_completions

MessageSize = tuple[str, int]
"""Role of a message, and the length of its text in bytes."""


def line(number: int, entry: MessageSize) -> bytes:
    role, length = entry
    return json.dumps({"role": role, "n": number, "content": "x" * length}).encode()


def context(thread: Iterable[MessageSize]) -> Context:
    lines: list[bytes] = []
    landmarks: list[Landmark] = []
    offset = before = 0
    for number, entry in enumerate(thread, start=1):
        lines.append(line(number, entry))
        length = len(lines[-1])
        if entry[0] in ("user", "system"):
            landmarks.append(Landmark(number, entry[0], offset, length, before))
        offset += length + 1
        before += tokens(length)
    return Context(
        version=1,
        messages=len(lines),
        tokens=before,
        chat=b",".join(lines),
        marks=encode_landmarks(landmarks),
    )


def visible_numbers(thread: Iterable[MessageSize], budget: int | None) -> list[int]:
    """Return the numbers of the messages that the model gets to see."""
    window = json.loads(b"[" + cut_to_window(context(thread), budget) + b"]")
    return [message["n"] for message in window]


def flatten(groups: Iterable[Iterable[str]]) -> list[str]:
    return [role for group in groups for role in group]


def exchange(length: int) -> list[MessageSize]:
    return [("user", length), ("assistant", length)]


call_and_outputs = st.lists(st.sampled_from(["tool"]), max_size=3).map(
    lambda tools: ["assistant", *tools]
)
turns = st.lists(call_and_outputs, max_size=3).map(lambda calls: ["user", *flatten(calls)])
threads = st.lists(turns | st.just(["system"]), max_size=12).flatmap(
    lambda groups: st.tuples(
        *(st.tuples(st.just(role), st.integers(0, 400)) for role in flatten(groups))
    )
)


@pytest.mark.parametrize("budget", [None, 10_000])
def test_a_thread_that_fits_is_seen_whole(budget: int | None):
    thread = [("system", 10), *exchange(40), *exchange(40)]
    assert cut_to_window(context(thread), budget) == context(thread).chat


def test_an_empty_thread_is_empty():
    assert cut_to_window(context([]), 0) == b""


def test_a_long_thread_is_cut_before_a_user_message_and_keeps_its_system_messages():
    thread: list[MessageSize] = [
        ("system", 10),
        *exchange(400),
        ("system", 10),
        *exchange(400),
        ("user", 10),
    ]
    assert visible_numbers(thread, 200) == [1, 4, 7]
    assert visible_numbers(thread, 400) == [1, 4, 5, 6, 7]


def test_the_last_user_message_and_what_follows_it_stay_even_where_they_do_not_fit():
    thread: list[MessageSize] = [*exchange(10), ("user", 400), ("assistant", 400), ("tool", 400)]
    assert visible_numbers(thread, 10) == [3, 4, 5]


def test_a_round_step_is_not_taken_where_it_would_waste_half_the_budget():
    thread: list[MessageSize] = [
        ("user", 10),
        ("assistant", 850),
        ("user", 10),
        ("assistant", 2800),
    ]
    thread += exchange(100)
    assert 1000 < context(thread).tokens < 1100
    assert visible_numbers(thread, 1000) == [3, 4, 5, 6]


def test_without_a_user_message_nothing_can_be_cut():
    thread: list[MessageSize] = [("assistant", 400), ("system", 10), ("assistant", 400)]
    assert visible_numbers(thread, 10) == [1, 2, 3]


@given(threads, st.integers(1, 600))
@settings(max_examples=3 * settings.default.max_examples, deadline=None)
def test_what_is_seen_is_a_tail_that_begins_with_a_user_message_after_all_earlier_system_messages(
    thread: tuple[MessageSize, ...], budget: int
):
    numbers = visible_numbers(thread, budget)
    assert numbers == sorted(set(numbers))
    assert {n for n, (role, _) in enumerate(thread, start=1) if role == "system"} <= set(numbers)
    if len(numbers) < len(thread):
        left_out = [n for n in range(1, len(thread) + 1) if n not in numbers]
        first = left_out[-1] + 1
        while thread[first - 1][0] == "system":
            first += 1
        assert thread[first - 1][0] == "user"
        assert numbers[numbers.index(first) :] == list(range(first, len(thread) + 1))


@given(threads, st.integers(1, 600))
@settings(max_examples=3 * settings.default.max_examples, deadline=None)
def test_the_budget_is_kept_wherever_some_cut_keeps_it(
    thread: tuple[MessageSize, ...], budget: int
):
    full_context = context(thread)
    sizes = {n: tokens(len(line(n, entry))) for n, entry in enumerate(thread, start=1)}
    window_tokens = sum(sizes[n] for n in visible_numbers(thread, budget))
    users = [mark.number for mark in full_context.landmarks if mark.role == "user"]
    if not users:
        assert window_tokens == full_context.tokens
        return
    system = sum(
        sizes[mark.number]
        for mark in full_context.landmarks
        if mark.number < users[-1] and mark.role == "system"
    )
    minimum = system + sum(size for n, size in sizes.items() if n >= users[-1])
    assert window_tokens <= max(budget, minimum)


@given(st.lists(st.integers(0, 200), min_size=60, max_size=120), st.integers(600, 2000))
@settings(deadline=None)
def test_a_growing_thread_is_cut_rarely_and_never_further_back(lengths: list[int], budget: int):
    thread: list[MessageSize] = [("system", 20)]
    firsts: list[int] = []
    for length in lengths:
        thread += exchange(length)
        firsts.append(visible_numbers(thread, budget)[1])
    assert firsts == sorted(firsts)
    most_cuts = context(thread).tokens / (budget // 4)
    assert len(set(firsts)) <= most_cuts + 2


@given(threads, st.integers(1, 600))
@settings(max_examples=2 * settings.default.max_examples, deadline=None)
def test_while_the_cut_stands_the_prefix_is_the_same(thread: tuple[MessageSize, ...], budget: int):
    grown_thread = (*thread, ("assistant", 5))
    if visible_numbers(grown_thread, budget)[:-1] == visible_numbers(thread, budget):
        assert cut_to_window(context(grown_thread), budget).startswith(
            cut_to_window(context(thread), budget)
        )


def summary(number: int, text: str, compacts: int) -> Message:
    return Message(
        id=f"msg_{number}",
        thread_id="thread_1",
        number=number,
        role="system",
        content=(Text(text),),
        compacts=compacts,
        created_at=1,
    )


def with_summaries(thread: Iterable[MessageSize], at: dict[int, Message]) -> Context:
    """Return the thread with summaries in the places of these messages."""
    lines: list[bytes] = []
    landmarks: list[Landmark] = []
    offset = before = 0
    for number, entry in enumerate(thread, start=1):
        lines.append(to_chat_completions(at[number]) if number in at else line(number, entry))
        length = len(lines[-1])
        if number in at or entry[0] in ("user", "system"):
            role = "summary" if number in at else entry[0]
            landmarks.append(Landmark(number, role, offset, length, before))
        offset += length + 1
        before += tokens(length)
    return Context(
        version=1,
        messages=len(lines),
        tokens=before,
        chat=b",".join(lines),
        marks=encode_landmarks(landmarks),
        compacted=bool(at),
    )


def select_messages(
    thread: Iterable[MessageSize], at: dict[int, Message], budget: int | None = None
) -> list[object]:
    """Return the window of the model: messages by their numbers, a summary by its text."""
    window = json.loads(b"[" + cut_to_window(with_summaries(thread, at), budget) + b"]")
    return [
        message.get("n", message["content"].removeprefix(f"{SUMMARY_PREFACE}\n\n"))
        for message in window
    ]


MARK: MessageSize = ("system", 1)


def test_a_summary_stands_in_for_what_it_compacts_and_system_messages_stay():
    thread = [("system", 9), *exchange(9), ("system", 9), *exchange(9), MARK, *exchange(9)]

    assert select_messages(thread, {7: summary(7, "We met.", 4)}) == [1, 4, "We met.", 5, 6, 8, 9]
    assert select_messages(thread, {7: summary(7, "We met.", 6)}) == [1, 4, "We met.", 8, 9]


def test_a_summary_is_told_as_the_users_and_as_what_it_is():
    thread = [*exchange(9), MARK]

    context = with_summaries(thread, {3: summary(3, "We met.", 2)})

    assert json.loads(cut_to_window(context, None)) == {
        "role": "user",
        "content": f"{SUMMARY_PREFACE}\n\nWe met.",
    }


def test_the_newest_summary_holds_and_older_ones_are_not_told():
    thread = [*exchange(9), MARK, *exchange(9), MARK, *exchange(9), MARK]

    summaries = {3: summary(3, "We met.", 2), 6: summary(6, "We met, and parted.", 5)}

    assert select_messages(thread[:7], summaries) == ["We met, and parted.", 7]
    assert select_messages(thread, summaries | {9: summary(9, "We met again.", 2)}) == [
        "We met again.", 4, 5, 7, 8
    ]  # fmt: skip


def test_a_summary_of_nothing_takes_back_those_before_it():
    thread = [("assistant", 9), *exchange(9), MARK, *exchange(9), MARK, ("assistant", 9)]

    summaries = {4: summary(4, "We met.", 3), 7: summary(7, "", 0)}

    assert select_messages(thread, summaries) == [1, 2, 3, 5, 6, 8]


def test_a_call_is_not_parted_from_its_outputs_wherever_a_summary_ends():
    thread = [("user", 9), ("assistant", 9), ("tool", 9), ("assistant", 9), ("user", 9), MARK]

    assert select_messages(thread, {6: summary(6, "We met.", 2)}) == ["We met.", 5]


def test_a_summary_of_more_than_there_is_stands_for_all_before_it():
    thread = [*exchange(9), MARK, *exchange(9)]

    assert select_messages(thread, {3: summary(3, "We met.", 9)}) == ["We met.", 4, 5]


def test_what_follows_a_summary_is_cut_to_the_budget_and_the_summary_stays():
    thread = [("system", 10), *exchange(400), *exchange(400), MARK, *exchange(400), ("user", 10)]
    thread_and_summary = {6: summary(6, "We met.", 3)}

    assert select_messages(thread, thread_and_summary, 10_000) == [1, "We met.", 4, 5, 7, 8, 9]
    assert select_messages(thread, thread_and_summary, 300) == [1, "We met.", 7, 8, 9]
    assert select_messages(thread, thread_and_summary, 60) == [1, "We met.", 9]


@given(threads, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=3))
@settings(max_examples=3 * settings.default.max_examples, deadline=None)
def test_the_window_holds_the_newest_summary_and_what_it_leaves(
    thread: tuple[MessageSize, ...], marks: list[tuple[int, int]]
):
    entries = list(thread)
    for after, _ in marks:
        entries.insert(min(after, len(entries)), MARK)
    places = [n for n, each in enumerate(entries, start=1) if each == MARK]
    at = {
        n: summary(n, f"Summary {n}.", min(ends, n - 1))
        for n, (_, ends) in zip(places, marks, strict=False)
    }
    roles = {n: role for n, (role, _) in enumerate(entries, start=1) if n not in at}
    compacts = at[max(at)].compacts if at else 0
    assert compacts is not None

    possible_starts = [
        n for n in range(1, len(entries) + 1) if n > compacts and entries[n - 1][0] in _CUTS
    ]
    first = min(possible_starts, default=len(entries) + 1) if compacts else 1
    system_numbers = [n for n, role in roles.items() if n < first and role == "system"]
    summaries = [f"Summary {max(at)}."] if compacts else []
    assert select_messages(entries, at) == [
        *system_numbers,
        *summaries,
        *(n for n in roles if n >= first),
    ]
    assert_landmarks_are_right(apply_summary(with_summaries(entries, at)))


def assert_landmarks_are_right(context: Context) -> None:
    messages = json.loads(b"[" + context.chat + b"]")
    landmark_messages = [
        json.loads(context.chat[mark.offset : mark.offset + mark.length])
        for mark in context.landmarks
    ]
    assert landmark_messages == [message for message in messages if message["role"] in _CUTS]
    lengths = [len(piece) for piece in _split(context.chat, len(messages))]
    assert context.tokens == sum(map(tokens, lengths))
    for mark in context.landmarks:
        chat_before = context.chat[: max(0, mark.offset - 1)]
        count = len(json.loads(b"[" + chat_before + b"]"))
        assert mark.tokens_before == sum(map(tokens, lengths[:count]))


def _split(chat: bytes, count: int) -> list[bytes]:
    """Split the chat into its messages: none of these holds what joins two."""
    pieces = chat.replace(b'},{"role"', b'}\n{"role"').split(b"\n") if chat else []
    assert len(pieces) == count
    return pieces


_CUTS = ("user", "system")

"""The list of threads from which one is picked: what it shows, and what is chosen."""

from __future__ import annotations

from antiphon.terminal import spans
from antiphon.terminal.thread_list import ThreadList, picker_row
from antiphon.types.runs import Thread


def thread(name: str, title: str = "", **facts: object) -> Thread:
    return Thread(
        id=f"thread_{name}", title=title or name, messages=2, created_at=1, updated_at=1, **facts
    )


def threads(count: int) -> ThreadList:
    """Return a list of so many threads, none of which is the thread of the chat."""
    thread_list = ThreadList()
    thread_list.add("", [thread(f"t{number}") for number in range(count)])
    return thread_list


def shown_titles(thread_list: ThreadList) -> list[str]:
    return [each.title for each in thread_list.shown]


def chosen_title(thread_list: ThreadList) -> str:
    return thread_list.chosen.title if thread_list.chosen else ""


def test_the_previous_thread_is_chosen_first_and_not_the_one_of_the_chat() -> None:
    thread_list = ThreadList("thread_a")
    thread_list.add("", [thread("a"), thread("b")])

    assert chosen_title(thread_list) == "b"
    thread_list.move(-1)
    assert chosen_title(thread_list) == "a"


def test_the_choice_stops_at_both_ends() -> None:
    thread_list = threads(3)
    thread_list.move(-1)
    assert chosen_title(thread_list) == "t0"
    thread_list.move(40)
    assert chosen_title(thread_list) == "t2"
    empty = ThreadList()
    empty.move(1)
    assert empty.chosen is None
    assert empty.visible(5) == []


def test_titles_are_filtered_by_all_words_whatever_their_case() -> None:
    thread_list = ThreadList()
    thread_list.add("", [thread("a", "About BEES"), thread("b", "Cows"), thread("c", "bees again")])

    assert thread_list.filter("bees")
    assert shown_titles(thread_list) == ["About BEES", "bees again"]
    assert thread_list.filter(" bees  about ")
    assert shown_titles(thread_list) == ["About BEES"]
    assert not thread_list.filter("bees about")
    assert thread_list.filter("")
    assert len(thread_list.shown) == 3


def test_what_is_found_in_messages_follows_the_titles_and_moves_no_choice() -> None:
    thread_list = ThreadList()
    thread_list.add("", [thread("a", "Cows"), thread("b", "bees one"), thread("c", "bees two")])
    thread_list.filter("bees")
    thread_list.move(1)
    thread_list.add("bees", [thread("z", "Honey"), thread("c", "bees two")])

    assert shown_titles(thread_list) == ["bees one", "bees two", "Honey"]
    assert chosen_title(thread_list) == "bees two"


def test_results_for_words_that_have_changed_are_dropped() -> None:
    thread_list = threads(1)
    thread_list.filter("bees")
    thread_list.filter("cows")
    thread_list.add("bees", [thread("z", "Honey")])

    assert shown_titles(thread_list) == []
    thread_list.add("cows", [thread("y", "Milk")])
    thread_list.filter("t0")
    assert shown_titles(thread_list) == ["t0"]


def test_empty_threads_are_not_shown_and_none_twice() -> None:
    thread_list = threads(2)
    empty = Thread(id="thread_e", created_at=1, updated_at=1)
    thread_list.add("", [thread("t1"), empty, thread("t2")])

    assert shown_titles(thread_list) == ["t0", "t1", "t2"]


def test_more_is_wanted_near_the_end_only() -> None:
    thread_list = threads(20)
    assert not thread_list.near_end
    thread_list.move(17)
    assert thread_list.near_end


def test_the_visible_part_follows_the_choice_in_any_height() -> None:
    thread_list = threads(10)
    for room, by in ((4, 0), (4, 5), (4, -2), (2, 9), (1, 0), (8, 0), (4, -9)):
        thread_list.move(by)
        part = thread_list.visible(room)
        assert len(part) == room
        assert [each.title for each, at in part if at] == [chosen_title(thread_list)]
    assert [each.title for each, _ in thread_list.visible(4)] == ["t0", "t1", "t2", "t3"]


def test_a_row_fits_any_width_and_nothing_in_it_is_raw() -> None:
    hostile = thread("a", "\x1b[31m漢字\n" * 40, pinned=True)
    for columns in range(4, 120):
        row = picker_row(hostile, "thread_a", columns, "…", chosen=True)
        assert spans.line_width(row) <= columns
        assert spans.text(row).isprintable()
    row = spans.text(picker_row(thread("b", "Bees", pinned=True), "thread_b", 80, "…", chosen=True))

    assert row.startswith("> 1970-01-01")
    assert row.endswith("  2 messages  Bees  (pinned, here)")

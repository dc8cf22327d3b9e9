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
    """A list of so many threads, the chat being in none of them."""
    listed = ThreadList()
    listed.add("", [thread(f"t{number}") for number in range(count)])
    return listed


def shown(listed: ThreadList) -> list[str]:
    return [each.title for each in listed.shown]


def chosen(listed: ThreadList) -> str:
    return listed.chosen.title if listed.chosen else ""


def test_the_previous_thread_is_chosen_first_and_not_the_one_of_the_chat() -> None:
    listed = ThreadList("thread_a")
    listed.add("", [thread("a"), thread("b")])

    assert chosen(listed) == "b"
    listed.move(-1)
    assert chosen(listed) == "a"


def test_the_choice_stops_at_both_ends() -> None:
    listed = threads(3)
    listed.move(-1)
    assert chosen(listed) == "t0"
    listed.move(40)
    assert chosen(listed) == "t2"
    empty = ThreadList()
    empty.move(1)
    assert empty.chosen is None
    assert empty.visible(5) == []


def test_titles_are_filtered_by_all_words_whatever_their_case() -> None:
    listed = ThreadList()
    listed.add("", [thread("a", "About BEES"), thread("b", "Cows"), thread("c", "bees again")])

    assert listed.filter("bees")
    assert shown(listed) == ["About BEES", "bees again"]
    assert listed.filter(" bees  about ")
    assert shown(listed) == ["About BEES"]
    assert not listed.filter("bees about")
    assert listed.filter("")
    assert len(listed.shown) == 3


def test_what_is_found_in_messages_follows_the_titles_and_moves_no_choice() -> None:
    listed = ThreadList()
    listed.add("", [thread("a", "Cows"), thread("b", "bees one"), thread("c", "bees two")])
    listed.filter("bees")
    listed.move(1)
    listed.add("bees", [thread("z", "Honey"), thread("c", "bees two")])

    assert shown(listed) == ["bees one", "bees two", "Honey"]
    assert chosen(listed) == "bees two"


def test_results_for_words_that_have_changed_are_dropped() -> None:
    listed = threads(1)
    listed.filter("bees")
    listed.filter("cows")
    listed.add("bees", [thread("z", "Honey")])

    assert shown(listed) == []
    listed.add("cows", [thread("y", "Milk")])
    listed.filter("t0")
    assert shown(listed) == ["t0"]


def test_empty_threads_are_not_shown_and_none_twice() -> None:
    listed = threads(2)
    empty = Thread(id="thread_e", created_at=1, updated_at=1)
    listed.add("", [thread("t1"), empty, thread("t2")])

    assert shown(listed) == ["t0", "t1", "t2"]


def test_more_is_wanted_near_the_end_only() -> None:
    listed = threads(20)
    assert not listed.near_end
    listed.move(17)
    assert listed.near_end


def test_the_visible_part_follows_the_choice_in_any_height() -> None:
    listed = threads(10)
    for room, by in ((4, 0), (4, 5), (4, -2), (2, 9), (1, 0), (8, 0), (4, -9)):
        listed.move(by)
        part = listed.visible(room)
        assert len(part) == room
        assert [each.title for each, at in part if at] == [chosen(listed)]
    assert [each.title for each, _ in listed.visible(4)] == ["t0", "t1", "t2", "t3"]


def test_a_row_fits_any_width_and_nothing_in_it_is_raw() -> None:
    hostile = thread("a", "\x1b[31m漢字\n" * 40, pinned=True)
    for columns in range(4, 120):
        row = picker_row(hostile, "thread_a", columns, "…", chosen=True)
        assert spans.line_width(row) <= columns
        assert spans.text(row).isprintable()
    row = spans.text(picker_row(thread("b", "Bees", pinned=True), "thread_b", 80, "…", chosen=True))

    assert row.startswith("> 1970-01-01")
    assert row.endswith("  2 messages  Bees  (pinned, here)")

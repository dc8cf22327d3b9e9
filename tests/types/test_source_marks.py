"""Marks of sources in an answer that was cut and continued: one list, one numbering."""

from __future__ import annotations

import pytest

from antiphon.client.export import render_export
from antiphon.engine.shares import take_snapshot
from antiphon.types.messages import Citation, Message, Text
from antiphon.types.runs import Thread
from antiphon.types.source_marks import renumber_marks
from antiphon.types.thread_view import join_replies, list_pages
from antiphon.wires.openai.stored_items import reply_text_item

MOON, SUN, SEA = (Citation(url=f"https://tides.example/{name}") for name in ("moon", "sun", "sea"))


def reply(number: int, text: str, *citations: Citation, **more: object) -> Message:
    return Message(
        id=f"msg_{number}",
        thread_id="thread_1",
        number=number,
        role="assistant",
        content=(Text(text),),
        citations=citations,
        created_at=0,
        **more,  # type: ignore[arg-type]
    )


def cut_and_rest() -> list[Message]:
    return [
        reply(1, "The moon[1] and the sun[2] ", MOON, SUN, status="incomplete"),
        reply(2, "pull the sea[1][2].", SEA, MOON, continues=True),
    ]


def test_marks_of_a_continued_answer_have_the_numbers_of_its_one_list() -> None:
    [joined_reply] = join_replies(cut_and_rest())

    assert joined_reply.text == "The moon[1] and the sun[2] pull the sea[3][1]."
    assert [page.url for page in list_pages(joined_reply.citations)] == [MOON.url, SUN.url, SEA.url]


def test_marks_of_an_answer_that_was_continued_twice_count_each_list() -> None:
    first, second = cut_and_rest()
    second = reply(2, "pull the sea[1] ", SEA, status="incomplete", continues=True)
    third = reply(3, "and the sun[1].", SUN, continues=True)

    [joined_reply] = join_replies([first, second, third])

    assert joined_reply.text == "The moon[1] and the sun[2] pull the sea[3] and the sun[2]."


def test_exports_links_and_stored_items_have_the_one_numbering() -> None:
    thread = Thread(id="thread_1", messages=2, version=1, created_at=0, updated_at=0)

    exported = "".join(render_export(thread, cut_and_rest(), "md"))
    [snapshot] = take_snapshot(cut_and_rest(), {}, {}, tools=False, reasoning=False)
    [joined_reply] = join_replies(cut_and_rest())
    item = reply_text_item(joined_reply, {})

    assert "sea[3][1]" in exported
    assert "3. [https://tides.example/sea]" in exported
    assert "sea[3][1]" in snapshot.text
    assert "sea[3][1]" in str(item.content)


def test_an_answer_whose_rest_cites_nothing_keeps_its_marks() -> None:
    rest = reply(2, "pull the sea[1][2].", continues=True)

    [joined_reply] = join_replies([cut_and_rest()[0], rest])

    assert joined_reply.text.endswith("the sea[1][2].")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x | a [1], b[2]c [3] [0]", " a [5], b[6]c [3] [0]"),
        ("x | `a[1]` [1] ``b ` [1]`` [1]", " `a[1]` [5] ``b ` [1]`` [5]"),
        ("x `| a[1]` [1]", " a[1]` [5]"),
        ("x | lone ` [1]", " lone ` [5]"),
        ("x | `a\n\nb[1]`", " `a\n\nb[5]`"),
        ("```\n|a[1]\n```\n[1]", "a[1]\n```\n[5]"),
        ("~~~ py\n|a[1]\n```\nb[1]\n~~~~\n[1]", "a[1]\n```\nb[1]\n~~~~\n[5]"),
        ("|```\na[1]", "```\na[1]"),
        (
            "| [1](https://a.example) [1]: x \\[1] [1][2]",
            " [1](https://a.example) [1]: x \\[1] [5][6]",
        ),
        ("a [1] | [1]", " [5]"),
        ("|[1]\r\n[2]\u2028[1]", "[5]\r\n[6]\u2028[5]"),
    ],
)
def test_only_marks_behind_the_cut_and_outside_code_change(text: str, expected: str) -> None:
    cut, _, rest = text.partition("|")

    assert renumber_marks(cut + rest, len(cut), {1: 5, 2: 6}) == cut + expected


def test_a_long_hostile_text_takes_time_in_proportion_to_its_length() -> None:
    ticks = " ".join("`" * number for number in range(1, 1_200))
    text = ticks + "`a " * 200_000 + "[1]" * 100_000 + "\n```" * 50_000

    assert renumber_marks(text, 0, {1: 2})

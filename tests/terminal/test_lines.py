"""Pieces become lines: what a person reads, selects and copies."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.terminal import spans
from antiphon.terminal.compact_streaming_display import CompactStreamingDisplay
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.themes import BARE, THEMES, Ink, choose_theme
from antiphon.types.terminal_safe import clean
from tests.support.terminal.markdown_documents import cut_documents

THEME = THEMES["none"]


drawn = st.text(max_size=30).map(lambda text: clean(text, "code").replace("\n", " "))


def lines(markdown: str, columns: int = 80) -> list[Line]:
    display = CompactStreamingDisplay(THEME)
    return display.feed(markdown, columns) + display.close(columns)


def texts(markdown: str, columns: int = 80) -> list[str]:
    return [spans.text(line) for line in lines(markdown, columns)]


def styles(markdown: str) -> dict[str, str]:
    return {span.text: span.style for line in lines(markdown) for span in line}


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("# One\ntext", ["One", "", "text"]),
        ("- a\n- b\n  - c\n\n    d", ["• a", "• b", "  ◦ c", "", "    d"]),
        ("9. a\n9. b", ["9. a", "10. b"]),
        ("- [ ] a\n- [x] b", ["☐ a", "☑ b"]),
        ("> a\n>\n> b", ["│ a", "│", "│ b"]),
        ("> - a\n>   > b", ["│ • a", "│   │ b"]),
        ("a  \nb\\\nc\nd", ["a", "b", "c d"]),
        ("a\n\n---\n\nb", ["a", "", "─" * 40, "", "b"]),
        ("-\n- a", ["•", "• a"]),
        ("[ref]\n\n[ref]: http://x.y", ["[ref]"]),
        ("[ref]: http://x.y\n\n[ref]", ["ref (x.y)"]),
        ("~~gone~~ `a*b*`", ["gone a*b*"]),
        ("<b>bold</b>", ["<b>bold</b>"]),
        ("&lt; &amp; &copy;", ["< & ©"]),
        ("מלל עם **דגש**", ["מלל עם דגש"]),
    ],
)
def test_blocks_read_as_a_person_expects(markdown: str, expected: list[str]):
    assert texts(markdown) == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[words](https://example.org/page)", "words (example.org)"),
        ("[bank.example](https://evil.example/)", "bank.example (evil.example)"),
        ("[x](https://bank.example@evil.example/)", "x (evil.example)"),
        ("<https://example.org/page>", "https://example.org/page"),
        ("[https://example.org/](https://example.org/)", "https://example.org/"),
        ("[here](page.html)", "here (page.html)"),
        ("[mail](mailto:a@b.c)", "mail (a@b.c)"),
        ("[run](javascript:alert(1))", "[run](javascript:alert(1))"),
        ("![cat](https://example.org/cat.png)", "[image: cat] (example.org)"),
    ],
)
def test_a_link_says_where_it_leads(link: str, expected: str):
    assert texts(link) == [expected]


def test_a_link_is_one_to_click_only_where_that_was_asked_for_and_only_to_the_web():
    (line,) = lines("[a](https://x.y) [b](file:///etc/passwd) [c](ftp://x.y)")

    assert "\x1b]8" not in Ink(THEME).render(line)
    assert re.findall(r"\x1b]8;;([^\x1b]*)", Ink(THEME, links=True).render(line)) == [
        "https://x.y",
        "",
    ]


def test_code_is_what_was_written_wherever_it_stands():
    code = "def f():\n    return 'a line that is longer than the terminal is wide'\n\n\tx = 1"
    fenced_code = f"```python\n{code}\n```"
    indented_code = "\n".join(f"   {line}" for line in fenced_code.split("\n"))

    assert texts(fenced_code, 20) == code.split("\n")
    assert texts(f"1. Do this:\n{indented_code}\n", 20) == ["1. Do this:", *code.split("\n")]


def test_prose_is_wrapped_at_words_and_never_wider_than_is_good_to_read():
    rows = texts("word " * 100, 300)

    assert {len(line) for line in rows[:-1]} == {99}
    assert not any(line.endswith(" ") for line in rows)


def test_a_word_longer_than_a_line_is_left_to_the_terminal():
    address = "https://example.org/" + "a" * 50

    assert texts(f"see {address} there", 30) == ["see", address, "there"]


def test_a_command_in_a_sentence_is_not_broken():
    command = "pip install --upgrade --user antiphon"

    assert texts(f"Then say `{command}`, and wait.", 30) == ["Then say", f"{command},", "and wait."]


def test_letters_that_need_no_blanks_are_wrapped_by_their_width():
    assert texts("東京は大きい。とても", 10) == ["東京は大き", "い。とても"]


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("東京", 4), ("e\u0301", 1), ("👩\u200d🚀", 4), ("❤\ufe0f", 2), ("שלום", 4)],
)
def test_a_text_never_takes_more_cells_than_reckoned(text: str, width: int):
    assert spans.width(text) == width


def test_a_table_has_columns_as_wide_as_its_cells():
    assert texts("| a | long |\n|--:|:-:|\n| 1 | x |\n| 22 | `yy` |\n") == [
        " a │ long",
        "───┼─────",
        " 1 │  x",
        "22 │  yy",
    ]


def test_a_cell_that_is_too_wide_is_broken_inside_its_column():
    rows = texts("| a | b |\n|---|---|\n| 1 | one two three four five |\n", 20)

    assert rows[0] == "a │ b"
    assert all(spans.width(line) <= 20 for line in rows)
    assert rows[2:] == ["1 │ one two three", "  │ four five"]


def test_a_table_too_wide_for_columns_is_names_and_values():
    header, rule = "|".join("abcdef"), "|".join(["---"] * 6)
    cell = "|".join(f"value of {name}" for name in "abcdef")

    rows = texts(f"{header}\n{rule}\n{cell}\n{cell}\n", 24)

    assert rows == [
        *(f"{name}: value of {name}" for name in "abcdef"),
        "",
        *(f"{name}: value of {name}" for name in "abcdef"),
    ]


def test_code_is_coloured_by_its_language_with_what_stands_above_in_mind():
    code_styles = styles('```python\n"""A\n\ndoc."""\nreturn 1\n```')

    assert code_styles['doc."""'] == "token string"
    assert code_styles["return"] == "token keyword"


@pytest.mark.parametrize("language", ["", "nosuchlanguage", "x" * 5000, "../../etc/passwd"])
def test_code_of_an_unknown_language_is_plain(language: str):
    assert styles(f"```{language}\nreturn 1\n```") == {"return 1": ""}


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "dark"),
        ({"NO_COLOR": "1"}, "none"),
        ({"NO_COLOR": ""}, "dark"),
        ({"TERM": "dumb"}, "bare"),
    ],
)
def test_the_environment_may_ask_for_less(environment: dict[str, str], name: str):
    assert choose_theme("dark", environment).name == name


def test_without_styles_the_marks_stay():
    display = CompactStreamingDisplay(BARE.in_ascii())
    rows = display.feed("# One\n**two** `three`\n\n- four\n", 80) + display.close(80)

    assert [Ink(BARE).render(line) for line in rows] == [
        "# One",
        "",
        "**two** `three`",
        "",
        "- four",
    ]


def test_no_colour_is_written_where_none_is_wanted():
    output = "".join(map(Ink(THEME).render, lines("# a\n`b` **c**\n```py\nreturn 'x'\n```")))

    codes = {code for look in re.findall(r"\x1b\[([\d;]*)m", output) for code in look.split(";")}
    assert codes <= {"0", "1", "3", "4", "9"}


@pytest.mark.slow
@given(cut_documents(), st.integers(1, 120))
def test_lines_are_the_same_however_the_text_is_cut(cut: tuple[str, list[str]], columns: int):
    text, pieces = cut
    display = CompactStreamingDisplay(THEME)

    streamed_lines: list[Line] = []
    for piece in pieces:
        streamed_lines += display.feed(piece, columns)
        display.pending(columns)  # rows that are drawn meanwhile leave no trace

    assert streamed_lines + display.close(columns) == lines(text, columns)


@pytest.mark.slow
@given(cut_documents(), st.integers(1, 120))
def test_pending_lines_are_those_that_an_end_would_print(cut: tuple[str, list[str]], columns: int):
    _, pieces = cut
    display = CompactStreamingDisplay(THEME)
    for piece in pieces:
        display.feed(piece, columns)

        pending = display.pending(columns)

    assert display.close(columns) == pending
    assert display.close(columns) == []


@given(drawn, st.integers(1, 12))
def test_folded_rows_hold_all_of_a_line_and_fit(text: str, columns: int):
    text = text.replace("\t", " ")

    rows = spans.fold([StyledText(text)], columns)

    assert "".join(map(spans.text, rows)) == text
    assert all(spans.line_width(row) <= max(2, columns) for row in rows)


@given(drawn, st.integers(1, 12))
def test_clipped_lines_fit(text: str, columns: int):
    assert spans.line_width(spans.clip([StyledText(text)], columns, "…")) <= columns

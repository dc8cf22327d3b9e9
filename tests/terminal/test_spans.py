"""Lines of the program's own are broken at blanks, and nothing of them is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from antiphon.terminal import spans
from antiphon.terminal.spans import StyledText


def rows(columns: int, *texts: str) -> list[str]:
    return [spans.text(row) for row in spans.wrap(map(StyledText, texts), columns)]


def test_a_row_ends_between_words() -> None:
    assert rows(12, "one two ", "three four") == ["one two", "three four"]
    assert rows(3, "one two") == ["one", "two"]
    assert rows(4, "  onetwo a") == ["  onetwo", "a"]
    assert rows(4, "") == [""]


@given(st.lists(st.text(alphabet="ab 漢é\u0301")), st.integers(2, 12))
def test_all_but_blanks_at_ends_of_rows_stays(texts: list[str], columns: int) -> None:
    broken_rows = rows(columns, *texts)

    assert "".join(broken_rows).replace(" ", "") == "".join(texts).replace(" ", "")
    assert all(
        spans.line_width([StyledText(row)]) <= columns or " " not in row.strip()
        for row in broken_rows
    )

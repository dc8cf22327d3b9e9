"""The head of a SKILL.md is read as people write it, and nothing in it can grow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.skills.frontmatter import MAX_HEAD, parse_document
from antiphon.types.errors import InvalidRequest


def read_head(text: str) -> dict[str, object]:
    return dict(parse_document(f"---\n{text}\n---\nbody").fields)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("description: Use when: the user says: go", "Use when: the user says: go"),
        ('description: "Use when: \\"now\\""', 'Use when: "now"'),
        ("description: 'It''s here'  # a comment", "It's here"),
        ("description: plain # a comment", "plain"),
        ("description: C# and F#", "C# and F#"),
        ("description: 10:30", "10:30"),
        ("description: http://example.org", "http://example.org"),
        ('description: "half quoted" and more', '"half quoted" and more'),
        ('description: "never closed', '"never closed'),
        ("description: >-\n  one\n  two\n\n  three", "one two\n\nthree"),
        ("description: |\n  one\n    two\n  three", "one\n  two\nthree"),
        ("description: one\n  two\n  three: four", "one two three: four"),
        ("description:\n  one\n  two", "one two"),
        ("description: [a, 'b, c', d]", ["a", "b, c", "d"]),
        ("description:\n  - a\n  - b: c", ["a", "b: c"]),
        ("description:\n- a\n- b", ["a", "b"]),
        ('description:\n  author: me\n  version: "1.0"', {"author": "me", "version": "1.0"}),
        ("description: &a [*a, *a]", "&a [*a, *a]"),
        (
            "description: !!python/object/apply:os.system",
            "!!python/object/apply:os.system",
        ),
        ("description: null", ""),
        ("description:", ""),
    ],
)
def test_a_field_is_read_as_it_was_meant(line: str, value: object) -> None:
    assert read_head(line) == {"description": value}


def test_line_ends_of_windows_and_a_mark_of_the_byte_order_are_no_matter() -> None:
    document = parse_document("\ufeff---\r\nname: a\r\ndescription: b\r\n---\r\n\r\nbody\r\n")

    assert document.fields == {"name": "a", "description": "b"}
    assert document.body == "body\n"


def test_a_file_without_a_head_is_all_body() -> None:
    document = parse_document("# Title\n---\nname: a\n---\n")

    assert document.fields == {}
    assert document.body == "# Title\n---\nname: a\n---\n"


@pytest.mark.parametrize("text", ["---\nname: a\n", "---\n", f"---\na: {'x' * MAX_HEAD}\n---\n"])
def test_a_head_without_an_end_or_without_measure_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_document(text)


def test_references_to_references_stay_the_letters_that_they_are() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(2, 60))
    fields = read_head(bomb.rstrip())

    assert sum(len(str(value)) for value in fields.values()) < 2 * len(bomb)


@given(st.text(alphabet=st.sampled_from("ab:-#\"'\\|>[]{},&*! \t\n\r~0"), max_size=200))
def test_whatever_stands_in_a_head_is_text(text: str) -> None:
    try:
        document = parse_document(f"---\n{text}\n---\nbody")
    except InvalidRequest:
        return
    values = [part for value in document.fields.values() for part in value]
    assert all(isinstance(part, str) for part in values)

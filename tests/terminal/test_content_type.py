"""The content type of an answer is decided once; in doubt it is Markdown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.terminal import spans
from antiphon.terminal.compact_streaming_display import CompactStreamingDisplay, detect
from antiphon.terminal.themes import THEMES


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"a": 1}', "json"),
        ('  {\n  "a"', "json"),
        ("[1, 2]", "json"),
        ('[{"a": 1}]', "json"),
        ("[[1, 2]]", "json"),
        ("[true, false]", "json"),
        ("[x] done", "markdown"),
        ("[1] a footnote", "markdown"),
        ("[words](http://x)", "markdown"),
        ("{braces} in a sentence", "markdown"),
        ("<!DOCTYPE html>\n", "html"),
        ("<html lang='en'>", "html"),
        ("<?xml version='1.0'?>", "html"),
        ("<b>bold</b> words", "markdown"),
        ("SELECT *\nFROM t\n", "sql"),
        ("INSERT INTO t VALUES (1)", "sql"),
        ("select the best from all", "markdown"),
        ("SELECT one of these\n\n\nWell", "markdown"),
        ("plain words", "markdown"),
        ("# Head", "markdown"),
    ],
)
def test_the_kind_shows_at_the_beginning(text: str, kind: str):
    assert detect(text, ended=True) == kind


@given(st.sampled_from(['{"a": [1, "}"]}', "[1, 2]", "SELECT a FROM b;", "<html>", "[x] y", "S"]))
def test_no_beginning_is_decided_otherwise_than_the_whole(text: str):
    decisions = {detect(text[:size]) for size in range(len(text) + 1)} - {None}

    assert decisions <= {detect(text, ended=True)}


def detect_kinds(text: str, step: int = 1) -> tuple[list[str], set[str]]:
    display = CompactStreamingDisplay(THEMES["none"])
    lines, kinds = [], set[str]()
    for at in range(0, len(text), step):
        lines += display.feed(text[at : at + step], 80)
        kinds.add(display.kind)
    return [spans.text(line) for line in lines + display.close(80)], kinds


def test_json_without_a_fence_is_kept_as_it_is_and_ends_where_its_brackets_do():
    json = '{\n  "a": "_x_ } {",\n  "b": [1, 2]\n}'

    lines, kinds = detect_kinds(f"{json}\n\nThat is *it*.\n")

    assert lines == [*json.split("\n"), "", "That is it."]
    assert {"json", "text"} <= kinds


def test_a_statement_without_a_fence_ends_with_an_empty_line_behind_it():
    lines, kinds = detect_kinds("SELECT *\nFROM t;\n\nThat was **it**.")

    assert lines == ["SELECT *", "FROM t;", "", "", "That was it."]
    assert "sql" in kinds


@pytest.mark.parametrize(
    ("text", "kind", "writing"),
    [
        ("words", "text", "text"),
        ("# head\nwords", "markdown", "markdown"),
        ("```python\nx = 1\n", "code", "python"),
        ("| a |\n|---|\n", "table", "table"),
        ('{"a":', "json", "json"),
    ],
)
def test_what_is_being_written_is_said(text: str, kind: str, writing: str):
    display = CompactStreamingDisplay(THEMES["none"])
    display.feed(text, 80)

    assert (display.kind, display.writing) == (kind, writing)

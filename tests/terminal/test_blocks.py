"""Markdown is split into blocks as it comes, at constant cost, as a reader of the whole does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import assume, given
from markdown_it import MarkdownIt

from antiphon.terminal.markdown.blocks import DEEPEST, Blocks
from antiphon.terminal.markdown.leaf_blocks import MEASURED_ROWS
from antiphon.terminal.markdown.nodes import (
    HARD,
    SOFT,
    Code,
    Empty,
    Heading,
    Item,
    Paragraph,
    Piece,
    Rule,
    TableNode,
    is_settled,
)
from tests.support.terminal.markdown_documents import cut_documents, short_documents


def parse(pieces: Iterable[str]) -> list[Piece]:
    blocks = Blocks()
    return [piece for text in pieces for piece in blocks.feed(text)] + blocks.close()


def outline(pieces: Iterable[Piece]) -> list[Any]:
    """Return the blocks that the pieces make up: containers, kind, content."""
    blocks: list[list[Any]] = []
    for piece in pieces:
        where = [f"item {at.number}" if isinstance(at, Item) else "quote" for at in piece.where]
        match piece:
            case Paragraph(begins=True):
                blocks.append([where, "p", piece.text])
            case Code(begins=True):
                blocks.append([where, "code", piece.language, piece.text or ""])
            case Paragraph():
                blocks[-1][2] += piece.text
            case Code():
                blocks[-1][3] += f"\n{piece.text}"
            case Heading():
                blocks.append([where, f"h{piece.level}", piece.text])
            case TableNode(begins=True):
                blocks.append([where, "table", piece.header, *piece.rows])
            case TableNode():
                blocks[-1] += piece.rows
            case Rule():
                blocks.append([where, "hr"])
            case Empty() if where[-1] != "quote":
                blocks.append([where, "empty"])
            case _:
                pass
    return [[part.strip() if isinstance(part, str) else part for part in one] for one in blocks]


def whole_outline(text: str) -> list[Any]:
    """Return the same outline from markdown-it, which reads whole documents."""
    blocks: list[list[Any]] = []
    where: list[str] = []
    numbers: list[int | None] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for token, after in zip_longest(tokens, tokens[1:]):
        match token.type:
            case "blockquote_open":
                where.append("quote")
            case "list_item_open":
                where.append(f"item {numbers[-1]}")
                numbers[-1] = None if numbers[-1] is None else numbers[-1] + 1
                if after and after.type == "list_item_close":
                    blocks.append([[*where], "empty"])
            case "blockquote_close" | "list_item_close":
                where.pop()
            case "bullet_list_open":
                numbers.append(None)
            case "ordered_list_open":
                numbers.append(int(token.attrs.get("start", 1)))
            case "bullet_list_close" | "ordered_list_close":
                numbers.pop()
            case "paragraph_open" | "heading_open" if after:
                content = "\n".join(line.strip() for line in after.content.split("\n"))
                blocks.append([[*where], token.tag, content])
            case "hr":
                blocks.append([[*where], "hr"])
            case "fence" | "code_block" | "html_block":
                language = "html" if token.type == "html_block" else token.info.strip()
                blocks.append([[*where], "code", language, token.content.strip()])
            case "table_open":
                blocks.append([[*where], "table"])
            case "tr_open":
                blocks[-1].append(())
            case "th_open" | "td_open" if after:
                blocks[-1][-1] += (after.content,)
            case _:
                pass
    return blocks


def strip_blanks(blocks: list[Any]) -> list[Any]:
    """Remove blanks at the ends of lines, which nobody sees."""
    return [
        [re.sub(r"[ \t]+(?=\n|$)", "", part) if isinstance(part, str) else part for part in one]
        for one in blocks
    ]


@given(cut_documents())
def test_the_blocks_are_the_same_however_the_text_is_cut(cut: tuple[str, list[str]]):
    text, pieces = cut

    assert outline(parse(pieces)) == outline(parse([text]))


@given(short_documents)
def test_the_blocks_are_those_that_a_reader_of_whole_documents_finds(text: str):
    # markdown-it ends a quote in a quote where the specification lets its text go on.
    assume(">> deep" not in text)

    assert strip_blanks(outline(parse([text]))) == strip_blanks(whole_outline(text))


@given(cut_documents())
def test_pending_blocks_are_those_that_an_end_would_give(cut: tuple[str, list[str]]):
    _, pieces = cut
    blocks = Blocks()
    for piece in pieces:
        blocks.feed(piece)

        pending = blocks.pending()

        assert pending == blocks.pending()
    assert pending == blocks.close()


FOX = "The quick brown **fox** jumps over `the` lazy dog. "
GROWING = {
    "paragraph": FOX * 1_200,
    "paragraph without a settled end": "`" + FOX.replace("`", "") * 1_200,
    "fence": "```python\n" + "    value = call(one, 2) + 'three'  # four\n" * 1_400,
    "list": "- an item with **some** words, and a few more\n" * 1_400,
    "table": "| a | b |\n|---|---|\n" + "| one cell | `another` one |\n" * 1_800,
    "quote": "> " + FOX * 1_200,
    "fence in an item": "1. Do this:\n\n   ```sh\n" + "   call --with many --options\n" * 1_800,
    "list in a quote": "> - an item of some words\n" * 1_400,
    "line of code": "```js\n" + "var a=1;" * 8_000,
    "HTML": "<div>\n" + "<p>words in a line</p>\n" * 1_400,
}


@pytest.mark.parametrize("kind", GROWING)
def test_what_is_held_back_does_not_grow_with_the_block(kind: str):
    blocks, text = Blocks(), GROWING[kind]
    most = 0
    for at in range(0, len(text), 20):
        blocks.feed(text[at : at + 20])
        most = max(most, sum(len(text_of(piece)) for piece in blocks.pending()))

    assert most <= 3 * HARD


def text_of(piece: Piece) -> str:
    match piece:
        case Paragraph(text=text) | Heading(text=text) | Code(text=str(text)):
            return text
        case TableNode(header=header, rows=rows):
            return "".join(cell for row in (header, *rows) for cell in row)
        case _:
            return ""


def test_a_long_paragraph_is_cut_where_nothing_reaches_over():
    sentences = "A sentence of **strong words. And more** of them. "
    parts = [piece for piece in parse([sentences * 40]) if isinstance(piece, Paragraph)]

    assert len(parts) > 3
    assert all(part.text.endswith("of them.") for part in parts)
    assert "".join(part.text for part in parts) == (sentences * 40).rstrip()
    assert [part.begins for part in parts] == [True] + [False] * (len(parts) - 1)
    assert [part.ends for part in parts] == [False] * (len(parts) - 1) + [True]


def test_a_fence_in_an_item_is_given_out_line_by_line():
    blocks = Blocks()
    blocks.feed("1. Do this:\n   ```sh\n")

    (line,) = blocks.feed("   ls -l\n")

    assert isinstance(line, Code)
    assert (line.text, line.language, line.begins) == ("ls -l", "sh", True)
    assert [at.number for at in line.where if isinstance(at, Item)] == [1]


def test_a_table_is_held_until_its_columns_can_be_measured():
    blocks = Blocks()
    blocks.feed("| a |\n|---|\n")

    before = blocks.feed("| 1 |\n" * (MEASURED_ROWS - 1))
    first = blocks.feed("| 1 |\n")
    second = blocks.feed("| 1 |\n")

    assert before == []
    assert [len(piece.rows) for piece in (*first, *second) if isinstance(piece, TableNode)] == [
        MEASURED_ROWS,
        1,
    ]


def test_numbers_go_on_whatever_the_source_says():
    numbers = [
        at.number
        for piece in parse(["1. a\n1. b\n\n   more\n1. c\n"])
        for at in piece.where
        if isinstance(at, Item)
    ]

    assert numbers == [1, 2, 2, 3]


@pytest.mark.parametrize(
    ("text", "gaps"),
    [
        ("- a\n- b\n", [False, False]),
        ("- a\n\n- b\n", [False, True]),
        ("text\n- a\n", [False, True]),
        ("- a\n  - b\n- c\n", [False, False, False]),
        ("- a\n\n  more\n- b", [False, True, False]),
        ("# h\ntext", [False, True]),
        ("> a\n> - b", [False, True]),
    ],
)
def test_items_stand_apart_where_the_source_says_so(text: str, gaps: list[bool]):
    assert [piece.gap for piece in parse([text])] == gaps


@pytest.mark.parametrize("name", ["paragraph", "table", "python", "code"])
def test_what_is_being_written_has_a_name(name: str):
    texts = {"table": "| a |\n|---|\n", "python": "```python\n", "code": "~~~\n"}
    blocks = Blocks()
    blocks.feed(texts.get(name, "a\n"))

    assert blocks.leaf == name


@pytest.mark.parametrize("text", ["*a", "**a* b", "`a", "[a", "[a](b", "<b", "~~a", "a _b"])
def test_text_that_waits_for_an_end_is_not_settled(text: str):
    assert not is_settled(text)


@pytest.mark.parametrize("text", ["*a*", "2 * 3", "a_b_c", "`*`", "[a](b)", "a < b", "\\*a", "a)"])
def test_text_that_waits_for_nothing_is_settled(text: str):
    assert is_settled(text)


@pytest.mark.parametrize("mark", ["> ", "- ", "1. ", ">"])
def test_containers_are_not_opened_without_end(mark: str):
    pieces = parse([f"{mark * 20_000}deep\n" * 2])

    assert max(len(piece.where) for piece in pieces) == DEEPEST


def test_a_heading_underlined_stays_one_while_it_is_short():
    text = "x" * (SOFT - 20) + "\n===\n"

    (piece,) = parse([text])

    assert isinstance(piece, Heading)

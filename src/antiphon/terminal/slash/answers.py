"""The last answers: copied, printed as they were written, and what was folded of them opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from antiphon.clean import clean, one_line
from antiphon.client.amounts import counted
from antiphon.errors import InvalidRequest
from antiphon.terminal import clipboard, pager, threads
from antiphon.terminal.folds import Fold, folds, thoughts
from antiphon.terminal.slash.command import Command
from antiphon.terminal.spans import Line, Span

if TYPE_CHECKING:
    from antiphon.terminal.chat import Chat

LISTED = 10
"""Pieces of reasoning that are listed, the last ones."""
CODE = "code"
_READER = MarkdownIt("commonmark")


async def _copy(chat: Chat, words: str) -> None:
    first, code, block = words.partition(CODE)
    source = await _answer(chat, first.strip())
    text = _code(source, block.strip()) if code else source
    ways = await clipboard.copied(chat.surface, text)
    chat.surface.say(f"Copied by {' and '.join(ways)}: {_size(text)}.", "faint")


async def _raw(chat: Chat, words: str) -> None:
    source = await _answer(chat, words)
    # Not folded: the terminal wraps the lines, so that they are selected as they are.
    chat.surface.display.paint(*((Span(line),) for line in clean(source, "code").split("\n")))


async def _answer(chat: Chat, words: str) -> str:
    """The source of the answer that is meant, counted from the last."""
    said = await threads.messages(chat)
    replies = [each.full_text for each in said if each.role == "assistant"]
    answers = [text for text in replies if text.strip()]
    if not answers:
        raise InvalidRequest("There is no answer here yet")
    return answers[-_number(words or "1", len(answers), "answers, the last one is 1")]


def _code(source: str, words: str) -> str:
    """The code of a block, counted from the first; the last one where none is named."""
    tokens = _READER.parse(source)
    blocks = [each.content for each in tokens if each.type in ("fence", "code_block")]
    if not blocks:
        raise InvalidRequest("There is no code in this answer", hint="/copy takes all of it.")
    return blocks[_number(words, len(blocks), "blocks of code") - 1] if words else blocks[-1]


def _number(words: str, count: int, what: str) -> int:
    if words.isdecimal() and 1 <= int(words) <= count:
        return int(words)
    raise InvalidRequest(f"There are {count} {what}", expected=f"1 to {count}", received=words)


def _size(text: str) -> str:
    return f"{counted(len(text), 'letter')} in {counted(len(text.splitlines()), 'line')}"


# What was folded.


async def opened(chat: Chat, words: str) -> None:
    """Open what was folded last, or Nth last; while a model thinks, what it has thought so far."""
    if not words and (thinking := chat.surface.display.reasoning_content):
        await pager.opened(chat.surface, "Thought so far", thinking)
        return
    found = folds(await threads.messages(chat))
    if not found:
        raise InvalidRequest("Nothing was shown in short here yet")
    fold = found[-_number(words or "1", len(found), "things to open, the last one is 1")]
    await pager.opened(chat.surface, fold.title, fold.text)


async def _reasoning(chat: Chat, words: str) -> None:
    found = thoughts(await threads.messages(chat))
    if not found:
        raise InvalidRequest("No reasoning was shown here yet")
    if not words:
        _list(chat, found)
        return
    fold = found[-_number(words, len(found), "pieces of reasoning, the last one is 1")]
    await pager.opened(chat.surface, fold.title, fold.text)


def _list(chat: Chat, found: Sequence[Fold]) -> None:
    first = min(LISTED, len(found))
    chat.surface.show_rows(_row(number, found[-number]) for number in range(first, 0, -1))
    chat.surface.say("/reasoning NUMBER opens one.", "faint")


def _row(number: int, fold: Fold) -> Line:
    return (
        Span(f"{number:>3}  ", "mark"),
        Span(f"{_size(fold.text)}  ", "faint"),
        Span(one_line(fold.title)),
    )


COMMANDS: tuple[Command, ...] = (
    Command(
        name="copy",
        arguments="[N] [code [K]]",
        meaning="copy the last answer, or the Nth last, or the Kth piece of code in it",
        carry_out=_copy,
        at_once=True,
    ),
    Command(
        name="raw",
        arguments="[N]",
        meaning="print the last answer, or the Nth last, as it was written",
        carry_out=_raw,
        at_once=True,
    ),
    Command(
        name="open",
        arguments="[N]",
        meaning="open whole what was shown in short last, or Nth last (Ctrl+O)",
        carry_out=opened,
        at_once=True,
    ),
    Command(
        name="reasoning",
        arguments="[N]",
        meaning="list what was thought before the last replies, or open it",
        carry_out=_reasoning,
        at_once=True,
    ),
)

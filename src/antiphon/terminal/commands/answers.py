"""Commands about answers: copy and rate them, print their source, open what was shown in short."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from subprocess import DEVNULL, PIPE

import msgspec
from markdown_it import MarkdownIt

from antiphon.client.formatting import count_noun
from antiphon.terminal import paging, resume
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.spans import StyledText
from antiphon.terminal.ui_manager import Ui
from antiphon.tools.programs import find_program
from antiphon.types.errors import InvalidRequest, NotFound, TooLarge
from antiphon.types.messages import Message, ToolCall
from antiphon.types.terminal_safe import clean, one_line
from antiphon.types.thread_view import CallView, ThreadReader, join_replies

# Folds: reasoning and tool results, shown in short, that can be opened.

_BEGINNING = 100
"""Characters of a text in a title."""


class Fold(msgspec.Struct, frozen=True):
    """Text that is shown in short. Nothing in it is cleaned."""

    title: str
    text: str


def collect_folds(messages: Iterable[Message]) -> list[Fold]:
    """Return everything that can be opened, in the order in which it was shown."""
    reader = ThreadReader()
    found: list[Fold] = []
    for message in messages:
        view = reader.read(message)
        calls = [part for part in view.parts if isinstance(part, CallView)] if view else ()
        found += (Fold(_call_title(each.call), each.text) for each in calls)
        found += _reasoning_folds(message)
    return found


def collect_reasoning(messages: Iterable[Message]) -> list[Fold]:
    """Return the reasoning of replies, in order."""
    return [fold for message in messages for fold in _reasoning_folds(message)]


def _reasoning_folds(message: Message) -> Iterator[Fold]:
    if message.reasoning and message.reasoning.strip():
        called = ", ".join(_call_title(call) for call in message.tool_calls)
        reply = _shorten(message.full_text.strip() or called or "(nothing was said)")
        yield Fold(f"Thought before: {reply}", message.reasoning)


def _call_title(call: ToolCall) -> str:
    return f"{call.name}({_shorten(call.arguments)})"


def _shorten(text: str) -> str:
    line = " ".join(text[: 2 * _BEGINNING].split())
    return line if len(line) <= _BEGINNING else f"{line[:_BEGINNING]}..."


# The clipboard: of a program of this machine, and of the terminal, which may be elsewhere.


MOST_BYTES = 74_000
"""Limit for a terminal: as base64 it is what the strictest terminals accept."""
SECONDS = 5.0
"""Timeout of a clipboard program."""

_PROGRAMS: Sequence[tuple[str, Sequence[str]]] = (
    ("TMUX", ("tmux", "load-buffer", "-w", "-")),
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
    ("", ("pbcopy",)),
    ("", ("clip.exe",)),
)
"""The variable that shows that a program can work here, and its arguments."""


async def copy_text(ui: Ui, text: str, *, environ: Mapping[str, str] = os.environ) -> Sequence[str]:
    """Copy the text by a program and by the terminal; return the names of those that took it.

    Raises `TooLarge` if it is too long for the terminal and there is no program, `NotFound` if
    there is no clipboard.
    """
    data = text.encode("utf-8", "replace")
    ways: list[str] = []
    for variable, arguments in _PROGRAMS:
        if environ.get("SSH_CONNECTION") and variable != "TMUX":
            continue  # its clipboard is not the user's
        program = find_program(arguments[0]) if not variable or environ.get(variable) else None
        if program and await _run_program((program, *arguments[1:]), data):
            ways.append(arguments[0])
            break
    fits = len(data) <= MOST_BYTES
    if fits and ui.set_clipboard(base64.b64encode(data).decode()):
        ways.append("the terminal (OSC 52)")
    if ways:
        return ways
    if not fits:
        raise TooLarge(
            "This is too long for the terminal's clipboard",
            expected=f"up to {MOST_BYTES:,} bytes",
            received=f"{len(data):,}",
            hint="/export writes a file; wl-copy, xclip or pbcopy would take it.",
        )
    raise NotFound("There is no clipboard here", hint="/raw prints it.")


async def _run_program(arguments: Sequence[str], data: bytes) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(SECONDS):
            await process.communicate(data)
    except TimeoutError:
        process.kill()
        await process.wait()
    return process.returncode == 0


LISTED = 10
"""Pieces of reasoning that are listed, the last ones."""
CODE = "code"
_READER = MarkdownIt("commonmark")


async def _copy(chat: CommandContext, words: str) -> None:
    first, code, block = words.partition(CODE)
    source = await _find_answer(chat, first.strip())
    text = _find_code(source, block.strip()) if code else source
    ways = await copy_text(chat.ui, text)
    chat.ui.say(f"Copied by {' and '.join(ways)}: {_describe_size(text)}.", "faint")


async def _raw(chat: CommandContext, words: str) -> None:
    source = await _find_answer(chat, words)
    # Not folded: the terminal wraps the lines, so that they are copied as they are.
    chat.ui.display.paint(*((StyledText(line),) for line in clean(source, "code").split("\n")))


async def _find_answer(chat: CommandContext, words: str) -> str:
    """Return the source of an answer, counted from the last."""
    messages = await resume.load_messages(chat.client, chat.state)
    replies = [each.full_text for each in join_replies(messages) if each.role == "assistant"]
    answers = [text for text in replies if text.strip()]
    if not answers:
        raise InvalidRequest("There is no answer here yet")
    return answers[-_parse_number(words or "1", len(answers), "answers, the last one is 1")]


def _find_code(source: str, words: str) -> str:
    """Return a block of code, counted from the first; the last one if no number is given."""
    tokens = _READER.parse(source)
    blocks = [each.content for each in tokens if each.type in ("fence", "code_block")]
    if not blocks:
        raise InvalidRequest("There is no code in this answer", hint="/copy takes all of it.")
    return blocks[_parse_number(words, len(blocks), "blocks of code") - 1] if words else blocks[-1]


def _parse_number(words: str, count: int, what: str) -> int:
    if words.isdecimal() and 1 <= int(words) <= count:
        return int(words)
    raise InvalidRequest(f"There are {count} {what}", expected=f"1 to {count}", received=words)


def _describe_size(text: str) -> str:
    return f"{count_noun(len(text), 'letter')} in {count_noun(len(text.splitlines()), 'line')}"


# Feedback.


async def _rate(chat: CommandContext, words: str) -> None:
    """Rate the last answer; `none` removes its rating."""
    rating, _, comment = words.partition(" ")
    if rating not in ("", "up", "down", "none"):
        raise InvalidRequest("This is no rating", expected="up, down or none", received=rating)
    messages = await resume.load_messages(chat.client, chat.state)
    answers = [each for each in messages if each.role == "assistant" and each.full_text.strip()]
    if not answers:
        raise InvalidRequest("There is no answer here yet")
    answer = await chat.client.get_message(answers[-1].id)
    match rating:
        case "up" | "down":
            answer = await chat.client.set_feedback(answer.id, rating, comment=comment.strip())
        case "none":
            answer = await chat.client.delete_feedback(answer.id)
        case _:
            pass
    if answer.feedback is None:
        chat.ui.say("The last answer has no rating. /rate up or /rate down gives it one.", "faint")
        return
    said = f": {one_line(answer.feedback.comment)}" if answer.feedback.comment else ""
    chat.ui.say(f"The last answer is rated {answer.feedback.rating}{said}", "faint")


async def _propose_ratings(_: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    for rating, meaning in _RATINGS.items():
        if rating.startswith(begun):
            yield rating, meaning


_RATINGS = {
    "up": "a good answer; a comment may follow",
    "down": "a bad answer; a comment may follow",
    "none": "remove the rating",
}


# Opening folds.


async def open_fold(chat: CommandContext, words: str) -> None:
    """Open the last fold, or the Nth last; while the model thinks, the reasoning so far."""
    if not words and (thinking := chat.ui.display.reasoning_content):
        await paging.open_pager(chat.ui, "Thought so far", thinking)
        return
    found = collect_folds(await resume.load_messages(chat.client, chat.state))
    if not found:
        raise InvalidRequest("Nothing was shown in short here yet")
    fold = found[-_parse_number(words or "1", len(found), "things to open, the last one is 1")]
    await paging.open_pager(chat.ui, fold.title, fold.text)


async def _show_reasoning(chat: CommandContext, words: str) -> None:
    found = collect_reasoning(await resume.load_messages(chat.client, chat.state))
    if not found:
        raise InvalidRequest("No reasoning was shown here yet")
    if not words:
        chat.ui.show_rows(
            (
                StyledText(f"{number:>3}  ", "mark"),
                StyledText(f"{_describe_size(found[-number].text)}  ", "faint"),
                StyledText(one_line(found[-number].title)),
            )
            for number in range(min(LISTED, len(found)), 0, -1)
        )
        chat.ui.say("/reasoning NUMBER opens one.", "faint")
        return
    fold = found[-_parse_number(words, len(found), "pieces of reasoning, the last one is 1")]
    await paging.open_pager(chat.ui, fold.title, fold.text)


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="copy",
        arguments="[N] [code [K]]",
        meaning="copy the last answer, or the Nth last, or the Kth piece of code in it",
        run=_copy,
        at_once=True,
    ),
    SlashCommand(
        name="raw",
        arguments="[N]",
        meaning="print the last answer, or the Nth last, as it was written",
        run=_raw,
        at_once=True,
    ),
    SlashCommand(
        name="rate",
        arguments="[up|down|none] [COMMENT]",
        meaning="rate the last answer, or show its rating",
        run=_rate,
        proposals=_propose_ratings,
        at_once=True,
    ),
    SlashCommand(
        name="open",
        arguments="[N]",
        meaning="open whole what was shown in short last, or Nth last (Ctrl+O)",
        run=open_fold,
        at_once=True,
    ),
    SlashCommand(
        name="reasoning",
        arguments="[N]",
        meaning="list what was thought before the last replies, or open it",
        run=_show_reasoning,
        at_once=True,
    ),
)

"""Proposals of the line editor for a text that takes the place of another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

import pytest
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from antiphon.terminal.input.editor import RestartingCompleter


class SlowCompleter(Completer):
    """Proposes `TEXT!` for a text; for `@server` only once `free` is set."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.waits = asyncio.Event()
        self.free = asyncio.Event()

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        return ()

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion]:
        self.texts.append(document.text)
        if document.text == "@server":
            self.waits.set()
            await self.free.wait()
        yield Completion(f"{document.text}!", -len(document.text))


@pytest.mark.parametrize("text", ["@", "/help"])
async def test_a_new_line_has_proposals_though_those_of_the_old_one_were_slow(text: str) -> None:
    slow_completer, has_proposals = SlowCompleter(), asyncio.Event()
    buffer: Buffer

    def check_proposals(_: Buffer) -> None:
        state = buffer.complete_state
        if state is not None and [each.text for each in state.completions] == [f"{text}!"]:
            has_proposals.set()

    def start() -> None:
        buffer.start_completion()

    completer = RestartingCompleter(lambda: slow_completer, lambda: buffer.text, start)
    buffer = Buffer(completer=completer, on_completions_changed=check_proposals)
    buffer.insert_text("@server")
    buffer.start_completion()
    await slow_completer.waits.wait()
    buffer.reset()
    buffer.insert_text(text)
    buffer.start_completion()  # as typing does; it starts nothing while one runs
    slow_completer.free.set()
    await has_proposals.wait()

    assert slow_completer.texts == ["@server", text]


async def test_an_empty_line_is_not_completed() -> None:
    slow_completer = SlowCompleter()
    restarts: list[str] = []
    completer = RestartingCompleter(
        lambda: slow_completer, lambda: "", lambda: restarts.append("again")
    )
    event = CompleteEvent(text_inserted=True)
    proposals = [each.text async for each in completer.get_completions_async(Document("a"), event)]
    await asyncio.sleep(0)

    assert (proposals, restarts) == (["a!"], [])

"""The line editor: prompt_toolkit handles the keys, and our own painter draws the result.

So there is a single writer: prompt_toolkit's renderer gets an output that discards everything. Its
key handling, editing, vi and emacs modes, search and completion are used as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager, suppress
from types import TracebackType
from typing import IO, Self

from prompt_toolkit.application import Application
from prompt_toolkit.application.current import set_app
from prompt_toolkit.buffer import Buffer, CompletionState
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, DynamicCompleter
from prompt_toolkit.data_structures import Point
from prompt_toolkit.document import Document
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import fragment_list_to_text, to_formatted_text
from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.layout import (
    BufferControl,
    HSplit,
    Layout,
    SearchBufferControl,
    UIContent,
    Window,
)
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.search import SearchState

from antiphon.terminal import spans
from antiphon.terminal.input.editor_actions import EditorActions
from antiphon.terminal.input.keyboard import Box, Field, Interrupts, KeyGuard, Listener
from antiphon.terminal.input.keys import bindings
from antiphon.terminal.painters import InputRows
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.terminal_safe import clean

# Typed text as rows of the region: folded by cells, with the cursor.


MOST_ROWS = 8
"""Rows of a long draft that are shown, including the cursor's."""

NEAR = 10_000
"""Characters before and after the cursor that are formatted: more than fit the rows."""


def draft_rows(
    text: str, at: int, columns: int, *, mark: str = "> ", most: int = MOST_ROWS
) -> InputRows:
    """Return the rows of this text in so many columns, the cursor before character `at`.

    The first line follows `mark`, further ones as many blanks. Control characters are made visible.
    """
    # Only what may be visible is formatted; in steps, so that rows break in the same places.
    hidden = max(0, at // NEAR - 1) * NEAR
    text, at = text[hidden : hidden + 3 * NEAR], at - hidden
    margin = spans.width(mark)
    room = max(1, columns - 1 - margin)  # the last column stays free
    before, after = clean(text[:at]), clean(text[at:])
    shown = _rows(before + after, room)
    reached = _rows(before, room)
    row, column = len(reached) - 1, spans.line_width(reached[-1])
    if column >= room:
        row, column = row + 1, 0
        if row == len(shown) or after.startswith("\n"):
            shown.insert(row, ())
    first = min(max(0, row - most + 1), max(0, len(shown) - most))
    marked = [
        (StyledText(" " * margin if number else mark, "mark"), *line)
        for number, line in enumerate(shown)
    ]
    return InputRows(
        rows=tuple(marked[first : first + most]), cursor=(row - first, margin + column)
    )


def _rows(text: str, room: int) -> list[Line]:
    return [row for line in text.split("\n") for row in spans.fold([StyledText(line)], room)]


PROPOSALS = 6
"""Rows of completions that are shown at once."""
BOX_SHARE = 16
"""Rows of a question that are shown; the pager shows longer ones."""
UNTIL_A_LONE_ESCAPE = 0.05
"""Seconds after which an escape character is the Esc key, not the start of a sequence."""
UNTIL_NO_MORE = 0.25
"""Seconds after which a key does not start a combination, such as Esc and Enter for Alt+Enter."""


class Editor:
    """The keyboard of a terminal that takes single keys.

    `changed` asks for a repaint. `suspend` leaves the terminal to another program. `clock` returns
    monotonic seconds. `memorable` decides which texts enter the history; before it is set, no
    command does.
    """

    by_lines = False
    echoes = False

    def __init__(
        self,
        listener: Listener,
        *,
        source: Input,
        changed: Callable[[], None],
        suspend: Callable[[], AbstractContextManager[None]],
        clock: Callable[[], float],
        vi: bool,
        history: History,
    ) -> None:
        self.completer: Completer | None = None
        self.memorable: Callable[[str], bool] = lambda text: not text.startswith("/")
        self._source = source
        self._changed = changed
        self._suspend = suspend
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._one_borrower = asyncio.Lock()
        self._box: Box | None = None
        self._guard = KeyGuard(clock)
        self._field: Field | None = None
        self._wrong = ""
        self._answer: asyncio.Future[str | None] | None = None
        self._draft = _Utf8Buffer(
            multiline=True,
            history=history,
            completer=RestartingCompleter(
                lambda: self.completer,
                lambda: self._draft.document.text_before_cursor,
                self._complete_draft,
            ),
            complete_while_typing=Condition(lambda: self._box is None and self._field is None),
        )
        self._draft.on_text_changed += self._note_typing
        self._field_buffer = _Utf8Buffer(multiline=True)
        self._field_buffer.on_text_changed += self._filter_listing
        self._search = Buffer(multiline=False)
        self._editing = EditorActions(
            listener=listener,
            draft=self._draft,
            asked=self._field_buffer,
            box=lambda: self._box,
            field=lambda: self._field,
            answer=self._set_answer,
            guard=self._guard,
            clock=clock,
            suspend=self._suspend_display,
            memorable=self._is_memorable,
        )
        searching = SearchBufferControl(self._search, ignore_case=True)
        self._drafting = _UndrawnControl(self._draft, search_buffer_control=searching)
        self._draft_window = Window(self._drafting)
        self._field_window = Window(_UndrawnControl(self._field_buffer))
        layout = Layout(HSplit([self._draft_window, self._field_window, Window(searching)]))
        self._application = self._make_application(layout, vi=vi)
        self._running: asyncio.Task[None] | None = None
        self._interrupts = Interrupts(self._on_interrupt)

    def _make_application(self, layout: Layout, *, vi: bool) -> Application[None]:
        application: Application[None] = Application(
            layout,
            key_bindings=bindings(self._editing),
            editing_mode=EditingMode.VI if vi else EditingMode.EMACS,
            input=self._source,
            output=DummyOutput(),
            after_render=lambda application: self._changed(),
        )
        application.ttimeoutlen = UNTIL_A_LONE_ESCAPE
        application.timeoutlen = UNTIL_NO_MORE
        return application

    async def __aenter__(self) -> Self:
        self._interrupts.install()
        run = self._application.run_async(set_exception_handler=False, handle_sigint=False)
        self._running = asyncio.create_task(run)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._application.is_running:
            self._application.exit()
        if self._running:
            with suppress(EOFError):  # the terminal has gone
                await self._running
        self._interrupts.remove()

    def refill(self, text: str) -> None:
        """Insert this text into the line, before what the user has typed."""
        typed_before = self._draft.text
        whole = f"{text}\n{typed_before}" if typed_before.strip() else text
        self._draft.document = Document(whole, len(text))
        self._changed()

    async def choose(self, box: Box) -> str:
        """Return the key of the answer. Cancelling removes the question."""
        async with self._one_at_a_time:
            self._box = box
            self._guard.open()
            try:
                return await self._await_answer() or box.default
            finally:
                self._box = None
                self._editing.withdraw()
                self._changed()

    async def write(self, field: Field) -> str | None:
        """Return the text, None if the user declines."""
        async with self._one_at_a_time:
            self._field_buffer.document = Document(field.text, len(field.text))
            self._field = field
            self._guard.open()
            self._application.layout.focus(self._field_window)
            try:
                while (text := await self._await_answer()) is not None:
                    self._wrong = field.wrong(text) or ""
                    if not self._wrong:
                        break
                return text
            finally:
                self._field, self._wrong = None, ""
                self._field_buffer.reset()
                self._application.layout.focus(self._draft_window)
                self._changed()

    async def lend(self, arguments: Sequence[str], reads: IO[bytes] | None = None) -> int:
        """Run another program in the terminal; return its exit code."""
        async with self._one_borrower:
            with self._suspend_display(), self._source.detach(), self._source.cooked_mode():
                return await self._interrupts.run_program(arguments, reads)

    @contextmanager
    def _suspend_display(self) -> Generator[None]:
        """Leave the terminal to another program; a question counts as seen only afterwards."""
        with self._suspend():
            yield
        self._guard.open()

    async def _await_answer(self) -> str | None:
        self._answer = asyncio.get_running_loop().create_future()
        self._changed()
        return await self._answer

    def _on_interrupt(self) -> None:
        with set_app(self._application):
            self._application.key_processor.send_sigint()

    def _complete_draft(self) -> None:
        if self._box is None and self._field is None:
            self._draft.start_completion(complete_event=CompleteEvent(text_inserted=True))

    def _note_typing(self, draft: Buffer) -> None:
        self._guard.type(left=bool(draft.text))

    def _filter_listing(self, buffer: Buffer) -> None:
        if self._field and self._field.listing:
            self._wrong = ""
            self._field.listing.filter(buffer.text)

    def _is_memorable(self, text: str) -> bool:
        return self.memorable(text)  # which the chat replaces

    def _set_answer(self, answer: str | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result(answer)

    # Rows.

    def render(self, columns: int) -> InputRows:
        """Return the rows of the question, or of the line with its completions."""
        if self._box:
            return self._render_box(self._box, columns)
        if self._field:
            return self._render_field(self._field, columns)
        if self._application.layout.is_searching:
            return self._render_search(columns)
        line = draft_rows(self._draft.text, self._draft.cursor_position, columns)
        proposals = self._proposal_rows(self._draft.complete_state, columns)
        return InputRows(rows=(*line.rows, *proposals), cursor=line.cursor)

    def _render_box(self, box: Box, columns: int) -> InputRows:
        rows = list(box.rows(columns))
        if len(rows) > BOX_SHARE:
            left = len(rows) - BOX_SHARE + 1
            rows[BOX_SHARE - 1 :] = [(StyledText(f"({left} more lines)", "faint"),)]
        return InputRows(rows=(*rows, *_choice_rows(box, columns - 1), *self._draft_tail(columns)))

    def _draft_tail(self, columns: int) -> Iterator[Line]:
        """Yield the last row of the draft during a question, so that typed text is visible."""
        if self._draft.text:
            yield draft_rows(self._draft.text, len(self._draft.text), columns).rows[-1]

    def _render_field(self, field: Field, columns: int) -> InputRows:
        above = list(field.rows(columns))
        if self._wrong:
            above.append(spans.clip([StyledText(clean(self._wrong), "warning")], columns - 1))
        text = self._field_buffer.text
        shown = "*" * len(text) if field.hidden else text
        line = draft_rows(
            shown, self._field_buffer.cursor_position, columns, mark=f"{clean(field.label)} "
        )
        row, column = line.cursor or (0, 0)
        below = self._draft_tail(columns) if self._guard.typing else ()
        return InputRows(rows=(*above, *line.rows, *below), cursor=(len(above) + row, column))

    def _render_search(self, columns: int) -> InputRows:
        state = self._drafting.search_state
        wanted = SearchState(self._search.text, state.direction, state.ignore_case)
        found = self._draft.document_for_search(wanted)
        line = draft_rows(found.text, found.cursor_position, columns)
        rows = draft_rows(self._search.text, self._search.cursor_position, columns, mark="search: ")
        row, column = rows.cursor or (0, 0)
        return InputRows(rows=(*line.rows, *rows.rows), cursor=(len(line.rows) + row, column))

    def _proposal_rows(self, state: CompletionState | None, columns: int) -> Iterator[Line]:
        if state is None or not state.completions:
            return
        chosen = state.complete_index
        first = max(0, min((chosen or 0) - PROPOSALS // 2, len(state.completions) - PROPOSALS))
        shown = state.completions[first : first + PROPOSALS]
        for number, each in enumerate(shown, first):
            style = "chosen" if number == chosen else ""
            meaning = fragment_list_to_text(to_formatted_text(each.display_meta))
            name = clean(fragment_list_to_text(to_formatted_text(each.display)))
            line = [StyledText(f"  {name}", style), StyledText(f"  {clean(meaning)}", "faint")]
            yield spans.clip(line, columns - 1)


class _UndrawnControl(BufferControl):
    """Buffer with its keys that prompt_toolkit does not draw: a long paste would take a minute."""

    def create_content(self, width: int, height: int, preview_search: bool = False) -> UIContent:
        """Return one empty row; load the history now, as the first drawing does."""
        self.buffer.load_history_if_not_yet_loaded()
        return UIContent(line_count=1, cursor_position=Point(0, 0))


class RestartingCompleter(Completer):
    """A completer that starts again for a text that was put in place of the one asked about.

    prompt_toolkit starts no completion while one runs, and afterwards goes on only for a text that
    was typed on: a new line would have no proposals. `start` starts the completion of the buffer.
    """

    def __init__(
        self,
        find: Callable[[], Completer | None],
        read: Callable[[], str],
        start: Callable[[], None],
    ) -> None:
        self._inner = DynamicCompleter(find)
        self._read = read
        self._start = start

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """Return the completions of the inner completer."""
        return self._inner.get_completions(document, complete_event)

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion]:
        """Yield the completions of the inner completer."""
        try:
            async with aclosing(
                self._inner.get_completions_async(document, complete_event)
            ) as found:
                async for each in found:
                    yield each
        finally:
            text = self._read()
            if text and not text.startswith(document.text_before_cursor):
                asyncio.get_running_loop().call_soon(self._start)


class _Utf8Buffer(Buffer):
    """Buffer whose text is valid UTF-8, whatever bytes the terminal sends."""

    def insert_text(
        self,
        data: str,
        overwrite: bool = False,
        move_cursor: bool = True,
        fire_event: bool = True,
    ) -> None:
        """Insert, with invalid bytes replaced: prompt_toolkit keeps them as lone surrogates."""
        whole = data.encode(errors="surrogateescape").decode(errors="replace")
        super().insert_text(whole, overwrite, move_cursor, fire_event)


def _choice_rows(box: Box, columns: int) -> Iterator[Line]:
    """Yield the answers, each whole on one row if it fits."""
    row: list[StyledText] = []
    for choice in box.choices:
        style = "strong" if choice.key == box.default else ""
        each = [StyledText(f" {choice.key} ", "mark"), StyledText(f"{choice.meaning} ", style)]
        if row and spans.line_width([*row, *each]) > columns:
            yield from spans.fold(row, columns)
            row = []
        row += each
    yield from spans.fold(row, columns)

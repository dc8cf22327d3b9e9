"""Show lines that the user must have seen before deciding, in parts if they do not fit."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence

from antiphon.terminal import spans
from antiphon.terminal.input.keyboard import NEXT_PART, KeyChoice, Rows
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.ui_manager import Ui
from antiphon.tools.programs import find_program
from antiphon.types.terminal_safe import clean, one_line

MOST_ROWS, FEWEST_ROWS = 16, 4
"""Rows of a question, without the keys that answer it."""
BELOW = 8
"""Rows of the terminal reserved for keys, input line and status."""

Brief = Callable[[int, int], Sequence[Line]]
"""Returns an overview for so many columns and at most so many rows."""


class Parts:
    """Lines that a question is about, in parts that fit below its head.

    `lines` returns all of it, unfolded. If it does not fit, it begins with `brief`, if given, and
    continues part by part under a row of `names`. `below` are a few rows that are always shown.
    `shown` is True once the user has been shown everything; in line mode that is from the
    beginning.
    """

    def __init__(
        self,
        ui: Ui,
        *,
        head: Callable[[], Sequence[Line]],
        lines: Callable[[], Sequence[Line]],
        brief: Brief | None = None,
        names: Rows = lambda columns: (),
        below: Rows = lambda columns: (),
    ) -> None:
        self._ui = ui
        self._head = head
        self._lines = lines
        self._brief = brief
        self._names = names
        self._below = below
        self._whole = ui.keyboard.by_lines
        self.forget()

    def forget(self) -> None:
        """Start again: the content has changed."""
        self._memo: dict[tuple[str, int, int], Sequence[Line]] = {}
        self._layout: tuple[int, int, int] | None = None
        self._at = 0
        self._left: set[int] = set()
        self._opened = False

    def resize(self) -> None:
        """Note that the head has changed, which may leave more room or less."""
        self._memo = {}

    @property
    def shown(self) -> bool:
        """True once all of it has been shown."""
        if self._whole or self._opened:
            return True
        self._fit()
        return not self._left

    @property
    def choices(self) -> list[KeyChoice]:
        """The key that shows the next part, if there are several."""
        if self._whole or not (many := self._fit()):
            return []
        return [KeyChoice(NEXT_PART, f"more: part {self._at % many + 1} of {many}")]

    def turn(self) -> None:
        """Move to the next part, and after the last to the first."""
        many = self._fit()
        self._at = self._at % many + 1 if many else 0
        self._left.discard(self._at)

    def open(self) -> None:
        """Note that the user has opened all of it elsewhere."""
        self._opened = True

    def rows(self, columns: int) -> Sequence[Line]:
        """Return the rows that are visible now."""
        if self._whole:
            return [*self._head(), *self._lines(), *self._below(columns)]
        return [*self._top(columns), *self._middle(columns), *self._below_rows(columns)]

    def _middle(self, columns: int) -> Sequence[Line]:
        if not (many := self._fit()):
            return self._all(columns)
        left = self._room(columns)
        if self._at == 0 and self._brief:
            brief, most = self._brief, left + len(self._names_rows(columns))
            rows = self._get_cached("brief", columns, lambda: brief(columns - 1, most), most)
            return [*rows, self._part_note(many, columns)]
        first = max(0, self._at - 1) * left
        rows = self._all(columns)[first : first + left]
        return [*self._names_rows(columns), *rows, self._part_note(many, columns)]

    def _part_note(self, many: int, columns: int) -> Line:
        if self.shown:
            footer = StyledText(f"(part {self._at} of {many}; all of it was shown)", "faint")
        else:
            next_part = self._at % many + 1
            words = f"({NEXT_PART} shows part {next_part} of {many}; you can agree after the last)"
            footer = StyledText(words, "warning")
        return spans.clip([footer], columns - 1)

    def _fit(self) -> int:
        """Return the number of parts for the terminal's size; 0 if everything fits.

        If the parts change, with the size or the head, parts shown before no longer count.
        """
        columns, _ = self._ui.size()
        rows, room = len(self._all(columns)), self._room(columns)
        many = 0 if rows <= self._all_room(columns) else -(-rows // room)
        layout = columns, rows, room
        if layout != self._layout:
            done = self._layout is not None and not self._left
            self._layout, self._at = layout, 0
            self._left = set() if done else set(range(1, many + 1))
            if many and not self._brief and not done:
                self._at = 1
                self._left.discard(1)
        return many

    def _get_cached(
        self, what: str, columns: int, make: Callable[[], Sequence[Line]], most: int = 0
    ) -> Sequence[Line]:
        """Return rows made once for these columns: they may be many, and are asked for often."""
        key = (what, columns, most)
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    def _all(self, columns: int) -> Sequence[Line]:
        def fold() -> Sequence[Line]:
            cut = len(self._head_rows(columns)) > len(self._top(columns))
            head = self._head() if cut else ()
            return spans.fold_all([*head, *self._lines()], columns - 1)

        return self._get_cached("all", columns, fold)

    def _head_rows(self, columns: int) -> Sequence[Line]:
        return spans.fold_all(self._head(), columns - 1)

    def _names_rows(self, columns: int) -> Sequence[Line]:
        return self._get_cached("names", columns, lambda: self._names(columns))

    def _below_rows(self, columns: int) -> Sequence[Line]:
        return self._get_cached("below", columns, lambda: self._below(columns))

    def _top(self, columns: int) -> Sequence[Line]:
        """Return the rows of the head that stay visible."""
        rows = self._head_rows(columns)
        most = max(2, self._total() // 2)
        return rows if len(rows) <= most else [*rows[: most - 1], (StyledText("..."),)]

    def _total(self) -> int:
        _, rows = self._ui.size()
        return max(FEWEST_ROWS, min(MOST_ROWS, rows - BELOW))

    def _all_room(self, columns: int) -> int:
        return max(1, self._total() - len(self._top(columns)) - len(self._below_rows(columns)))

    def _room(self, columns: int) -> int:
        """Return the rows of one part, without the names and the row that says which part it is."""
        return max(1, self._all_room(columns) - len(self._names_rows(columns)) - 1)


# A long text in the user's pager, or printed if there is none.


_PAGERS = ("less", "more")
"""Pagers to try if $PAGER is not set, the better one first."""


async def open_pager(
    ui: Ui, title: str, text: str, *, environ: Mapping[str, str] = os.environ
) -> None:
    """Show a text in a pager until the user has read it, with a one-line title above.

    It is printed instead in line mode, and if there is no pager.
    """
    whole = f"{one_line(title)}\n\n{clean(text, 'code').strip()}\n"
    if ui.keyboard.by_lines:
        ui.say(whole, place="code")
        return
    if named := environ.get("PAGER", "").strip():
        try:
            pager = shlex.split(named)
        except ValueError:  # a quotation without an end
            pager = named.split()
    else:
        pager = [program for known in _PAGERS if (program := find_program(known))][:1]
    if not (pager and await _run_pager(ui, pager, whole)):
        ui.say(whole, place="code")


async def _run_pager(ui: Ui, pager: Sequence[str], whole: str) -> bool:
    """Return True if the pager could be started, whatever its exit code."""
    if not os.path.dirname(pager[0]):
        program = find_program(pager[0])
        if program is None:
            ui.say(f"$PAGER cannot be started: {one_line(pager[0])} is not in PATH", "warning")
            return False
        pager = [program, *pager[1:]]
    # Without a name, so that nothing is left where both programs are killed.
    with tempfile.TemporaryFile() as file:
        file.write(whole.encode())
        file.seek(0)
        try:
            await ui.keyboard.lend(pager, file)
        except OSError as error:
            ui.say(f"$PAGER cannot be started: {error}", "warning")
            return False
    return True

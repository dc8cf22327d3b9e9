"""Lines that a person must have been shown before they decide: part by part where room is short."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence

from antiphon.terminal import spans
from antiphon.terminal.input.keyboard import NEXT_PART, Choice, Rows
from antiphon.terminal.spans import Line, Span
from antiphon.terminal.ui import Ui
from antiphon.types.terminal_safe import clean, one_line

MOST_ROWS, FEWEST_ROWS = 16, 4
"""Of a question, without the keys that answer it."""
BELOW = 8
"""Rows of the terminal that are left to the keys, the line and the status."""

Brief = Callable[[int, int], Sequence[Line]]
"""An overview for so many columns and at most so many rows."""


class Parts:
    """The lines that a question is about, in parts that have room below its head.

    `lines` gives all of it, unfolded. Where that has no room it begins with `brief`, if there is
    one, and goes on part by part, under a row of `names`. `below` are a few rows that are always
    seen. `shown` says that nothing is left that the person was not given to see; where lines are
    read aloud, that is so from the beginning.
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
        self._whole = ui.keyboard.spoken
        self.forget()

    def forget(self) -> None:
        """Begin anew: what is shown has changed."""
        self._memo: dict[tuple[str, int, int], Sequence[Line]] = {}
        self._layout: tuple[int, int, int] | None = None
        self._at = 0
        self._left: set[int] = set()
        self._opened = False

    def resize(self) -> None:
        """Note that the head is another, which may leave more room or less."""
        self._memo = {}

    @property
    def shown(self) -> bool:
        """True once all of it has been shown."""
        if self._whole or self._opened:
            return True
        self._fit()
        return not self._left

    @property
    def choices(self) -> list[Choice]:
        """The key that shows the next part, where there are several."""
        if self._whole or not (many := self._fit()):
            return []
        return [Choice(NEXT_PART, f"more: part {self._at % many + 1} of {many}")]

    def turn(self) -> None:
        """Go on to the next part, and after the last to the first."""
        many = self._fit()
        self._at = self._at % many + 1 if many else 0
        self._left.discard(self._at)

    def open(self) -> None:
        """Note that the person has opened all of it elsewhere."""
        self._opened = True

    def rows(self, columns: int) -> Sequence[Line]:
        """Return the rows that are seen of it just now."""
        if self._whole:
            return [*self._head(), *self._lines(), *self._below(columns)]
        return [*self._top(columns), *self._middle(columns), *self._below_rows(columns)]

    def _middle(self, columns: int) -> Sequence[Line]:
        if not (many := self._fit()):
            return self._all(columns)
        left = self._room(columns)
        if self._at == 0 and self._brief:
            brief, most = self._brief, left + len(self._names_rows(columns))
            rows = self._cached("brief", columns, lambda: brief(columns - 1, most), most)
            return [*rows, self._part_note(many, columns)]
        first = max(0, self._at - 1) * left
        rows = self._all(columns)[first : first + left]
        return [*self._names_rows(columns), *rows, self._part_note(many, columns)]

    def _part_note(self, many: int, columns: int) -> Line:
        if self.shown:
            said = Span(f"(part {self._at} of {many}; all of it was shown)", "faint")
        else:
            next_part = self._at % many + 1
            words = f"({NEXT_PART} shows part {next_part} of {many}; you can agree after the last)"
            said = Span(words, "warning")
        return spans.clip([said], columns - 1)

    def _fit(self) -> int:
        """Return how many parts there are in a terminal as large as this one is now; 0 where all
        fits.

        Where they are cut otherwise, as in another size or under another head, those that were
        shown count no more.
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

    def _cached(
        self, what: str, columns: int, make: Callable[[], Sequence[Line]], most: int = 0
    ) -> Sequence[Line]:
        """Rows that are made once for these columns: they may be many, and are asked for often."""
        key = (what, columns, most)
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    def _all(self, columns: int) -> Sequence[Line]:
        return self._cached("all", columns, lambda: self._all_folded(columns))

    def _all_folded(self, columns: int) -> Sequence[Line]:
        lines = [*self._lines()]
        if len(self._head_rows(columns)) > len(self._top(columns)):
            lines = [*self._head(), *lines]
        return spans.fold_all(lines, columns - 1)

    def _head_rows(self, columns: int) -> Sequence[Line]:
        return spans.fold_all(self._head(), columns - 1)

    def _names_rows(self, columns: int) -> Sequence[Line]:
        return self._cached("names", columns, lambda: self._names(columns))

    def _below_rows(self, columns: int) -> Sequence[Line]:
        return self._cached("below", columns, lambda: self._below(columns))

    def _top(self, columns: int) -> Sequence[Line]:
        """The rows of the head that stay in view."""
        rows = self._head_rows(columns)
        most = max(2, self._total() // 2)
        return rows if len(rows) <= most else [*rows[: most - 1], (Span("..."),)]

    def _total(self) -> int:
        _, rows = self._ui.size()
        return max(FEWEST_ROWS, min(MOST_ROWS, rows - BELOW))

    def _all_room(self, columns: int) -> int:
        return max(1, self._total() - len(self._top(columns)) - len(self._below_rows(columns)))

    def _room(self, columns: int) -> int:
        """Rows of one part: beside it there are the names, and the row that says which it is."""
        return max(1, self._all_room(columns) - len(self._names_rows(columns)) - 1)


# A long text seen whole, in the pager that the person likes, or printed above where there is none.


_PAGERS = ("less", "more")
"""Those that are looked for where $PAGER names none, the better one first."""


async def open_pager(
    ui: Ui, title: str, text: str, *, environ: Mapping[str, str] = os.environ
) -> None:
    """Show the text until the person has read it; a title of one line stands above it.

    Where lines are listened to rather than looked at, and where there is no pager, it is printed.
    """
    whole = f"{one_line(title)}\n\n{clean(text, 'code').strip()}\n"
    pager = () if ui.keyboard.spoken else _find_pager(environ)
    if not (pager and await _run_pager(ui, pager, whole)):
        ui.say(whole, place="code")


def _find_pager(environ: Mapping[str, str]) -> Sequence[str]:
    """The program with its arguments; none where there is none."""
    if named := environ.get("PAGER", "").strip():
        return _split_command(named)
    return [pager for pager in _PAGERS if shutil.which(pager)][:1]


def _split_command(command: str) -> Sequence[str]:
    """As a shell would part them, but no shell reads them."""
    try:
        return shlex.split(command)
    except ValueError:  # a quotation without an end
        return command.split()


async def _run_pager(ui: Ui, pager: Sequence[str], whole: str) -> bool:
    """Whether the pager could be started; what it makes of its task is the person's matter."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="antiphon-") as file:
        file.write(whole)
        file.flush()
        try:
            await ui.keyboard.lend([*pager, file.name])
        except OSError as error:
            ui.say(f"$PAGER cannot be started: {error}", "warning")
            return False
    return True

"""The state of a list of threads from which one is picked: filter, choice, visible part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from antiphon.client import thread_families
from antiphon.client.formatting import count_noun
from antiphon.terminal import spans
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import one_line

NEAR_END = 3
"""Threads before the end at which the next page is loaded."""
ROOM_FOR_COUNT = 60
"""Least columns for the number of messages and the whole date."""


class ThreadList:
    """Threads in the order of their pages; typed words filter them.

    Titles are filtered at once. What the server finds for the words follows below them, so that the
    chosen thread stays where it is when results arrive. `here` is the id of the chat's own thread;
    if it is the first, the second is chosen at first.
    """

    def __init__(self, here: str | None = None) -> None:
        self.words = ""
        self.shown: Sequence[Thread] = ()
        self._here = here
        self._listed: dict[str, Thread] = {}
        self._found: dict[str, Thread] = {}
        self._at = 0
        self._first = 0

    @property
    def chosen(self) -> Thread | None:
        """The chosen thread; None if no thread is shown."""
        return self.shown[self._at] if self.shown else None

    @property
    def near_end(self) -> bool:
        """True if the choice is near the end, so that further threads are wanted."""
        return self._at >= len(self.shown) - NEAR_END

    def add(self, words: str, threads: Iterable[Thread]) -> None:
        """Append threads that were listed, or found for these words; stale results are dropped."""
        if words and words != self.words:
            return
        into = self._found if words else self._listed
        for thread in threads:
            if thread.messages:
                into.setdefault(thread.id, thread)
        self._select(self.chosen)

    def filter(self, text: str) -> bool:
        """Show the threads with these words. Return False if the words are the same as before."""
        words = " ".join(text.split())
        if words == self.words:
            return False
        self.words = words
        self._found = {}
        self._first = 0
        self._select(None)
        return True

    def move(self, by: int) -> None:
        """Choose a thread further down, or up if negative; stop at the ends."""
        self._at = max(0, min(self._at + by, len(self.shown) - 1))

    def visible(self, room: int) -> Sequence[tuple[Thread, bool]]:
        """Return the threads that fit so many rows, each with whether it is chosen."""
        self._first = max(self._at - room + 1, min(self._first, self._at))
        self._first = max(0, min(self._first, len(self.shown) - room))
        part = self.shown[self._first : self._first + room]
        return [(thread, at == self._at) for at, thread in enumerate(part, self._first)]

    def _select(self, before: Thread | None) -> None:
        """Find the threads to show, and choose the one chosen before, else the usual one."""
        wanted = self.words.casefold().split()
        titled = {
            each.id: each
            for each in self._listed.values()
            if all(word in each.title.casefold() for word in wanted)
        }
        self.shown = tuple((titled | self._found).values())
        ids = [each.id for each in self.shown]
        if before is not None and before.id in ids:
            self._at = ids.index(before.id)
        else:
            self._at = 1 if not wanted and len(ids) > 1 and ids[0] == self._here else 0


# A thread as a row of a list.


def format_title(thread: Thread) -> str:
    """Return the title on one line; the id if there is none."""
    return one_line(thread.title) or thread.id


def format_time(thread: Thread, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return the local time of its last change."""
    return format(datetime.fromtimestamp(thread.updated_at / 1000, UTC).astimezone(), form)


def format_count(thread: Thread) -> str:
    """Return the number of its messages, with the noun."""
    return count_noun(thread.messages, "message")


def format_tags(tags: Iterable[str]) -> str:
    """Return the tags, each after a number sign; `none` for no tags."""
    return " ".join(f"#{one_line(tag)}" for tag in tags) or "none"


def format_notes(thread: Thread, here: str | None) -> str:
    """Return what distinguishes the thread, in brackets after two blanks; "" for nothing."""
    branch = thread.parent_id and thread_families.predecessor_id(thread) != thread.parent_id
    notes = [
        note
        for note, so in (
            ("pinned", thread.pinned),
            ("archived", thread.archived),
            *((f"#{one_line(tag)}", True) for tag in thread.tags),
            ("branch", branch),
            ("here", thread.id == here),
        )
        if so
    ]
    return f"  ({', '.join(notes)})" if notes else ""


def picker_row(thread: Thread, here: str | None, columns: int, more: str, *, chosen: bool) -> Line:
    """Return the row of a thread that may be chosen, cut to the columns with `more` at its end."""
    if columns >= ROOM_FOR_COUNT:
        facts = f"{format_time(thread)}  {format_count(thread):>12}  "
    else:
        facts = f"{format_time(thread, '%m-%d')}  "
    notes = format_notes(thread, here)
    start = (StyledText("> " if chosen else "  ", "mark"), StyledText(facts, "faint"))
    room = columns - spans.line_width(start) - spans.width(notes)
    title = (StyledText(format_title(thread), "chosen" if chosen else ""),)
    cut = spans.clip(title, max(spans.width(more), room), more)
    return spans.clip((*start, *cut, StyledText(notes, "faint")), columns)

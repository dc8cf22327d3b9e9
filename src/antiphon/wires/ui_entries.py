"""Which messages and runs of a stored thread make one message of a page, and in what order.

A run that has ended is one message. One that said nothing stands where it would have spoken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from antiphon.messages import Message
from antiphon.runs import Run, Status


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes one message of a page: one that was said, or all of a run's.

    `number` is that of its first message in the thread, or of the one that its run answered where
    the run said nothing. A copy in a branch has no `run`.
    """

    number: int
    messages: tuple[Message, ...] = ()
    run: Run | None = None


def arranged(messages: Iterable[Message], runs: Iterable[Run]) -> list[Entry]:
    """The messages of a thread, in order, as entries; those of a run under way are left out.

    `runs` are the thread's, in any order. A run that ended before it said anything has its place
    behind what it was asked, unless the next one was put in its place.
    """
    said = list(messages)
    known = {run.id: run for run in runs}
    entries = [entry for group in _groups(said) if (entry := _entry(group, known)) is not None]
    spoke = {message.run_id for message in said}
    entries += _silent(said, [run for run in known.values() if run.id not in spoke], known)
    return sorted(entries, key=_place)


def _groups(messages: Iterable[Message]) -> Iterator[tuple[Message, ...]]:
    for by_run, group in groupby(messages, key=_source):
        if by_run is None:
            yield from ((message,) for message in group)
        else:
            yield tuple(group)


def _source(message: Message) -> str | None:
    """Whose words it is among: a run's, "" for copies of one; a person's stand alone."""
    return None if message.role in ("user", "system") else message.run_id or ""


def _entry(group: tuple[Message, ...], runs: Mapping[str, Run]) -> Entry | None:
    first = group[0]
    run = None if _source(first) is None else runs.get(first.run_id or "")
    if run is not None and not run.status.ended:
        return None
    return Entry(number=first.number, messages=group, run=run)


def _silent(said: Sequence[Message], runs: Sequence[Run], known: Mapping[str, Run]) -> list[Entry]:
    by_number = {message.number: message for message in said}
    entries: list[Entry] = []
    for run in runs:
        asked = by_number.get(run.messages_before + 1)
        came_along = asked is not None and asked.created_at <= run.created_at
        if run.status.ended and not _taken_back(run, known.values()):
            entries.append(Entry(number=run.messages_before + came_along, run=run))
    return entries


def _taken_back(run: Run, others: Iterable[Run]) -> bool:
    """Whether another run began where this one had: then its message was taken out with it."""
    return run.status is Status.CANCELLED and any(
        other.messages_before == run.messages_before and _began(other) > _began(run)
        for other in others
    )


def _began(run: Run) -> tuple[int, str]:
    return run.created_at, run.id


def _place(entry: Entry) -> tuple[int, bool, int]:
    """A run that said nothing stands behind the message whose number it has."""
    silent = not entry.messages
    return entry.number, silent, entry.run.created_at if entry.run and silent else 0

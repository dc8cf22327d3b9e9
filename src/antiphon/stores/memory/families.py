"""Families of threads in memory: the threads that replaced each other."""

from __future__ import annotations

from collections.abc import Iterable

from antiphon.engine.thread_order import REPLACES, position_of
from antiphon.types.runs import Thread


class Families:
    """The family of each thread: the id of the first thread of those that replaced each other."""

    def __init__(self) -> None:
        self._joined: dict[str, str] = {}

    def of(self, thread_id: str) -> str:
        """Return the family of a thread; one that replaces none is a family of its own."""
        return self._joined.get(thread_id, thread_id)

    def join(self, before: Thread | None, thread: Thread, *, is_there: bool) -> None:
        """Put the thread in the family of the one that it replaces, where that has changed.

        `is_there` says that the replaced one exists and has the same owner.
        """
        replaced = thread.metadata.get(REPLACES)
        if replaced == (before.metadata.get(REPLACES) if before else None):
            return
        if replaced is None:
            self._joined.pop(thread.id, None)
        else:
            self._joined[thread.id] = self.of(replaced) if is_there else replaced

    def put(self, thread_id: str, family: str | None) -> None:
        """Put a thread that is new here in this family; None is one of its own."""
        if family is not None:
            self._joined[thread_id] = family

    def leave(self, thread_id: str) -> None:
        """Remove a deleted thread; its branches stay in the family."""
        self._joined.pop(thread_id, None)

    def latest(self, threads: Iterable[tuple[str, Thread]]) -> set[str]:
        """Return the id of the last changed thread of each family that has a message.

        `threads` come with their owners.
        """
        newest: dict[tuple[str, str], Thread] = {}
        for owner, thread in threads:
            if thread.messages:
                kin = owner, self.of(thread.id)
                newest[kin] = max(newest.get(kin, thread), thread, key=position_of)
        return {thread.id for thread in newest.values()}

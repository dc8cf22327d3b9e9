"""Bound on what a process does at once, of which one owner has a part only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from antiphon.types.errors import Overloaded, TooMany

RETRY_SECONDS = 5


class OwnerSlots:
    """Slots for requests of this process: `at_once` of all owners, `per_owner` of each.

    `work` says in errors what goes on in them, such as "texts are being spoken".
    """

    def __init__(self, work: str, *, at_once: int, per_owner: int) -> None:
        self._work = work
        self._at_once = at_once
        self._per_owner = per_owner
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, owner: str) -> Generator[None]:
        """Hold a slot during the block. Raises `TooMany` for the owner, `Overloaded` for all."""
        if self._held[owner] >= self._per_owner:
            raise TooMany(
                f"{self._per_owner} of your {self._work} already.",
                expected=f"at most {self._per_owner} at once",
                hint="Wait until one of them is done.",
                retry_after=RETRY_SECONDS,
            )
        if self._held.total() >= self._at_once:
            raise Overloaded(
                f"Too many {self._work}.",
                expected=f"at most {self._at_once} at once",
                retry_after=RETRY_SECONDS,
            )
        self._held[owner] += 1
        try:
            yield
        finally:
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner]

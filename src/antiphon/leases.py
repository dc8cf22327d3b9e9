"""Leases that have run out by the store's clock, and may still be held by a healthy worker.

Processes on one SQLite file each read their machine's clock. Where one of these is wrong, or is set
while runs are driven, leases of workers that beat seem to have run out long ago. So a lease is
watched as well: it is lost once it has not been prolonged for a while that this process itself has
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from antiphon.ports import Leased

UNMOVED = 0.6  # of a lease: a healthy worker prolongs its own at every third


class LeaseWatch:
    """Since when each lease has stood as it is, by a clock that nobody sets.

    `elapsed` gives seconds since some moment, `lease` how many a lease lasts.
    """

    def __init__(self, elapsed: Callable[[], float], lease: float) -> None:
        self._elapsed = elapsed
        self._unmoved = lease * UNMOVED
        self._seen: dict[str, tuple[int, int, float]] = {}

    def observe(self, leased: Iterable[Leased], due: Iterable[str] = ()) -> None:
        """Look at these leases, and forget those that are neither among them nor `due`.

        `due` are the ids of runs that `is_lost` is asked about; there may be more leases than are
        looked at together.
        """
        kept = {run_id: self._seen[run_id] for run_id in due if run_id in self._seen}
        seen = {each.run_id: self._since(each.run_id, each.epoch, each.due_at) for each in leased}
        self._seen = kept | seen

    def is_lost(self, run_id: str, epoch: int, due_at: int) -> bool:
        """Return whether the lease was not prolonged for so long that its worker must be gone."""
        self._seen[run_id] = seen = self._since(run_id, epoch, due_at)
        return self._elapsed() - seen[2] >= self._unmoved

    def _since(self, run_id: str, epoch: int, due_at: int) -> tuple[int, int, float]:
        known = self._seen.get(run_id)
        if known is not None and known[:2] == (epoch, due_at):
            return known
        return epoch, due_at, self._elapsed()

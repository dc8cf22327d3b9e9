"""Which process this is, so written that others can tell whether it has died.

A name is the process and when it began, the machine as it was booted with its space of processes,
and something to tell two in one process apart. Only where all of that can be read, as on Linux, is
a death ever certain; elsewhere nobody is taken for dead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path

from antiphon.ports import LeaseInfo

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"
_BEGAN, _STATE = 19, 0  # places in `stat`, behind the program's name: see proc(5)
_ENDED = ("Z", "X")
_NONE = "0"


def process_name(serial: str) -> str:
    """The name of this process; `serial` tells two names in it apart."""
    return f"{os.getpid()}-{_began(os.getpid()) or _NONE}-{_machine()}-{serial}"


def is_dead(name: str) -> bool:
    """Whether it is certain that the process with this name has ended."""
    match name.split("-"):
        case [pid, began, machine, _] if pid.isdecimal() and began != _NONE:
            return machine == _machine() != _NONE and _ended(int(pid), began)
        case _:
            return False


def _ended(pid: int, began: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is somebody else's
        return False
    return _began(pid) not in (began, None)


def _began(pid: int) -> str | None:
    """When it began, in ticks since the machine did; "" for one that has ended and still has a row.

    None where that cannot be read.
    """
    try:
        row = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    words = row.rpartition(")")[2].split()
    return "" if words[_STATE] in _ENDED else words[_BEGAN]


def _machine() -> str:
    """This machine since it was booted, and the processes that can be seen from here."""
    try:
        seen = _BOOT.read_text() + str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return _NONE
    return blake2b(seen.encode(), digest_size=6).hexdigest()


# Leases that have run out by the store's clock, and may still be held by a healthy worker.


UNMOVED = 0.6  # of a lease: a healthy worker prolongs its own at every third


class LeaseWatch:
    """Since when each lease has stood as it is, by a clock that nobody sets.

    `elapsed` gives seconds since some moment, `lease` how many a lease lasts.
    """

    def __init__(self, elapsed: Callable[[], float], lease: float) -> None:
        self._elapsed = elapsed
        self._unmoved = lease * UNMOVED
        self._seen: dict[str, tuple[int, int, float]] = {}

    def observe(self, leased: Iterable[LeaseInfo], due: Iterable[str] = ()) -> None:
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

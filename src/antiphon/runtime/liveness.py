"""Names of processes from which other processes can tell whether this one has died.

A name holds the process id and start time, the boot id and process namespace of the machine, and a
serial that distinguishes names in one process. A death is certain only where all of that can be
read, as on Linux; elsewhere no process is considered dead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path

from antiphon.types.runs import LeaseInfo

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"
_BEGAN, _STATE = 19, 0  # places in `stat`, behind the program's name: see proc(5)
_ENDED = ("Z", "X")
_NONE = "0"


def process_name(serial: str) -> str:
    """Return this process's name; `serial` distinguishes two names in it."""
    return f"{os.getpid()}-{_start_ticks(os.getpid()) or _NONE}-{_machine()}-{serial}"


def is_dead(name: str) -> bool:
    """Return whether the process with this name has certainly ended."""
    match name.split("-"):
        case [pid, began, machine, _] if pid.isdecimal() and began != _NONE:
            return machine == _machine() != _NONE and _has_ended(int(pid), began)
        case _:
            return False


def _has_ended(pid: int, began: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # a process of another user
        return False
    return _start_ticks(pid) not in (began, None)


def _start_ticks(pid: int) -> str | None:
    """Return the process's start in ticks since boot; "" for a zombie, None where unreadable."""
    try:
        row = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    words = row.rpartition(")")[2].split()
    return "" if words[_STATE] in _ENDED else words[_BEGAN]


def _machine() -> str:
    """Return a digest of the machine's boot id and this process's namespace."""
    try:
        seen = _BOOT.read_text() + str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return _NONE
    return blake2b(seen.encode(), digest_size=6).hexdigest()


# Leases that have run out by the store's clock, and may still be held by a healthy worker.


UNMOVED = 0.6  # of a lease: a healthy worker prolongs its own at every third


class LeaseWatch:
    """Records since when each lease is unchanged, by a monotonic clock.

    `elapsed` returns seconds since some moment; `lease` is a lease's duration in seconds.
    """

    def __init__(self, elapsed: Callable[[], float], lease: float) -> None:
        self._elapsed = elapsed
        self._unmoved = lease * UNMOVED
        self._seen: dict[str, tuple[int, int, float]] = {}

    def observe(self, leased: Iterable[LeaseInfo], due: Iterable[str] = ()) -> None:
        """Record these leases, and forget those that are neither among them nor in `due`.

        `due` are the ids of runs that `is_lost` will be asked about; there may be more leases than
        are read at once.
        """
        kept = {run_id: self._seen[run_id] for run_id in due if run_id in self._seen}
        seen = {each.run_id: self._since(each.run_id, each.epoch, each.due_at) for each in leased}
        self._seen = kept | seen

    def is_lost(self, run_id: str, epoch: int, due_at: int) -> bool:
        """Return whether the lease was not renewed for so long that its worker must be gone."""
        self._seen[run_id] = seen = self._since(run_id, epoch, due_at)
        return self._elapsed() - seen[2] >= self._unmoved

    def _since(self, run_id: str, epoch: int, due_at: int) -> tuple[int, int, float]:
        known = self._seen.get(run_id)
        if known is not None and known[:2] == (epoch, due_at):
            return known
        return epoch, due_at, self._elapsed()

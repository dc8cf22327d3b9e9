"""Which process this is, so written that others can tell whether it has died.

A name is the process and when it began, the machine as it was booted with its space of processes,
and something to tell two in one process apart. Only where all of that can be read, as on Linux, is
a death ever certain; elsewhere nobody is taken for dead.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"
_BEGAN, _STATE = 19, 0  # places in `stat`, behind the program's name: see proc(5)
_ENDED = ("Z", "X")
_NONE = "0"


def name(serial: str) -> str:
    """The name of this process; `serial` tells two names in it apart."""
    return f"{os.getpid()}-{_began(os.getpid()) or _NONE}-{_machine()}-{serial}"


def dead(name: str) -> bool:
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

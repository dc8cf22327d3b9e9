"""The clock of stores whose database has none of its own."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Milliseconds since 1970."""


def system_clock() -> int:
    """The clock of this machine."""
    return time.time_ns() // 1_000_000

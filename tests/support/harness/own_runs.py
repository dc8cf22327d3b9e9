"""Servers that leave the runs that begin in them to the queue, for any server to claim."""

from __future__ import annotations

import os

from antiphon.runtime import worker

VARIABLE = "OWN_RUNS"
FROM_THE_QUEUE = {VARIABLE: "0"}
"""Environment of a server whose runs are all claimed from the queue."""


def limit_own_runs() -> None:
    """Limit, if the variable is set, how many runs this process claims when it creates them."""
    if VARIABLE in os.environ:
        worker.OWN_RUNS = int(os.environ[VARIABLE])

"""Servers that leave the runs that begin in them to the queue, for any server to claim."""

from __future__ import annotations

import os

from antiphon.runtime import worker

VARIABLE = "OWN_RUNS"
FROM_THE_QUEUE = {VARIABLE: "0"}
"""For the environment of a server whose every run is claimed from the queue."""


def limit_own_runs() -> None:
    """Set how many runs this process claims in the change that begins them, if it was told."""
    if VARIABLE in os.environ:
        worker.OWN_RUNS = int(os.environ[VARIABLE])

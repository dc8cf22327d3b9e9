"""Wall time and processor time of a piece of work in this process."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Usage:
    """Seconds, set at the end of the block; `cpu` is of all threads of this process."""

    seconds: float = 0.0
    cpu: float = 0.0


@contextmanager
def measure_usage() -> Iterator[Usage]:
    """Measure a block, after a collection of the garbage from before."""
    gc.collect()
    usage = Usage()
    cpu, began = time.process_time(), time.perf_counter()
    yield usage
    usage.seconds, usage.cpu = time.perf_counter() - began, time.process_time() - cpu

"""Gauges of this process's resources, under Prometheus's own names."""

from __future__ import annotations

import os
from pathlib import Path

from antiphon.telemetry.metrics import CPU, FILES, MEMORY, Metrics

_SELF = Path("/proc/self")


def add_process_gauges(metrics: Metrics) -> Metrics:
    """Add gauges of memory, processor time and open files; return the metrics."""

    def read_cpu_seconds() -> float:
        times = os.times()
        return round(times.user + times.system, 3)

    def read_resident_bytes() -> float:
        pages = int((_SELF / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    metrics.gauge(CPU, read_cpu_seconds)
    if (_SELF / "statm").exists():
        metrics.gauge(MEMORY, read_resident_bytes)
        metrics.gauge(FILES, lambda: len(os.listdir(_SELF / "fd")))
    return metrics

"""Metrics, traces, logs and failpoints of a process."""

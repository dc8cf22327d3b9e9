"""Limits that callers share: a fair queue for bounded work, bytes held for slow readers."""

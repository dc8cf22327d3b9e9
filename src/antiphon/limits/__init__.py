"""Limits that callers share: turns at bounded work, bytes held for slow readers."""

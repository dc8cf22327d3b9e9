"""TCP ports for servers that tests start."""

from __future__ import annotations

import random
import socket

RANGE = range(20_000, 32_000)
"""Ports below those that systems give to sockets bound to port 0 (`ip_local_port_range`)."""


def find_port() -> int:
    """Return a free port that the system gives to no other socket before a server listens there."""
    return next(filter(is_free, iter(lambda: random.choice(RANGE), None)))


def is_free(port: int) -> bool:
    """Return True if a server could listen at this port of loopback now."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return port > 0

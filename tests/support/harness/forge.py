"""A process that has imported the program, and forks a server for each order."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from importlib import import_module

from own_runs import limit_own_runs  # this folder is on the path of a script in it

EVERYTHING = (
    "antiphon.cli.serve",
    "antiphon.cli.web_chat",
    "antiphon.server.openai.routes",
    "antiphon.server.page_wires.routes",
    "antiphon.stores.memory.store",
    "antiphon.buses.postgres",
    "antiphon.buses.redis",
    "antiphon.stores.postgres.store",
    "antiphon.stores.cached.redis",
)
"""Modules that a server imports."""


def main(descriptor: int, entry: str) -> None:
    """Fork for each order; once the orders end, kill the whole process group."""
    for name in EVERYTHING:
        import_module(name)
    module, _, function = entry.partition(":")
    program = getattr(import_module(module), function)
    orders = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # reaps ended processes
    orders.send(b"ready")
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, 65_536, 1)
        if not order:
            os.killpg(0, signal.SIGKILL)
        pid = os.fork()
        if not pid:
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(descriptors[0], 2)
            os.close(descriptors[0])
            request = json.loads(order)
            os.environ.update(request["settings"])
            limit_own_runs()
            code = program(request["arguments"])
            sys.stderr.flush()
            os._exit(code)
        os.close(descriptors[0])
        orders.send(str(pid).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

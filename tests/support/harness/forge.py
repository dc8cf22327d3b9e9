"""A process that has imported the program, and forks into a server at each order."""

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
"""What a server imports."""


def main(descriptor: int, entry: str) -> None:
    """Fork at each order; when nobody gives orders any more, end with all that was started."""
    for name in EVERYTHING:
        import_module(name)
    module, _, function = entry.partition(":")
    program = getattr(import_module(module), function)
    orders = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
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
            told = json.loads(order)
            os.environ.update(told["settings"])
            limit_own_runs()
            code = program(told["arguments"])
            sys.stderr.flush()
            os._exit(code)
        os.close(descriptors[0])
        orders.send(str(pid).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

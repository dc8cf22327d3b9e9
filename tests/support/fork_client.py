"""A program that becomes a fork of the loaded one, see `fork_server.py`.

    python -I -S forked.py ADDRESS MODULE:FUNCTION ARGUMENT...

Loads next to nothing itself. A signal is handed on, and how the other ends, this ends.
"""

import os
import signal
import socket
import sys
from json import dumps


def main() -> None:
    """Hand on what we are and were told, and wait."""
    _, address, program, *arguments = sys.argv
    line = socket.socket(socket.AF_UNIX)
    line.connect(address)
    socket.send_fds(line, [b"."], [0, 1, 2])
    line.sendall(dumps([program, arguments, os.getcwd(), dict(os.environ)]).encode() + b"\n")
    pid = int(line.recv(16))
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # whoever reads them sees their end when the other closes them
        os.dup2(nowhere, stream)
    code = int(line.recv(16))
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


main()

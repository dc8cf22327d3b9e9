"""A program that becomes a fork of the loaded one, see `fork_server.py`.

    python -I -S fork_client.py ADDRESS MODULE:FUNCTION ARGUMENT...

Loads next to nothing itself: `socket` or `signal` would take longer than the fork. A signal is
handed on, and how the other ends, this ends.
"""

import _signal
import marshal
import posix
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOL_SOCKET, socket

SIGNALS = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM)


def main() -> None:
    """Hand on what we are and were told, and wait."""
    _, address, program, *arguments = sys.argv
    line = socket(AF_UNIX)
    line.connect(address)
    streams = b"".join(stream.to_bytes(4, sys.byteorder) for stream in (0, 1, 2))
    line.sendmsg([b"."], [(SOL_SOCKET, SCM_RIGHTS, streams)])
    environ = {decode(name): decode(value) for name, value in posix.environ.items()}
    early: list[int] = []  # what the other writes may be seen before we know who it is
    for number in SIGNALS:
        _signal.signal(number, lambda number, _: early.append(number))
    line.sendall(marshal.dumps([program, arguments, posix.getcwd(), environ]))
    pid = int(line.recv(16))
    for number in SIGNALS:
        _signal.signal(number, lambda number, _: posix.kill(pid, number))
    for number in early:
        posix.kill(pid, number)
    nowhere = posix.open("/dev/null", posix.O_RDWR)
    for stream in (0, 1, 2):  # whoever reads them sees their end when the other closes them
        posix.dup2(nowhere, stream)
    code = int(line.recv(16))
    if code < 0:
        if -code != _signal.SIGKILL:
            _signal.signal(-code, _signal.SIG_DFL)
        posix.kill(posix.getpid(), -code)
    posix._exit(code)


def decode(name: bytes) -> str:
    """A name or value as `os.environ` has it."""
    return name.decode("utf-8", "surrogateescape")


main()

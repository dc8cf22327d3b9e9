"""A program that becomes a fork of the loaded one, see `fork_server.py`.

    python -I -S fork_client.py ADDRESS MODULE:FUNCTION ARGUMENT...

It imports next to nothing: `socket` or `signal` would take longer than the fork. It forwards
signals to the fork, and ends as the fork ends.
"""

import _signal
import marshal
import posix
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SOL_SOCKET, socket

SIGNALS = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM)


def main() -> None:
    """Send the streams, folder and variables of this process to the fork, and wait for its end."""
    _, address, program, *arguments = sys.argv
    line = socket(AF_UNIX)
    line.connect(address)
    streams = b"".join(stream.to_bytes(4, sys.byteorder) for stream in (0, 1, 2))
    line.sendmsg([b"."], [(SOL_SOCKET, SCM_RIGHTS, streams)])
    environ = {decode(name): decode(value) for name, value in posix.environ.items()}
    early: list[int] = []  # signals from before the fork's pid is known
    for number in SIGNALS:
        _signal.signal(number, lambda number, _: early.append(number))
    line.sendall(marshal.dumps([program, arguments, posix.getcwd(), environ]))
    pid = int(line.recv(16))
    for number in SIGNALS:
        _signal.signal(number, lambda number, _: posix.kill(pid, number))
    for number in early:
        posix.kill(pid, number)
    nowhere = posix.open("/dev/null", posix.O_RDWR)
    for stream in (0, 1, 2):  # so that their readers see the end when the fork closes them
        posix.dup2(nowhere, stream)
    code = int(line.recv(16))
    if code < 0:
        if -code != _signal.SIGKILL:
            _signal.signal(-code, _signal.SIG_DFL)
        posix.kill(posix.getpid(), -code)
    posix._exit(code)


def decode(name: bytes) -> str:
    """Decode a name or value as `os.environ` does."""
    return name.decode("utf-8", "surrogateescape")


main()

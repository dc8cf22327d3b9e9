"""Programs that tests start, and that end with the test process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

SECONDS = 60.0
"""How long a service may take to start or end, on a busy machine."""


class Service:
    """A program in the foreground that tests start, stop, kill, suspend and restart."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        ready: Callable[[], bool],
        user: str | None = None,
    ) -> None:
        self._command = [*as_user(user, "--pdeathsig", "INT"), *map(str, command)]
        self._log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the program and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + SECONDS
        while True:
            ready = self._ready()
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(
                    f"{self._command[0]} did not start: {self.read_output()[-2000:]}"
                )
            if ready:  # and alive: no other program answers at its port
                return
            time.sleep(0.01)  # there is no way to wait for it but polling

    def read_output(self) -> str:
        """Return the output so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the program and wait for its end."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the program in order, even if it is suspended."""
        self._end(signal.SIGCONT)
        self._end(signal.SIGINT)

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        if number is not signal.SIGCONT:
            process.wait(SECONDS)


def listens(port: int) -> bool:
    """Return True if a process accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def as_user(user: str | None, *options: str) -> Sequence[str]:
    """Return the prefix that runs a command as that user if this process is root."""
    guard = shutil.which("setpriv")
    if user is not None and os.geteuid() == 0:
        assert guard is not None, "setpriv is not here (apt-get install util-linux)"
        return [guard, "--reuid", user, "--regid", user, "--init-groups", *options]
    return [guard, *options] if guard and options else []

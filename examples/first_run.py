"""Start the backend and the web chat, show one conversation, and print how to continue.

`make run` runs this program. The server is `antiphon up` with your settings; Ctrl+C stops it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import httpx2
from hello import main as converse

from antiphon.settings.loading import load
from antiphon.settings.settings import Settings, database_file
from antiphon.types.errors import BadSettings

READY_SECONDS = 60.0  # the first start compiles all modules
CLOSE_SECONDS = 20.0
HOW_TO_GO_ON = """
The web chat is at {url}  <- open it in a browser

Its conversations are kept in {database}.
Other ways in, from another terminal:

  .venv/bin/antiphon chat --server {url}
  .venv/bin/antiphon ask --server {url} "Tell me something"

  curl -N {url}/v1/process -H 'content-type: application/json' \\
    -d '{{"message": {{"role": "user", "content": "Tell me something"}}}}'

  .venv/bin/python
  >>> from antiphon import Client
  >>> with Client("{url}") as client:
  ...     for event in client.converse("Tell me something"): print(event)

Ctrl+C ends it."""


def main() -> int:
    """Run the server until it ends; return the exit code."""
    try:
        settings = load({}, os.environ, Path.cwd())
    except BadSettings as problem:
        print(f"{problem} {problem.details}", file=sys.stderr)
        return 2
    port = free_port(settings)
    url = f"http://127.0.0.1:{port}"
    # SIGINT too: a shell starts background programs with SIGINT ignored.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores SIGHUP
        signal.signal(signal.SIGHUP, interrupt)
    command = [sys.executable, "-m", "antiphon", "up", "--port", str(port)]
    # In a separate process group: Ctrl+C reaches only this program, which stops the server once.
    with subprocess.Popen(command, process_group=0) as server:
        try:
            if not wait_until_ready(url, server):
                print(describe_trouble(server), file=sys.stderr)
                return 1
            print(f"\nOne conversation with {url}, over plain HTTP (examples/hello.py):\n")
            converse(url)
            print(
                HOW_TO_GO_ON.format(url=url, database=database_file(settings) or "memory"),
                flush=True,
            )
            return server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            stop(server)


def free_port(settings: Settings) -> int:
    """Return the port of the settings, or the next free one."""
    for port in range(settings.port, 65_536):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                print(f"Port {port} is taken; trying the next one.")
            else:
                return int(probe.getsockname()[1])
    sys.exit("There is no free port.")


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> bool:
    """Wait until the server is ready; return False if it ended or took too long."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx2.get(f"{url}/readyz").is_success:
                return True
        except httpx2.TransportError:
            pass
        time.sleep(0.05)
    return False


def describe_trouble(server: subprocess.Popen[bytes]) -> str:
    """Return the reason why the server is not ready."""
    if server.poll() is None:
        return f"The server did not answer within {READY_SECONDS:.0f} seconds; try again."
    return "The server did not come up; its own words are above."


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the server; kill it if it does not end in time."""
    server.terminate()
    try:
        server.wait(CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Handle a signal like Ctrl+C, so that the server is stopped too."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

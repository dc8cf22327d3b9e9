"""A process that has loaded the program once, and that tests fork to start the program.

Loading takes half a second of processor time, a second and a half with MCP, and the tests start the
program many hundred times. Tests of the start itself start a new Python process instead.

Run as a program, this module is that process; `fork_client.py` is a program that becomes a fork.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import gc
import marshal
import os
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import warnings
from asyncio import get_running_loop
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from importlib import import_module
from pathlib import Path
from ssl import SSLContext
from tempfile import TemporaryDirectory

import httpcore2

ANTIPHON = "antiphon.cli.main:main"
LOADED = (
    "antiphon.buses.postgres",
    "antiphon.buses.redis",
    "antiphon.runtime.runtime",
    "antiphon.stores.cached.redis",
    "antiphon.stores.postgres.store",
    "antiphon.terminal.startup",
    "antiphon.mcp.client.connection",
    "antiphon.mcp.client.oauth",
    "antiphon.web.app",
    "encodings.idna",
    "mcp.server.mcpserver",
    "rich.logging",
    "tests.support.harness.own_runs",
    "uvicorn.loops.uvloop",
)
"""Modules that each fork has loaded beside all commands."""
SECONDS = 60
"""How long the process may take to start, and to end once its stdin is closed."""
READ_AT_THE_BEGINNING = ("LANG", "LC_", "PYTHON", "TZ")
"""Variables that a process reads only when it starts, by the start of their names."""
HEEDED = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONWARNINGS")
"""Variables among them that a fork applies nevertheless."""
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that name other certificates than the system's."""
NOT_NAMED = (None, None)
CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
"""The cost of hashing a password: the lowest that argon2 allows."""
FORKED = Path(__file__).with_name("fork_client.py")


def needs_a_beginning(environ: Iterable[str]) -> bool:
    """Return True if one of these variables is read only at the start of a process."""
    return any(name.startswith(READ_AT_THE_BEGINNING) and name not in HEEDED for name in environ)


def share_certificates() -> None:
    """Let all HTTP clients of this process and of its forks share certificates that are read once.

    Reading them takes a tenth of a second, and tests create many thousand clients.
    """
    create_context = httpcore2.default_ssl_context
    shared: dict[tuple[str | None, ...], SSLContext] = {NOT_NAMED: create_context(_trust_env=False)}

    def read_once(*, _trust_env: bool = True) -> SSLContext:
        names = tuple(map(os.environ.get, CERTIFICATES)) if _trust_env else NOT_NAMED
        if names not in shared:
            shared[names] = create_context()
        return shared[names]

    httpcore2.default_ssl_context = read_once


class Child:
    """A running fork; it is killed when its connection is closed."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection

    async def wait(self) -> int:
        """Wait for the end; return the exit code, as `asyncio.subprocess` reports it."""
        if self.returncode is None:
            code = await get_running_loop().sock_recv(self._connection, 16)
            self.returncode = int(code)
            self._connection.close()
        return self.returncode


async def start_fork(
    arguments: Sequence[str], folder: Path, environ: Mapping[str, str], streams: Sequence[int]
) -> Child:
    """Start `antiphon` with these arguments; `streams` are its stdin, stdout and stderr.

    It leads its own session, which a terminal as stdin controls.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address())
    socket.send_fds(connection, [b"."], streams)
    connection.setblocking(False)
    request = marshal.dumps([ANTIPHON, list(arguments), str(folder), dict(environ)])
    await get_running_loop().sock_sendall(connection, request)
    return Child(int(await get_running_loop().sock_recv(connection, 16)), connection)


def run_fork(
    arguments: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    given: bytes | None = None,
    missing: tuple[str, ...] = (),
) -> tuple[int, bytes, bytes]:
    """Run `antiphon` to its end; return its exit code, stdout and stderr. `given` is its stdin.

    Running `fork_client.py` instead would take longer than the fork itself.
    """
    devnull = os.open(os.devnull, os.O_RDONLY)
    source, sink = (devnull, None) if given is None else os.pipe()
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    ends = (source, out_end, err_end)
    with socket.socket(socket.AF_UNIX) as connection, ThreadPoolExecutor(3) as readers:
        try:
            connection.settimeout(5 * SECONDS)
            connection.connect(address(missing))
            socket.send_fds(connection, [b"."], ends)
            connection.sendall(
                marshal.dumps([ANTIPHON, list(arguments), str(folder), dict(environ)])
            )
        finally:
            for end in {devnull, *ends}:
                os.close(end)
        texts = [readers.submit(_read_all, pipe) for pipe in (out, err)]
        if sink is not None:
            readers.submit(_write_all, sink, given)
        connection.recv(16)  # the number of its process
        code = int(connection.recv(16))
        return code, *(text.result() for text in texts)


def _read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb") as stream:
        return stream.read()


def _write_all(descriptor: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as stream:
        stream.write(data)


def command(program: str = ANTIPHON, missing: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the command that starts a fork with this function; arguments may follow.

    The fork cannot import the packages `missing`.
    """
    return (sys.executable, "-I", "-S", str(FORKED), address(missing), program)


@functools.cache
def address(missing: tuple[str, ...] = ()) -> str:
    """Return the address of the process that lacks these packages; it ends with this process."""
    folder = TemporaryDirectory(prefix="fork-server-")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{folder.name}/socket")
    listening.listen(128)
    with listening:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(listening.fileno()), *missing],
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
            env={"LANG": "C.UTF-8", "PATH": os.environ["PATH"]},
            start_new_session=True,
        )

    def close() -> None:
        process.communicate(timeout=SECONDS)
        folder.cleanup()

    atexit.register(close)
    return f"{folder.name}/socket"


# The process.


def main(listening: socket.socket, missing: Sequence[str]) -> int:
    """Serve forks until stdin is closed; in each fork, run the requested program."""
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type]
    from antiphon.runtime.admin.accounts import PasswordHasher

    sys.path.append(str(Path(__file__).parents[2]))
    commands = pkgutil.iter_modules(import_module("antiphon.cli").__path__, "antiphon.cli.")
    for name in (*LOADED, *(command.name for command in commands)):
        with suppress(ModuleNotFoundError) if missing else nullcontext():
            import_module(name)
    with suppress(ModuleNotFoundError) if missing else nullcontext():
        _prepare_answers()
    share_certificates()
    PasswordHasher.cost = CHEAP
    gc.freeze()  # a collection in a fork would copy everything
    return ForkServer(listening).attend()


def _prepare_answers() -> None:
    """Fill caches that each server would otherwise fill at its start and for its first page."""
    page = import_module("antiphon.web.routes.page")
    app = import_module("flask").Flask(__name__)
    create_app = import_module("antiphon.server.app").create_app

    create_app(import_module("antiphon.settings.settings").Settings())  # patterns of all routes
    with app.test_request_context(headers={"accept-encoding": "gzip"}):
        page.get_page()
        for name in (page.BUNDLE, page.MESSAGES):
            page.get_asset(page.version(), name)


class ForkServer:
    """Starts a fork for each connection, and reports the end of the fork there."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._connections: dict[socket.socket, int] = {}
        self._wakeup_end, self._wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def attend(self) -> int:
        """Serve until stdin is closed; kill forks whose client is gone; return an exit code."""
        waiting = True
        while waiting:
            ready, _, _ = select.select(
                [0, self._listening, self._wakeup_end, *self._connections], [], []
            )
            if self._wakeup_end in ready:
                self._wakeup_end.recv(1000)
                self._report_ends()
            for connection in self._connections.keys() & ready:
                os.kill(self._connections.pop(connection), signal.SIGKILL)
                connection.close()
            waiting = 0 not in ready
            if self._listening in ready and (program := self._fork_program()):
                return program()
        for pid in self._connections.values():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(Path(self._listening.getsockname()).parent, ignore_errors=True)
        return 0

    def _report_ends(self) -> None:
        """Send the exit code of each fork that ended to its client."""
        with suppress(ChildProcessError):
            while (result := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = result
                for connection in [
                    connection
                    for connection, connection_pid in self._connections.items()
                    if connection_pid == pid
                ]:
                    del self._connections[connection]
                    with connection, suppress(OSError):
                        connection.sendall(b"%16d" % os.waitstatus_to_exitcode(status))

    def _fork_program(self) -> Callable[[], int] | None:
        """Fork for a client; in the fork, return the function to run."""
        connection, _ = self._listening.accept()
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        try:
            with connection.makefile("rb") as request:
                program, arguments, folder, environ = marshal.load(request)
        except (EOFError, ConnectionError):  # the client was killed meanwhile
            pid = -1
        else:
            pid = os.fork()
        if pid:
            for stream in streams:
                os.close(stream)
            if pid < 0:
                connection.close()
            else:
                self._connections[connection] = pid
                with suppress(OSError):
                    connection.sendall(b"%16d" % pid)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (
            connection,
            self._listening,
            self._wakeup_end,
            self._wakeup,
            *self._connections,
        ):
            each.close()
        _set_up_process(folder, environ, streams)
        return lambda: _run_program(program, arguments)


def _run_program(program: str, arguments: Sequence[str]) -> int:
    import_module("tests.support.harness.own_runs").limit_own_runs()
    module, _, name = program.partition(":")
    sys.argv = [name, *arguments]
    try:
        code = getattr(import_module(module), name)() or 0
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        code = end.code
    _exit_process(code)
    return code


def _exit_process(code: int) -> None:
    """End as Python ends, but without clearing modules: that would copy their memory."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _set_up_process(folder: str, environ: dict[str, str], streams: Sequence[int]) -> None:
    """Give the fork the session, streams, folder and variables of a newly started process."""
    os.setsid()
    for file, stream in enumerate(streams):
        os.dup2(stream, file)
        os.close(stream)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.path.insert(0, folder)
    if action := environ.get("PYTHONWARNINGS"):
        warnings.simplefilter(action)
    for file, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = open(file, mode, encoding="utf-8", errors=getattr(sys, name).errors, closefd=False)  # noqa: SIM115
        stream.reconfigure(
            line_buffering=file == 2 or os.isatty(file),
            write_through="PYTHONUNBUFFERED" in environ,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    sys.exit(main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:]))

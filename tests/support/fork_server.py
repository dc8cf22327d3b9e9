"""A process that has loaded the program once; where tests start the program, it is forked.

Loading takes half a second of a processor, a second and a half with MCP, and the program is started
many hundred times. Tests that are about the start itself start it from nothing.

Run as a program, this is that process; `fork_client.py` is a program that becomes such a fork.
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
"""What each fork has beside all commands, and beside what it is told to run."""
SECONDS = 60
"""For the process to begin, and to end once nobody speaks to it."""
READ_AT_THE_BEGINNING = ("LANG", "LC_", "PYTHON", "TZ")
"""Variables that a process does not look at again once it has begun."""
HEEDED = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONWARNINGS")
"""Those that a fork heeds nevertheless."""
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that name other certificates than the system's."""
NOT_NAMED = (None, None)
CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
"""Of a hash of a password: as low as argon2 goes."""
FORKED = Path(__file__).with_name("fork_client.py")


def needs_a_beginning(environ: Iterable[str]) -> bool:
    """Return True if one of these variables is read only at the start of a process."""
    return any(name.startswith(READ_AT_THE_BEGINNING) and name not in HEEDED for name in environ)


def share_certificates() -> None:
    """Let all clients of this process, and of its forks, read the same certificates once.

    To read them takes a tenth of a second, and clients are made many thousand times.
    """
    read = httpcore2.default_ssl_context
    shared: dict[tuple[str | None, ...], SSLContext] = {NOT_NAMED: read(_trust_env=False)}

    def read_once(*, _trust_env: bool = True) -> SSLContext:
        named = tuple(map(os.environ.get, CERTIFICATES)) if _trust_env else NOT_NAMED
        if named not in shared:
            shared[named] = read()
        return shared[named]

    httpcore2.default_ssl_context = read_once


class Child:
    """The program, which was born. It does not outlive whoever holds this."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._line = line

    async def wait(self) -> int:
        """The exit code, as `asyncio.subprocess` tells it, once there is one."""
        if self.returncode is None:
            told = await get_running_loop().sock_recv(self._line, 16)
            self.returncode = int(told)
            self._line.close()
        return self.returncode


async def start_fork(
    arguments: Sequence[str], folder: Path, environ: Mapping[str, str], streams: Sequence[int]
) -> Child:
    """`antiphon` with these arguments; `streams` are its stdin, stdout and stderr.

    It leads a session of its own. A terminal as stdin is that session's.
    """
    line = socket.socket(socket.AF_UNIX)
    line.connect(address())
    socket.send_fds(line, [b"."], streams)
    line.setblocking(False)
    order = marshal.dumps([ANTIPHON, list(arguments), str(folder), dict(environ)])
    await get_running_loop().sock_sendall(line, order)
    return Child(int(await get_running_loop().sock_recv(line, 16)), line)


def run_fork(
    arguments: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    given: bytes | None = None,
    missing: tuple[str, ...] = (),
) -> tuple[int, bytes, bytes]:
    """Run `antiphon` to its end; return its exit code, output and errors. `given` is its input.

    A command that waits for a fork would take longer to start than the fork takes to run.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    source, sink = (nothing, None) if given is None else os.pipe()
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    ends = (source, out_end, err_end)
    with socket.socket(socket.AF_UNIX) as line, ThreadPoolExecutor(3) as readers:
        try:
            line.settimeout(5 * SECONDS)
            line.connect(address(missing))
            socket.send_fds(line, [b"."], ends)
            line.sendall(marshal.dumps([ANTIPHON, list(arguments), str(folder), dict(environ)]))
        finally:
            for end in {nothing, *ends}:
                os.close(end)
        texts = [readers.submit(_read_all, each) for each in (out, err)]
        if sink is not None:
            readers.submit(_write_all, sink, given)
        line.recv(16)  # the number of its process
        code = int(line.recv(16))
        return code, *(text.result() for text in texts)


def _read_all(descriptor: int) -> bytes:
    with open(descriptor, "rb") as stream:
        return stream.read()


def _write_all(descriptor: int, given: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as stream:
        stream.write(given)


def command(program: str = ANTIPHON, missing: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the command that starts a fork with this function; arguments may follow.

    `missing` are packages that are not installed for it.
    """
    return (sys.executable, "-I", "-S", str(FORKED), address(missing), program)


@functools.cache
def address(missing: tuple[str, ...] = ()) -> str:
    """Where the process listens that lacks these packages; it ends with this one."""
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
    """Be forked until our stdin is closed; in each fork, be the program that was asked for."""
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
    """Do once what each server would do again at its start and for the first page that it sends."""
    page = import_module("antiphon.web.routes.page")
    app = import_module("flask").Flask(__name__)
    create_app = import_module("antiphon.server.app").create_app

    create_app(import_module("antiphon.settings.settings").Settings())  # patterns of all routes
    with app.test_request_context(headers={"accept-encoding": "gzip"}):
        page.get_page()
        for name in (page.BUNDLE, page.MESSAGES):
            page.get_asset(page.version(), name)


class ForkServer:
    """The programs that were born here, each with the line to whoever waits for its end."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._lines: dict[socket.socket, int] = {}
        self._died, self._death = socket.socketpair()
        self._death.setblocking(False)
        signal.set_wakeup_fd(self._death.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def attend(self) -> int:
        """Fork, tell of each end, and end what nobody waits for any more; return an exit code."""
        waiting = True
        while waiting:
            ready, _, _ = select.select([0, self._listening, self._died, *self._lines], [], [])
            if self._died in ready:
                self._died.recv(1000)
                self._bury()
            for line in self._lines.keys() & ready:
                os.kill(self._lines.pop(line), signal.SIGKILL)
                line.close()
            waiting = 0 not in ready
            if self._listening in ready and (program := self._bear()):
                return program()
        for pid in self._lines.values():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(Path(self._listening.getsockname()).parent, ignore_errors=True)
        return 0

    def _bury(self) -> None:
        """Tell of the ends that there were."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                for line in [line for line, born in self._lines.items() if born == pid]:
                    del self._lines[line]
                    with line, suppress(OSError):
                        line.sendall(b"%16d" % os.waitstatus_to_exitcode(status))

    def _bear(self) -> Callable[[], int] | None:
        """Fork for whoever asks; in the fork, return what it is."""
        line, _ = self._listening.accept()
        _, streams, _, _ = socket.recv_fds(line, 1, 3)
        try:
            with line.makefile("rb") as told:
                program, arguments, folder, environ = marshal.load(told)
        except (EOFError, ConnectionError):  # it was killed meanwhile
            pid = -1
        else:
            pid = os.fork()
        if pid:
            for stream in streams:
                os.close(stream)
            if pid < 0:
                line.close()
            else:
                self._lines[line] = pid
                with suppress(OSError):
                    line.sendall(b"%16d" % pid)
            return None
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (line, self._listening, self._died, self._death, *self._lines):
            each.close()
        _move_in(folder, environ, streams)
        return lambda: _be(program, arguments)


def _be(program: str, arguments: Sequence[str]) -> int:
    import_module("tests.support.harness.own_runs").limit_own_runs()
    module, _, name = program.partition(":")
    sys.argv = [name, *arguments]
    try:
        code = getattr(import_module(module), name)() or 0
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        code = end.code
    _leave(code)
    return code


def _leave(code: int) -> None:
    """End as Python ends, but leave the modules to the system: to clear them copies them all."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _move_in(folder: str, environ: dict[str, str], streams: Sequence[int]) -> None:
    """All that a process is born with is as if it had been started anew."""
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
    if how := environ.get("PYTHONWARNINGS"):
        warnings.simplefilter(how)
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

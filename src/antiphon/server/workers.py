"""Several processes of one server: a supervisor, and workers that share its socket.

The supervisor loads the program and opens nothing but the socket, so that workers can be forked
from it at any time, in milliseconds, and share its memory. It runs no event loop and no thread,
because a fork copies only the thread that forks.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO, cast

import msgspec

from antiphon.server.connection import bind_socket, url_of
from antiphon.server.monitoring import SIGNAL, SharedMetrics, StallWatch, is_stopped
from antiphon.server.serve import RESPONSE_GRACE, WorkerContext, print_line, serve_worker
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.errors import AntiphonError, BadSettings, TryAgain

HOPELESS = 5  # consecutive deaths of a worker that was never ready
PAUSES = (0.0, 0.1, 0.5, 1.0, 3.0, 5.0)
"""Seconds before a worker is restarted; after its first death it is restarted at once."""
HEALTHY = 10.0  # seconds; a worker that lived so long is restarted at once
SPARE = 5.0  # seconds beyond the time of a shutdown until workers are killed

_STALLED = "had no turn of its event loop for longer than stall_timeout and was ended"
_STOP = (signal.SIGINT, signal.SIGTERM)
_HEEDED = (*_STOP, signal.SIGCHLD)


def serve_workers(settings: Settings) -> int:
    """Serve in `settings.workers` processes until SIGTERM or SIGINT; return the exit code.

    Raises the error that keeps them from starting.
    """
    _check_settings(settings)
    with bind_socket(settings.host, settings.port) as listener, _signals_as_bytes() as bell:
        return _Supervisor(settings, listener, bell).run()


def _check_settings(settings: Settings) -> None:
    if settings.database.startswith("memory:"):
        raise BadSettings(
            "Several processes cannot share a memory.",
            expected="a database in a file or behind an address",
            received="--database memory:",
            hint="Leave out --workers, or name a database.",
        )
    if os.name != "posix":
        raise BadSettings(
            "This system cannot share a server among processes.",
            expected="--workers 1",
            received=f"--workers {settings.workers}",
            hint="Start several servers, each with a --port of its own, behind a load balancer.",
        )


@contextmanager
def _signals_as_bytes() -> Generator[socket.socket]:
    """Yield a socket that receives each signal as a byte, the signal's number."""
    bell, ringing = socket.socketpair()
    ringing.setblocking(False)
    bell.setblocking(False)

    def ignore(*_: object) -> None:
        """Do nothing: the byte on the socket is enough."""

    before = {number: signal.signal(number, ignore) for number in _HEEDED}
    earlier = signal.set_wakeup_fd(ringing.fileno(), warn_on_full_buffer=False)
    try:
        with bell, ringing:
            yield bell
    finally:
        signal.set_wakeup_fd(earlier)
        for number, handler in before.items():
            signal.signal(number, handler)


class _Report(msgspec.Struct, omit_defaults=True):
    """The single report of a worker: a description of what it serves, or its error."""

    about: str = ""
    code: str = ""
    message: str = ""
    details: dict[str, Any] = {}

    @property
    def fault(self) -> AntiphonError | None:
        """The error that keeps the worker from serving, if any."""
        return errors.class_for_code(self.code)(self.message, **self.details) if self.code else None


@dataclass
class _WorkerProcess:
    """A worker process and its report."""

    pid: int
    pipe: int
    began: float
    received: bytes = b""
    report: _Report | None = None
    stalled_at: float | None = None

    def read(self) -> bool:
        """Read from the pipe; return whether the worker is ready now."""
        piece = os.read(self.pipe, 65_536)
        self.received += piece
        if not piece or self.report is not None:
            return False
        if self.received.endswith(b"\n"):
            self.report = msgspec.json.decode(self.received, type=_Report)
        return self.ready

    @property
    def ready(self) -> bool:
        """True if the worker has ever served."""
        return self.report is not None and not self.report.code

    @property
    def serves(self) -> bool:
        """True if the worker serves and its loop is not stalled."""
        return self.ready and self.stalled_at is None


@dataclass
class _WorkerSlot:
    """Slot for one worker. `due` is the time of the next start."""

    number: int
    child: _WorkerProcess | None = None
    due: float = 0.0
    deaths: int = 0
    unready: int = 0


class _Supervisor:
    """Starts missing workers, reaps dead ones, and stops all on a signal."""

    def __init__(self, settings: Settings, listener: socket.socket, bell: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._signal_socket = bell
        self._metrics = SharedMetrics(settings.workers)
        self._watch = StallWatch(settings.stall_timeout, time.monotonic)
        self._slots = [_WorkerSlot(number + 1) for number in range(settings.workers)]
        self._lifeline, self._lifeline_end = os.pipe()
        self._served = False
        self._ended_by: float | None = None
        self._killed = False
        self._fault: AntiphonError | None = None
        self._code = 0

    def run(self) -> int:
        """Run until all workers have ended. Raises the error that they have in common."""
        try:
            while self._ended_by is None or self._running_workers():
                self._start_or_kill()
                self._end_stalled()
                self._wait_for_news()
                self._reap()
        finally:
            os.close(self._lifeline_end)
            os.close(self._lifeline)
        if self._fault is not None:
            raise self._fault
        return self._code

    def _running_workers(self) -> Sequence[_WorkerProcess]:
        return [place.child for place in self._slots if place.child is not None]

    def _start_or_kill(self) -> None:
        """Start workers that are due; kill those that have not ended in time."""
        now = time.monotonic()
        if self._ended_by is None:
            for place in self._slots:
                if place.child is None and place.due <= now:
                    self._start(place)
        elif now >= self._ended_by and not self._killed:
            print_line("some processes did not end in time: they are killed")
            self._killed, self._code = True, self._code or 1
            self._signal(signal.SIGKILL)

    def _end_stalled(self) -> None:
        """End workers whose loops are stalled; other workers take over their runs."""
        if self._ended_by is not None or self._watch.pause != 0:
            return
        now = time.monotonic()
        for child in self._running_workers():
            if child.stalled_at is not None and now - child.stalled_at > SPARE:
                os.kill(child.pid, signal.SIGKILL)
        serving = {
            place.number: place.child
            for place in self._slots
            if place.child is not None and place.child.serves and not is_stopped(place.child.pid)
        }
        turns = {number: self._metrics.turns(number - 1) for number in serving}
        for number in self._watch.find_stalled(turns):
            serving[number].stalled_at = now
            os.kill(serving[number].pid, SIGNAL or signal.SIGKILL)

    def _wait_for_news(self) -> None:
        """Wait for a signal, a report, or the time of the next action."""
        bell = self._signal_socket.fileno()
        lines = {child.pipe: child for child in self._running_workers() if child.report is None}
        due = [place.due for place in self._slots if place.child is None]
        if self._ended_by is not None:
            due = [] if self._killed else [self._ended_by]
        elif (pause := self._watch.pause) is not None:
            due.append(time.monotonic() + pause)
        patience = max(0.0, min(due) - time.monotonic()) if due else None
        ready, _, _ = select.select([bell, *lines], [], [], patience)
        for line in ready:
            if line == bell:
                for number in self._signal_socket.recv(4096):
                    if number in _STOP:
                        self._stop_all()
            elif lines[line].read():
                self._announce(cast("_Report", lines[line].report).about)

    def _announce(self, about: str) -> None:
        """Print the description once all workers serve for the first time."""
        if self._served or not all(child.ready for child in self._running_workers()):
            return
        if len(self._running_workers()) < len(self._slots):
            return
        self._served = True
        print_line(f"{about}, {len(self._slots)} processes")
        print_line(f"listening on {url_of(self._listener)}")

    def _stop_all(self) -> None:
        """Send SIGTERM to all workers; the second time they end at once."""
        if self._ended_by is None:
            settings = self._settings
            patience = settings.drain_delay + settings.shutdown_timeout + RESPONSE_GRACE + SPARE
            self._ended_by = time.monotonic() + patience
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for child in self._running_workers():
            os.kill(child.pid, number)  # the pid is still ours: it was not waited for

    def _reap(self) -> None:
        for place in self._slots:
            child = place.child
            if child is None:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            with suppress(msgspec.DecodeError):  # killed while it wrote its report
                child.read()
            os.close(child.pipe)
            place.child = None
            self._metrics.retire(place.number - 1)
            self._handle_exit(place, child, os.waitstatus_to_exitcode(status))

    def _handle_exit(self, place: _WorkerSlot, child: _WorkerProcess, code: int) -> None:
        """Schedule another start of a dead worker, or stop all."""
        fault = child.report.fault if child.report else None
        if self._ended_by is not None:
            if code not in (0, -signal.SIGTERM) and not fault and not self._killed:
                print_line(f"worker {place.number} {_describe_exit(code)}")
            return
        ending = _STALLED if child.stalled_at is not None else _describe_exit(code)
        lived = time.monotonic() - child.began
        place.deaths = 0 if child.ready and lived >= HEALTHY else place.deaths + 1
        place.unready = 0 if child.ready else place.unready + 1
        if self._is_hopeless(place, fault):
            # As shells report it.
            self._fault, self._code = fault, 128 - code if code < 0 else code or 1
            if fault is None:
                print_line(f"worker {place.number} {ending} before it served, {HOPELESS} times")
            self._stop_all()
            return
        pause = PAUSES[min(place.deaths, len(PAUSES)) - 1] if place.deaths else 0.0
        place.due = time.monotonic() + pause
        why = f"could not start: {fault.message}" if fault else ending
        print_line(f"worker {place.number} {why}; it is started again")

    def _is_hopeless(self, place: _WorkerSlot, fault: AntiphonError | None) -> bool:
        """Return whether another start would fail in the same way."""
        if isinstance(fault, TryAgain):  # a service is away, and may come back
            return not self._served
        if fault is not None and not self._served:
            return True
        return place.unready >= HOPELESS

    def _start(self, place: _WorkerSlot) -> None:
        read, write = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEEDED)
        try:
            pid = os.fork()
            if not pid:
                self._run_worker(place.number, write)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEEDED)
        os.close(write)
        place.child = _WorkerProcess(pid, read, time.monotonic())

    def _run_worker(self, number: int, line: int) -> NoReturn:
        """Serve in the new process, and never return into the supervisor's code."""
        signal.set_wakeup_fd(-1)
        # Ctrl+C reaches all processes; the supervisor passes it on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for each in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEEDED)
        os.close(self._lifeline_end)
        for child in self._running_workers():
            os.close(child.pipe)
        code = 1
        try:
            sys.stderr = cast("TextIO", _PrefixedStream(sys.stderr, f"worker {number}: "))

            def ready(about: str) -> None:
                _send_report(line, _Report(about=about))

            serve_worker(
                self._settings,
                WorkerContext(self._listener, self._lifeline, ready, self._metrics, number - 1),
            )
            code = 0
        except AntiphonError as fault:
            _send_report(
                line, _Report(code=fault.code, message=fault.message, details=fault.details)
            )
        except BaseException:  # noqa: BLE001 - nothing may reach the supervisor's frames
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)


class _PrefixedStream:
    """A text stream whose lines begin with a prefix."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._begun = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write whole lines only, so that lines of several processes do not mix."""
        *lines, self._begun = (self._begun + text).split("\n")
        if lines:
            self._stream.write("".join(f"{self._name}{line}\n" for line in lines))
            self._stream.flush()
        return len(text)


def _send_report(line: int, report: _Report) -> None:
    with suppress(OSError):  # the supervisor is gone
        os.write(line, msgspec.json.encode(report, enc_hook=str) + b"\n")


def _describe_exit(code: int) -> str:
    if SIGNAL is not None and code == -SIGNAL:
        return "computed without a pause for longer than watchdog_timeout and was ended"
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"

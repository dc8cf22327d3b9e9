"""Run the tests in forks of the process that has collected them: `pytest --forks 4`.

Importing and collecting all tests takes 15 seconds of processor time, and a process that has done
so is forked in an instant. Each fork takes a module at a time, those that may take long first, and
sends the reports of their tests to the process that started it.

A browser of its own costs a fork nine seconds of processor time, so one fork in three takes modules
with tests of the page first, and the others take those last.
"""

from __future__ import annotations

import gc
import itertools
import os
import signal
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from tempfile import TemporaryFile
from typing import Any

import pytest
from _pytest.capture import FDCapture
from _pytest.runner import runtestprotocol

from tests.support import fork_server

SECONDS = 60
"""How long a fork may take to stop the services of its tests."""
ONE_IN = 3
"""One fork in this many takes tests of the page first."""
PURE = ("engine", "providers", "types", "wires")
"""Folders whose tests take a few milliseconds each."""
FLOWS = ("system",)
"""Folders whose tests may take a minute each."""
SIZE = 4
"""Bytes of a module's number: few enough that reading them from a pipe is atomic."""

FORKING = get_context("fork") if hasattr(os, "fork") else None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--forks`."""
    parser.addoption(
        "--forks",
        type=int,
        default=0,
        metavar="N",
        help="run tests in N forks of the process that has collected them",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Collect without garbage collections: nothing that is created here becomes garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in forks with `--forks`."""
    options = session.config.option
    if not options.forks or FORKING is None or options.collectonly or session.testsfailed:
        return None
    _Forks(session).run(options.forks)
    return True


class _Fork:
    """A process that runs tests; `tests` are those of its module that it has yet to finish."""

    def __init__(self, run: Callable[[Connection], None], tests: deque[int]) -> None:
        assert FORKING is not None
        self.tests = tests
        self.line, line = FORKING.Pipe(duplex=False)
        self.process = FORKING.Process(target=run, args=(line,))
        self.process.start()
        line.close()


class _Forks:
    """Starts the forks, gives them modules and reports their results."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        self._config = session.config
        self._folder = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        self._forks: list[_Fork] = []
        self._folders = itertools.count()
        modules = itertools.groupby(range(len(session.items)), lambda i: session.items[i].path)
        self._modules = [list(tests) for _, tests in modules]
        numbers = sorted(range(len(self._modules)), key=self._estimate_length, reverse=True)
        browser = [number for number in numbers if self._needs_browser(number)]
        others = [number for number in numbers if number not in browser]
        # The numbers of the modules that no fork has taken yet.
        self._queues = [_fill_pipe(browser), _fill_pipe(others)]

    def run(self, count: int) -> None:
        """Run all tests. Raises `Failed` or `Interrupted` where pytest stops early."""
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter.showfspath = False  # tests of several modules end in mixed order
        if any(item.get_closest_marker("processes") for item in self._session.items):
            fork_server.address()  # started here, so that all forks share it
        gc.collect()
        gc.freeze()  # a collection in a fork would copy everything
        try:
            for _ in range(min(count, len(self._modules))):
                self._start(deque())
            while self._forks:
                self._receive()
        finally:
            for queue in self._queues:
                os.close(queue)
            self._stop()

    def _estimate_length(self, module: int) -> int:
        """Return how long the module may take, in units of a test of a pure folder."""
        items = [self._session.items[test] for test in self._modules[module]]
        folder = items[0].path.parent.name
        with_processes = sum(item.get_closest_marker("processes") is not None for item in items)
        if folder in FLOWS:
            return len(items) * 60
        return len(items) * (1 if folder in PURE else 5) + with_processes * 20

    def _needs_browser(self, module: int) -> bool:
        items = (self._session.items[test] for test in self._modules[module])
        return any("chromium" in getattr(item, "fixturenames", ()) for item in items)

    def _start(self, tests: deque[int]) -> None:
        number = next(self._folders)
        folder = self._folder / f"fork-{number}"
        folder.mkdir(mode=0o700)
        first_tests = tuple(tests)
        queues = self._queues[::-1] if number % ONE_IN else self._queues

        def take() -> list[int]:
            """Return the tests of the next module; none where all modules were taken."""
            numbers = (os.read(queue, SIZE) for queue in queues)
            number = next(filter(None, numbers), b"")
            return self._modules[int.from_bytes(number)] if number else []

        def work(line: Connection) -> None:
            self._config._tmp_path_factory._basetemp = folder  # type: ignore[attr-defined]
            _Worker(self._session, line).work(first_tests, take)

        self._forks.append(_Fork(work, tests))

    def _receive(self) -> None:
        forks = {fork.line: fork for fork in self._forks}
        for line in wait(list(forks)):
            assert isinstance(line, Connection)
            fork = forks[line]
            try:
                kind, data = line.recv()
            except EOFError:
                self._end(fork)
            else:
                getattr(self, f"_on_{kind}")(fork, data)
            if self._session.shouldfail:
                raise self._session.Failed(self._session.shouldfail)
            if self._session.shouldstop:
                raise self._session.Interrupted(self._session.shouldstop)

    def _on_module(self, fork: _Fork, tests: list[int]) -> None:
        fork.tests.extend(tests)

    def _on_reports(self, fork: _Fork, data: list[dict[str, Any]]) -> None:
        hook = self._config.hook
        reports = [
            hook.pytest_report_from_serializable(config=self._config, data=each) for each in data
        ]
        self._report(fork.tests.popleft(), reports)

    def _on_warning(self, _: _Fork, data: dict[str, Any]) -> None:
        data["warning_message"] = warnings.WarningMessage(*data["warning_message"])
        self._config.hook.pytest_warning_recorded.call_historic(kwargs=data)

    def _report(self, test: int, reports: list[pytest.TestReport]) -> None:
        item = self._session.items[test]
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in reports:
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _end(self, fork: _Fork) -> None:
        """Report the test in which a fork died as failed; another fork runs the remaining tests."""
        self._forks.remove(fork)
        fork.line.close()
        fork.process.join()
        code = fork.process.exitcode
        if fork.tests:
            test = fork.tests.popleft()
            item = self._session.items[test]
            text = f"the process that ran this test ended with {code}"
            failed = pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "call")
            self._report(test, [failed])
            self._start(fork.tests)
        elif code:
            raise pytest.UsageError(f"a process could not end its services: {code}, see above")

    def _stop(self) -> None:
        """Interrupt the forks that still run; each stops its services."""
        for fork in self._forks:
            if pid := fork.process.pid:
                os.kill(pid, signal.SIGINT)
        for fork in self._forks:
            fork.process.join(SECONDS)
            fork.process.kill()


def _fill_pipe(numbers: list[int]) -> int:
    """Return the end from which forks read these numbers."""
    queue, write_end = os.pipe()
    with open(write_end, "wb") as stream:
        stream.writelines(number.to_bytes(SIZE) for number in numbers)
    return queue


class _Worker:
    """Runs tests in a fork and sends their reports."""

    def __init__(self, session: pytest.Session, line: Connection) -> None:
        self._session = session
        self._config = session.config
        self._line = line

    def work(self, tests: tuple[int, ...], take: Callable[[], list[int]]) -> None:
        """Run these tests, then module by module what `take` returns."""
        self._capture_apart()
        self._config.pluginmanager.register(self)
        try:
            self._run(tests)
            while module := take():
                self._line.send(("module", module))
                self._run(module)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        finally:
            self._session._setupstate.teardown_exact(None)

    def _capture_apart(self) -> None:
        """Write what tests print to files of this fork.

        The objects stay, for libraries keep `sys.stderr` as the default of a parameter.
        """
        capture = self._config.pluginmanager.getplugin("capturemanager")
        assert capture is not None
        for stream in (capture._global_capturing.out, capture._global_capturing.err):
            if isinstance(stream, FDCapture):
                with TemporaryFile() as file:
                    os.dup2(file.fileno(), stream.tmpfile.fileno())

    def _run(self, tests: tuple[int, ...] | list[int]) -> None:
        for test, following in itertools.zip_longest(tests, tests[1:]):
            # The session itself, which has the services, outlasts the module.
            nextitem: Any = self._session if following is None else self._session.items[following]
            item = self._session.items[test]
            item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run a test, and let the first process report it."""
        hook = self._config.hook
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        data = [
            hook.pytest_report_to_serializable(config=self._config, report=report)
            for report in reports
        ]
        self._line.send(("reports", data))
        return True

    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: str,
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        """Let the first process report the warning, without the objects that it is about."""
        message = str(warning_message.message)
        summary = (message, warning_message.category, warning_message.filename)
        data = {"warning_message": (*summary, warning_message.lineno), "when": when}
        self._line.send(("warning", data | {"nodeid": nodeid, "location": location}))

"""Coroutines run from threads that have no loop."""

import asyncio
import contextvars
import gc
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from antiphon.client.portal import Portal
from antiphon.types.errors import InvalidRequest


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.close()


async def return_later(value: int, after: asyncio.Event | None = None) -> int:
    if after is not None:
        await after.wait()
    return value


def test_a_coroutine_gives_its_result_in_the_context_of_its_caller(portal: Portal):
    who = contextvars.ContextVar("who", default="nobody")
    who.set("Bo")

    async def ask() -> tuple[str, str]:
        return who.get(), threading.current_thread().name

    assert portal.run(ask()) == ("Bo", "antiphon-portal")


def test_a_portal_may_be_closed_and_opened_again(portal: Portal):
    portal.run(return_later(1))
    portal.close()

    assert portal.run(return_later(2)) == 2


def test_waiting_for_oneself_is_refused(portal: Portal):
    async def ask() -> int:
        return portal.run(return_later(1))

    with pytest.raises(InvalidRequest, match="from its own event loop"):
        portal.run(ask())


async def get_loop_and_thread() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    return asyncio.get_running_loop(), threading.current_thread()


def test_dropping_a_portal_does_not_wait_for_what_runs_on_it():
    portal, gate = Portal(), threading.Event()
    loop, thread = portal.run(get_loop_and_thread())
    loop.call_soon_threadsafe(gate.wait)

    del portal

    gate.set()
    thread.join(60)
    assert not thread.is_alive()


def test_the_last_reference_may_be_dropped_on_the_portals_own_loop():
    portals = [Portal()]
    loop, thread = portals[0].run(get_loop_and_thread())

    loop.call_soon_threadsafe(portals.clear)

    thread.join(60)
    assert not thread.is_alive()


DROPPED = """
import asyncio, threading
from antiphon.client.portal import Portal

async def wait():
    begun.set()
    try:
        await asyncio.Event().wait()
    finally:
        while True:  # until the program ends, and its executors
            await asyncio.to_thread(int)

async def home():
    return threading.current_thread()

begun, portal = threading.Event(), Portal()
# Python waits for this thread, after the end of the executors.
threading.Thread(target=portal.run(home()).join).start()
portal.start(wait())
begun.wait()
del portal
"""


def test_a_portal_that_is_still_closing_when_the_program_ends_reports_no_errors():
    program = [sys.executable, "-c", DROPPED]
    result = subprocess.run(program, timeout=60, capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.filterwarnings("ignore")  # for the loop that was half made
def test_without_a_loop_the_caller_gets_an_error_and_may_try_again(portal: Portal):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            portal.run(return_later(1))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        gc.collect()

    assert portal.run(return_later(2)) == 2


INTERRUPTED = """
import asyncio, random, signal
from antiphon.client.portal import Portal

begun = ended = 0

async def wait():
    global begun, ended
    begun += 1
    try:
        await asyncio.Event().wait()
    finally:
        ended += 1

signal.signal(signal.SIGALRM, signal.default_int_handler)
dice, portal = random.Random(1), Portal()
portal.run(asyncio.sleep(0))
for _ in range(500):
    try:
        try:
            # Again after a second: an interrupt of a finalizer is lost.
            signal.setitimer(signal.ITIMER_REAL, 1e-6 + dice.random() * 3e-4, 1)
            portal.run(wait())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        pass
portal.close()
print("none is left" if begun == ended else f"{begun - ended} of {begun} are left")
"""


def test_wherever_an_interrupt_comes_the_call_is_cancelled_and_nothing_hangs():
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERRUPTED],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.stdout == "none is left\n", result.stderr


def test_a_coroutine_that_is_run_to_its_end_raises_its_error() -> None:
    async def fail() -> None:
        raise ValueError("no")

    portal = Portal()
    try:
        with pytest.raises(ValueError, match="no"):
            portal.run_to_end(fail())
    finally:
        portal.close()


def test_a_task_that_ends_the_program_does_not_end_the_portal(portal: Portal) -> None:
    async def leave() -> None:
        sys.exit(4)

    async def survive() -> str:
        with suppress(SystemExit):
            await asyncio.ensure_future(leave())
        return "here"

    assert portal.run(survive()) == "here"
    assert portal.run(survive()) == "here"


def test_a_portal_that_was_used_before_a_fork_says_so(portal: Portal) -> None:
    portal.run(return_later(1))
    pid = os.fork()
    if pid == 0:
        try:
            portal.run(return_later(2))
        except InvalidRequest as error:
            os._exit(0 if "before the fork" in error.message else 2)
        os._exit(1)
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0

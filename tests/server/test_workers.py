"""Several processes of one server: what they share, replacement of dead ones, and shutdown."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from antiphon.api.operations import NewMessage
from antiphon.cli.exit_codes import MISCONFIGURED
from antiphon.cli.main import main
from antiphon.client.async_client import AsyncClient
from tests.support.harness.servers import Failed, Server, start_server
from tests.support.server.served import DEADLINE, eventually

QUESTION = NewMessage("When does the next LAX-JFK flight leave?")

Serve = Callable[..., Awaitable[Server]]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing can be forked there")


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Run `antiphon serve` on a database of this test; stop what is left of it at the end."""
    async with AsyncExitStack() as stack:

        async def start(*flags: str, failpoints: str = "", **settings: str) -> Server:
            environ = {f"ANTIPHON_{name.upper()}": value for name, value in settings.items()}
            environ = {
                "ANTIPHON_DATABASE": _database(tmp_path),
                "FAILPOINTS": failpoints,
                **environ,
            }
            server = await start_server(environ, *flags)
            stack.push_async_callback(server.stop_cleanly)
            return server

        yield start


async def test_several_processes_serve_on_one_port(serve: Serve) -> None:
    server = await serve("--workers", "3")

    assert len(_worker_pids(server)) == 3
    assert "3 processes" in server.said[-2]
    assert await _says_hello(server.url)


async def test_a_process_that_was_killed_is_replaced_and_its_run_goes_on(serve: Serve) -> None:
    server = await serve("--workers", "2", demo_delay="0.02")
    before = _worker_pids(server)
    async with AsyncClient(server.url) as client:
        events = []
        async for event in client.process(message=QUESTION):
            events.append(event)
            if len(events) == 3:
                for pid in before:
                    os.kill(pid, signal.SIGKILL)

    assert events[-1].status == "completed"
    assert not set(_worker_pids(server)) & set(before)
    assert sum("signal 9; it is started again" in line for line in server.said) == 2


@pytest.mark.slow
async def test_all_processes_end_in_order_on_a_signal(serve: Serve) -> None:
    server = await serve("--workers", "2", demo_delay="0.01667")
    pids = _worker_pids(server)
    async with AsyncClient(server.url) as client:
        events = []
        async for event in client.process(message=QUESTION):
            if not events:
                server.send(signal.SIGTERM)
            events.append(event)
    await server.end()

    assert events[-1].status == "completed"
    assert server._process is not None
    assert server._process.returncode == 0
    assert not any(map(_is_alive, pids))


@pytest.mark.soak
async def test_a_process_that_does_not_end_is_ended(serve: Serve) -> None:
    server = await serve("--workers", "2", shutdown_timeout="0.1")
    frozen_pid, other_pid = _worker_pids(server)
    os.kill(frozen_pid, signal.SIGSTOP)
    server.send(signal.SIGTERM)
    await server.end()

    assert "some processes did not end in time: they are killed" in server.said
    assert not any(map(_is_alive, (frozen_pid, other_pid)))
    assert server._process is not None
    assert server._process.returncode == 1


@pytest.mark.slow
async def test_ctrl_c_reaches_all_of_them_and_is_one_signal(serve: Serve) -> None:
    server = await serve("--workers", "2", demo_delay="0.01667", shutdown_timeout="20")
    async with AsyncClient(server.url) as client:
        events = []
        async for event in client.process(message=QUESTION):
            if not events:
                os.killpg(os.getpgid(server.pid), signal.SIGINT)
            events.append(event)
    await server.end()

    assert events[-1].status == "completed"


async def test_processes_do_not_outlive_the_one_that_started_them(serve: Serve) -> None:
    server = await serve("--workers", "2")
    pids = _worker_pids(server)
    server.send(signal.SIGKILL)

    async def are_gone() -> bool:
        return not any(map(_is_alive, pids))

    await eventually(are_gone)


async def test_an_error_that_keeps_a_process_from_starting_is_printed_once_and_ends_all(
    serve: Serve,
) -> None:
    with pytest.raises(Failed) as excinfo:
        await serve("--workers", "2", "--host", "0.0.0.0")

    (line,) = str(excinfo.value).splitlines()
    assert line.startswith("antiphon: Without a key this server listens on loopback only")


@pytest.mark.slow
async def test_a_process_that_dies_at_its_start_again_and_again_ends_all(serve: Serve) -> None:
    with pytest.raises(Failed, match="before it served, 5 times"):
        await serve("--workers", "2", failpoints="serve.before_open:kill")


def test_the_web_chat_is_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--workers", "2", "--database", "memory:"]) == MISCONFIGURED
    assert "`antiphon serve --workers 2`" in capsys.readouterr().err


async def test_several_processes_need_a_database_that_they_can_share(serve: Serve) -> None:
    with pytest.raises(Failed, match="cannot share a memory"):
        await serve("--workers", "2", database="memory:")


async def test_lines_of_a_process_bear_its_number(serve: Serve) -> None:
    server = await serve("--workers", "2", demo_delay="0.2", shutdown_timeout="20")
    async with AsyncClient(server.url) as client:
        await anext(aiter(client.process(message=QUESTION)))
        server.send(signal.SIGTERM)

        async def is_ending() -> bool:
            return any("ending; runs" in line for line in server.said)

        await eventually(is_ending)
        server.send(signal.SIGTERM)
        await server.end()

    assert all(
        line.startswith(("worker 1: ", "worker 2: "))
        for line in server.said
        if "ending; runs" in line
    )


@pytest.mark.slow
async def test_metrics_are_those_of_all_processes_of_the_dead_too(serve: Serve) -> None:
    server = await serve("--workers", "3")
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=DEADLINE) as http:
        for _ in range(30):
            async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as client:
                await client.post("/v1/threads")

        async def count_runs() -> float:
            text = (await http.get("/metrics")).text
            line = 'antiphon_http_requests_total{route="/v1/threads",status="201"}'
            return sum(float(row.split()[-1]) for row in text.splitlines() if line in row)

        async def has_all_runs() -> bool:
            return await count_runs() == 30

        await eventually(has_all_runs)
        for pid in _worker_pids(server):
            os.kill(pid, signal.SIGKILL)
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=DEADLINE) as http:
        await eventually(has_all_runs)


def _database(folder: Path) -> str:
    return f"sqlite:///{folder / 'antiphon.db'}"


def _worker_pids(server: Server) -> list[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state not in ("Z", "X")


async def _says_hello(url: str) -> bool:
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=DEADLINE) as client:
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(10)))
    return all(answer.status_code == 200 for answer in answers)

"""A reader that stops in any way leaves no connection open and no task waiting."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from antiphon.client.async_client import AsyncClient
from antiphon.client.sync_client import Client
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings

SETTINGS = Settings(model="demo", database="memory:", port=0, demo_delay=0, shutdown_timeout=0.1)
SECONDS = 60

OPEN_CLIENT = """
from antiphon import Client, Settings

client = Client(settings=Settings(model="demo", database="memory:"))
"""


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async with run_server(SETTINGS) as url:
        yield url


@contextmanager
def without_collector() -> Iterator[None]:
    """Turn the garbage collector off, so that reference counts alone free objects."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def wait_until_streams_end(server: str) -> None:
    async with httpx2.AsyncClient(base_url=server, trust_env=False) as client:
        async with asyncio.timeout(SECONDS):
            while "antiphon_streams_open 0" not in (await client.get("/metrics")).text:
                await asyncio.sleep(0.02)


async def test_a_loop_that_is_broken_out_of_closes_its_connection(server: str):
    def listen() -> Client:
        client = Client(server)
        run = client.create_run(client.create_thread().id)
        for _ in client.events(run.id):
            break
        return client

    with without_collector():
        client = await asyncio.to_thread(listen)

        await wait_until_streams_end(server)
    client.close()


async def test_an_async_loop_that_is_broken_out_of_closes_its_connection(server: str):
    async with AsyncClient(server) as client:
        run = await client.create_run((await client.create_thread()).id)
        with without_collector():
            async for _ in client.events(run.id):
                break

            await wait_until_streams_end(server)


async def test_a_conversation_that_nobody_reads_sends_no_request(server: str):
    async with AsyncClient(server) as client:
        client.converse("Hello")
        thread = await client.create_thread()

        assert [each.id for each in (await client.list_threads()).data] == [thread.id]


@pytest.mark.slow
@pytest.mark.parametrize(
    "leaving",
    [
        "events = client.converse('Hello')\nnext(events)",
        "events = client.events(client.create_run(client.create_thread().id).id)\nnext(events)",
        "for event in client.converse('Hello'): break",
        "events = client.converse('Hello')\nnext(events)\nclient.close()",
        "events = client.converse('Hello')\nnext(events)\nclient.close()\ndel events",
    ],
)
def test_a_program_may_end_in_the_middle_of_a_stream(leaving: str):
    program = [sys.executable, "-c", OPEN_CLIENT + leaving]
    result = subprocess.run(program, timeout=SECONDS, capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.slow
def test_an_error_in_a_loop_over_a_client_without_a_name_is_the_only_one(tmp_path: Path):
    program = (
        "from antiphon import Client, Settings\n"
        f"settings = Settings(model='demo', database='sqlite:{tmp_path / 'db'}')\n"
        "for event in Client(settings=settings).converse('Hello'): raise ValueError('mine')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        timeout=SECONDS,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stderr.splitlines()[-1] == "ValueError: mine"


@pytest.mark.slow
def test_an_interrupt_ends_a_wait_for_events_in_order():
    program = OPEN_CLIENT + (
        "events = client.events(client.create_run(client.create_thread().id).id)\n"
        "try:\n"
        "    for event in events: print('listening', flush=True)\n"
        "except KeyboardInterrupt:\n"
        "    print(len(client.list_threads().data))\n"
        "client.close()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=-1, stderr=-1, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "listening\n"
        process.send_signal(signal.SIGINT)
        output, error_output = process.communicate(timeout=SECONDS)

    assert (process.returncode, output, error_output) == (0, "1\n", "")

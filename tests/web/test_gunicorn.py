"""The web chat on another WSGI server, with a thread for each stream."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.support.web.served import Stream

SECONDS = 60
APPLICATION = "antiphon.web.wsgi:application(servers=False)"


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    flags = ["--worker-class", "gthread", "--threads", "8", "--bind", "127.0.0.1:0"]
    folders = {f"XDG_{name}_HOME": str(tmp_path / name) for name in ("DATA", "STATE", "CONFIG")}
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gunicorn",
        *flags,
        "--no-control-socket",
        APPLICATION,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "ANTIPHON_MODEL": "demo", **folders},
        stderr=asyncio.subprocess.PIPE,
    )
    assert program.stderr
    async with asyncio.timeout(SECONDS):
        output = ""
        while not (match := re.search(r"Listening at: (http://\S+)", output)):
            line = await program.stderr.readline()
            assert line, output
            output += line.decode()
    read_task = asyncio.create_task(program.stderr.read())
    yield match[1]
    program.terminate()
    async with asyncio.timeout(SECONDS):
        await program.wait()
    await read_task


async def test_a_message_is_streamed_and_its_tool_runs_there(address: str) -> None:
    question = {"content": "When does the next flight from LAX to JFK leave?"}
    async with httpx2.AsyncClient(base_url=address, timeout=SECONDS) as http:
        await http.get("/")
        async with http.stream(
            "POST", "/api/messages/process", json=question, headers={"Origin": address}
        ) as response:
            stream = Stream(response)
            await stream.end()

    assert response.status_code == 200
    assert "16:35" in stream.text
    assert stream.types[-1] == "finish"
    assert stream.done

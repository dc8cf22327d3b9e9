"""The web chat behind nginx, with its own defaults and as docs/how-to/login.md sets it up.

Where there is no nginx it is installed if apt-get may do so; else these are skipped, and say so.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from antiphon.settings import Settings
from antiphon.web import bridge
from antiphon.wires.framing import HEARTBEAT
from tests.terminal.model import Model
from tests.web.served import SECONDS, Served, up

WORDS = ("One, ", "two, ", "three.")
GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "login.md"
DEFAULTS = """
location / {
    proxy_pass http://127.0.0.1:8000;
    proxy_set_header Host $host;
    proxy_read_timeout 1s;
}
"""


def documented() -> str:
    """What the guide says, word for word."""
    found = re.search(r"```nginx\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="session")
def nginx() -> str:
    """The program."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if not shutil.which("nginx", path=path) and shutil.which("apt-get") and os.getuid() == 0:
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "nginx-light"]
        subprocess.run(install, check=False, capture_output=True, timeout=SECONDS * 5)
    found = shutil.which("nginx", path=path)
    if found is None:
        pytest.skip("no proxy was tested: there is no nginx (apt-get install nginx-light)")
    return found


@asynccontextmanager
async def proxied(
    nginx: str, folder: Path, upstream: str, location: str, *, chained: bool = False
) -> AsyncGenerator[str]:
    """The address of an nginx in front of `upstream`; `chained` puts another in front of that."""
    ports = [_free() for _ in range(1 + chained)]
    targets = [upstream, *(f"http://127.0.0.1:{port}" for port in ports)]
    servers = "".join(
        f"server {{ listen 127.0.0.1:{port};\n{_towards(location, target)}}}\n"
        for port, target in zip(ports, targets, strict=False)
    )
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    written = folder / "nginx.conf"
    written.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}{servers}}}\n"
    )
    command = [nginx, "-p", str(folder), "-c", str(written)]
    program = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        await _listening(ports[-1])
        yield f"http://127.0.0.1:{ports[-1]}"
    finally:
        program.terminate()
        await program.wait()


def _towards(location: str, target: str) -> str:
    """The location for this target. Its clients name a port too, for none has 80 or 443 here."""
    return location.replace("http://127.0.0.1:8000", target).replace("$host", "$http_host")


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


async def _listening(port: int) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert time.monotonic() < deadline, "nginx does not listen"
            await asyncio.sleep(0.02)  # it says nothing when it does
        else:
            writer.close()
            await writer.wait_closed()
            return


@asynccontextmanager
async def behind(
    nginx: str, folder: Path, location: str, *, chained: bool = False
) -> AsyncGenerator[tuple[Served, Model]]:
    """A browser whose web chat is on the other side of nginx."""
    async with Model() as model:
        told = Settings(database="memory:", model="told", base_url=model.url)
        async with (
            up(told) as here,
            proxied(nginx, folder, here.url, location, chained=chained) as address,
            httpx2.AsyncClient(base_url=address, timeout=SECONDS) as http,
        ):
            await http.get("/")
            yield Served(address, here.site, http), model


@pytest.mark.parametrize(
    ("location", "chained"),
    [(DEFAULTS, False), (documented(), False), (documented(), True)],
    ids=["defaults", "documented", "documented-two-of-them"],
)
async def test_words_come_through_one_by_one(
    nginx: str, tmp_path: Path, location: str, chained: bool
) -> None:
    async with (
        behind(nginx, tmp_path, location, chained=chained) as (here, model),
        here.post({"content": "Count"}) as stream,
    ):
        start = await stream.until("start")
        reply = await model.asked()
        came = []
        for word in WORDS:  # each is said only when the one before has been read
            await reply.say(word)
            came.append((await stream.until("text-delta"))["delta"])
        await reply.end()
        await stream.end()

    assert start["messageId"]
    assert tuple(came) == WORDS
    assert stream.done


async def test_signs_of_life_keep_a_silent_stream_open(
    nginx: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "SILENCE", 0.2)
    async with (
        behind(nginx, tmp_path, DEFAULTS) as (here, model),
        here.http.stream(
            "POST",
            "/api/messages/process",
            json={"content": "Think"},
            headers={"Origin": here.url},
        ) as response,
    ):
        reply = await model.asked()
        begun, body = time.monotonic(), b""
        pieces = response.aiter_bytes()
        while time.monotonic() < begun + 1.3:  # longer than this nginx waits for a byte
            body += await anext(pieces)
        await reply.answer("Done.")
        body += b"".join([piece async for piece in pieces])

    assert body.count(HEARTBEAT) >= 3
    assert b"Done." in body
    assert body.endswith(b"data: [DONE]\n\n")


async def test_a_browser_that_leaves_frees_its_place_and_not_the_run(
    nginx: str, tmp_path: Path
) -> None:
    async with behind(nginx, tmp_path, documented()) as (here, model):
        async with here.post({"content": "Go"}) as stream:
            run_id = (await stream.until("start"))["messageId"]
            reply = await model.asked()
        async with asyncio.timeout(SECONDS):
            while here.site.limits.streams.open:
                await asyncio.sleep(0.02)
        await reply.answer("Still here.")
        async with here.follow(run_id) as again:
            await again.end()

    assert again.text == "Still here."

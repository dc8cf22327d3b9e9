"""Many streams at once: all complete, pages stay quick, one stream too many is refused, and a
reader that does not read is dropped.

The short test has fifty streams in the process of the test, the long one the five hundred that
an installation admits.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from antiphon.api.operations import ListMessages
from antiphon.web.bridge import BridgeTimeouts
from tests.support.web.chats import Installation
from tests.support.web.served import SECONDS, Served, Stream, chatting

FEW, MANY = 50, 500
QUICK = 0.25  # seconds within which a page has to be loaded
POST = "/api/messages/process?sdk=5"
QUESTION = {"content": "Tell me about tides."}
PAGES = """
import http.client, sys, time
slowest, until = 0, time.monotonic() + float(sys.argv[3])
while time.monotonic() < until:
    for path in ("/", "/api/threads?limit=20"):
        before = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
        connection.request("GET", path, headers={"Cookie": sys.argv[2]})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == 200, (path, answer.status)
        slowest = max(slowest, time.monotonic() - before)
    time.sleep(0.1)
print(slowest)
"""


async def test_as_many_streams_as_there_are_places_complete_and_one_more_is_told_to_wait() -> None:
    async with (
        chatting(web_streams=FEW, max_concurrent_runs=2 * FEW) as (web_chat, model),
        _http_client(web_chat.url, web_chat.http.cookies) as http,
        AsyncExitStack() as stack,
    ):
        web_chat.http = http
        stream_openings = [stack.enter_async_context(web_chat.post(QUESTION)) for _ in range(FEW)]
        streams: list[Stream] = await asyncio.gather(*stream_openings)
        replies = [await model.next_request() for _ in range(FEW)]
        refusal = await web_chat.ask(POST, QUESTION)
        thread_list = await web_chat.http.get("/api/threads?limit=100")
        for reply in replies:
            await reply.answer("The moon pulls.")
        await asyncio.gather(*(stream.end() for stream in streams))

        assert refusal.status_code == 503
        assert int(refusal.headers["Retry-After"]) > 0
        assert len(thread_list.json()["data"]) == FEW
        assert {stream.text for stream in streams} == {"The moon pulls."}
        assert [stream.types.count("finish") for stream in streams] == [1] * FEW


async def test_a_reader_that_does_not_read_is_dropped_and_the_run_ends_all_the_same() -> None:
    async with chatting(timeouts=BridgeTimeouts(patience=0.2)) as (web_chat, model):
        with _open_unread_stream(web_chat) as connection:
            reply = await model.next_request()
            assert connection.fileno() >= 0
            for _ in range(6):
                await reply.say("wide is the sea " * 2**16)
            async with asyncio.timeout(SECONDS):
                while web_chat.site.limits.streams.open:
                    await asyncio.sleep(0.02)
            await reply.answer("and deep.")
            [thread] = (await web_chat.site.client.list_threads()).data
            async with asyncio.timeout(SECONDS):
                while not (await web_chat.site.client.list_runs(thread.id)).data[0].status.ended:
                    await asyncio.sleep(0.02)
            listing = ListMessages(thread.id)
            messages = [each async for each in web_chat.site.client.paginate(listing)]

    assert messages[-1].text.endswith("and deep.")
    assert len(messages[-1].text) == 6 * 16 * 2**16 + 9


def _open_unread_stream(web_chat: Served) -> socket.socket:
    """Open a connection that asks for a stream, and reads none of it."""
    address = urlsplit(web_chat.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((address.hostname, address.port))
    body = json.dumps(QUESTION).encode()
    cookie = "; ".join(f"{name}={value}" for name, value in web_chat.http.cookies.items())
    head = (
        f"POST {POST} HTTP/1.1\r\nHost: {address.netloc}\r\nOrigin: {web_chat.url}\r\n"
        f"Cookie: {cookie}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def _http_client(url: str, cookies: httpx2.Cookies) -> httpx2.AsyncClient:
    """Return a client without a limit of connections."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx2.AsyncClient(base_url=url, timeout=10 * SECONDS, limits=limits, cookies=cookies)


@pytest.mark.soak
async def test_five_hundred_streams_complete_and_pages_are_quick_meanwhile(tmp_path: Path) -> None:
    flags = (
        "--no-servers",
        "--model",
        "demo",
        "--demo-delay",
        "0.25",
        "--max-concurrent-runs",
        "1000",
    )
    async with Installation(tmp_path, *flags) as up, _http_client(up.url, httpx2.Cookies()) as http:
        await http.get("/")
        headers = {"Origin": up.url}
        async with AsyncExitStack() as stack:
            stream_openings = [
                stack.enter_async_context(http.stream("POST", POST, json=QUESTION, headers=headers))
                for _ in range(MANY)
            ]
            answers = await asyncio.gather(*stream_openings)
            refusal = await http.post(POST, json=QUESTION, headers=headers)
            slowest_task = asyncio.create_task(_slowest_page(up.url, http, 8))
            streams = [Stream(answer) for answer in answers]
            await asyncio.gather(*(stream.end() for stream in streams))

    assert [answer.status_code for answer in answers] == [200] * MANY
    assert refusal.status_code == 503
    assert int(refusal.headers["Retry-After"]) > 0
    assert len({stream.text for stream in streams}) == 1
    assert [stream.types.count("finish") for stream in streams] == [1] * MANY
    assert await slowest_task < QUICK


async def _slowest_page(url: str, http: httpx2.AsyncClient, seconds: float) -> float:
    """Open pages from another process for so many seconds; return the time of the slowest."""
    cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PAGES, str(urlsplit(url).port), cookie, str(seconds)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await program.communicate()
    return float(output)

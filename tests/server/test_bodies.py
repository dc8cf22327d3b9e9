"""Bodies and headers that are too large, too deep, too odd, or no HTTP at all."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import time
from collections.abc import AsyncGenerator
from contextlib import suppress

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.api.problems import TooSlow
from antiphon.server.requests import MAX_ITEMS, parse_json_object, read_body
from antiphon.types.errors import InvalidRequest, TooLarge
from tests.support.server.served import DEADLINE, SETTINGS, Served

JSON = {"content-type": "application/json"}
SCOPE = {"headers": [(b"content-type", b"application/json")]}


async def _post(client: httpx2.AsyncClient, body: bytes, **headers: str) -> httpx2.Response:
    return await client.post("/v1/threads", content=body, headers=JSON | headers)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000, 413),
        (b"[" * 100_000 + b"]" * 100_000, 413),
        (b'{"metadata":' * 100_000, 413),
        (b'{"title":' * 65 + b"1" + b"}" * 65, 413),
        (b'{"title":"' + b"[" * 100_000 + b'"}', 422),  # long, but not deep
        (b'{"a":"\\"' + b"[" * 1000 + b'"}', 422),
        (b'{"title":', 400),
        (b"nothing", 400),
        (b"\xff\xfe", 400),
        (b'{"title":"\xff"}', 400),
        (b'{"title":"\xed\xa0\x80"}', 400),
        (b'{"title":"\\ud800"}', 400),
        (b'{"title":"\\udc00 \\ud83d"}', 400),
        (b'{"title":"\\u0000"}', 400),
        (b'{"metadata":{"a\\u0000b":"c"}}', 400),
        (b'{"title":NaN}', 400),
        (b"null", 422),
        (b'"{}"', 422),
    ],
)
async def test_a_body_that_is_no_call_is_a_problem_and_the_server_lives(
    client: httpx2.AsyncClient, body: bytes, status: int
) -> None:
    answer = await _post(client, body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await client.get("/readyz")).status_code == 200


async def test_a_nul_is_refused_with_its_place(client: httpx2.AsyncClient) -> None:
    tool = {"name": "t", "parameters": {"properties": ["a", {"b": "\0"}]}}

    answer = await client.post("/v1/assistants", json={"tools": [tool]})

    assert answer.json()["where"] == "$.tools[0].parameters.properties[1].b"


async def test_a_backslash_before_u0000_is_no_nul(client: httpx2.AsyncClient) -> None:
    assert (await _post(client, b'{"title":"\\\\u0000"}')).json()["title"] == "\\u0000"


async def test_a_nul_in_path_or_query_is_refused(client: httpx2.AsyncClient) -> None:
    answers = [
        await client.get("/v1/threads/a%00b"),
        await client.get("/v1/threads?q=%00"),
        await client.patch("/v1/threads/a%00b", json={}),
    ]

    assert {answer.status_code for answer in answers} == {400}


async def test_integers_beyond_64_bits_are_refused(client: httpx2.AsyncClient) -> None:
    tools = b'{"tools":[{"name":"t","parameters":{"maximum":%d}}]}'
    answers = [
        await client.post("/v1/assistants", content=tools % number, headers=JSON)
        for number in (2**63 - 1, 2**63, -(2**63) - 1, 10**400)
    ]

    assert [answer.status_code for answer in answers] == [201, 400, 400, 400]


async def test_the_last_of_two_equal_names_wins(client: httpx2.AsyncClient) -> None:
    assert (await _post(client, b'{"title":"a","title":"b"}')).json()["title"] == "b"


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"],
)
async def test_json_must_be_declared(client: httpx2.AsyncClient, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}

    answer = await client.post("/v1/threads", content=b"{}", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_compressed_bodies_are_not_unpacked(client: httpx2.AsyncClient) -> None:
    bomb = gzip.compress(b"[" * 10_000_000)

    answer = await _post(client, bomb, **{"content-encoding": "gzip"})

    assert answer.status_code == 415


async def test_a_body_on_get_is_refused(client: httpx2.AsyncClient) -> None:
    answer = await client.request("GET", "/v1/threads", json={"limit": 1})

    assert answer.status_code == 413


async def test_an_announced_body_is_refused_before_it_comes(server: Served) -> None:
    answer = await server.raw(
        b"POST /v1/threads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 50000000\r\nConnection: close\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too_large"' in answer
    assert b"max_body" in answer


@pytest.mark.parametrize("announced", [True, False])
async def test_fifty_megabytes_are_refused_and_never_held(
    client: httpx2.AsyncClient, announced: bool
) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(800):
            yield b" " * 65_536

    length = {"content-length": str(800 * 65_536)} if announced else {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = await client.post("/v1/threads", content=pieces(), headers=JSON | length)
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert answer.status_code == 413
    assert growth < 16_000  # kB


async def test_a_connection_serves_on_after_a_body_was_refused(
    client: httpx2.AsyncClient,
) -> None:
    answer = await _post(client, b" " * (SETTINGS.max_body + 1))

    assert answer.status_code == 413
    assert (await client.post("/v1/threads")).status_code == 201


class FastEventLoop(asyncio.SelectorEventLoop):
    """Event loop in which a hundred seconds take one."""

    def time(self) -> float:
        return 100 * super().time()


def test_a_body_that_comes_in_drops_is_given_up() -> None:
    async def drop() -> dict[str, object]:
        await asyncio.sleep(0)
        time.sleep(0.005)  # half a second by the loop's clock
        return {"type": "http.request", "body": b"x", "more_body": True}

    with asyncio.Runner(loop_factory=FastEventLoop) as runner, pytest.raises(TooSlow):
        runner.run(read_body({"headers": []}, drop, 1_000_000))


@pytest.mark.slow
async def test_a_million_keys_are_refused() -> None:
    body = b'{"metadata":{' + b",".join(b'"%d":1' % n for n in range(1_000_000)) + b"}}"
    start = time.process_time()

    with pytest.raises(TooLarge):
        parse_json_object(body, SCOPE, 64)
    assert time.process_time() - start < 5


_words = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@pytest.mark.slow
@given(
    st.recursive(st.none() | _words, lambda inner: st.lists(inner) | st.dictionaries(_words, inner))
)
def test_the_depth_that_is_found_is_the_depth_there_is(value: object) -> None:
    value = {"padding": "x" * MAX_ITEMS, "value": value}  # long enough to be looked at closely
    text = json.dumps(value, ensure_ascii=False).encode()
    deep = _depth(value)

    assert parse_json_object(text, SCOPE, deep) == json.loads(text)
    with pytest.raises(TooLarge):
        parse_json_object(text, SCOPE, deep - 1)


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:\\0u ').map(str.encode))
def test_whatever_the_bytes_they_are_read_or_refused(body: bytes) -> None:
    body = body + b" " * MAX_ITEMS

    with suppress(InvalidRequest, TooLarge):
        parse_json_object(body, SCOPE, 64)


def _depth(value: object) -> int:
    match value:
        case dict():
            return 1 + max(map(_depth, value.values()), default=0)
        case list():
            return 1 + max(map(_depth, value), default=0)
        case _:
            return 0


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / SPDY/9\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"POST /v1/threads HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (
            b"POST /v1/threads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\nConnection: close\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 65_536 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 65_536 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 20_000, 431),
    ],
)
async def test_what_is_no_request_is_a_problem_and_the_connection_ends(
    server: Served, request_bytes: bytes, status: int
) -> None:
    answer = await server.raw(request_bytes)

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/problem+json" in answer
    assert (await (await server.client()).get("/readyz")).status_code == 200


CHUNKED = (
    b"POST /v1/threads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n%b\r\n2\r\n{}\r\n0\r\n"
)


async def test_fields_after_the_body_are_no_fields(server: Served) -> None:
    request = CHUNKED % b"Connection: close\r\n"
    trailer = b"Idempotency-Key: k\r\nAuthorization: Bearer ak_nobody\r\n\r\n"

    answers = [await server.raw(request + trailer) for _ in range(2)]

    assert all(answer.startswith(b"HTTP/1.1 201 ") for answer in answers)
    threads = (await (await server.client()).get("/v1/threads")).json()["data"]
    assert len(threads) == 2


@pytest.mark.parametrize("endless", [b"X: a\r\n" * 200, b"a" * 1_000])
async def test_fields_without_end_after_the_body_are_not_kept(
    server: Served, endless: bytes
) -> None:
    reader, writer = await server.connect()
    writer.write(CHUNKED % b"" + b"X: ")
    sent_bytes = 0

    with suppress(ConnectionError):
        async with asyncio.timeout(DEADLINE):
            while not reader.at_eof() and sent_bytes < 50_000_000:
                writer.write(endless)
                await writer.drain()
                await asyncio.sleep(0)
                sent_bytes += len(endless)
    writer.close()

    assert sent_bytes < 10_000_000  # what the sockets between client and server hold, and no more
    assert (await (await server.client()).get("/v1/threads")).json()["data"] == []


async def test_requests_behind_a_long_body_are_answered(server: Served) -> None:
    body = b'{"title":"' + b"a" * 40_000 + b'"}'
    head = b"Host: localhost\r\nContent-Type: application/json\r\n"
    first = b"POST /v1/threads HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b"
    second = b"GET /readyz HTTP/1.1\r\n"

    reader, writer = await server.connect()
    writer.write(first % (head, len(body), body) + second)
    await reader.readuntil(b"HTTP/1.1 ")
    writer.write(b"Host: localhost\r\nConnection: close\r\n\r\n")
    later_answers = await reader.read()
    writer.close()

    assert b"HTTP/1.1 200 OK" in later_answers


async def test_a_client_that_leaves_before_its_body_is_whole_does_no_harm(server: Served) -> None:
    _, writer = await server.connect()
    writer.write(
        b"POST /v1/threads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    client = await server.client()

    async with asyncio.timeout(DEADLINE):
        while 'route="/v1/threads",status="499"' not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.02)
    assert (await client.get("/v1/threads")).json()["data"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[1,", 400),
        (b'"\xff"', 400),
        (b"nonsense", 400),
        (b'{"title": "x"} {}', 400),
        (b"[1]", 422),
        (b"null", 422),
        (b'"text"', 422),
        (b'{"title": 1}', 422),
        (b'{"unknown": 1}', 422),
    ],
)
async def test_what_is_no_json_cannot_be_read_and_other_json_is_not_valid(
    client: httpx2.AsyncClient, body: bytes, status: int
) -> None:
    answer = await client.post(
        "/v1/threads", content=body, headers={"content-type": "application/json"}
    )

    assert (answer.status_code, answer.json()["code"]) == (status, "invalid_request")

"""Waits before a server answers, and their limits."""

from __future__ import annotations

import asyncio
import math
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.providers.catalog import Catalog
from antiphon.providers.chat_completions import ChatCompletionsProvider
from antiphon.providers.failures import Redactor, retry_after
from antiphon.providers.http import Auth, Endpoint, HttpLimits
from antiphon.settings.settings import Settings
from antiphon.types.chunks import Chunk, ModelRequest, TextPiece
from antiphon.types.errors import Cut, ProviderError, ProviderRateLimited, ProviderUnavailable
from tests.support.providers.upstream import OK, TEXT, Scenario, Upstream

HELLO = b'{"role":"user","content":"hello"}'
NOW = datetime(2026, 11, 21, tzinfo=UTC).timestamp()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


def ask(name: str) -> ModelRequest:
    return ModelRequest(model=f"quirk:{name}", messages=HELLO)


async def refusal(base_url: str, **limits: float) -> ProviderError:
    """Return the error if the server cannot be asked."""
    options = {"connect_seconds": 5.0, "retries": 0, **limits}
    provider = ChatCompletionsProvider(base_url, backoff_seconds=0, limits=HttpLimits(**options))  # type: ignore[arg-type]
    with pytest.raises(ProviderError) as raised:
        await text_of(provider, "ok")
    await provider.close()
    return raised.value


async def text_of(provider: ChatCompletionsProvider, name: str) -> str:
    chunks: list[Chunk] = []
    async with asyncio.timeout(60), aclosing(provider.stream(ask(name))) as pages:
        async for page in pages:
            chunks += page
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextPiece))


# A connection.


async def test_a_refused_connection_is_unavailable(unused_tcp_port: int):
    error = await refusal(f"http://127.0.0.1:{unused_tcp_port}/v1")

    assert isinstance(error, ProviderUnavailable)
    assert error.message == (
        f"127.0.0.1:{unused_tcp_port} did not answer: the connection was refused, so nothing may be"
        " listening there"
    )


async def test_a_name_that_nobody_has_is_unavailable():
    error = await refusal("http://nobody.invalid/v1")

    assert isinstance(error, ProviderUnavailable)
    assert error.message == ("nobody.invalid did not answer: no address is found for this name")


async def test_a_server_without_the_encryption_it_should_have_is_unavailable(upstream: Upstream):
    error = await refusal(upstream.url.replace("http:", "https:"), connect_seconds=0.2)

    assert isinstance(error, ProviderUnavailable)
    assert "did not answer" in error.message


async def test_a_connection_that_is_never_made_is_given_up():
    """The queue of the listener is full, so that a connection attempt gets no answer at all."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for client in (first, second):
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(listener.getsockname())

        error = await refusal(
            f"http://127.0.0.1:{listener.getsockname()[1]}/v1", connect_seconds=0.2
        )

    assert isinstance(error, ProviderUnavailable)
    assert error.message.endswith("did not answer: no connection within 0.2 s")


async def test_an_encryption_that_is_never_agreed_on_is_given_up():
    connection_closed = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        connection_closed.set()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await refusal(f"https://127.0.0.1:{port}/v1", connect_seconds=0.2)
        await asyncio.wait_for(connection_closed.wait(), 60)

    assert isinstance(error, ProviderUnavailable)


@pytest.mark.skipif(not shutil.which("openssl"), reason="nothing here makes certificates")
async def test_a_certificate_that_nobody_vouches_for_is_not_taken(tmp_path: Path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    process = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", str(key), "-out", str(certificate)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        error = await refusal(f"https://127.0.0.1:{port}/v1")

    assert isinstance(error, ProviderUnavailable)
    assert "did not answer: its certificate is not valid: self-signed" in error.message
    assert received == []


# A place in the pool.


async def test_who_finds_no_connection_waits_in_line_and_is_answered(upstream: Upstream):
    provider = ChatCompletionsProvider(upstream.url, limits=HttpLimits(pool=1))
    async with aclosing(provider.stream(ask("stall"))) as first:
        await anext(first)
        second = asyncio.ensure_future(text_of(provider, "ok"))
        await asyncio.wait({second}, timeout=0.2)
        requests_while_busy = len(upstream.requests)
    text = await second
    await provider.close()

    assert requests_while_busy == 1
    assert text == TEXT


async def test_waiting_in_line_shows_signs_of_life(upstream: Upstream):
    endpoint = Endpoint(
        upstream.url, Auth(), Redactor(), limits=HttpLimits(pool=1), life_seconds=0.01
    )
    body = b'{"model":"stall","messages":[{"role":"user","content":"Hi"}]}'
    async with (
        asyncio.timeout(60),
        aclosing(endpoint.post("chat/completions", body)) as first,
        aclosing(endpoint.post("chat/completions", body)) as second,
    ):
        first_piece = await anext(first)
        sign_of_life = await anext(second)
    await endpoint.close()

    assert first_piece
    assert sign_of_life == b""


@pytest.mark.parametrize("name", ["400", "500", "reset_mid", "ok"])
async def test_a_place_is_given_back_however_the_reply_ends(upstream: Upstream, name: str):
    provider = ChatCompletionsProvider(
        upstream.url, backoff_seconds=0, limits=HttpLimits(pool=1, retries=0)
    )
    for _ in range(2):
        with suppress(ProviderError, Cut):
            await text_of(provider, name)

    assert await text_of(provider, "ok") == TEXT
    await provider.close()


# Another try.


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_a_request_is_made_again_as_often_as_the_entry_says(upstream: Upstream, retries: int):
    provider = ChatCompletionsProvider(
        upstream.url, backoff_seconds=0, limits=HttpLimits(retries=retries)
    )

    with pytest.raises(ProviderUnavailable):
        await text_of(provider, "500")
    await provider.close()

    assert len(upstream.requests) == retries + 1


async def test_a_table_of_the_settings_limits_its_server(upstream: Upstream):
    table = {"base_url": upstream.url, "retries": 0, "pool": 1, "connect_timeout": 3}
    catalog = Catalog(Settings(providers={"house": table}), {})
    provider = (await catalog.open("house:m")).provider

    with pytest.raises(ProviderRateLimited):
        async for _ in provider.stream(ask("429")):
            pass
    await catalog.close()

    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "header",
    [
        "-5",
        "0",
        "garbage",
        "",
        "nan",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "1e-9",
        "1 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:00 +9999999999999",
    ],
)
async def test_a_wait_that_is_none_is_no_wait(upstream: Upstream, header: str):
    unavailable = Scenario(b"", "", status=503, headers=(("Retry-After", header),))
    upstream.scenarios["again"] = Scenario(OK, text=TEXT, first=(unavailable,))
    provider = ChatCompletionsProvider(upstream.url, backoff_seconds=0)

    assert await text_of(provider, "again") == TEXT
    await provider.close()


@pytest.mark.parametrize("header", ["121", "1e300", "inf", "Wed, 21 Oct 2127 07:28:00 GMT"])
async def test_a_wait_beyond_all_patience_is_a_refusal(upstream: Upstream, header: str):
    upstream.scenarios["later"] = Scenario(b"", "", status=429, headers=(("Retry-After", header),))
    provider = ChatCompletionsProvider(upstream.url, backoff_seconds=0)

    with pytest.raises(ProviderRateLimited):
        await text_of(provider, "later")
    await provider.close()

    assert len(upstream.requests) == 1


@given(
    st.one_of(
        st.text(max_size=40),
        st.floats().map(str),
        st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT")),
        st.from_regex(r"(Wed|Mon), \d{1,4} (Oct|Foo) \d{1,8} \d\d:\d\d(:\d\d)? ([+-]\d{4}|GMT)"),
        st.from_regex(r"\d{1,2} Oct \d{4,30} \d\d:\d\d:\d\d [+-]\d{4,30}"),
    )
)
def test_whatever_a_server_asks_to_wait_is_seconds_or_nothing(header: str):
    seconds = retry_after(header, NOW)

    assert seconds is None or (seconds >= 0 and not math.isnan(seconds))

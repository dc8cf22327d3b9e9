"""Keys in the query of the address: they reach the server unchanged, and no error shows them."""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from yarl import URL

from antiphon.providers.catalog import Catalog
from antiphon.providers.chat_completions import ChatCompletionsProvider
from antiphon.providers.failures import MIN_SECRET_LENGTH, Redactor
from antiphon.providers.http import HttpLimits
from antiphon.providers.servers import SERVERS
from antiphon.settings.settings import Settings
from antiphon.types.chunks import ModelRequest
from antiphon.types.errors import Disconnected, ProviderError, ProviderUnavailable
from tests.support.providers.upstream import Request, Scenario, Upstream

KEY = "canary/7f+3a=&?#% '\""
HELLO = b'{"role":"user","content":"hello"}'
KEY_SETTINGS = {"key": KEY, "key_parameter": "key"}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


def sent_key(request: Request) -> list[str]:
    assert "authorization" not in request.headers
    assert "api-key" not in request.headers
    return parse_qs(urlsplit(request.path).query, strict_parsing=True)["key"]


async def use(providers: dict[str, dict[str, Any]], name: str) -> None:
    """List the models, and ask one."""
    catalog = Catalog(Settings(providers=providers), {"OPENAI_API_KEY": KEY})
    resolved = await catalog.open(f"{name}:quirk:ok")
    assert await resolved.provider.models()
    async for _ in resolved.provider.stream(ModelRequest(model=resolved.model, messages=HELLO)):
        pass
    await catalog.close()


@pytest.mark.parametrize("name", ["mine", "openai", "azure"])
async def test_a_table_puts_the_key_into_the_query(upstream: Upstream, name: str) -> None:
    await use({name: {"base_url": upstream.url, "models": "models", **KEY_SETTINGS}}, name)

    list_request, chat_request = upstream.requests
    assert list_request.path.startswith("/v1/models?key=")
    assert chat_request.path.startswith("/v1/chat/completions?key=")
    assert sent_key(list_request) == sent_key(chat_request) == [KEY]


async def test_a_known_server_may_want_the_key_in_the_query(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = replace(SERVERS["openai"], base_url=upstream.url, key_parameter="key")
    monkeypatch.setitem(SERVERS, "openai", server)

    await use({}, "openai")

    assert [sent_key(request) for request in upstream.requests] == [[KEY], [KEY]]


async def test_a_header_in_a_table_replaces_the_parameter_of_a_known_server(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = replace(SERVERS["openai"], base_url=upstream.url, key_parameter="key")
    monkeypatch.setitem(SERVERS, "openai", server)

    await use({"openai": {"key_header": "api-key", "key": "k"}}, "openai")

    assert [request.headers["api-key"] for request in upstream.requests] == ["k", "k"]
    assert all("?" not in request.path for request in upstream.requests)


async def test_a_list_of_models_with_a_query_of_its_own_keeps_it(upstream: Upstream) -> None:
    await use(
        {"mine": {"base_url": upstream.url, "models": "models?limit=9", **KEY_SETTINGS}}, "mine"
    )

    path = upstream.requests[0].path
    assert parse_qs(urlsplit(path).query) == {"limit": ["9"], "key": [KEY]}


async def test_without_a_key_there_is_no_query(upstream: Upstream) -> None:
    await use({"mine": {"base_url": upstream.url, "key_parameter": "key"}}, "mine")

    assert {request.path for request in upstream.requests} == {
        "/v1/models",
        "/v1/chat/completions",
    }


def show(error: BaseException) -> str:
    """Return the text that a program shows when it prints the error."""
    return "".join(traceback.format_exception(error))


def check_hidden(text: str) -> None:
    for form in (KEY, quote(KEY, safe=""), quote_plus(KEY), "canary"):
        assert form not in text


async def fail(base_url: str, name: str, **more: Any) -> ProviderError:
    provider = ChatCompletionsProvider(
        base_url,
        KEY,
        key_parameter="key",
        limits=HttpLimits(retries=0, **more),
    )
    with pytest.raises(ProviderError) as raised:
        async for _ in provider.stream(ModelRequest(model=f"quirk:{name}", messages=HELLO)):
            pass
    await provider.close()
    return raised.value


@pytest.mark.parametrize("name", ["401", "in_stream"])
async def test_a_key_in_an_address_that_the_server_repeats_is_not_told(
    upstream: Upstream, name: str
) -> None:
    body = b'data: {"error": {"message": "Not for http://h{PATH}"}}\n\n'
    upstream.scenarios["in_stream"] = Scenario(body)

    error = await fail(upstream.url, name)

    assert "[redacted]" in error.message
    check_hidden(show(error))


async def test_a_redirect_does_not_carry_the_key_on(upstream: Upstream) -> None:
    async with Upstream() as other_server:
        location = f"{other_server.url}/chat/completions"
        body = b"moved to {PATH}"
        upstream.scenarios["moved"] = Scenario(body, status=307, headers=(("Location", location),))

        error = await fail(upstream.url, "moved")

        assert other_server.requests == []
        assert other_server.connections == 0
    assert "answered 307: moved to /v1/chat/completions?key=[redacted]" in error.message
    check_hidden(show(error))


async def test_a_server_that_is_not_there_gives_an_error_without_the_address(
    unused_tcp_port: int,
) -> None:
    error = await fail(f"http://127.0.0.1:{unused_tcp_port}/v1", "ok")

    assert isinstance(error, ProviderUnavailable)
    check_hidden(show(error))


async def test_a_connection_that_takes_too_long_gives_an_error_without_the_address(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait_forever(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("aiohttp.TCPConnector._create_connection", wait_forever)

    error = await fail(upstream.url, "ok", connect_seconds=0.01)

    assert "no connection within 0.01 s" in error.message
    check_hidden(show(error))


async def test_a_reply_that_breaks_off_gives_an_error_without_the_address(
    upstream: Upstream,
) -> None:
    provider = ChatCompletionsProvider(upstream.url, KEY, key_parameter="key")
    upstream.scenarios["cut"] = Scenario(b"data: ", ending="close")
    with pytest.raises(Disconnected) as raised:
        async for _ in provider.stream(ModelRequest(model="quirk:cut", messages=HELLO)):
            pass
    await provider.close()

    check_hidden(show(raised.value))


KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=MIN_SECRET_LENGTH)


@example("000%")
@given(KEYS)
def test_a_key_is_found_in_every_form_that_addresses_have(key: str) -> None:
    encoded = quote(key, safe="")
    address = f"http://h/v1?key={encoded}"
    forms = [key, encoded, quote(key), quote_plus(key), quote(encoded, safe="")]
    forms += [re.sub("%..", lambda code: code[0].lower(), encoded)]
    forms += [URL(address).raw_query_string.removeprefix("key=")]  # as the HTTP library has it

    assert [Redactor(key)(form) for form in forms] == ["[redacted]"] * len(forms)

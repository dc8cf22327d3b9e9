"""The table of servers: the requests that each gets for a run, and the lists of its models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, get_args

import msgspec
import pytest

from antiphon.engine.validation import validate_provider_support
from antiphon.providers.catalog import Catalog
from antiphon.providers.chat_completions import ChatCompletionsProvider
from antiphon.providers.servers import SERVERS, Lack, ServerTerms
from antiphon.settings.settings import Settings
from antiphon.types.chunks import ModelRequest
from antiphon.types.errors import ProviderProtocol, UnsupportedByProvider
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Sampling
from tests.support.providers.upstream import Upstream

HELLO = b'{"role":"user","content":"hello"}'
TOOLS = (ToolSpec("f", "does f", {"type": "object"}),)
FORCED = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}

# Settings of a run: the sampling, the name of the setting, and its value in every request.
SETTINGS: dict[str, tuple[Sampling, str, Any]] = {
    "temperature": (Sampling(temperature=0.5), "temperature", 0.5),
    "top_p": (Sampling(top_p=0.9), "top_p", 0.9),
    "max_output_tokens": (Sampling(max_output_tokens=7), "max_output_tokens", 7),
    "stop": (Sampling(stop=("END",)), "stop", ["END"]),
    "seed": (Sampling(seed=7), "seed", 7),
    "tool_choice.auto": (Sampling(tool_choice="auto"), "tool_choice", "auto"),
    "tool_choice.none": (Sampling(tool_choice="none"), "tool_choice", "none"),
    "tool_choice.required": (Sampling(tool_choice="required"), "tool_choice", "required"),
    "tool_choice.function": (Sampling(tool_choice="f"), "tool_choice", FORCED),
    "tool_choice.function, spelled out": (Sampling(tool_choice=FORCED), "tool_choice", FORCED),
    "parallel_tool_calls": (Sampling(parallel_tool_calls=False), "parallel_tool_calls", False),
    "reasoning_effort": (Sampling(reasoning_effort="low"), "reasoning_effort", "low"),
    "response_format.json_object": (
        Sampling(response_format={"type": "json_object"}),
        "response_format",
        {"type": "json_object"},
    ),
    "response_format.json_schema": (Sampling(response_format=SCHEMA), "response_format", SCHEMA),
    "logit_bias": (Sampling(logit_bias={"50256": -100}), "logit_bias", {"50256": -100}),
    "presence_penalty": (Sampling(presence_penalty=0.5), "presence_penalty", 0.5),
    "frequency_penalty": (Sampling(frequency_penalty=-1), "frequency_penalty", -1),
}
FIELD_NAMES = {
    "max_output_tokens": {"max_tokens", "max_completion_tokens"},
    "seed": {"seed", "random_seed"},
}


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


async def send_request(
    upstream: Upstream, server: ServerTerms, sampling: Sampling
) -> dict[str, Any]:
    """Return the request as it arrives at the server."""
    provider = ChatCompletionsProvider(upstream.url, quirks=server.quirks)
    question = ModelRequest(model="quirk:ok", messages=HELLO, tools=TOOLS, sampling=sampling)
    async for _ in provider.stream(question):
        pass
    await provider.close()
    body: dict[str, Any] = upstream.requests[-1].body
    return body


@pytest.mark.parametrize("name", SERVERS)
async def test_what_is_asked_is_sent_or_refused_and_never_left_out(upstream: Upstream, name: str):
    server = SERVERS[name]
    lacks = frozenset(server.lacks) - {"tools"}
    for setting, (sampling, field, value) in SETTINGS.items():
        if lacks & {field, setting.partition(",")[0]} and setting != "tool_choice.auto":
            with pytest.raises(UnsupportedByProvider, match=name):
                validate_provider_support(name, lacks, sampling, TOOLS)
            continue
        validate_provider_support(name, lacks, sampling, TOOLS)
        request = await send_request(upstream, server, sampling)

        (sent_field,) = FIELD_NAMES.get(field, {field}) & set(request)
        assert request[sent_field] == value, setting


@pytest.mark.parametrize(
    ("name", "setting", "field"),
    [
        ("mistral", "seed", "random_seed"),
        ("mistral", "max_output_tokens", "max_tokens"),
        ("openai", "max_output_tokens", "max_completion_tokens"),
        ("groq", "max_output_tokens", "max_completion_tokens"),
        ("deepseek", "max_output_tokens", "max_tokens"),
    ],
)
async def test_a_setting_is_sent_under_the_servers_own_name(
    upstream: Upstream, name: str, setting: str, field: str
):
    sampling, _, value = SETTINGS[setting]

    assert (await send_request(upstream, SERVERS[name], sampling))[field] == value


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("groq", "logit_bias"),
        ("mistral", "logit_bias"),
        ("deepseek", "response_format.json_schema"),
        ("deepseek", "seed"),
        ("alibaba", "tool_choice.required"),
        ("ollama", "tool_choice.none"),
        ("ollama", "tool_choice.function"),
    ],
)
def test_what_a_server_has_not_got_is_refused_by_name(name: str, setting: str):
    with pytest.raises(UnsupportedByProvider) as raised:
        validate_provider_support(name, frozenset(SERVERS[name].lacks), SETTINGS[setting][0], TOOLS)

    assert raised.value.details["provider"] == name
    assert any(setting.startswith(word) for word in raised.value.details["settings"])


@pytest.mark.parametrize("setting", ["tool_choice.auto", "temperature"])
def test_what_every_server_does_is_not_refused(setting: str):
    validate_provider_support(
        "ollama", frozenset(SERVERS["ollama"].lacks), SETTINGS[setting][0], TOOLS
    )


def test_what_is_said_of_tools_asks_for_nothing_without_any():
    lacks = frozenset(("tools", "tool_choice", "parallel_tool_calls"))

    validate_provider_support(
        "p", lacks, Sampling(tool_choice="none", parallel_tool_calls=False), ()
    )


def test_every_setting_of_a_run_can_be_lacking():
    words = set(get_args(Lack))

    assert set(Sampling.__struct_fields__) <= words
    assert {"tools", "images", "files"} <= words
    assert {word.partition(".")[0] for word in words} <= {
        *Sampling.__struct_fields__,
        *("tools", "images", "files"),
    }


@pytest.mark.parametrize("name", SERVERS)
def test_an_entry_says_what_its_table_in_the_settings_could_say(name: str):
    entry = SERVERS[name]

    assert msgspec.convert(msgspec.to_builtins(entry), ServerTerms) == entry
    assert entry.base_url.startswith(("https://", "http://127.0.0.1:", "{AZURE_OPENAI_ENDPOINT}"))
    assert not entry.base_url.endswith("/")
    assert entry.key is None


# How models are listed.

CHAT = [
    {"id": "a", "object": "model"},
    {"id": "b", "type": "chat"},
    {"id": "c", "type": "model"},
    {"id": "d", "supports_chat": True},
    {"id": "e", "capabilities": {"completion_chat": True}},
    {"id": "f", "capabilities": ["completion"]},
    {"id": "g", "architecture": {"output_modalities": ["image", "text"]}},
]
OTHER = [
    {"id": "1", "type": "embedding"},
    {"id": "2", "type": "image"},
    {"id": "3", "supports_chat": False},
    {"id": "4", "capabilities": {"completion_chat": False}},
    {"id": "5", "architecture": {"output_modalities": ["image"]}},
]


@pytest.mark.parametrize("listing", [{"object": "list", "data": CHAT + OTHER}, CHAT + OTHER])
async def test_a_list_is_read_in_both_shapes_without_what_is_not_for_chats(
    upstream: Upstream, listing: object
):
    upstream.models = listing
    provider = ChatCompletionsProvider(upstream.url)

    names = await provider.models()
    await provider.close()

    assert list(names) == ["a", "b", "c", "d", "e", "f", "g"]


UNREADABLE = [b'{"data":[{"id":"\xff"}]}', b'[{"id":"x","type":' + b"[" * 100_000]


@pytest.mark.parametrize("listing", [{"data": None}, [{"name": "x"}], "models", 7, *UNREADABLE])
async def test_a_list_of_another_shape_is_a_protocol_error(upstream: Upstream, listing: object):
    upstream.models = listing
    provider = ChatCompletionsProvider(upstream.url)

    with pytest.raises(ProviderProtocol, match="list of models"):
        await provider.models()
    await provider.close()


async def test_a_server_without_a_list_has_its_models_in_its_entry(upstream: Upstream):
    catalog = Catalog(Settings(), {"PERPLEXITY_API_KEY": "k", "AZURE_OPENAI_API_KEY": "k"})

    listings = await catalog.list_all()
    models = [each.prefix + name for each in listings for name in each.names]
    await catalog.close()

    assert "perplexity:sonar" in models
    assert not any(model.startswith("azure:") for model in models)
    assert upstream.requests == []


async def test_a_list_may_have_a_path_of_its_own(upstream: Upstream):
    catalog = Catalog(
        Settings(providers={"house": {"base_url": upstream.url, "models": "chat/models"}}), {}
    )

    listings = await catalog.list_all()
    models = [each.prefix + name for each in listings for name in each.names]
    await catalog.close()

    assert "house:quirk:ok" in models
    assert upstream.requests[0].path == "/v1/chat/models"

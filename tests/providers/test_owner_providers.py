"""Owners with their own keys: each request has the key of the run's owner, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from antiphon.ports import ResolvedModel
from antiphon.providers.catalog import Catalog
from antiphon.providers.owner_providers import OwnerProviderPool
from antiphon.settings.loading import load
from antiphon.settings.settings import Settings
from antiphon.types.accounts import OwnerProviderKey
from antiphon.types.chunks import ModelRequest
from antiphon.types.errors import BadSettings, InvalidRequest
from tests.support.providers.upstream import Upstream
from tests.support.trust import trust_file

HELLO = b'{"role":"user","content":"hello"}'
MODEL = "openai:quirk:ok"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


class Keys(dict[tuple[str, str], OwnerProviderKey]):
    """Keys of owners, by owner and provider."""

    async def of(self, owner: str, provider: str) -> OwnerProviderKey | None:
        return self.get((owner, provider))

    def give(self, owner: str, key: str, base_url: str | None = None) -> None:
        self[owner, "openai"] = OwnerProviderKey(key=key, base_url=base_url)


def make_catalog(
    keys: Keys, upstream: Upstream, environ: Mapping[str, str] | None = None
) -> Catalog:
    table = {"openai": {"base_url": upstream.url}}
    return Catalog(Settings(providers=table), environ or {}, keys.of)


def question(resolved: ResolvedModel) -> ModelRequest:
    return ModelRequest(model=resolved.model, messages=HELLO)


async def ask(catalog: Catalog, owner: str | None) -> None:
    resolved = await catalog.open(MODEL, owner)
    async for _ in resolved.provider.stream(question(resolved)):
        pass


def list_sent_keys(upstream: Upstream) -> list[str | None]:
    return [request.headers.get("authorization") for request in upstream.requests]


async def test_each_is_asked_with_their_own_key_and_who_has_none_with_the_installations(
    upstream: Upstream,
) -> None:
    keys = Keys()
    keys.give("ada", "sk-ada")
    keys.give("bo", "sk-bo")
    catalog = make_catalog(keys, upstream, {"OPENAI_API_KEY": "sk-house"})

    for owner in ("ada", "bo", "cy", None, "ada"):
        await ask(catalog, owner)
    await catalog.close()

    expected_names = ["ada", "bo", "house", "house", "ada"]
    assert list_sent_keys(upstream) == [f"Bearer sk-{name}" for name in expected_names]
    assert upstream.connections == 3  # each owner has connections of its own, which stay open


async def test_where_the_installation_has_no_key_only_owners_with_one_are_let_in(
    upstream: Upstream,
) -> None:
    keys = Keys()
    keys.give("ada", "sk-ada")
    catalog = make_catalog(keys, upstream)

    await ask(catalog, "ada")

    for owner in ("bo", None):
        with pytest.raises(BadSettings, match="needs a key"):
            await catalog.open(MODEL, owner)
    await catalog.close()


async def test_the_address_that_goes_with_a_key_is_the_only_place_it_is_sent_to(
    upstream: Upstream,
) -> None:
    keys = Keys()
    async with Upstream() as other_server:
        keys.give("ada", "sk-ada", other_server.url)
        catalog = make_catalog(keys, upstream, {"OPENAI_API_KEY": "sk-house"})
        await ask(catalog, "ada")
        await ask(catalog, "bo")
        await catalog.close()

        assert list_sent_keys(other_server) == ["Bearer sk-ada"]
    assert list_sent_keys(upstream) == ["Bearer sk-house"]


async def test_a_key_that_was_taken_away_is_not_used_again_and_a_new_one_is(
    upstream: Upstream,
) -> None:
    keys = Keys()
    keys.give("ada", "sk-old")
    catalog = make_catalog(keys, upstream, {"OPENAI_API_KEY": "sk-house"})

    await ask(catalog, "ada")
    keys.give("ada", "sk-new")
    await ask(catalog, "ada")
    keys.clear()
    await ask(catalog, "ada")
    await catalog.close()

    assert list_sent_keys(upstream) == ["Bearer sk-old", "Bearer sk-new", "Bearer sk-house"]


async def test_a_reply_under_way_comes_to_its_end_when_the_key_changes(upstream: Upstream) -> None:
    keys = Keys()
    keys.give("ada", "sk-old")
    catalog = make_catalog(keys, upstream)
    resolved = await catalog.open(f"{MODEL}@1", "ada")

    pieces = 0
    async with aclosing(resolved.provider.stream(question(resolved))) as stream:
        async for chunks in stream:
            pieces += len(chunks)
            if pieces == 1:
                keys.give("ada", "sk-new")
                await catalog.open(MODEL, "ada")
    await catalog.close()

    assert pieces > 1
    assert (await upstream.wait_for_request(1)).answered


async def test_who_was_given_a_provider_just_before_it_is_given_up_can_still_ask(
    upstream: Upstream,
) -> None:
    keys = Keys()
    keys.give("ada", "sk-old")
    catalog = make_catalog(keys, upstream)
    await ask(catalog, "ada")
    resolved = await catalog.open(MODEL, "ada")
    keys.give("ada", "sk-new")
    await ask(catalog, "ada")

    async for _ in resolved.provider.stream(question(resolved)):
        pass
    await catalog.close()

    assert list_sent_keys(upstream) == ["Bearer sk-old", "Bearer sk-new", "Bearer sk-old"]


class CloseRecorder:
    """Provider that only records its close."""

    def __init__(self, closed: list[str], name: str) -> None:
        self._closed, self._name = closed, name

    async def close(self) -> None:
        self._closed.append(self._name)


async def test_only_so_many_are_kept_open_and_what_was_used_longest_ago_goes_first() -> None:
    closed: list[str] = []
    pool = OwnerProviderPool(most=2)

    async def request_provider(owner: str) -> None:
        async def make() -> Any:
            return CloseRecorder(closed, owner)

        await pool.provider(owner, "openai", OwnerProviderKey(key="k"), make)

    for owner in ("ada", "bo", "ada", "cy"):
        await request_provider(owner)
    assert closed == ["bo"]
    await pool.close()
    assert sorted(closed) == ["ada", "bo", "cy"]


async def test_who_ask_for_the_same_at_one_time_share_what_is_made_for_the_first() -> None:
    closed: list[str] = []
    pool = OwnerProviderPool()
    loaded = asyncio.Event()

    async def make() -> Any:
        await loaded.wait()
        return CloseRecorder(closed, "made")

    tasks = [
        asyncio.create_task(pool.provider("ada", "anthropic", OwnerProviderKey(key="k"), make))
        for _ in range(3)
    ]
    await asyncio.sleep(0)
    loaded.set()
    providers = await asyncio.gather(*tasks)

    assert providers[0] is providers[1] is providers[2]
    assert closed.count("made") == 2
    await pool.close()
    assert closed.count("made") == 3


@pytest.mark.parametrize(
    "config", ['base_url = "{url}"\n', '[providers.openai]\nbase_url = "{url}"\n']
)
async def test_no_owners_key_goes_to_an_address_that_a_folder_named(
    upstream: Upstream, tmp_path: Path, config: str
) -> None:
    environ = {"HOME": str(tmp_path / "home")}
    (tmp_path / "antiphon.toml").write_text(config.format(url=upstream.url))
    trust_file(tmp_path / "antiphon.toml", environ)
    keys = Keys()
    keys.give("ada", "sk-ada")
    catalog = Catalog(load({}, environ, tmp_path), {}, keys.of)

    with pytest.raises(BadSettings, match="a folder named"):
        await catalog.open(MODEL, "ada")
    await catalog.close()


@pytest.mark.parametrize(
    ("provider", "owner_key"),
    [
        ("demo", OwnerProviderKey(key="k")),
        ("nope", OwnerProviderKey(key="k")),
        ("vertexai", OwnerProviderKey(key="k")),
        ("openai", OwnerProviderKey(key="")),
        ("openai", OwnerProviderKey(key=" \n")),
        ("openai", OwnerProviderKey(key="canary-1\r\nX: y")),
        ("openai", OwnerProviderKey(key="canary-1\u00e4")),
        ("openai", OwnerProviderKey(key="canary-1", base_url="file:///etc/passwd")),
        ("openai", OwnerProviderKey(key="canary-1", base_url="https://u:canary-1@h/v1")),
        ("openai", OwnerProviderKey(key="canary-1", base_url="https://h/{HOME}")),
    ],
)
def test_a_key_that_nobody_could_be_asked_with_is_refused(
    provider: str, owner_key: OwnerProviderKey
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Catalog(Settings(), {}).check_own(provider, owner_key)

    assert "canary-1" not in refused.value.full_message


def test_keys_for_known_providers_are_taken_and_never_printed() -> None:
    owner_key = OwnerProviderKey(key="canary-1", base_url="https://gateway.example/v1")

    for provider in ("openai", "mistral", "ollama", "anthropic"):
        Catalog(Settings(), {}).check_own(provider, owner_key)
    assert "canary-1" not in repr(owner_key)

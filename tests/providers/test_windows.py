"""The context window of a model: configured, from a list, or unknown."""

from __future__ import annotations

import pytest

from antiphon.api.operations import Model
from antiphon.client.async_client import AsyncClient
from antiphon.providers.catalog import Catalog
from antiphon.providers.model_info import ModelWindows, Offer, WindowList
from antiphon.providers.price_list import context_tokens
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings
from antiphon.types.errors import BadSettings

ADDRESS = "http://127.0.0.1:1/v1"


def windows(load: WindowList | None = context_tokens, **settings: object) -> ModelWindows:
    return ModelWindows(
        Catalog(Settings(**settings), {}).find_offer,  # type: ignore[arg-type]
        lambda: load,
    )


def server_settings(context_tokens: object) -> dict[str, object]:
    """Return settings with a server named `mine`, whose models have this context window."""
    return {"providers": {"mine": {"base_url": ADDRESS, "context_tokens": context_tokens}}}


def raise_error(offer: Offer) -> int | None:
    raise RuntimeError(offer.model)


async def test_a_provider_may_say_one_number_for_all_its_models():
    assert await windows(**server_settings(8192)).of(["mine:a", "mine:b"]) == [8192, 8192]


async def test_the_first_pattern_that_fits_a_models_name_says_how_much_it_takes():
    by_names = windows(**server_settings({"big-*": 100_000, "big-one": 1, "small": 4096}))

    assert await by_names.of(["mine:small", "mine:big-one", "mine:other"]) == [4096, 100_000, None]


@pytest.mark.parametrize("wrong", [0, -1, "8192", {"a": 0}, {"a": None}, 1.5])
def test_a_window_that_is_none_is_refused_with_its_place(wrong: object):
    with pytest.raises(BadSettings) as refused:
        windows(**server_settings(wrong))

    assert "[providers.mine]" in refused.value.message
    assert "context_tokens" in refused.value.message


async def test_the_list_knows_models_of_servers_and_of_vendors():
    sizes = await windows().of(["openai:gpt-4o-mini", "anthropic:claude-sonnet-4-5", "openai:no"])

    assert sizes == [128_000, 200_000, None]


async def test_your_own_word_wins_over_the_list():
    model_windows = windows(providers={"openai": {"context_tokens": {"gpt-4o-mini": 1000}}})

    assert await model_windows.of(["openai:gpt-4o-mini", "openai:gpt-4o"]) == [1000, 128_000]


async def test_what_nobody_says_is_not_known():
    assert await windows(None).of(["openai:gpt-4o-mini"]) == [None]
    assert await windows().of(["ollama:gpt-4o-mini", "nobody:x"]) == [None, None]


async def test_a_list_that_breaks_says_nothing():
    model_windows = windows(raise_error, **server_settings(8192))

    assert await model_windows.of(["mine:a", "openai:gpt-4o-mini"]) == [8192, None]


async def test_models_are_listed_with_their_windows_in_both_lines():
    settings = Settings(
        model="mine:small", database="memory:", port=0, **server_settings({"small": 8192})  # type: ignore[arg-type]
    )  # fmt: skip
    async with (
        run_server(settings) as url,
        AsyncClient(url) as remote,
        AsyncClient(settings=settings) as embedded,
    ):
        for client in (remote, embedded):
            by_id = {model.id: model.context_tokens for model in (await client.list_models()).data}
            (default_model,) = (await client.list_models(model="mine:small")).data
            (other_model,) = (await client.list_models(model="mine:a/b")).data
            with pytest.raises(BadSettings):
                await client.list_models(model="nobody:x")

            assert by_id == {"mine:small": 8192, "demo": 32_768}
            assert default_model == Model("mine:small", "mine", default=True, context_tokens=8192)
            assert other_model == Model("mine:a/b", "mine")


@pytest.mark.parametrize(("allowed", "expected"), [(1000, 1000), (100_000, 32_768), (None, 32_768)])
async def test_a_model_is_told_no_more_than_the_settings_allow(allowed: int | None, expected: int):
    settings = Settings(model="demo", database="memory:", context_tokens=allowed)
    async with AsyncClient(settings=settings) as client:
        (model,) = (await client.list_models(model="demo")).data

    assert model.context_tokens == expected


async def test_models_tell_what_their_provider_lacks_as_servers_and_vendors():
    table = {"base_url": ADDRESS, "lacks": ["tools", "images"]}
    settings = Settings(model="mine:x", database="memory:", providers={"mine": table})
    async with AsyncClient(settings=settings) as client:
        by_id = {model.id: model.lacks for model in (await client.list_models()).data}
        (other_model,) = (await client.list_models(model="mine:other")).data

    assert by_id == {"mine:x": ("tools", "images"), "demo": ()}
    assert other_model.lacks == ("tools", "images")

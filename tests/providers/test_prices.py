"""The cost of a reply: by configured prices, by the price list, or unknown."""

from __future__ import annotations

import asyncio
import threading

import genai_prices
import pytest

from antiphon.providers.catalog import Catalog
from antiphon.providers.model_info import Offer, PriceList, Prices
from antiphon.providers.price_list import SELLERS, cost
from antiphon.providers.servers import SERVERS, VENDORS
from antiphon.settings.settings import Settings
from antiphon.types.errors import BadSettings
from antiphon.types.runs import Usage

USED = Usage(input_tokens=1_000, cached_tokens=400, output_tokens=200, reasoning_tokens=50)
ENVIRON = {"AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com"}


def catalog(**settings: object) -> Catalog:
    return Catalog(Settings(**settings), ENVIRON)  # type: ignore[arg-type]


def prices(load: PriceList | None = cost, **settings: object) -> Prices:
    return Prices(catalog(**settings).find_offer, lambda: load)


def own_prices(**tables: dict[str, float]) -> dict[str, object]:
    """Return settings with these prices for the models of a server named `mine`."""
    return {"providers": {"mine": {"base_url": "http://127.0.0.1:1/v1", "prices": tables}}}


def fail_to_load() -> PriceList | None:
    raise AssertionError("nobody needs the list")


async def test_an_own_price_is_for_a_million_tokens_of_each_kind():
    own_settings = own_prices(**{"big-*": {"input": 2.0, "cached": 0.5, "output": 10.0}})
    assert await prices(**own_settings).cost("mine:big-one", USED) == 0.0034


async def test_without_a_price_for_them_cached_tokens_cost_as_the_rest():
    own_settings = own_prices(big={"input": 2.0, "output": 10.0})
    assert await prices(**own_settings).cost("mine:big", USED) == 0.004


async def test_the_first_pattern_that_fits_a_models_name_gives_its_price():
    own_settings = own_prices(
        **{"big": {"input": 1.0, "output": 1.0}, "*": {"input": 0.0, "output": 0.0}}
    )
    assert await prices(**own_settings).cost("mine:big", USED) == 0.0012
    assert await prices(**own_settings).cost("mine:other", USED) == 0.0


async def test_an_own_price_wins_over_the_list():
    own_settings = {"openai": {"prices": {"gpt-4o-mini": {"input": 1.0, "output": 1.0}}}}
    assert await prices(providers=own_settings).cost("openai:gpt-4o-mini", USED) == 0.0012
    assert await prices(providers=own_settings).cost("openai:gpt-4o", USED) != 0.0012


@pytest.mark.parametrize(
    "price",
    [
        {"input": 1.0},
        {"input": -1.0, "output": 1.0},
        {"input": float("nan"), "output": 1.0},
        {"input": float("inf"), "output": 1.0},
        {"input": "1", "output": 1.0},
        {"input": 1.0, "output": 1.0, "cache": 1.0},
    ],
)
def test_a_price_that_is_none_is_refused_with_its_place(price: dict[str, float]):
    with pytest.raises(BadSettings) as refused:
        catalog(**own_prices(big=price))

    assert "[providers.mine]" in refused.value.message
    assert "prices" in refused.value.message


@pytest.mark.parametrize(
    ("model", "seller", "name"),
    [
        ("openai:gpt-4o-mini", "openai", "gpt-4o-mini"),
        ("deepseek:deepseek-chat", "deepseek", "deepseek-chat"),
        ("groq:llama-3.3-70b-versatile", "groq", "llama-3.3-70b-versatile"),
        ("xai:grok-3-mini", "x-ai", "grok-3-mini"),
        ("mistral:mistral-small-latest", "mistral", "mistral-small-latest"),
        ("azure:gpt-5-mini", "azure", "gpt-5-mini"),
        ("anthropic:claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
        ("gemini:gemini-2.5-flash", "google", "gemini-2.5-flash"),
    ],
)
async def test_the_list_gives_what_its_keepers_compute(model: str, seller: str, name: str):
    tokens = genai_prices.Usage(input_tokens=1_000, cache_read_tokens=400, output_tokens=200)
    library_price = genai_prices.calc_price(tokens, name, provider_id=seller)
    own_cost = await prices().cost(model, USED)
    assert own_cost == pytest.approx(float(library_price.total_price), abs=1e-12)
    assert own_cost


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("openai", "gpt-4o-mini"),
        ("openrouter", "openai/gpt-4o-mini"),
        ("deepseek", "deepseek-chat"),
        ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
        ("groq", "llama-3.3-70b-versatile"),
        ("mistral", "mistral-small-latest"),
        ("xai", "grok-3-mini"),
        ("fireworks", "accounts/fireworks/models/gpt-oss-120b"),
        ("perplexity", "sonar"),
        ("azure", "gpt-5-mini"),
        ("moonshot", "kimi-k2.5"),
        ("cerebras", "gpt-oss-120b"),
    ],
)
async def test_the_list_knows_these_servers_by_their_addresses(name: str, model: str):
    assert await prices().cost(f"{name}:{model}", USED)


@pytest.mark.parametrize(("vendor", "seller"), SELLERS.items())
def test_the_list_knows_these_vendors_by_name(vendor: str, seller: str):
    assert vendor in VENDORS
    with pytest.raises(LookupError, match="find model"):
        genai_prices.calc_price(genai_prices.Usage(), "no-such", provider_id=seller)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("openai:gpt-99-of-nobody", {}),
        ("hyperbolic:meta-llama/Llama-3.3-70B-Instruct", {}),
        ("plugin:gpt-4o-mini", {}),
        ("gpt-4o-mini", {"base_url": "https://models.example.org/v1"}),
        ("openai:gpt-4o-mini", {"base_url": "https://models.example.org/v1"}),
    ],
)
async def test_what_the_list_does_not_have_is_not_known(model: str, settings: dict[str, str]):
    assert await prices(**settings).cost(model, USED) is None


@pytest.mark.parametrize("name", [n for n, s in SERVERS.items() if "127.0.0.1" in s.base_url])
async def test_nobody_lists_what_runs_on_this_machine(name: str):
    assert (
        await Prices(catalog().find_offer, fail_to_load).cost(f"{name}:gpt-4o-mini", USED) is None
    )


async def test_the_demo_model_needs_no_list():
    assert await Prices(catalog().find_offer, fail_to_load).cost("demo", USED) is None


async def test_without_the_extra_only_own_prices_are_known():
    own_settings = own_prices(big={"input": 2.0, "output": 10.0})
    assert await prices(None, **own_settings).cost("openai:gpt-4o-mini", USED) is None
    assert await prices(None, **own_settings).cost("mine:big", USED) == 0.004


async def test_the_list_is_loaded_once_and_not_on_the_loop():
    loading_threads: list[str] = []
    started, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def load() -> PriceList | None:
        loading_threads.append(threading.current_thread().name)
        loop.call_soon_threadsafe(started.set)
        assert go_on.wait(60)
        return lambda offer, usage: 1.5

    shared_prices = Prices(catalog().find_offer, load)
    tasks = [asyncio.create_task(shared_prices.cost("openai:gpt-4o", USED)) for _ in range(3)]
    async with asyncio.timeout(60):
        await started.wait()  # the loop runs while the list is loaded
        tasks[0].cancel()
        go_on.set()
        assert await asyncio.gather(*tasks[1:]) == [1.5, 1.5]
    assert len(loading_threads) == 1
    assert loading_threads != [threading.main_thread().name]


@pytest.mark.parametrize("where", ["loading", "looking"])
async def test_a_list_that_breaks_costs_nobody_a_reply(
    where: str, caplog: pytest.LogCaptureFixture
):
    def look(offer: Offer, usage: Usage) -> float | None:
        raise TypeError("as other people's code may")

    def load() -> PriceList | None:
        return look if where == "looking" else look(Offer(model=""), USED)  # type: ignore[return-value]

    assert await Prices(catalog().find_offer, load).cost("openai:gpt-4o", USED) is None
    assert "price list" in caplog.text

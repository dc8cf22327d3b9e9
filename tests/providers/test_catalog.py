import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from antiphon.providers.catalog import Catalog, ModelChoice
from antiphon.providers.demo import DemoProvider
from antiphon.providers.servers import SERVERS
from antiphon.settings.loading import load
from antiphon.settings.settings import Settings
from antiphon.types.chunks import ModelRequest
from antiphon.types.errors import BadSettings, ProviderError, ProviderUnavailable
from antiphon.types.runs import Sampling
from tests.support.providers.upstream import Upstream
from tests.support.trust import trust_file

HELLO = b'{"role":"user","content":"hello"}'


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


def make_catalog(environ: Mapping[str, str] | None = None, **settings: Any) -> Catalog:
    return Catalog(Settings(**settings), environ or {})


def no_ollama(port: int) -> dict[str, dict[str, Any]]:
    return {"ollama": {"base_url": f"http://127.0.0.1:{port}/v1"}}


async def ask(catalog: Catalog, model: str) -> None:
    resolved = await catalog.open(model)
    try:
        async for _ in resolved.provider.stream(ModelRequest(model=resolved.model, messages=HELLO)):
            pass
    finally:
        await catalog.close()


async def test_the_configured_model_is_chosen_first():
    keys = {"OPENAI_API_KEY": "sk-1", "GROQ_API_KEY": "gsk-1"}

    choice = await make_catalog(keys, model="groq:llama").choose()

    assert choice == ModelChoice("groq:llama", "it is configured")


@pytest.mark.parametrize("model", ["nope:x", "demi", "groq:llama"])
async def test_a_configured_model_that_nobody_has_is_not_chosen(model: str):
    with pytest.raises(BadSettings):
        await make_catalog(model=model).choose()


async def test_a_key_in_the_environment_chooses_its_provider():
    choice = await make_catalog({"GROQ_API_KEY": "k", "XAI_API_KEY": ""}).choose()

    assert choice == ModelChoice(f"groq:{SERVERS['groq'].default}", "GROQ_API_KEY is set")


async def test_an_ollama_on_this_machine_is_chosen_where_no_key_is(upstream: Upstream):
    catalog = make_catalog(providers={"ollama": {"base_url": upstream.url}})

    choice = await catalog.choose()
    await catalog.close()

    assert choice.model.startswith("ollama:quirk:")


async def test_an_ollama_elsewhere_is_not_asked_unbidden():
    catalog = make_catalog(providers={"ollama": {"base_url": "http://ollama.invalid/v1"}})

    assert (await catalog.choose()).model == "demo"


async def test_with_nothing_at_all_it_is_the_demo_and_says_why(unused_tcp_port: int):
    catalog = make_catalog(providers=no_ollama(unused_tcp_port))

    choice = await catalog.choose()
    await catalog.close()

    assert choice.model == "demo"
    assert "no key" in choice.why


async def test_a_base_url_alone_chooses_the_first_model_it_lists(upstream: Upstream):
    catalog = make_catalog(base_url=upstream.url)

    choice = await catalog.choose()
    await catalog.close()

    assert choice.model == "quirk:ok"


async def test_a_base_url_that_cannot_be_reached_is_named_with_the_reason(unused_tcp_port: int):
    catalog = make_catalog(base_url=f"http://127.0.0.1:{unused_tcp_port}/v1")

    with pytest.raises(BadSettings, match="does not list its models") as refused:
        await catalog.choose()
    await catalog.close()

    assert f"127.0.0.1:{unused_tcp_port} did not answer" in refused.value.full_message
    assert "--model" in refused.value.full_message


async def test_a_base_url_that_lists_nothing_asks_for_a_name(upstream: Upstream):
    upstream.models = {"object": "list", "data": []}
    catalog = make_catalog(base_url=upstream.url)

    with pytest.raises(BadSettings, match="lists no models") as refused:
        await catalog.choose()
    await catalog.close()

    assert "--model" in refused.value.full_message


async def test_a_name_opens_its_provider_once():
    catalog = make_catalog({"OPENAI_API_KEY": "sk-1"})

    first = await catalog.open("openai:gpt-5")
    second = await catalog.open("openai:gpt-5-mini")

    assert (first.name, first.model) == ("openai", "gpt-5")
    assert first.provider is second.provider


async def test_the_demo_needs_no_name_behind_it():
    resolved = await make_catalog().open("demo")

    assert isinstance(resolved.provider, DemoProvider)
    assert resolved.model == "demo"


async def test_any_name_goes_to_the_base_url_with_its_key(upstream: Upstream):
    catalog = make_catalog(
        {"OPENAI_API_KEY": "sk-other"}, base_url=upstream.url, provider_key="sk-mine\n"
    )

    await ask(catalog, "quirk:ok")

    request = await upstream.wait_for_request(1)
    assert request.headers["authorization"] == "Bearer sk-mine"
    assert request.body["model"] == "quirk:ok"


async def test_a_known_provider_may_be_asked_at_another_address(upstream: Upstream):
    catalog = make_catalog({"MISTRAL_API_KEY": "k"}, base_url=upstream.url)

    await ask(catalog, "mistral:quirk:ok")

    request = await upstream.wait_for_request(1)
    assert request.body["model"] == "quirk:ok"
    assert "stream_options" not in request.body


async def test_a_table_of_the_settings_is_a_provider(upstream: Upstream):
    table = {"base_url": upstream.url, "key": "k", "quirks": {"max_tokens": "max_new_tokens"}}

    await ask(make_catalog(providers={"house": table}), "house:quirk:ok")

    assert (await upstream.wait_for_request(1)).headers["authorization"] == "Bearer k"


async def test_an_address_may_come_from_the_environment(upstream: Upstream):
    endpoint = upstream.url.removesuffix("/v1") + "/"
    environ = {"AZURE_OPENAI_ENDPOINT": endpoint, "AZURE_OPENAI_API_KEY": "k"}

    await ask(make_catalog(environ), "azure:quirk:ok")

    request = await upstream.wait_for_request(1)
    assert request.path == "/openai/v1/chat/completions"
    assert request.headers["api-key"] == "k"


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("nonsense:x", {}, "no provider"),
        ("gpt-5", {}, "no provider"),
        ("openai:gpt-5", {}, "needs a key"),
        ("azure:x", {"providers": {"azure": {"key": "k"}}}, "not known"),
        ("x", {"base_url": "ftp://host/v1"}, "cannot be used"),
        ("x", {"base_url": "http://me:secret@host/v1"}, "cannot be used"),
        ("x", {"base_url": "http://host/v1?key=secret"}, "cannot be used"),
        ("x", {"base_url": "http://host/v1#secret"}, "cannot be used"),
        ("x", {"base_url": "http://me:secret@[::1/v1"}, "cannot be used"),
        ("x", {"base_url": "http://host:99999/v1"}, "cannot be used"),
        ("house:x", {"providers": {"house": {"base_url": "http://host/{}/v1"}}}, "cannot be used"),
        ("house:x", {"providers": {"house": {"base_url": "http://h/{A.b}"}}}, "cannot be used"),
        ("house:x", {"providers": {"house": {"base_url": "http://{A}/{B}"}}}, "not known"),
        ("x", {"base_url": "http://host/v1", "provider_key": "a\nb"}, "cannot be sent"),
    ],
)
async def test_what_cannot_be_opened_is_named(model: str, settings: dict[str, Any], message: str):
    with pytest.raises(BadSettings, match=message) as raised:
        await make_catalog(**settings).open(model)

    assert "secret" not in str(raised.value.details)


async def test_an_unknown_model_is_answered_by_what_is_known():
    with pytest.raises(BadSettings) as raised:
        await make_catalog().open("nonsense:x")

    assert "openai" in raised.value.details["expected"]


@pytest.mark.parametrize("table", [{"base_url": 1}, {"base_url": "http://h", "quirk": {}}, {}])
def test_a_table_that_cannot_be_used_is_named(table: dict[str, Any]):
    with pytest.raises(BadSettings, match=r"providers\.house"):
        make_catalog(providers={"house": table})


async def test_every_server_is_asked_for_its_models_and_one_that_is_away_is_named(
    upstream: Upstream, unused_tcp_port: int
):
    dead_address = f"http://127.0.0.1:{unused_tcp_port}/v1"
    catalog = make_catalog(
        providers={"house": {"base_url": upstream.url}, "gone": {"base_url": dead_address}}
    )

    listings = {each.provider: each for each in await catalog.list_all()}
    await catalog.close()

    assert "quirk:ok" in listings["house"].names
    assert (listings["gone"].where, listings["gone"].names) == (dead_address, ())
    assert isinstance(listings["gone"].error, ProviderUnavailable)


async def test_an_ollama_is_missed_only_where_it_was_named(unused_tcp_port: int):
    without_table, with_table = make_catalog(), make_catalog(providers=no_ollama(unused_tcp_port))

    listings = [await catalog.list_all() for catalog in (without_table, with_table)]
    for catalog in (without_table, with_table):
        await catalog.close()

    missed = [[each.provider for each in listing if each.error] for listing in listings]
    assert missed == [[], ["ollama"]]


async def test_a_server_that_is_down_is_a_provider_error(unused_tcp_port: int):
    catalog = make_catalog(base_url=f"http://127.0.0.1:{unused_tcp_port}/v1")

    with pytest.raises(ProviderError):
        await ask(catalog, "x")


async def test_an_address_that_a_folder_named_gets_no_providers_key(upstream: Upstream):
    keys = {"OPENAI_API_KEY": "sk-mine"}
    own_address = make_catalog(keys, base_url=upstream.url)
    foreign_address = make_catalog(keys, base_url=upstream.url, foreign_base_url=True)
    foreign_address_with_key = make_catalog(
        keys, base_url=upstream.url, foreign_base_url=True, provider_key="sk-for-it"
    )

    for catalog in (own_address, foreign_address, foreign_address_with_key):
        await ask(catalog, "openai:quirk:ok")

    sent_keys = [request.headers.get("authorization") for request in upstream.requests]
    assert sent_keys == ["Bearer sk-mine", None, "Bearer sk-for-it"]


async def test_a_known_provider_that_a_folder_moved_gets_no_key(upstream: Upstream, tmp_path: Path):
    (tmp_path / "antiphon.toml").write_text(f'[providers.openai]\nbase_url = "{upstream.url}"\n')
    environ = {"OPENAI_API_KEY": "sk-mine", "ANTIPHON_PROVIDER_KEY": "sk-for-it"}
    environ["HOME"] = str(tmp_path / "home")
    trust_file(tmp_path / "antiphon.toml", environ)
    settings = load({}, environ, tmp_path)

    await ask(Catalog(settings, environ), "openai:quirk:ok")

    assert "authorization" not in (await upstream.wait_for_request(1)).headers


async def test_a_table_changes_of_a_known_entry_only_what_it_names(upstream: Upstream):
    table = {"base_url": upstream.url, "quirks": {"stream_options": False}}
    catalog = make_catalog({"OPENAI_API_KEY": "k"}, providers={"openai": table})
    resolved = await catalog.open("openai:quirk:ok")
    short = Sampling(max_output_tokens=7)

    async for _ in resolved.provider.stream(
        ModelRequest(model=resolved.model, messages=HELLO, sampling=short)
    ):
        pass
    await catalog.close()

    body = (await upstream.wait_for_request(1)).body
    assert "stream_options" not in body
    assert body["max_completion_tokens"] == 7


@pytest.mark.parametrize(
    "table",
    [
        {"lacks": ["seeds"]},
        {"chunk_timeout": 0},
        {"pool": 0},
        {"retries": -1},
        {"connect_timeout": "soon"},
        {"key_header": "a\r\nb"},
        {"key_parameter": ""},
        {"key_parameter": "key&admin"},
        {"key_header": "api-key", "key_parameter": "key"},
        {"quirks": {"quirk": 1}},
        {"quirks": "none"},
        {"prices": {"*": 3}},
    ],
)
def test_what_a_table_cannot_say_is_refused_by_name(table: dict[str, Any]):
    with pytest.raises(BadSettings, match=r"providers\.openai"):
        make_catalog(providers={"openai": table})


@pytest.mark.parametrize(
    ("name", "table", "hint"),
    [
        ("house", {"base_ur": "http://h"}, "`base_url`"),
        ("house", {"base_url": "http://h", "quirks": {"cumulativ": True}}, "`cumulative`"),
        ("house", {"base_url": "http://h", "lacks": ["logitbias"]}, "`logit_bias`"),
        ("openai", {"prices": {"*": {"input": 1, "outptu": 2}}}, "`output`"),
        ("openai", {"chunk-timeout": 3}, "`chunk_timeout`"),
        ("opneai", {"chunk_timeout": 3}, "`openai`"),
        ("antropic", {"chunk_timeout": 3}, "`anthropic`"),
        ("anthropic", {"chunk_timout": 3}, "`chunk_timeout`"),
    ],
)
def test_a_slip_in_a_table_is_told_with_what_was_meant(name: str, table: dict[str, Any], hint: str):
    with pytest.raises(BadSettings, match=name) as raised:
        make_catalog(providers={name: table})

    assert hint in raised.value.details["hint"]


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("demmo", "did you mean demo?"),
        ("opneai:gpt-5", "did you mean openai:gpt-5?"),
        ("ollama", "name one of its models: ollama:NAME"),
        ("zzz", "--base-url names any other server"),
    ],
)
async def test_a_model_that_nobody_has_is_told_with_what_may_have_been_meant(model: str, hint: str):
    with pytest.raises(BadSettings) as raised:
        await make_catalog().open(model)

    assert hint in raised.value.details["hint"]


@pytest.mark.parametrize("name", ["demo", "a:b", ""])
def test_a_table_that_no_model_could_name_is_refused(name: str):
    with pytest.raises(BadSettings, match="never"):
        make_catalog(providers={name: {"base_url": "http://h"}})


def test_an_own_price_holds_for_a_vendor_too():
    catalog = make_catalog(providers={"anthropic": {"prices": {"*": {"input": 1, "output": 2}}}})

    offer = catalog.find_offer("anthropic:claude")

    assert offer.price
    assert (offer.model, offer.vendor) == ("claude", "anthropic")


async def test_installed_packages_are_searched_for_providers_once_and_not_for_each_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searches = CountedSearches()
    monkeypatch.setattr("sys.meta_path", [*sys.meta_path, searches])
    catalog = make_catalog()
    for _ in range(3):
        with pytest.raises(BadSettings, match="no provider"):
            await catalog.open("nothing-of-this-name:model")

    assert searches.count <= 1


class CountedSearches:
    """Finder of packages that finds none and counts the searches."""

    count = 0

    def find_spec(self, *_: object) -> None:
        return None

    def find_distributions(self, _: object) -> Iterator[Any]:
        self.count += 1
        return iter(())

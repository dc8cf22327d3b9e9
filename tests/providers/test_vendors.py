"""Vendors by name, what they need, and the choice among them."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from antiphon.providers.catalog import Catalog
from antiphon.providers.servers import SERVERS, VENDORS, is_installed
from antiphon.settings.extras import install_hint
from antiphon.settings.settings import Settings
from antiphon.types.errors import BadSettings
from tests.support.providers.anthropic_upstream import SCENARIOS, AnthropicUpstream

pytestmark = pytest.mark.processes

EXTRA = pytest.mark.skipif(not is_installed(), reason="antiphon[vendors] is not installed")
KEYS = {"ANTHROPIC_API_KEY": "k", "GEMINI_API_KEY": "k"}


def catalog(environ: Mapping[str, str], **settings: Any) -> Catalog:
    return Catalog(Settings(**settings), environ)


@pytest.fixture
def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "any_llm", None)


@pytest.mark.usefixtures("without_the_extra")
async def test_without_the_extra_its_name_is_told():
    with pytest.raises(BadSettings) as caught:
        await catalog(KEYS).open("anthropic:any")

    assert caught.value.details["hint"] == install_hint("vendors")


@pytest.mark.usefixtures("without_the_extra")
async def test_without_the_extra_a_vendors_key_chooses_nothing():
    found = catalog(KEYS, providers=NO_OLLAMA)
    chosen = await found.choose()
    await found.close()

    assert chosen.model == "demo"


NO_OLLAMA = {"ollama": {"base_url": "http://127.0.0.1:1/v1"}}


@EXTRA
async def test_a_vendors_key_chooses_its_default_model():
    found = catalog(KEYS, providers=NO_OLLAMA)
    chosen = await found.choose()
    await found.close()

    assert chosen.model == f"anthropic:{VENDORS['anthropic'].default}"
    assert chosen.why == "ANTHROPIC_API_KEY is set"


@EXTRA
async def test_a_servers_key_is_looked_for_before_a_vendors():
    chosen = await catalog({**KEYS, "GROQ_API_KEY": "k"}).choose()

    assert chosen.model.startswith("groq:")


@EXTRA
@pytest.mark.parametrize(
    ("name", "variables"),
    [("anthropic", "ANTHROPIC_API_KEY"), ("gemini", "GEMINI_API_KEY or GOOGLE_API_KEY")],
)
async def test_without_a_key_its_variable_is_told(name: str, variables: str):
    with pytest.raises(BadSettings) as caught:
        await catalog({}).open(f"{name}:any")

    assert caught.value.details["expected"] == f"the environment variable {variables}"


@EXTRA
async def test_a_library_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cohere", None)
    monkeypatch.delitem(sys.modules, "any_llm.providers.cohere", raising=False)
    monkeypatch.delitem(sys.modules, "any_llm.providers.cohere.cohere", raising=False)
    monkeypatch.delitem(sys.modules, "any_llm.providers.cohere.utils", raising=False)

    with pytest.raises(BadSettings) as caught:
        await catalog({"COHERE_API_KEY": "k"}).open("cohere:any")

    assert caught.value.details["hint"] == "pip install 'any-llm-sdk[cohere]'"


@EXTRA
@pytest.mark.parametrize("name", ["vertexai", "vertexaianthropic"])
async def test_a_vendor_whose_library_ignores_an_address_refuses_one(name: str):
    with pytest.raises(BadSettings, match="its own address"):
        await catalog({}, base_url="http://127.0.0.1:1/v1").open(f"{name}:any")


@EXTRA
@pytest.mark.parametrize("name", ["bedrock", "anthropic"])
async def test_an_address_that_a_folder_named_gets_no_vendors_credentials(name: str):
    settings = {"base_url": "http://127.0.0.1:1/v1", "foreign_base_url": True, "provider_key": "k"}
    with pytest.raises(BadSettings, match="folder"):
        await catalog(KEYS, **settings).open(f"{name}:any")


@EXTRA
async def test_a_key_that_no_header_can_hold_is_not_sent():
    with pytest.raises(BadSettings, match="cannot be sent"):
        await catalog({"ANTHROPIC_API_KEY": "sk-a\nb"}).open("anthropic:any")


@EXTRA
async def test_a_table_changes_a_vendors_terms():
    terms = {"chunk_timeout": 7, "lacks": ["tools"]}

    opened = await catalog(KEYS, providers={"anthropic": terms}).open("anthropic:any")

    assert opened.deadlines.chunk == 7
    assert opened.lacks == {"tools"}


LOADS = """
import asyncio, time
from antiphon.providers.catalog import Catalog
from antiphon.settings.settings import Settings

async def beat(gaps):
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0.01)
        gaps.append(time.perf_counter() - begun)

async def main():
    gaps = []
    beating = asyncio.create_task(beat(gaps))
    begun = time.perf_counter()
    found = Catalog(Settings(), {"ANTHROPIC_API_KEY": "k"})
    one, other = await asyncio.gather(found.open("anthropic:a"), found.open("anthropic:b"))
    print(one.provider is other.provider, max(gaps) < (time.perf_counter() - begun) / 2)

asyncio.run(main())
"""


@pytest.mark.slow
@EXTRA
def test_loading_a_vendors_library_holds_up_nobody():
    # In a process of its own, for here it may be loaded already.
    run = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, check=True)

    assert run.stdout.split() == [b"True", b"True"]


def test_no_vendor_is_also_a_server_of_ours():
    assert not VENDORS.keys() & SERVERS.keys()


@EXTRA
def test_every_vendor_is_one_that_any_llm_knows():
    from any_llm import AnyLLM

    assert set(VENDORS) <= set(AnyLLM.get_supported_providers())


@EXTRA
async def test_a_vendor_that_can_list_its_models_is_asked(monkeypatch: pytest.MonkeyPatch):
    async with AnthropicUpstream() as upstream:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", upstream.url)
        found = catalog({"ANTHROPIC_API_KEY": "k"}, providers=NO_OLLAMA)
        listings = {each.provider: each for each in await found.list_all()}
        await found.close()

    assert listings["anthropic"].prefix == "anthropic:"
    assert list(listings["anthropic"].names) == list(SCENARIOS)


@pytest.mark.slow
def test_another_model_does_not_load_the_extra():
    code = (
        "import asyncio, sys; from antiphon.providers.catalog import Catalog;"
        "from antiphon.settings.settings import Settings;"
        "found = Catalog(Settings(), {'OPENAI_API_KEY': 'k'});"
        "asyncio.run(found.open('openai:gpt-5')); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout

    assert not {"any_llm", "antiphon.providers.any_llm"} & set(loaded.decode().split())

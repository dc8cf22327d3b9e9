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


def make_catalog(environ: Mapping[str, str], **settings: Any) -> Catalog:
    return Catalog(Settings(**settings), environ)


@pytest.fixture
def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "any_llm", None)


@pytest.mark.usefixtures("without_the_extra")
async def test_without_the_extra_its_name_is_told():
    with pytest.raises(BadSettings) as caught:
        await make_catalog(KEYS).open("anthropic:any")

    assert caught.value.details["hint"] == install_hint("vendors")


@pytest.mark.usefixtures("without_the_extra")
async def test_without_the_extra_a_vendors_key_chooses_nothing():
    catalog = make_catalog(KEYS, providers=NO_OLLAMA)
    choice = await catalog.choose()
    await catalog.close()

    assert choice.model == "demo"


NO_OLLAMA = {"ollama": {"base_url": "http://127.0.0.1:1/v1"}}


@EXTRA
async def test_a_vendors_key_chooses_its_default_model():
    catalog = make_catalog(KEYS, providers=NO_OLLAMA)
    choice = await catalog.choose()
    await catalog.close()

    assert choice.model == f"anthropic:{VENDORS['anthropic'].default}"
    assert choice.why == "ANTHROPIC_API_KEY is set"


@EXTRA
async def test_a_servers_key_is_looked_for_before_a_vendors():
    choice = await make_catalog({**KEYS, "GROQ_API_KEY": "k"}).choose()

    assert choice.model.startswith("groq:")


@EXTRA
@pytest.mark.parametrize(
    ("name", "variables"),
    [("anthropic", "ANTHROPIC_API_KEY"), ("gemini", "GEMINI_API_KEY or GOOGLE_API_KEY")],
)
async def test_without_a_key_its_variable_is_told(name: str, variables: str):
    with pytest.raises(BadSettings) as caught:
        await make_catalog({}).open(f"{name}:any")

    assert caught.value.details["expected"] == f"the environment variable {variables}"


@EXTRA
async def test_a_library_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cohere", None)
    monkeypatch.delitem(sys.modules, "any_llm.providers.cohere", raising=False)
    monkeypatch.delitem(sys.modules, "any_llm.providers.cohere.cohere", raising=False)
    monkeypatch.delitem(sys.modules, "any_llm.providers.cohere.utils", raising=False)

    with pytest.raises(BadSettings) as caught:
        await make_catalog({"COHERE_API_KEY": "k"}).open("cohere:any")

    assert caught.value.details["hint"] == "pip install 'any-llm-sdk[cohere]'"


@EXTRA
@pytest.mark.parametrize("name", ["vertexai", "vertexaianthropic"])
async def test_a_vendor_whose_library_ignores_an_address_refuses_one(name: str):
    with pytest.raises(BadSettings, match="its own address"):
        await make_catalog({}, base_url="http://127.0.0.1:1/v1").open(f"{name}:any")


@EXTRA
@pytest.mark.parametrize("name", ["bedrock", "anthropic"])
async def test_an_address_that_a_folder_named_gets_no_vendors_credentials(name: str):
    settings = {"base_url": "http://127.0.0.1:1/v1", "foreign_base_url": True, "provider_key": "k"}
    with pytest.raises(BadSettings, match="folder"):
        await make_catalog(KEYS, **settings).open(f"{name}:any")


@EXTRA
async def test_a_key_that_no_header_can_hold_is_not_sent():
    with pytest.raises(BadSettings, match="cannot be sent"):
        await make_catalog({"ANTHROPIC_API_KEY": "sk-a\nb"}).open("anthropic:any")


@EXTRA
async def test_a_table_changes_a_vendors_terms():
    terms = {"chunk_timeout": 7, "lacks": ["tools"]}

    resolved = await make_catalog(KEYS, providers={"anthropic": terms}).open("anthropic:any")

    assert resolved.deadlines.chunk == 7
    assert resolved.lacks == {"tools"}


LOADS = """
import asyncio, time
from antiphon.providers.catalog import Catalog
from antiphon.settings.settings import Settings

async def main():
    catalog = Catalog(Settings(), {"ANTHROPIC_API_KEY": "k"})
    loop_cpu, all_cpu = time.thread_time(), time.process_time()
    one, other = await asyncio.gather(catalog.open("anthropic:a"), catalog.open("anthropic:b"))
    loop_cpu, all_cpu = time.thread_time() - loop_cpu, time.process_time() - all_cpu
    print(one.provider is other.provider, loop_cpu < all_cpu / 2)

asyncio.run(main())
"""


@pytest.mark.slow
@EXTRA
def test_a_vendors_library_is_loaded_beside_the_loop():
    # In a new process, as this one may have loaded the library already.
    process = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, check=True)

    assert process.stdout.split() == [b"True", b"True"]


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
        catalog = make_catalog({"ANTHROPIC_API_KEY": "k"}, providers=NO_OLLAMA)
        listings = {each.provider: each for each in await catalog.list_all()}
        await catalog.close()

    assert listings["anthropic"].prefix == "anthropic:"
    assert list(listings["anthropic"].names) == list(SCENARIOS)


@pytest.mark.slow
def test_another_model_does_not_load_the_extra():
    code = (
        "import asyncio, sys; from antiphon.providers.catalog import Catalog;"
        "from antiphon.settings.settings import Settings;"
        "catalog = Catalog(Settings(), {'OPENAI_API_KEY': 'k'});"
        "asyncio.run(catalog.open('openai:gpt-5')); print(*sys.modules)"
    )
    module_names = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True
    ).stdout

    assert not {"any_llm", "antiphon.providers.any_llm"} & set(module_names.decode().split())

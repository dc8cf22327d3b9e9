"""The wheel in separate environments: without extras, with each, with all, and by `uvx`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.docs.blocks import ROOT, blocks
from tests.support.packaging.installed import DEMO, Installed, fetch, find_pythons, serve
from tests.support.packaging.packages import EXTRAS, Packages

pytestmark = pytest.mark.soak

PYTHONS = find_pythons(("3.11", "3.12", "3.13", "3.14"))
LIBRARIES = {
    "acp": {"acp"},
    "documents": {"PIL", "charset_normalizer", "docx", "openpyxl", "pptx", "pypdfium2"},
    "keyring": {"keyring"},
    "mcp": {"mcp", "mcp_types"},
    "postgres": {"asyncpg"},
    "prices": {"genai_prices"},
    "redis": {"redis"},
    "secrets": {"cryptography"},
    "telemetry": {"opentelemetry"},
    "terminal": {"markdown_it", "prompt_toolkit", "wcwidth"},
    "vendors": {"any_llm"},
    "web": {"authlib", "flask", "requests"},
    "websocket": {"websockets"},
}
"""The libraries that some module imports, by the extra that installs them."""
FRAMEWORKS = {"django", "pytest"}  # which a program installs itself
OWN_SERVER = """
from antiphon import McpServerPool
from antiphon.mcp.config.server_config import ServerConfig
own = ServerConfig(name="own", command="antiphon", args=("mcp", "serve"))
with McpServerPool([own]) as pool:
    print([missing.why for missing in pool.ready(30)])
"""


@pytest.fixture(scope="module", params=PYTHONS)
def python(request: pytest.FixtureRequest) -> str:
    """A Python of each supported version that is installed."""
    return PYTHONS[request.param]


def test_every_extra_has_its_libraries_here() -> None:
    assert LIBRARIES.keys() == EXTRAS - {"all"}


@pytest.mark.parametrize("extra", sorted(LIBRARIES))
def test_an_extra_alone_installs_what_its_modules_need(
    packages: Packages, tmp_path: Path, python: str, extra: str
) -> None:
    environment = Installed(tmp_path, f"{packages.wheel}[{extra}]", python=python)

    missing_modules = environment.missing_modules()

    other_libraries = {name for each, names in LIBRARIES.items() if each != extra for name in names}
    assert missing_modules.isdisjoint(LIBRARIES[extra])
    assert missing_modules <= other_libraries | FRAMEWORKS
    assert "One voice" in environment.succeed("antiphon", "ask", "-q", "Say 3 words")


@pytest.fixture(scope="module")
def full_install(
    packages: Packages, tmp_path_factory: pytest.TempPathFactory, python: str
) -> Iterator[Installed]:
    """An environment with all extras."""
    folder = tmp_path_factory.mktemp("all")
    yield Installed(folder, f"{packages.wheel}[all]", python=python)
    shutil.rmtree(folder)


def test_with_all_extras_every_module_can_be_imported(full_install: Installed) -> None:
    assert full_install.missing_modules() <= FRAMEWORKS


def test_with_all_extras_the_page_has_its_files(full_install: Installed) -> None:
    with full_install.serve("antiphon", "up", "--no-servers") as url:
        files = re.findall(r'"(/static/[^"]+)"', fetch(url))

        assert any(name.endswith("js") for name in files)
        assert all(fetch(url + name) for name in files)


def test_with_all_extras_antiphon_is_an_mcp_server_of_its_own(full_install: Installed) -> None:
    missing_servers = full_install.succeed(full_install.python, "-c", OWN_SERVER)

    assert missing_servers == "[]\n"


def test_the_program_of_the_readme_runs(full_install: Installed) -> None:
    (block,) = [each for each in blocks(ROOT / "README.md") if each.language == "python"]

    assert "16:35" in full_install.succeed(full_install.python, "-c", block.text)


def test_uvx_runs_the_wheel_without_an_installation(packages: Packages, tmp_path: Path) -> None:
    command = [programs.uv(), "tool", "run", "--from", f"{packages.wheel}[all]", "antiphon", "up"]
    environ = os.environ | DEMO | {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}

    with serve(*command, "--no-servers", folder=tmp_path, environ=environ) as url:
        assert "<title>" in fetch(url)

"""Hosted tools that MCP servers of the operator provide, used through OpenAI's clients."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.client.four_ways import SETTINGS, serve_in_thread
from tests.support.docs.blocks import ADDRESS, ROOT, every
from tests.support.programs import run_program

PROGRAMS = Path(__file__).parent / "programs"
PACKAGES = Path(__file__).parent / "openai_clients"
CODEX = Path(__file__).parent / "codex"
CLIENTS = ROOT / "requirements/openai-clients.txt"
TOOL_SERVER = ROOT / "tests/support/harness/tool_server.py"
SEARCH_RESULT = json.dumps([{"title": "Bees", "url": "https://bees.example/a"}])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server that searches the web by its MCP server `far`, and yield its address."""
    pytest.importorskip("mcp")
    folder = tmp_path_factory.mktemp("hosted")
    far = ["-I", str(TOOL_SERVER), str(folder / "calls"), SEARCH_RESULT]
    servers = {"far": {"command": sys.executable, "args": far, "backend": True}}
    config = folder / "mcp.json"
    config.write_text(json.dumps({"mcpServers": servers}))
    hosted = ("web_search=far/look",)
    settings = replace(SETTINGS, backend_mcp="configured", config=str(config), hosted_tools=hosted)
    with serve_in_thread(settings) as url:
        yield url


@pytest.mark.slow
def test_the_ai_sdk_searches_the_web(
    npm_packages: Callable[[Path], Path], node: Path, server: str, tmp_path: Path
) -> None:
    (tmp_path / "node_modules").symlink_to(npm_packages(PACKAGES))
    program = tmp_path / "use.mjs"
    program.write_text((PROGRAMS / "use_ai_sdk_search.mjs").read_text())

    output = run_program(tmp_path, node, program, f"{server}/openai/v1")

    assert output == "used\n"


@pytest.mark.soak
def test_the_agents_sdk_searches_the_web(python_with: Callable[[Path], Path], server: str) -> None:
    command = (python_with(CLIENTS), "use_agents_search.py", f"{server}/openai/v1")

    assert run_program(PROGRAMS, *command) == "used\n"


@pytest.mark.soak  # 400 MB to install
def test_codex_searches_the_web_without_the_line_that_turns_it_off(
    npm_packages: Callable[[Path], Path], node: Path, server: str, tmp_path: Path
) -> None:
    (block,) = every("toml", "codex")
    config_text = block.text.replace(ADDRESS, server.removeprefix("http://"))
    config_with_search = config_text.replace('web_search = "disabled"\n', "")
    assert config_with_search != config_text
    (tmp_path / "config.toml").write_text(config_with_search)
    codex = (node, npm_packages(CODEX) / "@openai/codex/bin/codex.js", "exec")
    options = ("--skip-git-repo-check", "--json", "--config", "analytics.enabled=false")
    environ = {"CODEX_HOME": str(tmp_path), "MY_ANTIPHON_KEY": "none"}

    output = run_program(tmp_path, *codex, *options, "Use far__look", **environ)

    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    completed_items = [line["item"] for line in lines if line["type"] == "item.completed"]
    assert "web_search" in [item["type"] for item in completed_items]
    assert "https://bees.example/a" in completed_items[-1]["text"]

"""The recipes with published MCP servers run as their page describes them.

`npx` is a program of the tests that starts the packages of `recipes/package-lock.json`, and nothing
else: a version on the page that is not the pinned one fails. The stand-in for SearXNG answers in
the form of its JSON API.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import pytest

pytest.importorskip("mcp", reason="the extra antiphon[mcp] is not installed")

from tests.support.docs.blocks import ROOT, SECONDS, Block, Machine, blocks, every
from tests.support.programs import write_npx

PAGE = ROOT / "docs/how-to/mcp-recipes.md"
PINNED = Path(__file__).parent / "recipes"
SEARXNG = "http://127.0.0.1:8080"
SEARCH_RESULT = {
    "title": "Bees of Norway",
    "url": "https://bees.example/a",
    "content": "There are 34 bumblebees.",
    "engine": "test",
    "score": 1.0,
}
ANSWERS = {
    "sandbox": ["5050"],
    "search": ["https://bees.example/a"],
    "files": ["Buy honey."],
    "memory": ["Ada", "likes bees"],
}
"""Texts that the answers of each recipe contain."""


def list_recipes() -> dict[str, tuple[Block, Block]]:
    """Return the configuration and the commands of each recipe, by the name of its server."""
    marked_blocks = [block for block in blocks(PAGE) if block.purpose == "mcp_servers"]
    pairs = zip(marked_blocks[::2], marked_blocks[1::2], strict=True)
    return {
        next(iter(json.loads(config.text)["mcpServers"])): (config, run) for config, run in pairs
    }


RECIPES = list_recipes()


class SearXNG(BaseHTTPRequestHandler):
    """A search engine that finds one page."""

    def do_GET(self) -> None:
        assert self.path.startswith("/search?")
        body = json.dumps({"query": "bees", "results": [SEARCH_RESULT]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def serve_searxng() -> Generator[str]:
    """Run the stand-in; yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SearXNG) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def machine(npm_packages: Callable[[Path], Path], tmp_path: Path) -> Iterator[Machine]:
    """A newcomer's machine, with `npx` of the pinned packages."""
    machine = Machine(tmp_path)
    write_npx(tmp_path / ".programs/npx", PINNED, npm_packages(PINNED))
    yield machine
    machine.stop()


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_with_a_server_of_npm_answers(machine: Machine, tmp_path: Path, name: str) -> None:
    config, commands = RECIPES[name]
    with serve_searxng() as url:
        (tmp_path / "servers.json").write_text(config.text.replace(SEARXNG, url))
        completed = machine.run("bash", "-euc", commands.text)

    assert completed.returncode == 0, completed.stdout
    assert all(answer in completed.stdout for answer in ANSWERS[name]), completed.stdout


@pytest.mark.slow
def test_openai_clients_search_and_run_code_by_the_servers_of_the_recipes(
    machine: Machine, tmp_path: Path
) -> None:
    (block,) = [block for block in blocks(PAGE) if block.purpose == "hosted_tools"]
    folder = tmp_path / ".config/antiphon"
    folder.mkdir(parents=True)
    servers = {
        name: {**json.loads(RECIPES[name][0].text)["mcpServers"][name], "backend": True}
        for name in ("search", "sandbox")
    }
    servers_file = folder / "servers.json"
    settings = block.text.replace("/etc/antiphon/servers.json", str(servers_file))
    (folder / "antiphon.toml").write_text(settings)
    with serve_searxng() as url:
        servers_file.write_text(json.dumps({"mcpServers": servers}).replace(SEARXNG, url))
        log = machine.serve("antiphon serve --model demo")
        search_items = ask(machine, "web_search", "Use search__searxng_web_search for bees")
        code_items = ask(machine, "code_interpreter", 'Use sandbox__bash with "expr 60 + 7"')

    assert "web_search_call" in [item["type"] for item in search_items], log
    assert "https://bees.example/a" in json.dumps(search_items)
    assert "code_interpreter_call" in [item["type"] for item in code_items]
    assert "67" in json.dumps(code_items[-1]["content"])


def test_programs_start_antiphon_as_their_mcp_server_by_the_configuration_of_its_page(
    machine: Machine, tmp_path: Path
) -> None:
    (block,) = every("json", "served")
    (tmp_path / "servers.json").write_text(block.text)

    completed = machine.run("antiphon", "mcp", "test", "--config", "servers.json")

    assert completed.returncode == 0, completed.stdout
    assert "antiphon: ready" in completed.stdout
    assert "tools: ask, list_assistants, list_threads, read_thread" in completed.stdout


def ask(machine: Machine, tool: str, question: str) -> list[dict[str, object]]:
    """Return the items of a response to the question, with this hosted tool.

    A server that is still starting is left out, so repeat the request until the tool is offered.
    """
    request: dict[str, object] = {"model": "demo", "input": question, "tools": [{"type": tool}]}
    if tool == "code_interpreter":
        request["tools"] = [{"type": tool, "container": {"type": "auto"}}]
    deadline = time.monotonic() + SECONDS
    while True:
        response = httpx2.post(f"{machine.url}/openai/v1/responses", json=request, timeout=SECONDS)
        assert response.status_code == 200, response.text
        items: list[dict[str, object]] = response.json()["output"]
        if len(items) > 1 or time.monotonic() > deadline:
            return items


def test_the_lock_file_names_no_address_of_packages() -> None:
    lock = (PINNED / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 100

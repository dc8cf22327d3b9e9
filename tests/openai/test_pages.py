"""Every program on the pages about OpenAI's clients runs with that client.

The word after the language of a block names the environment that it needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.client.four_ways import SETTINGS, serve_in_thread
from tests.support.docs.blocks import ADDRESS, ROOT, Block, every
from tests.support.programs import run_program

REQUIREMENTS = {"openai": "openai-clients.txt", "llamaindex": "llama-index.txt"}
PACKAGES = Path(__file__).parent / "openai_clients"
CODEX = Path(__file__).parent / "codex"
PYTHON = [
    *every("python", "openai"),
    # It takes as long as all others together.
    *(pytest.param(each, marks=pytest.mark.soak) for each in every("python", "llamaindex")),
]
ANSWER = "16:35"
"""In the answer of each program: its tool was called, and the model has seen the output."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve_in_thread(SETTINGS) as url:
        yield url.removeprefix("http://")


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_a_program_in_python_answers(
    python_with: Callable[[Path], Path], address: str, tmp_path: Path, block: Block
) -> None:
    python = python_with(ROOT / "requirements" / REQUIREMENTS[str(block.purpose)])

    output = run_program(tmp_path, python, "-c", block.text.replace(ADDRESS, address))

    assert ANSWER in output


@pytest.mark.soak  # 400 MB to install
def test_codex_runs_a_command_with_the_configuration_of_its_page(
    npm_packages: Callable[[Path], Path], node: Path, address: str, tmp_path: Path
) -> None:
    (block,) = every("toml", "codex")
    home, folder = tmp_path / "codex", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    (home / "config.toml").write_text(block.text.replace(ADDRESS, address))
    codex = (node, npm_packages(CODEX) / "@openai/codex/bin/codex.js")
    options = ("--skip-git-repo-check", "--json", "--sandbox", "danger-full-access")
    options += ("--config", "analytics.enabled=false")
    environ = {"CODEX_HOME": str(home), "MY_ANTIPHON_KEY": "none"}

    question = 'Use exec_command with "echo it-rains > weather; cat weather"'
    output = run_program(folder, *codex, "exec", *options, question, **environ)

    assert (folder / "weather").read_text() == "it-rains\n"
    *_, answer, end = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert "it-rains" in answer["item"]["text"]
    assert end["type"] == "turn.completed"


@pytest.mark.slow
@pytest.mark.parametrize("block", every("js", "openai"), ids=str)
def test_a_program_in_javascript_answers(
    npm_packages: Callable[[Path], Path], node: Path, address: str, tmp_path: Path, block: Block
) -> None:
    (tmp_path / "node_modules").symlink_to(npm_packages(PACKAGES))
    (tmp_path / "program.mjs").write_text(block.text.replace(ADDRESS, address))

    output = run_program(tmp_path, node, "program.mjs")

    assert ANSWER in output

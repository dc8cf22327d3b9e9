"""Clients of OpenAI's API for Node, before a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.client.four_ways import SETTINGS, serve_in_thread
from tests.support.programs import run_program

PROGRAMS = Path(__file__).parent / "programs"
PACKAGES = Path(__file__).parent / "openai_clients"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serve_in_thread(SETTINGS) as url:
        yield url


@pytest.fixture
def folder(npm_packages: Callable[[Path], Path], tmp_path: Path) -> Path:
    """Return a folder with the programs and the packages that they import."""
    (tmp_path / "node_modules").symlink_to(npm_packages(PACKAGES))
    for program in PROGRAMS.glob("*.mjs"):
        (tmp_path / program.name).write_text(program.read_text())
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        "use_openai_node.mjs",
        "use_responses_node.mjs",
        "use_conversations_node.mjs",
        "use_ai_sdk.mjs",
        "use_ai_sdk_responses.mjs",
    ],
)
def test_a_client_does_all_that_it_can(node: Path, server: str, folder: Path, program: str) -> None:
    output = run_program(folder, node, program, f"{server}/openai/v1")

    assert output.splitlines()[-1] == "used"

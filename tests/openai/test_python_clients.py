"""Python clients of OpenAI's API, each in an environment of its own, before a real server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antiphon.client.sync_client import Client
from tests.support.client.four_ways import SETTINGS, serve_in_thread
from tests.support.programs import run_program

PROGRAMS = Path(__file__).parent / "programs"
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
CLIENTS = REQUIREMENTS / "openai-clients.txt"
OLDEST = REQUIREMENTS / "openai-client-old.txt"
LLAMA_INDEX = REQUIREMENTS / "llama-index.txt"

LLM_COMPLY = "import sys; from llm_comply.cli import main; sys.exit(main())"
ONE_LOOP = (
    *("--asyncio-mode", "auto"),
    *("--override-ini", "asyncio_default_test_loop_scope=session"),
    *("--override-ini", "asyncio_default_fixture_loop_scope=session"),
)
"""LangChain keeps connections from one test to the next."""
ASSISTANTS = ("demo-too", "gpt-5-demo")
"""Names of models: another one, and one that judges expect to think."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Start a server that has assistants, and yield its address."""
    with serve_in_thread(SETTINGS) as url:
        with Client(url) as client:
            for name in ASSISTANTS:
                client.create_assistant(name=name, model="demo")
        yield url


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    ["use_openai_python.py", "use_responses_python.py", "use_conversations_python.py"],
)
@pytest.mark.parametrize(
    ("requirements", "version"), [(CLIENTS, "3."), (OLDEST, "1.66.2")], ids=["newest", "oldest"]
)
def test_openai_python_does_all_that_it_can(
    python_with: Callable[[Path], Path],
    server: str,
    requirements: Path,
    version: str,
    program: str,
) -> None:
    output = run_program(PROGRAMS, python_with(requirements), program, f"{server}/openai/v1")

    assert output.startswith(f"used {version}")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("requirements", "program", "arguments"),
    [
        (CLIENTS, "use_pydantic_ai.py", ["chat"]),
        (CLIENTS, "use_pydantic_ai.py", ["responses"]),
        (CLIENTS, "use_agents_chat.py", []),
        (CLIENTS, "use_agents_responses.py", []),
        (LLAMA_INDEX, "use_llama_index.py", ["chat"]),
        (LLAMA_INDEX, "use_llama_index.py", ["responses"]),
    ],
)
def test_a_framework_does_all_that_it_can(
    python_with: Callable[[Path], Path],
    server: str,
    requirements: Path,
    program: str,
    arguments: list[str],
) -> None:
    command = (python_with(requirements), program, f"{server}/openai/v1", *arguments)

    assert run_program(PROGRAMS, *command) == "used\n"


@pytest.mark.slow
@pytest.mark.parametrize("api", [pytest.param("chat", marks=pytest.mark.soak), "responses"])
def test_langchain_finds_a_chat_model_that_keeps_its_rules(
    python_with: Callable[[Path], Path], server: str, api: str
) -> None:
    plain_options = ("-c", os.devnull, "--noconftest", "-p", "no:cacheprovider")
    suite = (
        python_with(CLIENTS),
        "-m",
        "pytest",
        "-q",
        *plain_options,
        *ONE_LOOP,
        "langchain_standard.py",
    )

    output = run_program(PROGRAMS, *suite, OPENAI_BASE_URL=f"{server}/openai/v1", USED_API=api)

    assert " passed" in output


@pytest.mark.slow
@pytest.mark.parametrize(("api", "tests"), [("openai-chat", 9), ("open-responses", 13)])
def test_llm_comply_finds_nothing_wrong(
    python_with: Callable[[Path], Path], server: str, api: str, tests: int
) -> None:
    judge = (python_with(CLIENTS), "-c", LLM_COMPLY, "--format", api)
    model = ("--base-url", f"{server}/openai/v1", "--api-key", "none", "--model", "gpt-5-demo")
    # The judge does not know two events of its own copy of the specification.
    ignored = ("--ignore", "response.reasoning_summary_text")

    output = run_program(PROGRAMS, *judge, *model, *ignored)

    assert f"All {tests} tests passed!" in output
    assert "warning" not in output


@pytest.mark.slow
def test_llm_comply_finds_nothing_wrong_with_responses(
    python_with: Callable[[Path], Path], server: str
) -> None:
    """The judge has older names of these two events; its own specification has ours."""
    ignored_error = "unknown SSE event type: response.reasoning_summary_text."
    judge = (python_with(CLIENTS), "-c", LLM_COMPLY, "--format", "open-responses")
    model = ("--base-url", f"{server}/openai/v1", "--api-key", "none", "--model", "gpt-5-demo")

    output = run_program(PROGRAMS, *judge, *model, "--ignore", ignored_error)

    assert "All 13 tests passed!" in output
    assert "warning" not in output

"""Everything that the documentation tells a newcomer to run, run as a newcomer would."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from antiphon.api.operations import OPERATIONS, SearchHit
from antiphon.cli import command_names, main
from antiphon.client.sync_client import Client
from antiphon.settings.settings import TABLE
from antiphon.types.runs import Deadlines, McpServer
from tests.support.docs.blocks import PAGES, ROOT, Block, Machine, blocks, every, exchanges, like

EXAMPLES = sorted(
    path.name
    for path in (ROOT / "examples").glob("*.py")
    if path.name not in ("first_run.py", "hello.py")  # `make run`, which starts its own server
)
SHELL = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.stop()


def find_example(name: str) -> str:
    return str(ROOT / "examples" / name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_runs_in_one_process_without_a_network(machine: Machine, name: str) -> None:
    completed = machine.python(find_example(name))

    assert completed.returncode == 0, completed.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_runs_against_a_server(machine: Machine, name: str) -> None:
    machine.serve()

    completed = machine.python(find_example(name), environ={"ANTIPHON_SERVER": machine.url})

    assert completed.returncode == 0, completed.stdout


def test_the_first_conversation_runs_against_a_server(machine: Machine) -> None:
    machine.serve()

    completed = machine.python(find_example("hello.py"), machine.url)

    assert completed.returncode == 0, completed.stdout
    assert "turn.ended: completed" in completed.stdout


def find_steps(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"(?m)^\[ ?(\d+)[\].]", text)]


def test_the_turn_protocol_shows_its_sixteen_steps_in_order(machine: Machine) -> None:
    completed = machine.python(find_example("turn_protocol.py"))

    assert find_steps(completed.stdout) == list(range(1, 17))


@SHELL
def test_curl_takes_the_same_sixteen_steps(machine: Machine) -> None:
    machine.serve()

    completed = machine.run("bash", find_example("turn_protocol.sh"), machine.url)

    assert completed.returncode == 0, completed.stdout
    assert find_steps(completed.stdout) == list(range(1, 17))


def test_the_web_chat_shows_its_twenty_four_steps_in_order(machine: Machine) -> None:
    completed = machine.python(find_example("web_chat.py"))

    numbers = [
        int(number)
        for number in re.findall(r"(?:^\[|[:,] )(\d+)\. ", completed.stdout, re.MULTILINE)
    ]
    assert numbers == list(range(1, 25))


@pytest.mark.parametrize("block", every("python", "run"), ids=str)
def test_every_python_block_runs(machine: Machine, block: Block) -> None:
    completed = machine.python("-c", block.text)

    assert completed.returncode == 0, completed.stdout


@pytest.mark.parametrize("block", every("python", "test"), ids=str)
def test_every_block_of_tests_passes(machine: Machine, tmp_path: Path, block: Block) -> None:
    file = tmp_path / "test_block.py"
    file.write_text(block.text, "utf-8")

    completed = machine.run(
        sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), str(file)
    )

    assert completed.returncode == 0, completed.stdout


@SHELL
@pytest.mark.parametrize("block", every("bash", "run"), ids=str)
def test_every_shell_block_runs(machine: Machine, block: Block) -> None:
    machine.serve()

    completed = machine.run("bash", "-euc", machine.real(block.text))

    assert completed.returncode == 0, completed.stdout
    assert '"status":"failed"' not in completed.stdout
    assert '"type":"/problems/' not in completed.stdout  # curl takes a refusal for an answer


@SHELL
@pytest.mark.parametrize(
    "page", sorted({block.page for block in every("console", "run")}), ids=lambda page: page.stem
)
def test_every_console_says_what_the_page_says(machine: Machine, page: Path) -> None:
    for block in blocks(page):
        match block.language, block.purpose:
            case "console", "serve":
                (exchange,) = exchanges(block)
                assert like(machine.serve(exchange.command)) == like(exchange.output), str(block)
            case "console", "run":
                for exchange in exchanges(block):
                    output = machine.type(exchange.command)
                    assert like(output) == like(exchange.output), f"{block}: {exchange.command}"
                    machine.learn(exchange.output, output)
            case _:
                pass


def list_commands() -> Iterator[tuple[str, list[str]]]:
    """Yield place and words of each `antiphon ...` in a block for a shell or in backquotes."""
    for page in PAGES:
        lines = re.findall(r"`((?:[A-Z_]+=\S+ )*antiphon [^`\n]+)`", page.read_text("utf-8"))
        for block in blocks(page):
            if block.language == "console":
                lines += [exchange.command for exchange in exchanges(block)]
            elif block.language in ("sh", "bash"):
                lines += block.text.splitlines()
        for line in lines:
            if match := re.match(r"(?:[A-Z_]+=\S+ +)*(?:\.venv/bin/)?antiphon +(.+)", line):
                yield f"{page.relative_to(ROOT)}: {line}", shlex.split(match[1], comments=True)


def list_flags(words: list[str], capsys: pytest.CaptureFixture[str]) -> set[str]:
    assert main.main([*words, "--help"]) == 0
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", capsys.readouterr().out))


COMMANDS_WITH_ACTIONS = (
    "keys",
    "mcp",
    "memory",
    "owners",
    "people",
    "projects",
    "provider-keys",
    "schedules",
    "skills",
    "threads",
    "webhooks",
)
"""Commands that have actions, each with flags of its own."""


def test_every_command_that_is_written_down_exists(capsys: pytest.CaptureFixture[str]) -> None:
    known_flags: dict[tuple[str, ...], set[str]] = {}
    for place, words in list_commands():
        name = words[0]
        if name in ("COMMAND", "--version", "--help"):
            continue
        assert name in command_names.COMMANDS, place
        has_action = name in COMMANDS_WITH_ACTIONS and len(words) > 1
        command = tuple(words[: 2 if has_action else 1])
        if command not in known_flags:
            known_flags[command] = list_flags(list(command), capsys)
        end_indexes = [words.index(end) for end in ("|", "--") if end in words]
        end_index = min(end_indexes, default=len(words))
        used_flags = {
            word.partition("=")[0] for word in words[:end_index] if re.match(r"--?[a-z]", word)
        }
        assert used_flags <= known_flags[command], place


def test_every_variable_that_is_written_down_is_a_setting() -> None:
    known_variables = {setting.variable for setting in TABLE.values()}

    mentioned_variables = {
        (str(page.relative_to(ROOT)), name)
        for page in PAGES
        for name in re.findall(r"\bANTIPHON_[A-Z_]+\b", page.read_text("utf-8"))
    }

    assert {name for _, name in mentioned_variables} <= known_variables, sorted(mentioned_variables)


@pytest.fixture(scope="module")
def make() -> ModuleType:
    """Load the program `docs/reference/make.py`."""
    file = ROOT / "docs/reference/make.py"
    spec = importlib.util.spec_from_file_location("reference", file)
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    return make


def test_the_generated_parts_of_the_pages_are_up_to_date(make: ModuleType) -> None:
    outdated = [
        str(page.relative_to(ROOT))
        for page in PAGES
        if make.current(text := page.read_text("utf-8")) != text
    ]

    assert not outdated, f"python docs/reference/make.py brings up to date: {outdated}"


def test_the_reference_has_every_method_of_the_client_that_is_an_operation(
    make: ModuleType,
) -> None:
    operation_names = {
        re.sub(r"(?<!^)(?=[A-Z])", "_", call.__name__).lower() for call in OPERATIONS
    }
    methods = {name for name in operation_names if hasattr(Client, name)}

    text = "".join([*make.methods(), *make.loops()])
    documented = set(re.findall(r"^(?:\| |### )`(\w+)\(", text, re.MULTILINE))

    assert methods - documented == set()
    assert len(methods) > 100


@pytest.mark.parametrize("kind", [SearchHit, Deadlines, McpServer])
def test_a_type_of_the_api_that_the_reference_leaves_out_is_named(
    make: ModuleType, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    other_records = tuple(each for each in make.RECORDS if each is not kind)
    assert len(other_records) == len(make.RECORDS) - 1
    monkeypatch.setattr(make, "RECORDS", other_records)

    with pytest.raises(LookupError, match=f"{kind.__name__} is in the HTTP API: add it to RECORDS"):
        [*make.calls(), *make.records()]


def test_the_pages_for_newcomers_lead_from_one_to_the_next() -> None:
    index = ROOT / "docs/README.md"
    section = index.read_text().partition("## Start here\n")[2].partition("\n## ")[0]
    path = re.findall(r"(?m)^\d+\. \[([^\]]+)\]\(([^)]+)\)", section)
    pages = [(index.parent / page).resolve() for _, page in path]

    assert len(path) == 11
    for page, following, (title, _) in zip(pages, pages[1:], path[1:], strict=False):
        *_, last = page.read_text().splitlines()
        link = re.fullmatch(r"Next page: \[([^\]]+)\]\(([^)]+)\)", last)
        assert link, f"{page.name} does not end with a link to the next page"
        assert (link[1], (page.parent / link[2]).resolve()) == (title, following)

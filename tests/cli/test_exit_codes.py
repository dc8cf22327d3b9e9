"""Every command ends with a code of the table, and the table has no other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from inspect import cleandoc

import pytest

from antiphon.cli import ask, exit_codes
from antiphon.cli.command_names import COMMANDS
from antiphon.cli.exit_codes import MEANINGS
from tests.support.cli.place import SECONDS, Place
from tests.support.cli.scripted_upstream import Upstream

UNREACHABLE = ("--server", "http://127.0.0.1:9")

CODES = [
    (0, ("ask", "-q", "Hello")),
    (0, ("chat", "-p", "Hello")),
    (0, ("config",)),
    (1, ("ask", "-q", "Hello", *UNREACHABLE)),
    (1, ("threads", "show", "thread_none")),
    (1, ("keys", "revoke", "key_none")),
    (1, ("mcp", "test", "none")),
    (2, ("ask",)),
    (2, ("ask", "--file", "/nowhere", "Hello")),
    (2, ("threads", "list", "--limit", "x")),
    (2, ("nothing",)),
    (3, ("ask", "-q", "--max-turns", "1", "--tools", "antiphon.tools.samples", "Flight times")),
    (5, ("ask", "-q", "--model", "nope:x", "Hello")),
    (5, ("serve", "--host", "0.0.0.0")),
    (5, ("migrate", "--from", "sqlite:////nowhere.db", "--to", "sqlite:////nowhere2.db")),
    (6, ("ask", "-q", "--require", "git", "Hello")),
]


@pytest.mark.parametrize(("code", "words"), CODES, ids=str)
def test_a_command_ends_with_the_code_of_the_table(
    place: Place, code: int, words: tuple[str, ...]
) -> None:
    result = place.run(*words)

    assert result.returncode == code, result.stderr
    assert code in MEANINGS


@pytest.mark.parametrize(
    ("code", "status"), [(0, 200), (1, 400), (5, 401)], ids=["answered", "rejected", "no key"]
)
def test_a_chat_in_a_pipe_ends_as_ask_does(
    place: Place, upstream: Upstream, code: int, status: int
) -> None:
    upstream.status = status
    upstream.text("Four.")
    model_flags = ("--base-url", upstream.url, "--model", "m")

    ask_result = place.run("ask", *model_flags, "2+2?")
    chat_result = place.run("chat", *model_flags, stdin="2+2?\n")

    assert (ask_result.returncode, chat_result.returncode) == (code, code), chat_result.stdout


def test_a_chat_in_a_pipe_goes_on_after_a_failure_and_ends_with_its_code(place: Place) -> None:
    lines = "/model nope:x\nHello\n"

    result = place.run("chat", stdin=lines)

    assert result.returncode == 5
    assert "There is no provider for the model" in result.stdout
    assert "demo model" in result.stdout


def test_a_chat_in_a_pipe_whose_answer_is_cut_ends_with_3(place: Place) -> None:
    tools = ("--tools", "antiphon.tools.samples", "--max-turns", "1")

    result = place.run("chat", *tools, stdin="Flight times\n")

    assert result.returncode == 3
    assert "(max_turns)" in result.stdout


@pytest.mark.parametrize("command", [("ask", "Hello"), ("chat", "-p", "Hello"), ("mcp", "serve")])
def test_a_tool_that_no_model_can_call_is_reported_with_its_place(
    place: Place, command: tuple[str, ...]
) -> None:
    file = place.root / "weather.py"
    file.write_text("from antiphon import tool\n\n\n@tool\ndef weather(place: object): ...\n")

    result = place.run(*command, "--tools", str(file))

    assert result.returncode == 5
    assert f"weather ({file}, line 4) cannot be a tool: The parameter `place`" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["serve", "up"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_a_signal_ends_in_order_ends_with_0(
    place: Place, command: str, number: signal.Signals
) -> None:
    with place.start(command, "--port", "0", stderr=subprocess.PIPE) as server:
        assert server.stderr is not None
        addresses = (
            line for line in server.stderr if b"listening on" in line or b"http://" in line
        )
        assert next(addresses)
        server.send_signal(number)
        server.communicate(timeout=SECONDS)

    assert server.returncode == 0


def exit_code_without_reader(place: Place, words: tuple[str, ...], *streams: str) -> int:
    """Return the exit code of a command whose `streams` are one pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    outputs = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    outputs |= dict.fromkeys(streams, writing)
    try:
        # Output that is held back until the end has to be noticed as well.
        with place.start(*words, environ={"PYTHONUNBUFFERED": ""}, **outputs) as process:
            process.communicate(timeout=SECONDS)
    finally:
        os.close(writing)
    return process.returncode


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_where_its_reader_has_left(place: Place, command: str) -> None:
    assert exit_code_without_reader(place, (command, "--help"), "stdout") == 141


COMMANDS_WITH_OUTPUT = [
    ("trust", "--yes"),
    ("trust", "--list"),
    ("threads", "list"),
    ("threads", "list", "--search", "nothing"),
    ("mcp", "list"),
    ("mcp", "test"),
    ("keys", "list"),
    ("projects", "list"),
    ("people", "list"),
    ("owners", "list"),
    ("provider-keys", "list"),
    ("audit",),
    ("models",),
    ("config",),
    ("doctor",),
    ("migrate",),
    ("backup", "copy.db"),
    ("completion", "bash"),
    ("ask", "Hello"),
    ("chat", "-p", "Hello"),
]


@pytest.mark.parametrize("words", COMMANDS_WITH_OUTPUT, ids=" ".join)
def test_a_command_ends_where_nobody_reads_what_it_says(
    place: Place, words: tuple[str, ...]
) -> None:
    (place.root / "antiphon.toml").write_text("max_parallel_tools = 2\n")
    place.run("trust", "--yes")
    place.run("ask", "Hello")
    (place.root / "antiphon.toml").write_text('theme = "dark"\n')

    both_streams = exit_code_without_reader(place, words, "stdout", "stderr")
    (place.root / "copy.db").unlink(missing_ok=True)
    stderr_alone = exit_code_without_reader(place, words, "stderr")

    assert (both_streams, stderr_alone) == (141, 0)


def test_a_fault_that_nobody_reads_keeps_its_code(place: Place) -> None:
    assert exit_code_without_reader(place, ("nothing",), "stdout", "stderr") == 2


def test_the_table_has_every_code_that_the_module_names() -> None:
    codes = {
        value
        for name, value in vars(exit_codes).items()
        if name.isupper() and isinstance(value, int) and name != "BY_SIGNAL"
    }

    assert codes <= set(MEANINGS)
    assert {code for code in MEANINGS if code < exit_codes.BY_SIGNAL} == codes


def test_the_help_of_ask_names_the_codes_of_the_table() -> None:
    section = cleandoc(ask.__doc__ or "").partition("Exit codes:")[2]
    codes = {int(code) for code in re.findall(r"(?<!\d)(\d{1,3}) [a-z]", section)}

    assert codes == {
        code for code, (commands, _) in MEANINGS.items() if commands == "all" or "`ask`" in commands
    }

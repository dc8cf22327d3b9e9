"""Without the extras everything else is there, and what needs one says which is missing.

What the extra brings is hidden from the programs before they load anything.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.settings.extras import install_hint
from tests.support.cli.place import Place

EXTRA = (
    *("markdown_it", "prompt_toolkit", "pygments", "wcwidth"),
    *("argon2", "flask", "mcp", "mcp_types", "keyring", "redis", "asyncpg", "cryptography"),
)
HIDDEN = f"import sys\nsys.modules.update(dict.fromkeys({EXTRA!r}))\n"


@pytest.fixture
def bare(tmp_path: Path) -> Place:
    """A place at which the extra is not installed."""
    return Place(tmp_path, missing=EXTRA)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("chat", "--help"),
        ("up", "--help"),
        ("ask", "hello"),
        ("chat", "-p", "hello"),
        ("threads", "list"),
        ("doctor",),
        ("completion", "bash"),
    ],
)
def test_a_command_that_is_no_chat_needs_no_extra(bare: Place, arguments: tuple[str, ...]):
    assert bare.run(*arguments).returncode == 0


@pytest.mark.parametrize("arguments", [(), ("chat",)])
def test_the_chat_says_what_to_install(bare: Place, arguments: tuple[str, ...]):
    ended = bare.run(*arguments)

    assert ended.returncode == 5
    assert install_hint("terminal") in ended.stderr


@pytest.mark.parametrize("arguments", [("up",), ("web", "--server", "http://127.0.0.1:1")])
def test_the_web_chat_says_what_to_install(bare: Place, arguments: tuple[str, ...]):
    ended = bare.run(*arguments)

    assert ended.returncode == 5
    assert install_hint("web") in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_other_wsgi_servers_are_told_what_to_install() -> None:
    command = [sys.executable, "-c", HIDDEN + "import antiphon.web.wsgi"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert install_hint("web") in ended.stderr


def test_a_page_is_exported_with_its_markdown_as_it_was_written(bare: Place):
    bare.run("ask", "hello")

    page = bare.run("threads", "export", "last", "--format", "html")

    assert "**demo model**" in page.stdout


def test_a_password_says_what_to_install(bare: Place):
    command = ("people", "add", "Ann", "--password-stdin")
    ended = bare.run(*command, stdin="correct horse battery\n")

    assert ended.returncode != 0
    assert install_hint("web") in ended.stderr
    assert bare.run("people", "list").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("ask", "--redis", "redis://127.0.0.1:9", "hello"), "redis"),
        (("doctor", "--redis", "redis://127.0.0.1:9"), "redis"),
        (("ask", "--database", "postgresql://u@127.0.0.1:9/x", "hello"), "postgres"),
        (("migrate", "--database", "postgresql://u@127.0.0.1:9/x"), "postgres"),
        (("provider-keys", "secret"), "secrets"),
        (("mcp", "serve"), "mcp"),
        (("serve", "--port", "0", "--backend-mcp", "configured"), "mcp"),
    ],
    ids=" ".join,
)
def test_a_command_says_which_extra_it_needs(bare: Place, arguments: tuple[str, ...], extra: str):
    ended = bare.run(*arguments)

    assert ended.returncode in (1, 5)
    assert install_hint(extra) in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_server_is_written_down_and_it_is_said_what_starts_it(bare: Place):
    added = bare.run("mcp", "add", "time", "--", "true")
    listed = bare.run("mcp", "list")
    removed = bare.run("mcp", "remove", "time")

    assert (added.returncode, listed.returncode, removed.returncode) == (0, 0, 0)
    for told in (added, listed):
        assert told.stderr.count(install_hint("mcp")) == 1
    assert "pip install" not in removed.stderr


@pytest.mark.parametrize("arguments", [("mcp", "test"), ("mcp", "list", "--test"), ("doctor",)])
def test_what_looks_at_servers_says_what_starts_them(bare: Place, arguments: tuple[str, ...]):
    bare.run("mcp", "add", "time", "--", "true")

    told = bare.run(*arguments)

    assert (told.stdout + told.stderr).count(install_hint("mcp")) == 1


def test_a_secret_of_a_keyring_says_what_reads_it(bare: Place):
    bare.run("mcp", "add", "time", "--env", "KEY=${keyring:service/name}", "--", "true")

    told = bare.run("mcp", "test")

    assert told.returncode == 1
    assert "service/name" in told.stdout
    assert install_hint("keyring") in told.stdout

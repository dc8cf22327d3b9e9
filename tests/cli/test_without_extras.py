"""Without the extras everything else works, and what needs an extra names the missing one.

The modules of the extras are hidden from the programs before they load anything.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.settings.extras import install_hint
from tests.support.cli.place import Place

MISSING = (
    *("markdown_it", "prompt_toolkit", "pygments", "wcwidth"),
    *("argon2", "flask", "mcp", "mcp_types", "keyring", "redis", "asyncpg", "cryptography"),
)
HIDDEN = f"import sys\nsys.modules.update(dict.fromkeys({MISSING!r}))\n"


@pytest.fixture
def bare_place(tmp_path: Path) -> Place:
    """Return a place where no extra is installed."""
    return Place(tmp_path, missing=MISSING)


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
def test_a_command_that_is_no_chat_needs_no_extra(bare_place: Place, arguments: tuple[str, ...]):
    assert bare_place.run(*arguments).returncode == 0


@pytest.mark.parametrize("arguments", [(), ("chat",)])
def test_the_chat_says_what_to_install(bare_place: Place, arguments: tuple[str, ...]):
    result = bare_place.run(*arguments)

    assert result.returncode == 5
    assert install_hint("terminal") in result.stderr


@pytest.mark.parametrize("arguments", [("up",), ("web", "--server", "http://127.0.0.1:1")])
def test_the_web_chat_says_what_to_install(bare_place: Place, arguments: tuple[str, ...]):
    result = bare_place.run(*arguments)

    assert result.returncode == 5
    assert install_hint("web") in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_other_wsgi_servers_are_told_what_to_install() -> None:
    command = [sys.executable, "-c", HIDDEN + "import antiphon.web.wsgi"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert install_hint("web") in result.stderr


def test_a_page_is_exported_with_its_markdown_as_it_was_written(bare_place: Place):
    bare_place.run("ask", "hello")

    page = bare_place.run("threads", "export", "last", "--format", "html")

    assert "**demo model**" in page.stdout


def test_a_password_says_what_to_install(bare_place: Place):
    command = ("people", "add", "Ann", "--password-stdin")
    result = bare_place.run(*command, stdin="correct horse battery\n")

    assert result.returncode != 0
    assert install_hint("web") in result.stderr
    assert bare_place.run("people", "list").returncode == 0


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
def test_a_command_says_which_extra_it_needs(
    bare_place: Place, arguments: tuple[str, ...], extra: str
):
    result = bare_place.run(*arguments)

    assert result.returncode in (1, 5)
    assert install_hint(extra) in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_is_written_down_and_it_is_said_what_starts_it(bare_place: Place):
    addition = bare_place.run("mcp", "add", "time", "--", "true")
    listing = bare_place.run("mcp", "list")
    removal = bare_place.run("mcp", "remove", "time")

    assert (addition.returncode, listing.returncode, removal.returncode) == (0, 0, 0)
    for result in (addition, listing):
        assert result.stderr.count(install_hint("mcp")) == 1
    assert "pip install" not in removal.stderr


@pytest.mark.parametrize("arguments", [("mcp", "test"), ("mcp", "list", "--test"), ("doctor",)])
def test_what_looks_at_servers_says_what_starts_them(bare_place: Place, arguments: tuple[str, ...]):
    bare_place.run("mcp", "add", "time", "--", "true")

    result = bare_place.run(*arguments)

    assert (result.stdout + result.stderr).count(install_hint("mcp")) == 1


def test_a_secret_of_a_keyring_says_what_reads_it(bare_place: Place):
    bare_place.run("mcp", "add", "time", "--env", "KEY=${keyring:service/name}", "--", "true")

    result = bare_place.run("mcp", "test")

    assert result.returncode == 1
    assert "service/name" in result.stdout
    assert install_hint("keyring") in result.stdout

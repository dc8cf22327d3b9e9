"""Without the extras everything else is there, and what needs one says which is missing.

What the extra brings is hidden from the programs by a module that Python loads as it starts.
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
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which the extra is not installed."""
    folder = tmp_path / "hiding"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDDEN)
    return {"PYTHONPATH": str(folder)}


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
def test_a_command_that_is_no_chat_needs_no_extra(
    place: Place, bare: dict[str, str], arguments: tuple[str, ...]
):
    assert place.run(*arguments, environ=bare).returncode == 0


@pytest.mark.parametrize("arguments", [(), ("chat",)])
def test_the_chat_says_what_to_install(
    place: Place, bare: dict[str, str], arguments: tuple[str, ...]
):
    ended = place.run(*arguments, environ=bare)

    assert ended.returncode == 5
    assert install_hint("terminal") in ended.stderr


@pytest.mark.parametrize("arguments", [("up",), ("web", "--server", "http://127.0.0.1:1")])
def test_the_web_chat_says_what_to_install(
    place: Place, bare: dict[str, str], arguments: tuple[str, ...]
):
    ended = place.run(*arguments, environ=bare)

    assert ended.returncode == 5
    assert install_hint("web") in ended.stderr
    assert "Traceback" not in ended.stderr


def test_other_wsgi_servers_are_told_what_to_install(bare: dict[str, str]) -> None:
    command = [sys.executable, "-c", "import antiphon.web.wsgi"]
    ended = subprocess.run(command, env=bare, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert install_hint("web") in ended.stderr


def test_a_page_is_exported_with_its_markdown_as_it_was_written(place: Place, bare: dict[str, str]):
    place.run("ask", "hello", environ=bare)

    page = place.run("threads", "export", "last", "--format", "html", environ=bare)

    assert "**demo model**" in page.stdout


def test_a_password_says_what_to_install(place: Place, bare: dict[str, str]):
    command = ("people", "add", "Ann", "--password-stdin")
    ended = place.run(*command, stdin="correct horse battery\n", environ=bare)

    assert ended.returncode != 0
    assert install_hint("web") in ended.stderr
    assert place.run("people", "list", environ=bare).returncode == 0


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
    place: Place, bare: dict[str, str], arguments: tuple[str, ...], extra: str
):
    ended = place.run(*arguments, environ=bare)

    assert ended.returncode in (1, 5)
    assert install_hint(extra) in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_server_is_written_down_and_it_is_said_what_starts_it(place: Place, bare: dict[str, str]):
    added = place.run("mcp", "add", "time", "--", "true", environ=bare)
    listed = place.run("mcp", "list", environ=bare)
    removed = place.run("mcp", "remove", "time", environ=bare)

    assert (added.returncode, listed.returncode, removed.returncode) == (0, 0, 0)
    for told in (added, listed):
        assert told.stderr.count(install_hint("mcp")) == 1
    assert "pip install" not in removed.stderr


@pytest.mark.parametrize("arguments", [("mcp", "test"), ("mcp", "list", "--test"), ("doctor",)])
def test_what_looks_at_servers_says_what_starts_them(
    place: Place, bare: dict[str, str], arguments: tuple[str, ...]
):
    place.run("mcp", "add", "time", "--", "true")

    told = place.run(*arguments, environ=bare)

    assert (told.stdout + told.stderr).count(install_hint("mcp")) == 1


def test_a_secret_of_a_keyring_says_what_reads_it(place: Place, bare: dict[str, str]):
    place.run("mcp", "add", "time", "--env", "KEY=${keyring:service/name}", "--", "true")

    told = place.run("mcp", "test", environ=bare)

    assert told.returncode == 1
    assert "service/name" in told.stdout
    assert install_hint("keyring") in told.stdout

"""Without the extras everything else is there, and what needs one says which is missing.

What the extra brings is hidden from the programs by a module that Python loads as it starts.
"""

from pathlib import Path

import pytest
from conftest import Place

EXTRA = ("markdown_it", "prompt_toolkit", "pygments", "wcwidth", "argon2", "flask")
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
    assert "pip install '.[terminal]'" in ended.stderr


@pytest.mark.parametrize("arguments", [("up",), ("web", "--server", "http://127.0.0.1:1")])
def test_the_web_chat_says_what_to_install(
    place: Place, bare: dict[str, str], arguments: tuple[str, ...]
):
    ended = place.run(*arguments, environ=bare)

    assert ended.returncode == 5
    assert "pip install '.[web]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_page_is_exported_with_its_markdown_as_it_was_written(place: Place, bare: dict[str, str]):
    place.run("ask", "hello", environ=bare)

    page = place.run("threads", "export", "last", "--format", "html", environ=bare)

    assert "**demo model**" in page.stdout


def test_a_password_says_what_to_install(place: Place, bare: dict[str, str]):
    command = ("people", "add", "Ann", "--password-stdin")
    ended = place.run(*command, stdin="correct horse battery\n", environ=bare)

    assert ended.returncode != 0
    assert "pip install '.[web]'" in ended.stderr
    assert place.run("people", "list", environ=bare).returncode == 0

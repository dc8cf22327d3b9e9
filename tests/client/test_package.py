"""What `import antiphon` brings, and what it costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import antiphon


@pytest.mark.parametrize("name", antiphon.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(antiphon, name) is getattr(antiphon, name)


def test_type_checkers_are_told_of_the_same_names():
    tree = ast.parse(Path(antiphon.__file__).read_text("utf-8"))
    (told,) = (node for node in tree.body if isinstance(node, ast.If))
    names = [
        name.asname for line in told.body if isinstance(line, ast.ImportFrom) for name in line.names
    ]

    assert sorted(names) == sorted(antiphon.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        antiphon.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("code", "unloaded"),
    [
        ("import antiphon", {"asyncio", "httpx2", "msgspec"}),
        ("from antiphon import Client, tool, TextDelta", {"httpx2", "starlette", "aiohttp"}),
        (
            "import antiphon.cli.main",
            {"antiphon.terminal", "prompt_toolkit", "markdown_it", "pygments"},
        ),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_used(code: str, unloaded: set[str]):
    asked = f"{code}; import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True).stdout

    assert not unloaded & set(loaded.decode().split())

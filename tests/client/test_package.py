"""Names and cost of `import antiphon`."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import antiphon
from antiphon.settings import deprecated


@pytest.mark.parametrize("name", antiphon.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(antiphon, name) is getattr(antiphon, name)


def test_an_editor_completes_the_public_names_alone():
    assert set(dir(antiphon)) == {"__version__", *antiphon.__all__}


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(antiphon.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    names = [
        name.asname
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for name in line.names
    ]

    assert sorted(names) == sorted(antiphon.__all__)


@pytest.mark.parametrize(("old", "new"), deprecated.MODULES.items())
def test_an_old_name_of_a_module_is_the_same_module_and_warns(old: str, new: str):
    sys.modules.pop(old, None)

    with pytest.warns(DeprecationWarning, match=f"{old} is called {new} now"):
        module = importlib.import_module(old)

    assert module is importlib.import_module(new)
    assert module.__spec__ is not None
    assert module.__spec__.name == new


def test_an_old_name_in_the_package_is_the_same_module_and_warns(
    monkeypatch: pytest.MonkeyPatch,
):
    sys.modules.pop("antiphon.calls", None)
    monkeypatch.delitem(vars(antiphon), "calls", raising=False)

    with pytest.warns(DeprecationWarning, match=r"called antiphon\.api\.operations now"):
        assert antiphon.calls is antiphon.operations


@pytest.mark.parametrize(("old", "new"), deprecated.NAMES.items())
def test_an_old_name_of_the_sdk_is_the_new_thing_and_warns(old: str, new: str):
    with pytest.warns(DeprecationWarning, match=f"{old} is called {new} now"):
        assert getattr(antiphon, old) is getattr(antiphon, new)


def test_settings_are_still_found_where_they_were():
    with pytest.warns(DeprecationWarning, match=r"antiphon\.settings\.settings\.Settings now"):
        from antiphon.settings import Settings

    assert Settings is antiphon.Settings


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        antiphon.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("code", "unloaded"),
    [
        ("import antiphon", {"asyncio", "httpx2", "msgspec"}),
        (
            "from antiphon import Client, tool, TextDelta",
            {"httpx2", "starlette", "aiohttp", "importlib.metadata"},
        ),
        (
            "import antiphon.cli.serve",
            {
                "antiphon.client",
                "antiphon.mcp",
                "antiphon.server.openai.routes",
                "antiphon.server.page_wires.routes",
                "antiphon.stores.memory",
                "antiphon.wires.ag_ui",
                "antiphon.wires.ai_sdk",
                "importlib.metadata",
            },
        ),
        (
            "import antiphon.cli.main",
            {"antiphon.terminal", "prompt_toolkit", "markdown_it", "pygments"},
        ),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_used(code: str, unloaded: set[str]):
    program = f"{code}; import sys; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout

    assert not unloaded & set(output.decode().split())

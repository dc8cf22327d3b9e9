"""Tools of a module or file, by its name: found, refused with a reason, closed at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from antiphon.settings.settings import Settings
from antiphon.tools import builtin
from antiphon.tools.functions import Functions, UnfitTool
from antiphon.tools.tool_loading import open_tools
from antiphon.tools.tool_sources import gather_tools
from antiphon.types.errors import BadSettings
from tests.support.cli.place import Place
from tests.support.tools.loaded import load

FILE = """
from __future__ import annotations
import dataclasses
from antiphon import tool

@dataclasses.dataclass
class Point:
    x: int

@tool
def first(p: Point) -> int:
    return p.x

@tool(name="zweite")
async def second() -> str:
    return "2"

def plain() -> str:
    return "3"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "some_tools_of_mine.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("some_tools_of_mine", ["first", "zweite"]),
        ("some_tools_of_mine:plain", ["plain"]),
        ("some_tools_of_mine.py", ["first", "zweite"]),
        ("./some_tools_of_mine.py:plain", ["plain"]),
        ("{folder}/some_tools_of_mine.py", ["first", "zweite"]),
    ],
)
def test_tools_are_loaded_from_modules_and_files(module: Path, spec: str, names: list[str]):
    tools = Functions(load(spec.format(folder=module.parent)))

    assert [each.name for each in tools.specs()] == names


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("no_such_module_here", "ModuleNotFoundError"),
        ("no/such/file.py", "FileNotFoundError"),
        ("some_tools_of_mine:missing", "there is no function missing"),
        ("some_tools_of_mine:Point.x", "cannot be loaded"),
        ("json", "nothing there is marked"),
    ],
)
@pytest.mark.usefixtures("module")
def test_tools_that_cannot_be_loaded_say_why(spec: str, expected: str):
    with pytest.raises(BadSettings, match=expected):
        load(spec)


def test_a_folder_takes_the_place_of_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "colorsys.py").write_text("raise SystemExit('this is the folder's')\n")
    (tmp_path / "own_tools_of_a_folder.py").write_text(
        "import colorsys\nfrom antiphon import tool\n\n@tool\ndef mine() -> None: ...\n"
    )
    monkeypatch.chdir(tmp_path)
    before = [each for each in sys.path if each]
    monkeypatch.setattr(sys, "path", list(before))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)

    load("antiphon.tools.builtin:current_time")
    load("colorsys:rgb_to_hsv")
    assert sys.path == before

    (tool_of_folder,) = load("own_tools_of_a_folder")
    assert tool_of_folder.__name__ == "mine"
    assert sys.path == [*before, str(tmp_path)]


TOOLSET = """
from antiphon import tool
from antiphon.tools.functions import toolset


class Orders:
    def __init__(self, database):
        self.database = database

    @tool
    def find_order(self, number: int) -> str:
        return f"{number} of {self.database}"


@toolset
def tools(settings):
    print("opened for", settings.model)
    yield [Orders("orders.db").find_order]
    print("closed")
"""


def test_a_toolset_is_closed_after_the_block(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "orders.py").write_text(TOOLSET)
    with open_tools([f"{tmp_path}/orders.py"], Settings(model="demo")) as tools:
        (find_order,) = tools
        assert find_order(7) == "7 of orders.db"
        assert capsys.readouterr().out == "opened for demo\n"
    assert capsys.readouterr().out == "closed\n"


def test_a_toolset_is_closed_if_the_next_one_cannot_be_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "orders.py").write_text(TOOLSET)
    specs = [f"{tmp_path}/orders.py", "no_such_module_here"]
    with pytest.raises(BadSettings, match="no_such_module_here"), open_tools(specs, Settings()):
        raise AssertionError("it is opened")
    assert capsys.readouterr().out.endswith("closed\n")


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ("    raise OSError('no line')", "cannot be closed: OSError: no line"),
        ("    yield []", "cannot be closed: RuntimeError: generator didn't stop"),
    ],
)
def test_a_toolset_that_cannot_be_closed_says_why(
    tmp_path: Path, ending: str, expected: str
) -> None:
    (tmp_path / "orders.py").write_text(TOOLSET + ending + "\n")
    with (
        pytest.raises(BadSettings, match=expected),
        open_tools([f"{tmp_path}/orders.py"], Settings()),
    ):
        pass


@pytest.mark.slow
def test_a_question_opens_and_closes_the_toolset_that_it_uses(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "orders.py").write_text(TOOLSET)

    result = place.run("ask", "-q", "--tools", "orders.py", "5 words")

    assert result.returncode == 0, result.stderr
    assert "closed" in result.stderr


SEVERAL = """
from antiphon import tool
from antiphon.tools.functions import toolset


class Catcher:
    def __getattr__(self, name):
        return name


catcher = Catcher()


@toolset
def one(settings):
    def first(): ...
    return [first]


@toolset
def two(settings):
    def second(): ...
    yield [second]
"""


def test_all_toolsets_of_a_file_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "several.py").write_text(SEVERAL)
    with open_tools([f"{tmp_path}/several.py"], Settings()) as tools:
        assert [each.__name__ for each in tools] == ["first", "second"]


def test_a_file_that_ends_the_program_is_reported(tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(9)\n")
    with pytest.raises(BadSettings, match="cannot be loaded: SystemExit: 9"):
        load(f"{tmp_path}/ends.py")


@pytest.mark.parametrize("tools", [load, "shop.py", 3])
def test_tools_come_in_a_list(tools: Any) -> None:
    with pytest.raises(UnfitTool, match="Tools come in a list"):
        gather_tools(tools)


def test_a_toolset_is_no_tool() -> None:
    with pytest.raises(UnfitTool, match="tools is a toolset, which --tools opens"):
        gather_tools([builtin.tools])

"""The file tools: their searches and changes, their questions, and their refusals."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from antiphon.settings.settings import Settings
from antiphon.tools import files
from antiphon.tools.allowed_folders import AllowedFolders
from antiphon.tools.files import tools
from antiphon.tools.functions import Functions
from antiphon.types.errors import AntiphonError
from antiphon.types.messages import ToolCall, ToolResult

CHANGING = {"edit_file", "write_file", "undo_edit"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work/notes.txt").write_text("one\ntwo\nthree\n")
    (tmp_path / "work/sub").mkdir()
    (tmp_path / "work/sub/more.py").write_text("def two():\n    return 2\n")
    (tmp_path / "outside.txt").write_text("secret")
    return tmp_path / "work"


@pytest.fixture
def toolbox(folder: Path) -> Functions:
    return Functions(tools(Settings(allowed_paths=(str(folder),))))


async def call(toolbox: Functions, name: str, /, **arguments: Any) -> ToolResult:
    return await toolbox.call(ToolCall("c1", name, msgspec.json.encode(arguments).decode()))


async def succeed(toolbox: Functions, name: str, /, **arguments: Any) -> str:
    result = await call(toolbox, name, **arguments)
    assert not result.is_error, result.output
    return result.output


async def fail(toolbox: Functions, name: str, /, **arguments: Any) -> str:
    result = await call(toolbox, name, **arguments)
    assert result.is_error, result.output
    return result.output


def test_each_tool_that_changes_something_asks_a_person_and_no_other(toolbox: Functions) -> None:
    assert {tool.spec.name for tool in toolbox.tools() if tool.asks} == CHANGING


async def test_a_text_is_replaced_and_the_answer_is_the_difference(
    toolbox: Functions, folder: Path
) -> None:
    (folder / "notes.txt").chmod(0o640)
    diff = await succeed(
        toolbox, "edit_file", path="notes.txt", old_text="two\n", new_text="2\n2.5\n"
    )

    assert (folder / "notes.txt").read_text() == "one\n2\n2.5\nthree\n"
    assert "-two\n+2\n+2.5" in diff
    assert stat.S_IMODE((folder / "notes.txt").stat().st_mode) == 0o640
    assert sorted(each.name for each in folder.iterdir()) == ["notes.txt", "sub"]


async def test_a_text_that_is_not_there_or_twice_changes_nothing(
    toolbox: Functions, folder: Path
) -> None:
    (folder / "twice.txt").write_text("a\nb\na\n")
    missing = await fail(toolbox, "edit_file", path="notes.txt", old_text="four", new_text="4")
    spaces = await fail(
        toolbox, "edit_file", path="sub/more.py", old_text="def two():\nreturn 2", new_text=""
    )
    twice = await fail(toolbox, "edit_file", path="twice.txt", old_text="a", new_text="c")
    empty = await fail(toolbox, "edit_file", path="twice.txt", old_text="", new_text="c")
    same = await fail(toolbox, "edit_file", path="notes.txt", old_text="one", new_text="one")

    assert "does not contain" in missing
    assert "other spaces" in spaces
    assert "2 times" in twice
    assert "empty" in empty
    assert "the old one" in same
    assert (folder / "twice.txt").read_text() == "a\nb\na\n"
    await succeed(
        toolbox, "edit_file", path="twice.txt", old_text="a", new_text="c", replace_all=True
    )
    assert (folder / "twice.txt").read_text() == "c\nb\nc\n"


async def test_line_ends_of_a_file_stay_as_they_are(toolbox: Functions, folder: Path) -> None:
    (folder / "dos.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    await succeed(toolbox, "edit_file", path="dos.txt", old_text="one\ntwo", new_text="1\n2\n2.5")

    assert (folder / "dos.txt").read_bytes() == b"1\r\n2\r\n2.5\r\nthree\r\n"


async def test_a_file_is_created_with_its_folders_and_never_replaced(
    toolbox: Functions, folder: Path
) -> None:
    await succeed(toolbox, "write_file", path="a/b/c.txt", content="new\n")
    refusal = await fail(toolbox, "write_file", path="notes.txt", content="mine")

    assert (folder / "a/b/c.txt").read_text() == "new\n"
    assert "exists already" in refusal
    assert (folder / "notes.txt").read_text() == "one\ntwo\nthree\n"


async def test_changes_are_taken_back_from_the_last_one_on(
    toolbox: Functions, folder: Path
) -> None:
    await succeed(toolbox, "edit_file", path="notes.txt", old_text="one", new_text="1")
    await succeed(toolbox, "edit_file", path="notes.txt", old_text="two", new_text="2")
    await succeed(toolbox, "write_file", path="new.txt", content="x")

    assert "-2\n+two" in await succeed(toolbox, "undo_edit", path="notes.txt")
    assert (folder / "notes.txt").read_text() == "1\ntwo\nthree\n"
    assert "deleted again" in await succeed(toolbox, "undo_edit", path="new.txt")
    assert not (folder / "new.txt").exists()
    await succeed(toolbox, "undo_edit", path="notes.txt")
    assert (folder / "notes.txt").read_text() == "one\ntwo\nthree\n"
    assert "can be taken back" in await fail(toolbox, "undo_edit", path="notes.txt")


async def test_what_somebody_else_wrote_meanwhile_is_not_undone(
    toolbox: Functions, folder: Path
) -> None:
    await succeed(toolbox, "edit_file", path="notes.txt", old_text="one", new_text="1")
    (folder / "notes.txt").write_text("all new")

    assert "changed meanwhile" in await fail(toolbox, "undo_edit", path="notes.txt")
    assert (folder / "notes.txt").read_text() == "all new"


@pytest.mark.parametrize(
    "path",
    [
        "../outside.txt",
        "/etc/passwd",
        "link.txt",
        "linked/new.txt",
        "sub",
        "",
        ".git/hooks/x",
        "a\0b",
    ],
)
async def test_nothing_outside_and_nothing_through_a_link_is_changed(
    toolbox: Functions, folder: Path, path: str
) -> None:
    (folder / "link.txt").symlink_to("../outside.txt")
    (folder / "linked").symlink_to("..")
    await fail(toolbox, "write_file", path=path, content="mine")
    await fail(toolbox, "edit_file", path=path, old_text="secret", new_text="mine")

    assert (folder.parent / "outside.txt").read_text() == "secret"
    assert not (folder.parent / "new.txt").exists()
    assert not (folder / ".git").exists()


async def test_a_pipe_is_neither_read_nor_replaced(toolbox: Functions, folder: Path) -> None:
    os.mkfifo(folder / "pipe")

    assert "pipe" in await fail(toolbox, "edit_file", path="pipe", old_text="a", new_text="b")
    assert "pipe" in await fail(toolbox, "write_file", path="pipe", content="b")


async def test_a_file_that_is_no_text_is_not_changed(toolbox: Functions, folder: Path) -> None:
    (folder / "picture").write_bytes(b"\x89PNG\xff\xfe")

    assert "UTF-8" in await fail(toolbox, "edit_file", path="picture", old_text="P", new_text="Q")


async def test_a_text_is_found_with_its_file_and_line(toolbox: Functions, folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git/config").write_text("two")
    (folder / "binary").write_bytes(b"two\0")
    matches = await succeed(toolbox, "search_files", text="two")
    python_matches = await succeed(
        toolbox, "search_files", text="TWO", name="*.py", ignore_case=True
    )

    assert matches.splitlines() == ["notes.txt:2: two", "sub/more.py:1: def two():"]
    assert python_matches == "sub/more.py:1: def two():"
    assert await succeed(toolbox, "search_files", text="zwei") == "[nothing found]"
    assert "one line" in await fail(toolbox, "search_files", text="a\nb")


async def test_long_searches_and_long_lines_are_cut(
    toolbox: Functions, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "long.txt").write_text("x" * 10_000 + "\n" + "x\n" * 1000)
    matches = await succeed(toolbox, "search_files", text="x")
    monkeypatch.setattr(files, "MAX_SEARCHED_FILES", 1)
    stopped_search = await succeed(toolbox, "search_files", text="zzz")

    assert len(matches.splitlines()) == files.MAX_FOUND + 1
    assert max(map(len, matches.splitlines())) < 400
    assert "more than 1 files" in stopped_search


async def test_without_a_folder_the_tools_say_what_to_set() -> None:
    toolbox = Functions(tools(Settings()))

    assert "--allowed-paths" in await fail(toolbox, "write_file", path="a", content="")
    assert "--allowed-paths" in await fail(toolbox, "search_files", text="a")


def list_outside(folder: Path) -> list[Path]:
    return sorted(each for each in folder.parent.rglob("*") if folder not in each.parents)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.text(alphabet="ab./\0\\~é-", max_size=12), content=st.binary(max_size=20))
def test_whatever_path_is_written_stays_in_the_folder(
    folder: Path, path: str, content: bytes
) -> None:
    outside = list_outside(folder)
    try:
        AllowedFolders([folder]).write(path, content, expected=None)
    except AntiphonError:
        pass
    else:
        assert (folder / path).read_bytes() == content

    assert outside == sorted(
        each for each in folder.parent.rglob("*") if folder not in each.parents
    )

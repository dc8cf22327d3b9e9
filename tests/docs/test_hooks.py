"""The hooks of the page on hooks do what the page says of them."""

from __future__ import annotations

import os
import re
import sys
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec import json

from antiphon.settings.loading import load
from antiphon.tools.functions import Functions
from antiphon.tools.hooks import ToolHooks
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.messages import ToolCall, ToolResult
from tests.support.docs.blocks import ROOT, blocks

pytestmark = pytest.mark.processes

PAGE = ROOT / "docs/how-to/hooks.md"


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ToolHooks:
    """The hooks of the page, in the files that it names."""
    config, work = tmp_path / "config/antiphon", tmp_path / "work"
    (config / "hooks").mkdir(parents=True)
    work.mkdir()
    text = PAGE.read_text()
    (settings,) = (block.text for block in blocks(PAGE) if block.language == "toml")
    (config / "antiphon.toml").write_text(settings)
    for name, program in re.findall(
        r"`~/\.config/antiphon/(\S+)`:\n\n```python\n(.*?)```", text, re.DOTALL
    ):
        (config / name).write_text(program)
    # Where the page's `python3` and `ruff` are.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return ToolHooks(load({}, environ, work).hooks, folder=work, warn=pytest.fail)


async def write(hooks: ToolHooks, work: Path, path: str, text: str) -> ToolResult:
    def write_file(path: str, text: str) -> str:
        """Write a file."""
        (work / path).write_text(text)
        return "written"

    processor = ToolProcessor(Functions([write_file]), hooks=hooks)
    call = ToolCall("c1", "write_file", json.encode({"path": path, "text": text}).decode())
    async with aclosing(processor.process_tool_calls("run_1", [call])) as results:
        ((_, result),) = [each async for each in results]
    return result


@pytest.mark.parametrize(
    "path", ["notes.txt", "src/../notes.txt", "/etc/notes", "src2/a", "link/a"]
)
async def test_the_page_denies_writes_outside_of_a_folder(
    hooks: ToolHooks, tmp_path: Path, path: str
) -> None:
    work = tmp_path / "work"
    (work / "src").mkdir()
    (work / "link").symlink_to(tmp_path)

    result = await write(hooks, work, path, "x")

    assert f"Only files below {(work / 'src').resolve()} may be written." in result.output
    assert not list(tmp_path.rglob("notes*"))


async def test_the_page_formats_what_was_written(hooks: ToolHooks, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "src").mkdir()

    result = await write(hooks, work, "src/a.py", "x  =  1\n")

    assert (work / "src/a.py").read_text() == "x = 1\n"
    assert result.output == "written\n\n[A hook adds: 1 file reformatted]"

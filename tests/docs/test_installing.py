"""The installation steps of the docs work: extras, wheels, services."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import antiphon
from antiphon.cli import main
from tests.support.docs.blocks import PAGES, ROOT, blocks

INSTALL = ROOT / "docs/how-to/install.md"
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = set(PROJECT["optional-dependencies"])


def test_the_table_has_every_extra() -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \|", INSTALL.read_text("utf-8"))

    assert sorted(rows) == sorted(EXTRAS)


def list_install_lines() -> list[tuple[str, str]]:
    install_lines: list[tuple[str, str]] = []
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        text = page.read_text("utf-8")
        lines = [line for block in blocks(page) for line in block.text.splitlines()]
        lines += re.findall(r"`([^`\n]*pip install[^`\n]*)`", text)
        install_lines += [(page.name, line) for line in lines if "pip install" in line]
    return install_lines


def test_no_page_installs_from_an_index_that_has_no_antiphon() -> None:
    assert list_install_lines()
    for page, line in list_install_lines():
        words = re.findall(r"\S*antiphon\S*", line.partition("pip install")[2].partition("#")[0])
        for word in words:
            path = word.strip("'\"")
            is_local = re.match(r"(?:\./|/srv/|dist/)antiphon|antiphon/", path)
            assert is_local, (page, line)
            extras = re.search(r"\[([a-z,]+)\]", path)
            assert extras is None or set(extras[1].split(",")) <= EXTRAS, (page, line)


def test_a_wheel_is_named_as_the_page_names_it() -> None:
    for _, line in list_install_lines():
        for version in re.findall(r"antiphon-([\d.]+)-py3", line):
            assert version == antiphon.__version__


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_command_that_exists(
    unit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit)
    (command,) = re.findall(r"/opt/antiphon/bin/antiphon (\w+)", parser["Service"]["ExecStart"])

    assert main.main([command, "--help"]) == 0

    help_text = capsys.readouterr().out
    flags = re.findall(r"(?<= )--[a-z-]+", parser["Service"]["ExecStart"])
    assert all(flag in help_text for flag in flags)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    unit_text = unit.read_text("utf-8").replace("/opt/antiphon/bin/antiphon", sys.executable)
    (tmp_path / unit.name).write_text(unit_text)

    completed = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert unit.name not in completed.stderr

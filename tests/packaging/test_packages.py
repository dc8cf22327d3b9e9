"""The packages hold what they need, and the same checkout gives the same bytes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import antiphon
from scripts import build_packages
from scripts.package_metadata import absolute_links
from tests.support.docs.blocks import blocks
from tests.support.packaging.installed import Installed
from tests.support.packaging.packages import EXTRAS, Packages

ROOT = build_packages.ROOT
SILENT = {"documents", "keyring", "prices", "websocket"}
"""Without these, only plain text is read, logins are kept in files, costs are not known, and no
WebSocket is opened."""
MISSING = {
    "acp": ("antiphon", "acp"),
    "mcp": ("antiphon", "mcp", "serve"),
    "postgres": ("antiphon", "ask", "--database", "postgresql://u@127.0.0.1:9/x", "hello"),
    "redis": ("antiphon", "ask", "--redis", "redis://127.0.0.1:9", "hello"),
    "secrets": ("antiphon", "provider-keys", "secret"),
    "telemetry": ("antiphon", "serve", "--port", "0", "--telemetry", "otlp"),
    "terminal": ("antiphon",),
    "vendors": ("antiphon", "ask", "--model", "anthropic:some-model", "hello"),
    "web": ("antiphon", "up", "--port", "0"),
}
"""A command that needs each of the other extras."""


@pytest.mark.slow
def test_the_packages_hold_all_that_is_tracked_and_nothing_else(packages: Packages) -> None:
    build_packages.check_contents(packages.wheel, packages.archive)

    assert packages.wheel.name == f"antiphon-{antiphon.__version__}-py3-none-any.whl"
    assert packages.archive.name == f"antiphon-{antiphon.__version__}.tar.gz"


@pytest.mark.slow
def test_a_package_that_lacks_a_file_is_refused(packages: Packages, tmp_path: Path) -> None:
    incomplete = tmp_path / packages.wheel.name
    with zipfile.ZipFile(packages.wheel) as wheel, zipfile.ZipFile(incomplete, "w") as copy:
        for name in wheel.namelist():
            if not name.endswith("shell.html"):
                copy.writestr(name, wheel.read(name))

    with pytest.raises(build_packages.BadPackage, match=r"without antiphon/web/templates/shell\.h"):
        build_packages.check_contents(incomplete, packages.archive)


def test_links_of_the_description_lead_to_the_repository() -> None:
    text = "![A](docs/a.svg) [B](docs/b.md#c) [D](https://d.example) [E](#e)"

    assert absolute_links(text, "https://forge.example/x", "v1") == (
        "![A](https://forge.example/x/raw/v1/docs/a.svg)"
        " [B](https://forge.example/x/blob/v1/docs/b.md#c) [D](https://d.example) [E](#e)"
    )


@pytest.mark.soak
def test_the_tools_of_the_index_find_no_fault(
    packages: Packages, python_with: Callable[[Path], Path]
) -> None:
    tools = python_with(ROOT / "requirements/release.txt").parent

    build_packages.check(packages.folder, tools)
    build_packages.write_bill_of_materials(packages.folder, tools)

    (document,) = packages.folder.glob("*.cdx.json")
    components = {each["purl"] for each in json.loads(document.read_text())["components"]}
    assert any(purl.startswith("pkg:pypi/starlette@") for purl in components)
    assert any(purl.startswith("pkg:npm/%40preact/signals@") for purl in components)
    assert not any(purl.startswith("pkg:pypi/pytest@") for purl in components)


@pytest.mark.soak
def test_the_same_checkout_gives_the_same_bytes(
    packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONHASHSEED", "1")

    build, compare = ["build", "--output", str(tmp_path)], ["--compare", str(packages.folder)]

    assert build_packages.main([*build, *compare]) == 0

    (wheel,) = tmp_path.glob("*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"more")
    with pytest.raises(build_packages.BadPackage, match="is not what is built here"):
        build_packages.compare_packages(packages.folder, tmp_path)


@pytest.mark.soak
def test_the_source_archive_builds_the_same_wheel(
    packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(packages.archive) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()

    assert build_wheel(source, monkeypatch) == packages.wheel.read_bytes()


def build_wheel(source: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", build_packages.commit_time())
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", source / "dist"]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = (source / "dist").iterdir()
    return wheel.read_bytes()


@pytest.mark.soak
def test_the_files_that_the_image_copies_build_the_same_wheel(
    packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = (ROOT / "deploy/Containerfile").read_text()
    names = [
        name
        for line in re.findall(r"(?m)^COPY (?!--)(.+) \S+$", recipe)
        for path in line.split()
        for name in build_packages.list_tracked_files(path)
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)

    assert build_wheel(tmp_path, monkeypatch) == packages.wheel.read_bytes()


@pytest.mark.slow
def test_the_wheel_alone_answers_and_says_which_extra_is_missing(
    packages: Packages, tmp_path: Path
) -> None:
    locked = ("--constraint", ROOT / "requirements/lock.txt")
    environment = Installed(tmp_path, *locked, packages.wheel, python=sys.executable)
    (block,) = [each for each in blocks(ROOT / "README.md") if each.language == "python"]

    assert environment.succeed("antiphon", "--version") == f"antiphon {antiphon.__version__}\n"
    assert "16:35" in environment.succeed(environment.python, "-c", block.text)
    assert MISSING.keys() == EXTRAS - SILENT - {"all"}
    for extra, command in MISSING.items():
        completed = environment.run(*command)
        assert completed.returncode in (1, 5), extra
        assert "Traceback" not in completed.stderr
        assert f"pip install '{packages.wheel}[{extra}]'" in completed.stdout + completed.stderr

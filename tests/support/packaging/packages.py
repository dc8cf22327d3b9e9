"""The packages of this checkout, built once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from scripts import build_packages

PROJECT = tomllib.loads((build_packages.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = set(PROJECT["optional-dependencies"])


class Packages(NamedTuple):
    """The wheel and the source archive, and their folder."""

    folder: Path
    wheel: Path
    archive: Path


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """The wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    build_packages.build(folder, build_packages.TOOLS)
    return Packages(folder, *build_packages.find_packages(folder))

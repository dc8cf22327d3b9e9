"""A home, a folder and a database for each run of the program, and a model server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli.place import Place
from tests.support.cli.scripted_upstream import Upstream, serve_upstream


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve_upstream() as upstream:
        yield upstream

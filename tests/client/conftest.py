"""A model server for tests of the SDK."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cli.scripted_upstream import Upstream, serve_upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve_upstream() as upstream:
        yield upstream

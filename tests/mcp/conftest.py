"""Servers over HTTP, one process for all tests: their answers do not depend on earlier calls."""

from collections.abc import Iterator

import pytest

from tests.support.mcp.serving import serve_whole


@pytest.fixture(scope="session")
def http_port() -> Iterator[int]:
    with serve_whole("http") as port:
        yield port


@pytest.fixture(scope="session")
def sse_port() -> Iterator[int]:
    with serve_whole("sse") as port:
        yield port

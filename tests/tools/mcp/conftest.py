"""Servers over HTTP, one process for all tests: what they answer does not depend on the past."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from serving import SERVERS


@contextmanager
def listening(transport: str) -> Iterator[int]:
    """The port of a server over HTTP, as long as the block runs."""
    command = [sys.executable, str(SERVERS / "whole.py"), transport]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture(scope="session")
def http_port() -> Iterator[int]:
    with listening("http") as port:
        yield port


@pytest.fixture(scope="session")
def sse_port() -> Iterator[int]:
    with listening("sse") as port:
        yield port

"""Fixtures of the tests of the web chat."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.web.browser import chromium as chromium
from tests.support.web.chats import FOLDERS
from tests.support.web.chats import chat as chat
from tests.support.web.chats import returning as returning
from tests.support.web.chats import shared as shared


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither read nor change files of the user who runs the tests: secrets, lasting answers."""
    for name in FOLDERS:
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests in the browser in one event loop of the session: a start is expensive."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)

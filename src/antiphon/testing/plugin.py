"""The pytest plugin: a scripted model, and clients of a runtime in memory that asks it.

Imports wait until a fixture is used, because pytest loads this with each of its runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from antiphon.client.sync_client import Client
    from antiphon.settings.settings import Settings
    from antiphon.testing.script import Script


@pytest.fixture
def antiphon_script() -> Script:
    """Replies of the model, in order; empty at first."""
    from antiphon.testing.script import Script  # noqa: PLC0415

    return Script()


@pytest.fixture
def antiphon_settings(antiphon_script: Script) -> Settings:
    """Settings of a runtime in memory that asks the scripted model, for `AsyncClient` too."""
    return antiphon_script.settings()


@pytest.fixture
def antiphon_client(antiphon_settings: Settings) -> Iterator[Client]:
    """A client of a new runtime in this process."""
    from antiphon.client.sync_client import Client  # noqa: PLC0415

    with Client(settings=antiphon_settings) as client:
        yield client

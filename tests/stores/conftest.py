"""A store of each kind, for tests of what all of them promise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from databases import Databases
from openers import OPENERS, Clock, Opener, opened
from services.postgres import Postgres

from antiphon.ports import Store


@pytest.fixture(scope="session")
def databases(postgres: Postgres) -> Databases:
    return Databases(postgres)


KINDS = (
    *OPENERS,
    "postgres",
    # What is in front is tried before two stores already, and what is behind without it.
    pytest.param("cached_postgres", marks=pytest.mark.soak),
)


@pytest.fixture(params=KINDS)
def opener(request: pytest.FixtureRequest) -> Opener:
    if request.param in OPENERS:
        return OPENERS[request.param]
    databases: Databases = request.getfixturevalue("databases")
    return databases.open if request.param == "postgres" else databases.cached


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(opener: Opener, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with opened(opener, tmp_path, clock) as store:
        yield store

"""A store of each kind, for tests of the promises of every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.ports import Store
from tests.support.services.postgres import Postgres
from tests.support.stores.databases import Databases
from tests.support.stores.openers import OPENERS, Clock, Opener, open_store


@pytest.fixture(scope="session")
def databases(postgres: Postgres) -> Databases:
    return Databases(postgres)


LONG = ("folding_sqlite", "open_cached_sqlite", "cached_postgres")
"""Combinations of stores that other kinds test in part: a cache in front of another store, a store
without a cache. The folding of events has tests of its own."""
KINDS = (
    *(name for name in (*OPENERS, "postgres") if name not in LONG),
    *(pytest.param(name, marks=pytest.mark.soak) for name in LONG),
)


@pytest.fixture(params=KINDS)
def opener(request: pytest.FixtureRequest) -> Opener:
    if request.param in OPENERS:
        return OPENERS[request.param]
    databases: Databases = request.getfixturevalue("databases")
    return databases.open if request.param == "postgres" else databases.open_cached


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(opener: Opener, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with open_store(opener, tmp_path, clock) as store:
        yield store

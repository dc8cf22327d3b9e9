"""Bring the database to this version's form; a new one is made.

`antiphon serve` and the other commands that use the database do the same when they start, but for
`doctor`: this is for doing it before, and alone.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace

from antiphon.runtime import stored
from antiphon.settings import TABLE, Loaded, Settings, shown

FLAGS = ("database",)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """The database is a setting."""


def run(asked: Namespace, loaded: Loaded) -> int:
    """Open, check that a write would be kept, close."""
    asyncio.run(_migrate(loaded.settings))
    where = shown(TABLE["database"], loaded.settings.database)
    print(f"{where} has this version's form.", file=sys.stderr)
    return 0


async def _migrate(settings: Settings) -> None:
    async with stored(settings) as store:
        await store.check()

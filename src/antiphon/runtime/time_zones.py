"""Time zones by their names in the tz database: the system's, or that of the package `tzdata`."""

from __future__ import annotations

import asyncio
from datetime import UTC, tzinfo
from difflib import get_close_matches

from antiphon.types.errors import BadSettings, InvalidRequest

NOT_ZONES = ("localtime", "posixrules", "Factory")
"""Files of the database that are no zones, or not the same ones on each machine."""


def load_zone(name: str) -> tzinfo:
    """Return the time zone. Raises `InvalidRequest`; use `find_zone` for the names of a request."""
    # Imported for schedules alone, because it imports how Python was built, too.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _unknown_zone(name) from error


async def find_zone(name: str) -> tzinfo:
    """Return the time zone. Raises `InvalidRequest`, which names zones of similar names.

    Raises `BadSettings` on a machine without the tz database.
    """
    try:
        if name in NOT_ZONES:
            raise _unknown_zone(name)
        return load_zone(name)
    except InvalidRequest as error:
        similar = await asyncio.to_thread(_find_similar, name)
        raise _unknown_zone(name, similar) from error


def _find_similar(name: str) -> list[str]:
    from zoneinfo import available_timezones  # noqa: PLC0415 - as in `load_zone`

    known = available_timezones()
    if not known:
        raise BadSettings(
            "This machine has no database of time zones.",
            expected="the tz database of the system, or the package tzdata",
            hint="pip install tzdata",
        )
    folded = {each.lower(): each for each in known}
    # A city alone is enough to find its zone.
    cities = {each.rpartition("/")[2]: whole for each, whole in folded.items()}
    wanted = name.lower().replace(" ", "_")
    found = [folded[each] for each in get_close_matches(wanted, folded, 3, 0.75)]
    found += [cities[each] for each in get_close_matches(wanted, cities, 2, 0.85)]
    return list(dict.fromkeys(found))


def _unknown_zone(name: str, similar: list[str] | None = None) -> InvalidRequest:
    hint = f"Did you mean {' or '.join(similar)}?" if similar else None
    return InvalidRequest(
        "There is no such time zone.",
        expected="a name of the tz database, such as UTC or Europe/Berlin",
        received=ascii(name[:64]),
        hint=hint,
        where="$.timezone",
    )

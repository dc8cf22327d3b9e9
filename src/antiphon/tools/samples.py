"""Tools to try the hand-off with: they know a little, invent nothing, and say so.

antiphon ask --tools antiphon.tools.samples "When does the next flight from LAX to JFK leave?"
"""

from __future__ import annotations

import hashlib
from datetime import date

from antiphon.tools.functions import tool
from antiphon.types.errors import InvalidRequest

FLIGHTS = {
    ("LAX", "JFK"): ("AA 10", "16:35", "00:55"),
    ("JFK", "LAX"): ("AA 33", "18:00", "21:20"),
    ("SFO", "JFK"): ("B6 916", "13:15", "21:50"),
    ("LHR", "JFK"): ("BA 117", "08:20", "11:05"),
    ("FRA", "LHR"): ("LH 904", "11:30", "12:10"),
    ("MAD", "LHR"): ("IB 3166", "15:45", "17:10"),
}
SKIES = ("clear", "a few clouds", "cloudy", "light rain", "showers", "wind from the west")


@tool
def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """Departure and arrival of the next flight between two airports, from a sample timetable.

    Args:
        departure: IATA code of the airport of departure, such as LAX.
        arrival: IATA code of the airport of arrival, such as JFK.
    """
    pair = departure.strip().upper(), arrival.strip().upper()
    if pair not in FLIGHTS:
        known = ", ".join(f"{start} to {end}" for start, end in FLIGHTS)
        raise InvalidRequest(f"The sample timetable has no such flight. It has: {known}.")
    flight, leaves, lands = FLIGHTS[pair]
    return {"flight": flight, "departure_time": leaves, "arrival_time": lands, "source": "sample"}


@tool
def get_weather(city: str, day: str = "today") -> dict[str, str | int]:
    """The weather in a city, made up: the same for the same city and day.

    Args:
        city: The name of the city.
        day: A day as YYYY-MM-DD, or today.
    """
    when = date.today().isoformat() if day == "today" else day  # noqa: DTZ011 - the user's own day
    drawn = hashlib.sha256(f"{city.strip().casefold()} {when}".encode()).digest()
    return {
        "city": city,
        "day": when,
        "sky": SKIES[drawn[0] % len(SKIES)],
        "celsius": drawn[1] % 30,
        "source": "sample",
    }

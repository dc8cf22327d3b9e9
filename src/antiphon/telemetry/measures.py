"""What is counted, one row each: name, meaning, and the labels that tell series apart.

A label's values come from closed lists of ours or from the operator's configuration, never from
what users or models write. `docs/how-to/observe.md` says what to make of them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, in seconds, of what a database or a wake-up takes."""
PATIENT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Of what a reader waits for."""
LONG = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Of what a model or a tool takes."""
AWAY = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)
"""Of what may wait for a person."""
RATE = (5.0, 10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0)
"""Tokens in a second."""


class Measure(msgspec.Struct, frozen=True):
    """A row of the table. `kind` is Prometheus's word.

    Values of several processes add up, but where `merged` is `max`: each of them says the same.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    merged: Literal["sum", "max"] = "sum"


REQUESTS = Measure(
    "antiphon_http_requests_total", "counter", "Answers by route and status.", ("route", "status")
)
PROBLEMS = Measure(
    "antiphon_problems_total", "counter", "Requests that were refused, by code.", ("code",)
)
STREAMS = Measure("antiphon_streams_open", "gauge", "Streams that are open now.")
EVENTS = Measure("antiphon_events_sent_total", "counter", "Events sent, by type.", ("type",))
FIRST_EVENT = Measure(
    "antiphon_first_event_seconds",
    "histogram",
    "Time from a request to its stream's first event.",
    bounds=PATIENT,
)
LAG = Measure(
    "antiphon_event_lag_seconds",
    "histogram",
    "Time from an event's being kept to its being sent, where one process does both.",
    bounds=QUICK,
)
DRIVEN = Measure("antiphon_runs_driven", "gauge", "Runs that are driven now.")
PLACES = Measure("antiphon_run_places", "gauge", "Runs that may be driven at once.")
QUEUED = Measure(
    "antiphon_queue_seconds",
    "histogram",
    "Time from a run's being made to its first turn's being taken up.",
    bounds=QUICK + AWAY[3:6],
)
TAKEOVERS = Measure(
    "antiphon_takeovers_total", "counter", "Turns that were taken over from another worker."
)
TURNS = Measure("antiphon_turns_total", "counter", "Turns that ended, by outcome.", ("outcome",))
FIRST_TOKEN = Measure(
    "antiphon_first_token_seconds",
    "histogram",
    "Time from asking a model to its first text, reasoning or tool call being kept.",
    ("provider",),
    LONG,
)
REPLIES = Measure(
    "antiphon_reply_seconds", "histogram", "How long replies took.", ("provider",), LONG
)
SPEED = Measure(
    "antiphon_tokens_per_second",
    "histogram",
    "Output tokens in a second, from a reply's first to its end.",
    ("provider",),
    RATE,
)
TOKENS = Measure(
    "antiphon_tokens_total",
    "counter",
    "Tokens by provider and kind; cached are among the input, reasoning among the output.",
    ("provider", "kind"),
)
FAULTS = Measure(
    "antiphon_provider_faults_total",
    "counter",
    "Replies that failed or were cut, by code.",
    ("provider", "code"),
)
TOOLS = Measure(
    "antiphon_tool_seconds",
    "histogram",
    "From a call to its output: how long tools ran here, how long clients took.",
    ("where", "outcome"),
    LONG + AWAY[6:],
)
STORED = Measure(
    "antiphon_store_seconds", "histogram", "How long the store took, by work.", ("work",), QUICK
)
STORE_FAULTS = Measure(
    "antiphon_store_faults_total", "counter", "Work that the store could not do.", ("work",)
)
CONNECTIONS = Measure(
    "antiphon_database_connections", "gauge", "Connections of the pool, by state.", ("state",)
)
RECONNECTS = Measure(
    "antiphon_bus_reconnects_total", "counter", "Times the bus lost its connection and came back."
)
INFO = Measure("antiphon_info", "gauge", "What runs here.", ("version",), merged="max")
MEMORY = Measure("process_resident_memory_bytes", "gauge", "Memory in use.")
CPU = Measure("process_cpu_seconds_total", "counter", "Processor time, user and system.")
FILES = Measure("process_open_fds", "gauge", "Open files and connections.")

MEASURES = (
    *(REQUESTS, PROBLEMS, STREAMS, EVENTS, FIRST_EVENT, LAG),
    *(DRIVEN, PLACES, QUEUED, TAKEOVERS, TURNS),
    *(FIRST_TOKEN, REPLIES, SPEED, TOKENS, FAULTS, TOOLS),
    *(STORED, STORE_FAULTS, CONNECTIONS, RECONNECTS),
    *(INFO, MEMORY, CPU, FILES),
)
"""The table, in the order in which it is told."""

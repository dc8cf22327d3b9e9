"""The metrics: a table of names, meanings and labels, the counters, and their exposition.

A label's values come from closed lists or from the operator's configuration, never from what users
or models write. `docs/how-to/observe.md` explains how to read the metrics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import Literal

import msgspec

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds, in seconds, of the duration of database work and of wake-ups."""
PATIENT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of a reader's waits."""
LONG = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of a model's or a tool's duration."""
AWAY = (0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)
"""Upper bounds of waits for a person."""
RATE = (5.0, 10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0)
"""Upper bounds in tokens per second."""


class Measure(msgspec.Struct, frozen=True):
    """A metric. `kind` is Prometheus's word.

    Values of several processes are added, except where `merged` is `max`: then each process reports
    the same. A renamed metric is exposed under its `old_name` too, for one more version.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    merged: Literal["sum", "max"] = "sum"
    old_name: str | None = None


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
    "Time from storing an event to sending it, if one process does both.",
    bounds=QUICK,
)
ACTIVE_RUNS = Measure(
    "antiphon_active_runs",
    "gauge",
    "Runs that a worker processes now.",
    old_name="antiphon_runs_driven",
)
MAX_CONCURRENT_RUNS = Measure(
    "antiphon_max_concurrent_runs",
    "gauge",
    "Runs that workers may process at once.",
    old_name="antiphon_run_places",
)
QUEUED = Measure(
    "antiphon_queue_seconds",
    "histogram",
    "Time from the creation of a run until a worker claims it.",
    bounds=QUICK + AWAY[3:6],
)
TAKEOVERS = Measure(
    "antiphon_takeovers_total", "counter", "Turns that were taken over from another worker."
)
TURNS = Measure("antiphon_turns_total", "counter", "Turns that ended, by outcome.", ("outcome",))
FIRST_TOKEN = Measure(
    "antiphon_first_token_seconds",
    "histogram",
    "Time from the request to a model until its first text, reasoning or tool call is stored.",
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
FEEDBACK = Measure(
    "antiphon_feedback_total", "counter", "Ratings of replies: up or down.", ("rating",)
)
WEBHOOKS_SENT = Measure(
    "antiphon_webhook_seconds",
    "histogram",
    "How long receivers of webhooks took, by outcome: delivered, retried, given_up or lost.",
    ("outcome",),
    LONG,
)
DOCUMENTS_READ = Measure(
    "antiphon_document_seconds",
    "histogram",
    "How long the text of a file took to read, by outcome: ready, or the reason of a failure.",
    ("outcome",),
    LONG,
)
OCCURRENCES = Measure(
    "antiphon_schedule_occurrences_total",
    "counter",
    "Times of schedules, by outcome: started, missed, failed or paused.",
    ("outcome",),
)
OCCURRENCES_LATE = Measure(
    "antiphon_schedule_delay_seconds",
    "histogram",
    "From the time of a schedule to the start of its run.",
    (),
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
    *(ACTIVE_RUNS, MAX_CONCURRENT_RUNS, QUEUED, TAKEOVERS, TURNS),
    *(FIRST_TOKEN, REPLIES, SPEED, TOKENS, FAULTS, TOOLS, FEEDBACK, WEBHOOKS_SENT),
    DOCUMENTS_READ,
    *(OCCURRENCES, OCCURRENCES_LATE),
    *(STORED, STORE_FAULTS, CONNECTIONS, RECONNECTS),
    *(INFO, MEMORY, CPU, FILES),
)
"""The table, in the order of exposition."""


# Counters of one process, and their exposition for Prometheus.


MAX_SERIES = 500  # of one measure; further ones are counted together
MAX_RUNS = 10_000  # whose newest event's time is remembered

_OTHERS = "other"
_TABLE = {measure.name: measure for measure in MEASURES}
_Series = dict[tuple[str, ...], list[float]]


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._counted: dict[str, _Series] = {}
        self._gauges: list[tuple[Measure, tuple[str, ...], Callable[[], float]]] = []
        self._sent: dict[bytes, int] = {}
        self._kept: dict[str, tuple[int, float]] = {}

    def add(self, measure: Measure, *labels: str, by: float = 1) -> None:
        """Add to a counter."""
        self._series(measure, labels)[0] += by

    def observe(self, measure: Measure, value: float, *labels: str) -> None:
        """Record a value of a histogram."""
        cells = self._series(measure, labels)
        cells[bisect_left(measure.bounds, value)] += 1
        cells[-1] += value

    def gauge(self, measure: Measure, look: Callable[[], float], *labels: str) -> None:
        """Register a gauge; `look` is called at each snapshot and must neither block nor raise."""
        self._gauges.append((measure, labels, look))

    @contextmanager
    def measure_time(self, measure: Measure, *labels: str) -> Generator[None]:
        """Record how long the block took, even when it raises."""
        began = monotonic()
        try:
            yield
        finally:
            self.observe(measure, monotonic() - began, *labels)

    def measure_store(self, work: str) -> AbstractContextManager[None]:
        """Record how long the store took for this work, or that it failed."""
        return _StoreTimer(self, work)

    @contextmanager
    def count_open_stream(self) -> Generator[None]:
        """Count a stream as open during the block."""
        self.add(STREAMS)
        try:
            yield
        finally:
            self.add(STREAMS, by=-1)

    def record_commit(self, run_id: str, number: int) -> None:
        """Record that the event of this number is stored now."""
        self._kept.pop(run_id, None)  # so that the runs are in the order of their last write
        if len(self._kept) >= MAX_RUNS:
            del self._kept[next(iter(self._kept))]
        self._kept[run_id] = (number, monotonic())

    def record_sent(self, run_id: str, last: int, types: Sequence[bytes], *, follows: bool) -> None:
        """Record events sent, up to this number; `follows` when the reader had caught up."""
        counts = self._sent
        for kind in types:
            counts[kind] = counts.get(kind, 0) + 1
        number, at = self._kept.get(run_id, (0, 0.0))
        if follows and number == last:
            self.observe(LAG, monotonic() - at)

    def snapshot(self) -> MetricsSnapshot:
        """Return the current values."""
        values = {
            name: {_labels(_TABLE[name], labels): list(cells) for labels, cells in series.items()}
            for name, series in self._counted.items()
        }
        if self._sent:
            values[EVENTS.name] = {
                _labels(EVENTS, (kind.decode(),)): [float(count)]
                for kind, count in self._sent.items()
            }
        for measure, labels, look in self._gauges:
            values.setdefault(measure.name, {})[_labels(measure, labels)] = [look()]
        return MetricsSnapshot(values)

    def _series(self, measure: Measure, labels: tuple[str, ...]) -> list[float]:
        series = self._counted.setdefault(measure.name, {})
        cells = series.get(labels)
        if cells is None:
            if len(series) >= MAX_SERIES:
                labels = (_OTHERS,) * len(labels)
            cells = series.setdefault(labels, [0.0] * _width(measure))
        return cells


class _StoreTimer:
    """Times a block of store work; no generator, for speed: each turn enters three."""

    __slots__ = ("_began", "_metrics", "_work")

    def __init__(self, metrics: Metrics, work: str) -> None:
        self._metrics = metrics
        self._work = work

    def __enter__(self) -> None:
        self._began = monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._metrics.observe(STORED, monotonic() - self._began, self._work)
        elif issubclass(kind, Exception):
            self._metrics.add(STORE_FAULTS, self._work)


class MetricsSnapshot(msgspec.Struct, frozen=True):
    """Values of one process or of several: for each metric its series, by their labels.

    A histogram's cells are the counts of its buckets, then the sum. `msgspec.json` writes and reads
    a snapshot.
    """

    series: dict[str, dict[str, list[float]]] = msgspec.field(name="told")

    def __add__(self, other: MetricsSnapshot) -> MetricsSnapshot:
        total = {name: dict(series) for name, series in self.series.items()}
        for name, series in other.series.items():
            mine = total.setdefault(name, {})
            for labels, cells in series.items():
                mine[labels] = _merge(_TABLE.get(name), mine.get(labels), cells)
        return MetricsSnapshot(total)

    def without_gauges(self) -> MetricsSnapshot:
        """Return the values that outlive the process: all but the gauges."""
        return MetricsSnapshot(
            {
                name: series
                for name, series in self.series.items()
                if name not in _TABLE or _TABLE[name].kind != "gauge"
            }
        )

    def to_prometheus(self) -> str:
        """Return the text of https://prometheus.io/docs/instrumenting/exposition_formats/."""
        lines: list[str] = []
        for measure in MEASURES:
            lines += self._lines_of_name(measure, measure.name, measure.about)
            if measure.old_name is not None:
                deprecated = f"Deprecated: use {measure.name}."
                lines += self._lines_of_name(measure, measure.old_name, deprecated)
        return "".join(f"{line}\n" for line in lines)

    def _lines_of_name(self, measure: Measure, name: str, about: str) -> Iterator[str]:
        yield f"# HELP {name} {about}"
        yield f"# TYPE {name} {measure.kind}"
        nothing = {} if measure.labels else {"": [0.0] * _width(measure)}
        series: Mapping[str, list[float]] = self.series.get(measure.name) or nothing
        for labels, cells in sorted(series.items()):
            if measure.kind == "histogram":
                yield from _histogram(name, measure.bounds, labels, cells)
            else:
                yield f"{_sample(name, labels)} {_number(cells[0])}"


def _width(measure: Measure) -> int:
    """Return a series' number of cells: with one above the highest bound, and the sum."""
    return len(measure.bounds) + 2 if measure.kind == "histogram" else 1


def _merge(measure: Measure | None, mine: list[float] | None, cells: list[float]) -> list[float]:
    if mine is None:
        return cells
    if measure is not None and measure.merged == "max":
        return [*map(max, mine, cells)]
    return [one + other for one, other in zip(mine, cells, strict=True)]


def _histogram(
    name: str, bounds: Sequence[float], labels: str, cells: Sequence[float]
) -> Iterator[str]:
    below = 0.0
    for bound, count in zip((*map(_number, bounds), "+Inf"), cells[:-1], strict=True):
        below += count
        within = ",".join(filter(None, (labels, f'le="{bound}"')))
        yield f"{_sample(name + '_bucket', within)} {_number(below)}"
    yield f"{_sample(name + '_sum', labels)} {cells[-1]:.6f}"
    yield f"{_sample(name + '_count', labels)} {_number(below)}"


def _labels(measure: Measure, values: Sequence[str]) -> str:
    named = zip(measure.labels, map(_escape, values), strict=True)
    return ",".join(f'{name}="{value}"' for name, value in named)


def _sample(name: str, labels: str) -> str:
    return f"{name}{{{labels}}}" if labels else name


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)

"""Counts what happens in one process, and tells it as Prometheus reads it.

Counting never waits and never fails. Numbers of several processes add up: each gives a `Snapshot`,
which can be sent as JSON.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic

import msgspec

from antiphon.telemetry import measures
from antiphon.telemetry.measures import MEASURES, Measure

MOST_SERIES = 500  # of one measure; what comes beyond is counted together
MOST_KEPT = 10_000  # runs whose newest event's time is remembered

_OTHERS = "other"
_TABLE = {measure.name: measure for measure in MEASURES}
_Series = dict[tuple[str, ...], list[float]]


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self._counted: dict[str, _Series] = {}
        self._gauges: list[tuple[Measure, tuple[str, ...], Callable[[], float]]] = []
        self._sent: dict[bytes, int] = {}
        self._kept: dict[str, tuple[int, float]] = {}

    def add(self, measure: Measure, *labels: str, by: float = 1) -> None:
        """Count."""
        self._series(measure, labels)[0] += by

    def observe(self, measure: Measure, value: float, *labels: str) -> None:
        """Note a value of a histogram."""
        cells = self._series(measure, labels)
        cells[bisect_left(measure.bounds, value)] += 1
        cells[-1] += value

    def gauge(self, measure: Measure, look: Callable[[], float], *labels: str) -> None:
        """Look whenever somebody asks; `look` must neither wait nor raise."""
        self._gauges.append((measure, labels, look))

    @contextmanager
    def timed(self, measure: Measure, *labels: str) -> Generator[None]:
        """Note how long the block took, however it ends."""
        began = monotonic()
        try:
            yield
        finally:
            self.observe(measure, monotonic() - began, *labels)

    @contextmanager
    def stored(self, work: str) -> Generator[None]:
        """Note how long the store took for this work, or that it could not do it."""
        began = monotonic()
        try:
            yield
        except Exception:
            self.add(measures.STORE_FAULTS, work)
            raise
        self.observe(measures.STORED, monotonic() - began, work)

    @contextmanager
    def stream(self) -> Generator[None]:
        """Count a stream as open while it is."""
        self.add(measures.STREAMS)
        try:
            yield
        finally:
            self.add(measures.STREAMS, by=-1)

    def kept(self, run_id: str, number: int) -> None:
        """The event of this number is kept just now."""
        self._kept.pop(run_id, None)  # so that those which are written to are the newest
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[run_id] = (number, monotonic())

    def sent(self, run_id: str, last: int, types: Sequence[bytes], *, follows: bool) -> None:
        """Events went out, up to this number; `follows` where the reader had come to the end."""
        counts = self._sent
        for kind in types:
            counts[kind] = counts.get(kind, 0) + 1
        number, at = self._kept.get(run_id, (0, 0.0))
        if follows and number == last:
            self.observe(measures.LAG, monotonic() - at)

    def snapshot(self) -> Snapshot:
        """The numbers as they are now."""
        told = {
            name: {_labels(_TABLE[name], labels): list(cells) for labels, cells in series.items()}
            for name, series in self._counted.items()
        }
        if self._sent:
            told[measures.EVENTS.name] = {
                _labels(measures.EVENTS, (kind.decode(),)): [float(count)]
                for kind, count in self._sent.items()
            }
        for measure, labels, look in self._gauges:
            told.setdefault(measure.name, {})[_labels(measure, labels)] = [look()]
        return Snapshot(told)

    def _series(self, measure: Measure, labels: tuple[str, ...]) -> list[float]:
        series = self._counted.setdefault(measure.name, {})
        cells = series.get(labels)
        if cells is None:
            if len(series) >= MOST_SERIES:
                labels = (_OTHERS,) * len(labels)
            cells = series.setdefault(labels, [0.0] * _width(measure))
        return cells


class Snapshot(msgspec.Struct, frozen=True):
    """Numbers of one process or of several: for each measure its series, by their labels.

    A histogram's cells are how many values each bucket has, and their sum. `msgspec.json` writes
    and reads it.
    """

    told: dict[str, dict[str, list[float]]]

    def __add__(self, other: Snapshot) -> Snapshot:
        told = {name: dict(series) for name, series in self.told.items()}
        for name, series in other.told.items():
            mine = told.setdefault(name, {})
            for labels, cells in series.items():
                mine[labels] = _merged(_TABLE.get(name), mine.get(labels), cells)
        return Snapshot(told)

    def lasting(self) -> Snapshot:
        """What is still true when the process has ended: all but the gauges."""
        return Snapshot(
            {
                name: series
                for name, series in self.told.items()
                if name not in _TABLE or _TABLE[name].kind != "gauge"
            }
        )

    def text(self) -> str:
        """The exposition format, https://prometheus.io/docs/instrumenting/exposition_formats/."""
        return "".join(f"{line}\n" for measure in MEASURES for line in self._lines(measure))

    def _lines(self, measure: Measure) -> Iterator[str]:
        yield f"# HELP {measure.name} {measure.about}"
        yield f"# TYPE {measure.name} {measure.kind}"
        nothing = {} if measure.labels else {"": [0.0] * _width(measure)}
        series: Mapping[str, list[float]] = self.told.get(measure.name) or nothing
        for labels, cells in sorted(series.items()):
            if measure.kind == "histogram":
                yield from _histogram(measure, labels, cells)
            else:
                yield f"{_sample(measure.name, labels)} {_number(cells[0])}"


def _width(measure: Measure) -> int:
    """The cells of a series: with one above the highest bound, and the sum."""
    return len(measure.bounds) + 2 if measure.kind == "histogram" else 1


def _merged(measure: Measure | None, mine: list[float] | None, cells: list[float]) -> list[float]:
    if mine is None:
        return cells
    if measure is not None and measure.merged == "max":
        return [*map(max, mine, cells)]
    return [one + other for one, other in zip(mine, cells, strict=True)]


def _histogram(measure: Measure, labels: str, cells: Sequence[float]) -> Iterator[str]:
    below = 0.0
    for bound, count in zip((*map(_number, measure.bounds), "+Inf"), cells[:-1], strict=True):
        below += count
        within = ",".join(filter(None, (labels, f'le="{bound}"')))
        yield f"{_sample(measure.name + '_bucket', within)} {_number(below)}"
    yield f"{_sample(measure.name + '_sum', labels)} {cells[-1]:.6f}"
    yield f"{_sample(measure.name + '_count', labels)} {_number(below)}"


def _labels(measure: Measure, values: Sequence[str]) -> str:
    named = zip(measure.labels, map(_escaped, values), strict=True)
    return ",".join(f'{name}="{value}"' for name, value in named)


def _sample(name: str, labels: str) -> str:
    return f"{name}{{{labels}}}" if labels else name


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)

"""Results of benchmarks: rows with baselines and targets, the machine, table and file."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

import msgspec

LIBRARIES = ("antiphon", "aiohttp", "msgspec", "starlette", "uvicorn", "uvloop", "httpx2", "openai")
RESULTS = Path(__file__).parent / "results"


class Figure(msgspec.Struct, frozen=True):
    """Values of several rounds, in order."""

    values: tuple[float, ...]
    unit: str

    @property
    def median(self) -> float:
        """Median of the values."""
        return median(self.values)

    def __str__(self) -> str:
        text = f"{_digits(self.median)} {self.unit}"
        if len(self.values) == 1:
            return text
        return f"{text} ({_digits(min(self.values))}-{_digits(max(self.values))})"

    def over(self, other: Figure) -> float:
        """Return the ratio to `other`: the median of the ratios of equal rounds, if they match."""
        if len(self.values) == len(other.values):
            pairs = zip(self.values, other.values, strict=True)
            return median(mine / base if base else float("inf") for mine, base in pairs)
        return self.median / other.median if other.median else float("inf")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. `met` is None where there is no target."""

    what: str
    figure: Figure
    against: str = ""
    baseline: Figure | None = None
    ratio: float | None = None
    target: str = ""
    met: bool | None = None


def row(
    what: str,
    figure: Figure,
    against: str = "",
    baseline: Figure | None = None,
    *,
    target: str = "",
    ratio: Callable[[Figure, Figure], float] = Figure.over,
    at_most: float | None = None,
    ratio_at_most: float | None = None,
    ratio_at_least: float | None = None,
    at_least: float | None = None,
) -> Row:
    """Return a row; its target is met if all the given limits hold."""
    compared_ratio = ratio(figure, baseline) if baseline else None
    verdicts = [
        low <= value <= high
        for low, value, high in (
            (float("-inf"), figure.median, at_most),
            (at_least, figure.median, float("inf")),
            (float("-inf"), compared_ratio, ratio_at_most),
            (ratio_at_least, compared_ratio, float("inf")),
        )
        if low is not None and high is not None and value is not None
    ]
    return Row(
        what=what,
        figure=figure,
        against=against,
        baseline=baseline,
        ratio=compared_ratio,
        target=target,
        met=all(verdicts) if target else None,
    )


def inverse(figure: Figure, baseline: Figure) -> float:
    """Return the inverse ratio."""
    return baseline.over(figure)


class Machine(msgspec.Struct, frozen=True):
    """Hardware, versions and load of a measurement."""

    when: str
    cpu: str
    cpus: int
    system: str
    python: str
    sqlite: str
    libraries: dict[str, str]
    load_before: tuple[float, ...]
    load_after: tuple[float, ...]

    def __str__(self) -> str:
        libraries = ", ".join(f"{name} {number}" for name, number in self.libraries.items())
        return (
            f"{self.when}; {self.cpus} x {self.cpu}, {self.system}; load {_load(self.load_before)}"
            f" before, {_load(self.load_after)} after\n"
            f"CPython {self.python}, SQLite {self.sqlite}, {libraries}"
        )


def describe_machine(load_before: tuple[float, ...]) -> Machine:
    """Return this machine in its present state."""
    return Machine(
        when=time.strftime("%Y-%m-%d %H:%M"),
        cpu=_cpu(),
        cpus=os.cpu_count() or 0,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        libraries={name: version(name) for name in LIBRARIES},
        load_before=load_before,
        load_after=os.getloadavg(),
    )


class Result(msgspec.Struct, frozen=True):
    """Rows of one benchmark, and the machine that it ran on."""

    name: str
    title: str
    seconds: float
    machine: Machine
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        head = ("what", "measured", "against", "ratio", "target", "met")
        lines = _align([head, *map(_cells, self.rows)])
        lines.insert(1, "|".join("-" * len(part) for part in lines[0].split("|")))
        table = "\n".join(f"|{line}|" for line in lines)
        return f"## {self.name}: {self.title} ({self.seconds:.0f} s)\n\n{table}\n\n{self.machine}\n"


def write(results: Sequence[Result], size: str, files: Iterable[Path]) -> None:
    """Write the results as JSON to each file; the newest run replaces the one before."""
    encoded = msgspec.json.format(msgspec.json.encode({"size": size, "results": results}))
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded + b"\n")


def _cells(row: Row) -> tuple[str, ...]:
    against = f"{row.against}: {row.baseline}" if row.baseline else row.against
    ratio = "" if row.ratio is None else _digits(row.ratio)
    met = {None: "", True: "yes", False: "NO"}[row.met]
    return row.what, str(row.figure), against, ratio, row.target, met


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "|".join(f" {cell.ljust(width)} " for cell, width in zip(line, widths, strict=True))
        for line in rows
    ]


def _digits(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _load(averages: tuple[float, ...]) -> str:
    return f"{averages[0]:.2f}"


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()

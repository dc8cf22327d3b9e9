"""A strict reader of what `/metrics` says: https://prometheus.io/docs/instrumenting/exposition_formats/."""

from __future__ import annotations

import re
from typing import NamedTuple

_COMMENT = re.compile(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (\S.*)")
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\+Inf|-?[0-9.e+-]+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
_PARTS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


class Sample(NamedTuple):
    """A line: the labels as pairs, and the value."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Family(NamedTuple):
    """Samples of one name."""

    kind: str
    about: str
    samples: list[Sample]


def families(text: str) -> dict[str, Family]:
    """The text, read; an `AssertionError` says what is not as it must be."""
    assert text.endswith("\n")
    read: dict[str, Family] = {}
    about = ""
    name = ""
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("#"):
            match = _COMMENT.fullmatch(line)
            assert match, line
            what, said, rest = match.groups()
            if what == "HELP":
                assert said not in read, f"{said} comes twice"
                name, about = said, rest
            else:
                assert said == name, line
                assert rest in _PARTS, line
                read[name] = Family(rest, about, [])
            continue
        sample = _sample(line)
        kind = read[name].kind
        assert sample.name.removeprefix(name) in _PARTS[kind], line
        assert kind != "counter" or name.endswith("_total"), line
        read[name].samples.append(sample)
    for family in read.values():
        _check(family)
    return read


def value(text: str, name: str, **labels: str) -> float:
    """The value of one series, 0 where it is not told; a histogram's by its `_count`."""
    base = name.removesuffix("_count").removesuffix("_sum")
    known = families(text)
    family = known[name] if name in known else known[base]
    wanted = tuple(labels.items())
    return sum(each.value for each in family.samples if (each.name, each.labels) == (name, wanted))


def _sample(line: str) -> Sample:
    match = _SAMPLE.fullmatch(line)
    assert match, line
    name, said, number = match.groups()
    labels = tuple((label[1], label[2]) for label in _LABEL.finditer(said or ""))
    assert ",".join(f'{key}="{text}"' for key, text in labels) == (said or ""), line
    return Sample(name, labels, float(number))


def _check(family: Family) -> None:
    told = [(sample.name, sample.labels) for sample in family.samples]
    assert len(set(told)) == len(told), "a series comes twice"
    if family.kind != "histogram":
        return
    below = 0.0
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            assert sample.value >= below, "buckets hold what those below them hold"
            below = sample.value
        elif sample.name.endswith("_count"):
            assert sample.value == below, "the last bucket holds all"
            below = 0.0

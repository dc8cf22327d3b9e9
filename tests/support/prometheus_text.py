"""A strict parser of `/metrics`, after https://prometheus.io/docs/instrumenting/exposition_formats/."""

from __future__ import annotations

import re
from typing import NamedTuple

_COMMENT = re.compile(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (\S.*)")
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\+Inf|-?[0-9.e+-]+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
_PARTS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


class Sample(NamedTuple):
    """A parsed line; `labels` are pairs of name and value."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Family(NamedTuple):
    """Samples of one name."""

    kind: str
    about: str
    samples: list[Sample]


def families(text: str) -> dict[str, Family]:
    """Parse the text; an `AssertionError` names what is not valid in it."""
    assert text.endswith("\n")
    parsed: dict[str, Family] = {}
    about = ""
    name = ""
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("#"):
            match = _COMMENT.fullmatch(line)
            assert match, line
            what, family_name, rest = match.groups()
            if what == "HELP":
                assert family_name not in parsed, f"{family_name} comes twice"
                name, about = family_name, rest
            else:
                assert family_name == name, line
                assert rest in _PARTS, line
                parsed[name] = Family(rest, about, [])
            continue
        sample = _sample(line)
        kind = parsed[name].kind
        assert sample.name.removeprefix(name) in _PARTS[kind], line
        assert kind != "counter" or name.endswith("_total"), line
        parsed[name].samples.append(sample)
    for family in parsed.values():
        _check(family)
    return parsed


def value(text: str, name: str, **labels: str) -> float:
    """Return the value of one series, 0 if it is absent; `name` may end in `_count` or `_sum`."""
    base = name.removesuffix("_count").removesuffix("_sum")
    parsed = families(text)
    family = parsed[name] if name in parsed else parsed[base]
    pairs = tuple(labels.items())
    return sum(each.value for each in family.samples if (each.name, each.labels) == (name, pairs))


def _sample(line: str) -> Sample:
    match = _SAMPLE.fullmatch(line)
    assert match, line
    name, label_text, number = match.groups()
    labels = tuple((label[1], label[2]) for label in _LABEL.finditer(label_text or ""))
    assert ",".join(f'{key}="{text}"' for key, text in labels) == (label_text or ""), line
    return Sample(name, labels, float(number))


def _check(family: Family) -> None:
    series = [(sample.name, sample.labels) for sample in family.samples]
    assert len(set(series)) == len(series), "a series comes twice"
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

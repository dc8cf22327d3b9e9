"""Docstrings of functions, in Google's, NumPy's or Sphinx's style, as descriptions for a model."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator

import msgspec


class Docstring(msgspec.Struct, frozen=True):
    """Text before the first section, and the description of each parameter that has one."""

    text: str
    parameters: dict[str, str]


def parse_docstring(docstring: str | None) -> Docstring:
    """Parse a docstring of any of the three styles."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    headers = [
        at
        for at, line in enumerate(lines)
        if _google_header(line) or _numpy_header(lines, at) or _SPHINX.match(line)
    ]
    parameters: dict[str, str] = {}
    for at in headers:
        parameters.update(_parameters(lines, at))
    return Docstring("\n".join(lines[: headers[0]] if headers else lines).strip(), parameters)


_PARAMETERS = frozenset({"args", "arguments", "parameters", "params"})
_SECTIONS = _PARAMETERS | {
    *("returns", "return", "yields", "raises", "warns", "attributes", "other parameters"),
    *("example", "examples", "note", "notes", "see also", "references", "todo", "warning"),
}
_SPHINX = re.compile(r":(?P<field>\w+)(?P<words>(?:\s+[^\s:]+)*)\s*:\s*(?P<text>.*)")
_SPHINX_PARAMETERS = frozenset({"param", "parameter", "arg", "argument", "key", "keyword"})
_GOOGLE_ENTRY = re.compile(r"\*{0,2}(?P<names>\w+)\s*(?:\([^:]*\))?\s*:\s*(?P<text>.*)")
_NUMPY_ENTRY = re.compile(r"\*{0,2}(?P<names>\w+(?:\s*,\s*\w+)*)\s*(?::.*)?(?P<text>)")

_Entry = Callable[[str], "re.Match[str] | None"]


def _google_header(line: str) -> str | None:
    """Return the section named in a line such as `Args:`."""
    name = line.rstrip().removesuffix(":").lower()
    return name if line.rstrip().endswith(":") and name in _SECTIONS else None


def _numpy_header(lines: list[str], at: int) -> str | None:
    """Return the section named in a line above a rule of dashes."""
    below = lines[at + 1].strip() if at + 1 < len(lines) else ""
    name = lines[at].strip().lower()
    return name if name in _SECTIONS and len(below) >= 3 and set(below) == {"-"} else None


def _parameters(lines: list[str], at: int) -> Iterator[tuple[str, str]]:
    if (field := _SPHINX.match(lines[at])) and field["field"] in _SPHINX_PARAMETERS:
        name = field["words"].split()[-1:] or [""]
        yield name[0].lstrip("*"), _join([field["text"], *_leading_block(lines[at + 1 :])])
    elif _numpy_header(lines, at) in _PARAMETERS:
        below = range(at + 2, len(lines))
        end = next((line for line in below if _numpy_header(lines, line)), len(lines))
        yield from _entries(lines[at + 2 : end], _NUMPY_ENTRY.fullmatch)
    elif _google_header(lines[at]) in _PARAMETERS:
        body = inspect.cleandoc("\n" + "\n".join(_leading_block(lines[at + 1 :]))).splitlines()
        yield from _entries(body, _GOOGLE_ENTRY.fullmatch)


def _leading_block(lines: list[str]) -> Iterator[str]:
    """Yield the leading indented lines."""
    for line in lines:
        if line and not line[0].isspace():
            return
        yield line


def _entries(lines: list[str], entry: _Entry) -> Iterator[tuple[str, str]]:
    """Yield each entry at the margin, with the indented lines below it."""
    for at, line in enumerate(lines):
        if found := entry(line):
            text = _join([found["text"], *_leading_block(lines[at + 1 :])])
            for name in found["names"].split(","):
                yield name.strip(), text


def _join(lines: Iterable[str]) -> str:
    return " ".join(" ".join(lines).split())

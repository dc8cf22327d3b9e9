"""What a docstring says of a function and of its parameters: Google, NumPy or Sphinx style."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator

import msgspec


class Described(msgspec.Struct, frozen=True):
    """The text before the first section, and one line for each parameter that has one."""

    text: str
    parameters: dict[str, str]


def described(docstring: str | None) -> Described:
    """What this docstring says, in whichever style it is written."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    headers = [at for at in range(len(lines)) if _begins_section(lines, at)]
    parameters: dict[str, str] = {}
    for at in headers:
        parameters.update(_parameters(lines, at))
    return Described("\n".join(lines[: headers[0]] if headers else lines).strip(), parameters)


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


def _begins_section(lines: list[str], at: int) -> bool:
    return bool(_google_header(lines[at]) or _numpy_header(lines, at) or _SPHINX.match(lines[at]))


def _google_header(line: str) -> str | None:
    """The section's name in a line such as `Args:`."""
    name = line.rstrip().removesuffix(":").lower()
    return name if line.rstrip().endswith(":") and name in _SECTIONS else None


def _numpy_header(lines: list[str], at: int) -> str | None:
    """The section's name where the next line is a rule of dashes."""
    below = lines[at + 1].strip() if at + 1 < len(lines) else ""
    name = lines[at].strip().lower()
    return name if name in _SECTIONS and len(below) >= 3 and set(below) == {"-"} else None


def _parameters(lines: list[str], at: int) -> Iterator[tuple[str, str]]:
    if (field := _SPHINX.match(lines[at])) and field["field"] in _SPHINX_PARAMETERS:
        name = field["words"].split()[-1:] or [""]
        yield name[0].lstrip("*"), _joined([field["text"], *_indented(lines[at + 1 :])])
    elif _numpy_header(lines, at) in _PARAMETERS:
        yield from _entries(_until_section(lines, at + 2), _NUMPY_ENTRY.fullmatch)
    elif _google_header(lines[at]) in _PARAMETERS:
        body = inspect.cleandoc("\n" + "\n".join(_indented(lines[at + 1 :]))).splitlines()
        yield from _entries(body, _GOOGLE_ENTRY.fullmatch)


def _indented(lines: list[str]) -> Iterator[str]:
    """The lines from here that belong to the one above."""
    for line in lines:
        if line and not line[0].isspace():
            return
        yield line


def _until_section(lines: list[str], start: int) -> list[str]:
    end = next((at for at in range(start, len(lines)) if _numpy_header(lines, at)), len(lines))
    return lines[start:end]


def _entries(lines: list[str], entry: _Entry) -> Iterator[tuple[str, str]]:
    """Each entry, which stands at the margin, with the indented lines below it."""
    for at, line in enumerate(lines):
        if found := entry(line):
            text = _joined([found["text"], *_indented(lines[at + 1 :])])
            for name in found["names"].split(","):
                yield name.strip(), text


def _joined(lines: Iterable[str]) -> str:
    return " ".join(" ".join(lines).split())

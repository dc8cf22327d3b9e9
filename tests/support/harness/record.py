"""Requests of clients and their responses, in order.

A line is written before a request leaves and after its answer has come, so the record of a test
that was killed is good up to its last line. A timeout or a cut connection is `unknown`: it may or
may not have happened, and both must be accepted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, Self

Kind = Literal["invoke", "ok", "fail", "unknown"]
What = Literal["thread", "message", "run", "process", "output", "cancel"]


@dataclass(frozen=True)
class Entry:
    """One line: a try of an operation, or its outcome. `asked` and `answer` are JSON."""

    op: int
    kind: Kind
    what: What
    asked: dict[str, Any]
    status: int | None = None
    answer: dict[str, Any] | None = None
    at: float = 0.0


@dataclass(frozen=True)
class Heard:
    """An event as one reader got it; `digest` is of its bytes."""

    run_id: str
    number: int
    digest: str


@dataclass
class Op:
    """An operation with all that came of its tries."""

    what: What
    asked: dict[str, Any]
    answers: list[dict[str, Any]] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    tries: int = 0


class Record:
    """The record of a test, in memory and in a file of JSON lines."""

    def __init__(self, path: Path | None = None) -> None:
        self.entries: list[Entry] = []
        self.heard: list[Heard] = []
        self._file = path.open("a", buffering=1) if path else None
        self._ops = 0

    def begin(self) -> int:
        """A number for a new operation."""
        self._ops += 1
        return self._ops

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._write({**asdict(entry), "at": time.monotonic()})

    def hear(self, run_id: str, number: int, data: bytes) -> None:
        heard = Heard(run_id, number, digest(data))
        self.heard.append(heard)
        self._write({"kind": "heard", **asdict(heard)})

    def so_far(self) -> Record:
        """A copy, to which nothing is added."""
        copy = Record()
        copy.entries, copy.heard = [*self.entries], [*self.heard]
        return copy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        if self._file:
            self._file.write(json.dumps(line) + "\n")


def operations(entries: Sequence[Entry]) -> Iterator[Op]:
    """The operations, each with its outcomes; an unknown one has none."""
    ops: dict[int, Op] = {}
    for entry in entries:
        op = ops.setdefault(entry.op, Op(entry.what, entry.asked))
        match entry.kind:
            case "invoke":
                op.tries += 1
            case "ok":
                op.answers.append(entry.answer or {})
            case "fail":
                op.refused.append(entry.status or 0)
            case "unknown":
                pass
    yield from ops.values()


def digest(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()

"""Requests of clients and their responses, in order.

A line is written before a request is sent and after its answer has come, so the record of a killed
test is valid up to its last line. After a timeout or a cut connection the outcome is `unknown`: the
effect may be there or not, and the checks accept both.
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
OperationKind = Literal["thread", "message", "run", "process", "output", "cancel"]


@dataclass(frozen=True)
class Entry:
    """One line: an attempt at an operation, or its outcome. `request` and `response` are JSON."""

    op: int
    kind: Kind
    what: OperationKind
    request: dict[str, Any]
    status: int | None = None
    response: dict[str, Any] | None = None
    at: float = 0.0


@dataclass(frozen=True)
class ReceivedEvent:
    """Event that a client received; `digest` is of its bytes."""

    run_id: str
    number: int
    digest: str


@dataclass
class Operation:
    """Operation with the outcomes of all attempts."""

    what: OperationKind
    request: dict[str, Any]
    responses: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    attempts: int = 0


class Record:
    """The record of a test, in memory and in a file of JSON lines."""

    def __init__(self, path: Path | None = None) -> None:
        self.entries: list[Entry] = []
        self.received: list[ReceivedEvent] = []
        self._file = path.open("a", buffering=1) if path else None
        self._ops = 0

    def begin_operation(self) -> int:
        """Return a number for a new operation."""
        self._ops += 1
        return self._ops

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._write({**asdict(entry), "at": time.monotonic()})

    def add_received(self, run_id: str, number: int, data: bytes) -> None:
        event = ReceivedEvent(run_id, number, digest(data))
        self.received.append(event)
        self._write({"kind": "heard", **asdict(event)})

    def copy(self) -> Record:
        """Return a copy, to which nothing is added."""
        copy = Record()
        copy.entries, copy.received = [*self.entries], [*self.received]
        return copy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        if self._file:
            self._file.write(json.dumps(line) + "\n")


def group_operations(entries: Sequence[Entry]) -> Iterator[Operation]:
    """Yield the operations, each with its outcomes; an unknown outcome is left out."""
    ops: dict[int, Operation] = {}
    for entry in entries:
        op = ops.setdefault(entry.op, Operation(entry.what, entry.request))
        match entry.kind:
            case "invoke":
                op.attempts += 1
            case "ok":
                op.responses.append(entry.response or {})
            case "fail":
                op.refusals.append(entry.status or 0)
            case "unknown":
                pass
    yield from ops.values()


def digest(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()

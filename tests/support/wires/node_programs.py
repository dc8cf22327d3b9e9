"""Node programs that answer each line of JSON with one, because starting Node is slow."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, Self


class NodePrograms:
    """Runs a script once for each name; all processes end with the context."""

    def __init__(self, node: Path, script: Path, folder: Path) -> None:
        self._command = (node, script)
        self._folder = folder
        self._started: dict[str, tuple[subprocess.Popen[str], IO[str]]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def ask(self, name: str, request: object) -> Any:
        """Return the answer of the program of this name; fail with its stderr if it ended."""
        program, stderr = self._started.get(name) or self._start(name)
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(f"{json.dumps(request)}\n")
        program.stdin.flush()
        if answer := program.stdout.readline():
            return json.loads(answer)
        del self._started[name]
        stderr.seek(0)
        raise AssertionError(stderr.read()[-3000:])

    def _start(self, name: str) -> tuple[subprocess.Popen[str], IO[str]]:
        stderr = self._stack.enter_context(TemporaryFile("w+"))  # noqa: SIM115
        program = subprocess.Popen(
            [*self._command, name, self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        self._stack.enter_context(program)
        self._stack.callback(program.kill)
        self._started[name] = program, stderr
        return program, stderr

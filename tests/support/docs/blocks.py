"""The code blocks of the documentation, and an environment to run them in.

The word after the language of a block is its purpose:

- ```` ```python run ```` and ```` ```bash run ```` are run, and must succeed;
- ```` ```python test ```` is a file of tests, which must pass;
- ```` ```console run ```` contains commands after `$` and their output, which must match;
- ```` ```console serve ```` starts a server, and ends the previous one;
- ```` ```console chat ```` is a chat in a terminal: `$` starts it, text after `>` is typed, `[y]`
  is a key, and other lines must appear;
- other words mark blocks that run with a third-party program: `tests/openai/test_pages.py` and
  `tests/mcp/test_recipes.py`.

Parts that differ from run to run count as equal: ids, times, the port, the home folder.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import fork_python, fork_server

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SECONDS = 300  # far above what any of these takes
HOME, ADDRESS = "/home/you", "127.0.0.1:8000"

_BLOCK = re.compile(r"^```(\w+)(?: +(\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ID = re.compile(
    r"\b(?:asst|thread|msg|run|act|file|key|hook|evt)_[0-9a-z]{35}|\bcall_[0-9a-z]+_\d+_\d+"
)
_VARYING = re.compile(r"\b\d{13}\b|\b\d{4}-\d\d-\d\d \d\d:\d\d\b")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    purpose: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match[1], match[2], match[3])


def every(language: str, purpose: str) -> list[Block]:
    return [
        block
        for page in PAGES
        for block in blocks(page)
        if (block.language, block.purpose) == (language, purpose)
    ]


@dataclass
class Exchange:
    """A command of a console block, and its output on the page."""

    command: str
    output: str


def exchanges(block: Block) -> list[Exchange]:
    result: list[Exchange] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            result.append(Exchange(line[2:], ""))
        elif line.startswith("> ") and not result[-1].output:
            result[-1].command += f"\n{line[2:]}"
        else:
            result[-1].output += f"{line}\n"
    return result


def like(text: str) -> str:
    """Return the text with parts that differ from run to run replaced by placeholders."""
    return _VARYING.sub("#", _ID.sub(lambda match: match[0].split("_")[0] + "_#", text)).rstrip()


class Machine:
    """The machine of a new user: an empty home, a working folder, at most one server."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._address = ADDRESS
        self._ids: dict[str, str] = {}
        self._server: subprocess.Popen[str] | None = None
        path = (str(_programs(home)), str(Path(sys.executable).parent), os.environ["PATH"])
        self.environ = {
            "PATH": os.pathsep.join(path),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "ANTIPHON_PORT": "0",
            "ANTIPHON_DEMO_DELAY": "0",
        }

    def run(
        self, *command: str, cwd: Path | None = None, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; stdout and stderr are joined."""
        return subprocess.run(
            command,
            cwd=cwd or self._home,
            env=self.environ | (environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def python(
        self, *arguments: str, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments to its end, in a fork that has loaded the SDK."""
        return self.run(*fork_python.command(*arguments), environ=environ)

    def type(self, command: str) -> str:
        """Return the output of a command in the form of the page."""
        for page_id, actual_id in self._ids.items():
            command = command.replace(page_id, actual_id)
        process = self.run("bash", "-c", command.replace(ADDRESS, self._address))
        return self._as_written(process.stdout)

    def learn(self, written: str, printed: str) -> None:
        """Remember the printed ids for those of the page in the same place."""
        self._ids |= zip(_ID.findall(written), _ID.findall(printed), strict=False)

    def serve(self, command: str = "antiphon serve") -> str:
        """End the previous server and start one; return its output until it listens."""
        self.stop()
        self._server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self._home,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._server.stderr is not None
        watch = threading.Timer(SECONDS, self._server.kill)
        watch.start()
        output = ""
        for line in self._server.stderr:
            output += line
            if match := re.fullmatch(r"listening on http://(\S+)\n", line):
                self._address = match[1]
                break
        watch.cancel()
        return self._as_written(output).replace("127.0.0.1:0,", f"{ADDRESS},")

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://{self._address}"

    def real(self, text: str) -> str:
        """Return a page's text with the address of the server."""
        return text.replace(ADDRESS, self._address)

    def stop(self) -> None:
        """End the server as Ctrl+C does."""
        if self._server is None:
            return
        self._server.send_signal(signal.SIGINT)
        with self._server:
            self._server.wait(SECONDS)
        self._server = None

    def _as_written(self, text: str) -> str:
        return text.replace(self._address, ADDRESS).replace(str(self._home), HOME)


def _programs(home: Path) -> Path:
    """Create a folder with an `antiphon` that starts a fork, because pages start it often."""
    folder = home / ".programs"
    folder.mkdir()
    program = folder / "antiphon"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(fork_server.command())} "$@"\n')
    program.chmod(0o755)
    return folder

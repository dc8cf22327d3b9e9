"""Antiphon installed from a wheel into its own environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support import programs

SECONDS = 300
DEMO = {"ANTIPHON_DEMO_DELAY": "0", "ANTIPHON_MODEL": "demo"}
IMPORT_ALL = """
import importlib, pkgutil, antiphon
for module in pkgutil.walk_packages(antiphon.__path__, "antiphon."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as missing:
            print(missing.name.partition(".")[0])
"""


PYENV = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()


def find_pythons(minors: Iterable[str]) -> dict[str, str]:
    """Return a Python of each version that is installed: this one, on the path, or pyenv's."""
    pythons: dict[str, str] = {}
    for minor in minors:
        candidates = [sys.executable] if minor == f"3.{sys.version_info.minor}" else []
        candidates += filter(None, [shutil.which(f"python{minor}")])
        candidates += map(str, sorted(PYENV.glob(f"versions/{minor}.*/bin/python")))
        if usable := [each for each in candidates if _is_python(each)]:
            pythons[minor] = usable[0]
    return pythons


def _is_python(program: str) -> bool:
    command = [program, "-c", "import venv"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Installed:
    """An environment with the wheel, and a home that nothing else uses."""

    def __init__(self, folder: Path, *arguments: str | Path, python: str | Path) -> None:
        try:
            self.python = programs.create_environment(folder / "env", *arguments, python=python)
        except subprocess.CalledProcessError as error:
            if "Failed to fetch" in error.stderr:
                pytest.skip(
                    f"NOT TESTED: THE PACKAGE INDEX CANNOT BE REACHED: {error.stderr[-300:]}"
                )
            pytest.fail(error.stderr)
        self.home = folder / "home"
        self.home.mkdir()
        self.environ = {
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            **DEMO,
        }

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment to its end, in the home."""
        return subprocess.run(
            [str(word) for word in command],
            cwd=self.home,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def succeed(self, *command: str | Path) -> str:
        """Run a program that must succeed; return what it printed."""
        process = self.run(*command)
        assert process.returncode == 0, process.stderr
        return process.stdout

    def missing_modules(self) -> set[str]:
        """Import every module of the package; return the libraries that are missing."""
        return set(self.succeed(self.python, "-W", "error", "-c", IMPORT_ALL).split())

    def serve(self, *command: str | Path) -> AbstractContextManager[str]:
        """Run a server of the environment on a free port during the block; yield its address."""
        return serve(*command, folder=self.home, environ=self.environ)


@contextmanager
def serve(*command: str | Path, folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Run a server on a free port; yield the address that it prints."""
    with subprocess.Popen(
        [str(word) for word in (*command, "--port", "0")],
        cwd=folder,
        env={**environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout
        try:
            output = ""
            while not (address := re.search(r"http://127\.0\.0\.1:\d+", output)):
                line = process.stdout.readline()
                assert line, output
                output += line
            yield address[0]
        finally:
            process.terminate()
            process.stdout.read()


def fetch(url: str) -> str:
    """Return the text at an address."""
    with urllib.request.urlopen(url, timeout=SECONDS) as response:
        text: bytes = response.read()
    return text.decode()

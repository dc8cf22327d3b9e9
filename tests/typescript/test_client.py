"""The TypeScript client: its types hold, and it does before a real server what its tests say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.client.four_ways import SETTINGS, serve_in_thread

FOLDER = Path(__file__).resolve().parent.parent.parent / "clients" / "typescript"
TESTS = sorted((FOLDER / "tests").glob("*.test.ts"))
USE = """
import { Client, tool } from "antiphon-client";
const client = new Client(process.argv[2]);
const one = tool({ name: "one", run: () => "two" });
const { text } = await client.ask("Call the tool one", { tools: [one] });
console.log(text.includes("two"));
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serve_in_thread(SETTINGS) as url:
        yield url


def run(*command: str | Path, cwd: Path = FOLDER, **environ: str) -> tuple[int, str]:
    """The exit code of a program, and all that it wrote."""
    done = subprocess.run(
        command,
        check=False,
        cwd=cwd,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_the_client_does_what_its_tests_say(file: Path, node: Path, server: str) -> None:
    code, told = run(node, "--test", "--test-reporter=tap", file, ANTIPHON_SERVER=server)

    assert code == 0, told


def test_its_types_hold_and_the_built_package_works(
    npm_packages: Callable[[Path], Path], node: Path, server: str, tmp_path: Path
) -> None:
    modules = npm_packages(FOLDER)
    package = tmp_path / "node_modules/antiphon-client"
    package.mkdir(parents=True)
    for name in ("src", "tests", "package.json", "tsconfig.json", "tsconfig.build.json"):
        (package / name).symlink_to(FOLDER / name)
    (package / "node_modules").symlink_to(modules)
    (tmp_path / "use.mjs").write_text(USE)
    compiler = node, modules / "typescript/bin/tsc", "--preserveSymlinks"

    checked = run(*compiler, "--noEmit", cwd=package)
    built = run(*compiler, "--project", "tsconfig.build.json", cwd=package)
    used = run(node, "--preserve-symlinks", "use.mjs", server, cwd=tmp_path)

    assert (checked, built, used) == ((0, ""), (0, ""), (0, "true\n"))

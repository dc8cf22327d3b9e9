"""The TypeScript client: its types are correct, and its own tests pass with a real server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route

from tests.support.client.four_ways import SETTINGS, serve_in_thread
from tests.support.web.browser import chromium as chromium
from tests.support.web.browser import open_context

FOLDER = Path(__file__).resolve().parent.parent.parent / "clients" / "typescript"
TESTS = sorted((FOLDER / "tests").glob("*.test.ts"))
USE = """
import { Client, tool } from "antiphon-client";
const client = new Client(process.argv[2]);
const one = tool({ name: "one", run: () => "two" });
const { text } = await client.ask("Call the tool one", { tools: [one] });
console.log(text.includes("two"));
"""
USE_IN_BROWSER = """
async (server) => {
  const { Client, tool } = await import("/dist/index.js");
  const client = new Client(server);
  const one = tool({ name: "one", run: () => "two" });
  const { text } = await client.ask("Call the tool one", { tools: [one] });
  return text.includes("two");
}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serve_in_thread(SETTINGS) as url:
        yield url


def run(*command: str | Path, cwd: Path = FOLDER, **environ: str) -> tuple[int, str]:
    """Run a program; return its exit code and its output."""
    completed = subprocess.run(
        command,
        check=False,
        cwd=cwd,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return completed.returncode, completed.stdout


@pytest.mark.slow
@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_the_clients_own_tests_pass(file: Path, node: Path, server: str) -> None:
    code, output = run(node, "--test", "--test-reporter=tap", file, ANTIPHON_SERVER=server)

    assert code == 0, output


@pytest.fixture(scope="module")
def package(npm_packages: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, in which it is compiled."""
    package = tmp_path_factory.mktemp("npm") / "node_modules/antiphon-client"
    package.mkdir(parents=True)
    for name in ("src", "tests", "package.json", "tsconfig.json", "tsconfig.build.json"):
        (package / name).symlink_to(FOLDER / name)
    (package / "node_modules").symlink_to(npm_packages(FOLDER))
    return package


@pytest.fixture(scope="module")
def built_package(package: Path, node: Path) -> Path:
    """The folder of the built package, which programs import."""
    compiler = find_compiler(package, node)
    assert run(*compiler, "--project", "tsconfig.build.json", cwd=package) == (0, "")
    return package / "dist"


def find_compiler(package: Path, node: Path) -> tuple[Path, Path, str]:
    return node, package / "node_modules/typescript/bin/tsc", "--preserveSymlinks"


def test_its_types_are_correct(package: Path, node: Path) -> None:
    assert run(*find_compiler(package, node), "--noEmit", cwd=package) == (0, "")


@pytest.mark.slow
def test_the_built_package_works_in_node(built_package: Path, node: Path, server: str) -> None:
    folder = built_package.parents[2]
    (folder / "use.mjs").write_text(USE)

    assert run(node, "--preserve-symlinks", "use.mjs", server, cwd=folder) == (0, "true\n")


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="session")
async def test_the_built_package_works_in_a_browser(
    built_package: Path, chromium: Browser, server: str
) -> None:
    async def serve(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        await route.fulfill(path=built_package / name, content_type="text/javascript")

    async with open_context(chromium) as context:
        page = await context.new_page()
        await page.route("**/dist/*", serve)
        await page.goto(f"{server}/healthz")  # a page of the server's origin

        assert await page.evaluate(USE_IN_BROWSER, server)

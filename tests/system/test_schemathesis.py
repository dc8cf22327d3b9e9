"""Schemathesis reads the OpenAPI document and makes valid and invalid requests of all operations.

Guarantees S14, S17 and S25: all answers are as declared, none of them is a 500, and the same
process answers afterwards.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import fork_server
from tests.support.harness import raw_http
from tests.support.harness.servers import Server, environment

HERE = Path(__file__).parent
DANGEROUS = ("revoke_key", "update_key", "erase_owner")
EXCLUDING = [part for each in DANGEROUS for part in ("--exclude-operation-id", each)]
ONLY = [part for each in DANGEROUS for part in ("--include-operation-id", each)]
PYTHONS_OWN = "AST constructor recursion depth mismatch"  # python/cpython#106905
SETTINGS = {
    "ANTIPHON_BUSY_TIMEOUT": "0.5",  # some requests would wait for a busy thread
    "ANTIPHON_SECRET_KEY": base64.b64encode(bytes(32)).decode(),
    "ANTIPHON_DEMO_DELAY": "0",
}


@pytest.mark.slow
async def test_answers_are_as_the_document_says(serve: Any, tmp_path: Path) -> None:
    options = ("--phases", "fuzzing,stateful", "--max-examples", "2")
    async with _server(serve, tmp_path) as runner:
        failures = await runner.list_failures(*options, *EXCLUDING)

    assert failures == []


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_answers_are_as_the_document_says_whatever_is_asked(
    serve: Any, tmp_path: Path, seed: int
) -> None:
    options = ("--checks", "all", "--max-examples", "200", "--seed", str(seed))
    async with _server(serve, tmp_path) as runner:
        failures = await runner.list_failures(*options, *EXCLUDING)
        # Last, because the key of the requests may be gone then.
        failures += await runner.list_failures(*options, *ONLY)

    assert failures == []


@pytest.mark.soak
async def test_what_was_deleted_is_gone_and_what_was_made_is_there(
    serve: Any, tmp_path: Path
) -> None:
    checks = "use_after_free,ensure_resource_availability,ignored_auth,not_a_server_error"
    async with _server(serve, tmp_path) as runner:
        failures = await runner.list_failures(
            "--phases", "stateful", "--checks", checks, "--max-examples", "200", *EXCLUDING
        )

    assert failures == []


@dataclass
class _Schemathesis:
    """Schemathesis before a server, with a key that may do everything there."""

    server: Server
    key: str
    folder: Path

    async def list_failures(self, *options: str) -> list[str]:
        """Return the failures that schemathesis finds."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("--config-file", str(HERE / "schemathesis.toml"), "run"),
            *(f"{self.server.url}/openapi.json", "--header", f"Authorization: Bearer {self.key}"),
            *("--report", "json", "--report-json-path", str(report)),
            *(() if "--seed" in options else ("--seed", "1")),
            *options,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.folder,
        )
        output, _ = await process.communicate()
        assert report.exists(), output.decode()
        report_fields = json.loads(report.read_bytes())
        faults = [
            str(each) for each in report_fields["errors"] if PYTHONS_OWN not in output.decode()
        ]
        return [
            f"{each['title']}: {each['operations']}" for each in report_fields["failures"]
        ] + faults


@asynccontextmanager
async def _server(serve: Any, folder: Path) -> AsyncIterator[_Schemathesis]:
    """Check that the same process answers before and after."""
    process = await asyncio.create_subprocess_exec(
        *(*fork_server.command(), "keys", "create", "st", "--owner", "root"),
        *("--scope", "admin", "--database", f"sqlite:///{folder}/antiphon.db"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment({}),
    )
    output, _ = await process.communicate()
    server: Server = await serve(**SETTINGS)
    yield _Schemathesis(server, output.decode().split()[0], folder)
    assert server.alive
    assert (await raw_http.send_request(server.url, "GET", "/readyz")).status == 200

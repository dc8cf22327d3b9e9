"""Clients that other people's generators make of our OpenAPI document, before a real server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antiphon.server.openapi import build_document
from tests.support.client.four_ways import SETTINGS, serve_in_thread

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements/openapi-generators.txt"
PACKAGES = Path(__file__).parent / "openapi_typescript"

USE_CLIENT = """
import sys
import time

from made import Client
from made.api.actions import list_actions
from made.api.messages import create_message, list_messages
from made.api.runs import create_run, get_run, list_runs
from made.api.threads import create_thread, get_thread, list_threads
from made.models import (
    CreateMessageBody, CreateRunBody, CreateThreadBody, CreateThreadBodyMetadata, Problem, Status,
)

client = Client(base_url=sys.argv[1])
pairs = CreateThreadBodyMetadata.from_dict({"team": "red"})
thread = create_thread.sync(client=client, body=CreateThreadBody(title="a", metadata=pairs))
create_message.sync(client=client, body=CreateMessageBody(thread_id=thread.id, content="Hello"))
run = create_run.sync(client=client, body=CreateRunBody(thread_id=thread.id, background=True))
while (run := get_run.sync(run.id, client=client)).status is not Status.COMPLETED:
    time.sleep(0.01)
assert list_runs.sync(client=client, status=Status.COMPLETED).data[0].id == run.id
assert len(list_messages.sync(client=client, thread_id=thread.id).data) == 2
assert list_actions.sync(client=client, run_id=run.id).data == []
assert list_threads.sync(client=client, limit=1).data[0].metadata.to_dict() == {"team": "red"}
missing = get_thread.sync("thread_nowhere", client=client)
assert isinstance(missing, Problem) and missing.code == "not_found", missing
print("used")
"""

USE_MODELS = """
import sys
import urllib.request

import models


def get(path):
    with urllib.request.urlopen(sys.argv[1] + path) as response:
        return response.read()


page = models.ListedRun.model_validate_json(get("/v1/runs"))
log = models.EventList.model_validate_json(get(f"/v1/runs/{page.data[0].id}/log"))
assert page.data[0].status.value == "completed"
assert log.ended and type(log.data[0].event) is models.RunStatus
print("used")
"""

USE_TYPES = """
import type { components, paths } from "./api.ts";

type Run = components["schemas"]["Run"];
type Filters = paths["/v1/runs"]["get"]["parameters"]["query"];

const filters: Filters = { status: "action_required", metadata: { team: "red" }, limit: 5 };
export function isOver(run: Run): boolean {
  return run.ended_at !== null && run.status !== "queued" && filters !== undefined;
}
// @ts-expect-error: there is no such status
export const wrong: Filters = { status: "happy" };
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serve_in_thread(SETTINGS) as url:
        yield url


@pytest.fixture
def document(tmp_path: Path) -> Path:
    file = tmp_path / "openapi.json"
    file.write_bytes(build_document())
    return file


def run(folder: Path, *command: str | Path) -> str:
    process = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


@pytest.mark.slow
def test_a_generated_client_makes_reads_and_lists(
    python_with: Callable[[Path], Path], server: str, document: Path, tmp_path: Path
) -> None:
    python = python_with(REQUIREMENTS)
    generator = (python, "-m", "openapi_python_client", "generate", "--path", document)

    output = run(tmp_path, *generator, "--meta", "none", "--output-path", "made")

    # The body of this operation is a zip file.
    output = output.replace("POST /v1/imports within imports. Endpoint", "")
    assert "Endpoint will not be generated" not in output
    (tmp_path / "use.py").write_text(USE_CLIENT)
    assert run(tmp_path, python, "use.py", server) == "used\n"


@pytest.mark.slow
def test_generated_models_read_what_the_server_sends(
    python_with: Callable[[Path], Path], server: str, document: Path, tmp_path: Path
) -> None:
    python = python_with(REQUIREMENTS)
    generator = (python, "-m", "datamodel_code_generator", "--input", document)
    options = ("--input-file-type", "openapi", "--output-model-type", "pydantic_v2.BaseModel")

    run(tmp_path, *generator, *options, "--output", "models.py")

    (tmp_path / "use.py").write_text(USE_MODELS)
    assert run(tmp_path, python, "use.py", server) == "used\n"


@pytest.mark.slow
def test_generated_types_of_typescript_hold(
    npm_packages: Callable[[Path], Path], node: Path, document: Path, tmp_path: Path
) -> None:
    modules = npm_packages(PACKAGES)

    run(tmp_path, node, modules / "openapi-typescript/bin/cli.js", document, "-o", "api.ts")

    (tmp_path / "use.ts").write_text(USE_TYPES)
    options = ("--noEmit", "--strict", "--allowImportingTsExtensions", "--module", "nodenext")
    assert run(tmp_path, node, modules / "typescript/bin/tsc", *options, "use.ts") == ""

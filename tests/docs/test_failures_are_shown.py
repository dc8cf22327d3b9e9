"""Every program of the documentation shows why a run failed, and ends with an error."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.docs.blocks import ROOT, Block, Machine, every

PROGRAMS = (
    ("ask_async.py", "far:m"),
    ("parallel_tools.py", "far:m"),
    ("resume.py", "far:m"),
    ("turn_protocol.py", "--model", "far:m"),
    ("web_chat.py", "--model", "far:m"),
)
BLOCKS = [
    block
    for block in every("python", "run")
    if "converse(" in block.text and "@app" not in block.text  # an app converses when it is asked
]
README_BLOCKS = [block for block in BLOCKS if block.page.name == "README.md"]
CLOSED_ADDRESS = "http://127.0.0.1:9/v1"


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The address of a provider that refuses every key."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b'{"error": {"message": "this key is unknown"}}')

        do_GET = do_POST  # noqa: N815

        def log_message(self, format: str, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.stop()


def name_provider(provider: str) -> dict[str, str]:
    return {"ANTIPHON_BASE_URL": provider, "ANTIPHON_MODEL": "far:m"}


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program[0])
def test_an_example_ends_with_the_error_of_its_run(
    machine: Machine, provider: str, program: tuple[str, ...]
) -> None:
    name, *arguments = program
    example = str(ROOT / "examples" / name)

    completed = machine.python(example, *arguments, environ=name_provider(provider))

    assert completed.returncode == 1, completed.stdout
    assert "(provider_auth)" in completed.stdout
    assert "Traceback" not in completed.stdout


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program[0])
def test_an_example_says_that_its_server_is_away(
    machine: Machine, program: tuple[str, ...]
) -> None:
    example = str(ROOT / "examples" / program[0])

    completed = machine.python(example, environ={"ANTIPHON_SERVER": CLOSED_ADDRESS[:-3]})

    assert completed.returncode == 1, completed.stdout
    assert "Traceback" not in completed.stdout


@pytest.mark.slow
@pytest.mark.parametrize("block", README_BLOCKS, ids=str)
@pytest.mark.parametrize("is_away", [False, True])
def test_the_program_of_the_readme_says_what_is_wrong(
    machine: Machine, provider: str, block: Block, is_away: bool
) -> None:
    environ = name_provider(CLOSED_ADDRESS if is_away else provider)

    completed = machine.python("-c", block.text, environ=environ)

    assert completed.returncode == 1
    assert ("(provider_unavailable)" if is_away else "(provider_auth)") in completed.stdout
    assert "Traceback" not in completed.stdout


@pytest.mark.soak
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_no_program_of_a_page_is_silent_about_a_wrong_key(
    machine: Machine, provider: str, block: Block
) -> None:
    text = block.text.replace('model="demo"', 'model="far:m"')

    completed = machine.python("-c", text, environ=name_provider(provider))

    assert "provider_auth" in completed.stdout
    assert completed.returncode or "except RunError" in block.text or "events.error" in block.text


@pytest.mark.slow
def test_plain_http_and_curl_show_the_failure_too(machine: Machine, provider: str) -> None:
    machine.environ |= name_provider(provider)
    machine.serve()
    folder = ROOT / "examples"

    completed_programs = [machine.python(str(folder / "hello.py"), machine.url, "far:m")]
    if shutil.which("curl"):
        script = str(folder / "turn_protocol.sh")
        completed_programs.append(machine.run("bash", script, machine.url))

    for completed in completed_programs:
        assert completed.returncode == 1, completed.stdout
        assert "this key is unknown" in completed.stdout

"""Published servers: the reference server of npm, and three of PyPI in both protocols.

Without the packages, the tests are skipped with the reason.
"""

import asyncio
import json
import os
import shlex
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

pytest.importorskip("mcp", reason="the extra antiphon[mcp] is not installed")

from antiphon.mcp.client.client_features import ElicitationAnswer, FormElicitation, UrlElicitation
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.types.errors import NotFound
from antiphon.types.messages import Blob, Link, Progress, Text
from tests.support.mcp.serving import RecordingHost, call
from tests.support.ports import find_port

FOLDER = Path(__file__).parent
REQUIREMENTS = FOLDER.parents[1] / "requirements"
PINNED = FOLDER / "everything"
PROTOCOLS = {"mcp-servers": "2026-07-28", "mcp-servers-old": "2025-11-25"}


@pytest.fixture(scope="session")
def everything_command(npm_packages, node) -> tuple[str, str]:
    """Return the command of the reference server, without the name of a transport."""
    package = npm_packages(PINNED) / "@modelcontextprotocol/server-everything"
    return str(node), str(package / "dist/index.js")


@pytest.fixture(scope="session")
def everything_port(everything_command) -> Iterator[int]:
    with run_reference_server(everything_command, "streamableHttp") as (port, _):
        yield port


@pytest.fixture(params=["stdio", "http"])
def reference(request: pytest.FixtureRequest, everything_command) -> ServerConfig:
    if request.param == "stdio":
        return server_config(everything_command)
    return http_config(request.getfixturevalue("everything_port"))


@pytest.fixture(
    scope="session",
    params=["mcp-servers", pytest.param("mcp-servers-old", marks=pytest.mark.slow)],
)
def python(request: pytest.FixtureRequest, python_with) -> tuple[str, str]:
    """Return a Python with the servers of PyPI, and the protocol that they speak."""
    python_path = python_with(REQUIREMENTS / f"{request.param}.txt")
    return str(python_path), PROTOCOLS[request.param]


@asynccontextmanager
async def run_servers(
    *configs: ServerConfig, host: RecordingHost | None = None, **options
) -> AsyncIterator[AsyncMcpServerPool]:
    async with asyncio.timeout(60), AsyncMcpServerPool(configs, host, **options) as servers:
        assert await servers.ready(50) == ()
        yield servers


@pytest.mark.slow
async def test_the_reference_server_is_known_by_all_it_offers(reference: ServerConfig):
    async with run_servers(reference, host=RecordingHost()) as servers:
        state = servers.states()[0]
        names = {tool.own_name for tool in servers.tools()}
        resources = await servers.resources("every")
        templates = await servers.resource_templates("every")
        prompts = {prompt.name for prompt in await servers.prompts("every")}

    assert state.title == "Everything Reference Server"
    assert {"tools", "resources", "prompts", "completions"} <= set(state.capabilities)
    assert {"echo", "get-sum", "trigger-elicitation-request"} <= names
    assert "demo://resource/static/document/features.md" in {each.uri for each in resources}
    assert [each.uri_template for each in templates] == [
        "demo://resource/dynamic/text/{resourceId}",
        "demo://resource/dynamic/blob/{resourceId}",
    ]
    assert {"simple-prompt", "args-prompt", "completable-prompt"} <= prompts


@pytest.mark.slow
async def test_tools_return_texts_pictures_links_and_values(reference: ServerConfig):
    async with run_servers(reference) as servers:
        echo = await servers.call(call("every__echo", message="hi"))
        total = await servers.call(call("every__get-sum", a=2, b=3))
        image = await servers.call(call("every__get-tiny-image"))
        links = await servers.call(call("every__get-resource-links", count=2))
        weather = await servers.call(call("every__get-structured-content", location="Chicago"))
        wrong_result = await servers.call(call("every__get-sum", a="two", b=3))

    assert echo.output == "Echo: hi"
    assert total.output == "The sum of 2 and 3 is 5."
    blob = next(each for each in image.content if isinstance(each, Blob))
    assert blob.media_type == "image/png"
    assert blob.data.startswith(b"\x89PNG")
    assert sum(isinstance(each, Link) for each in links.content) == 2
    assert isinstance(weather.structured, dict)
    assert set(weather.structured) == {"temperature", "conditions", "humidity"}
    assert wrong_result.is_error


@pytest.mark.slow
async def test_progress_is_reported_step_by_step(reference: ServerConfig):
    progress: list[Progress] = []
    async with run_servers(reference) as servers:
        result = await servers.call(slow(duration=0.2, steps=4), progress.append)

    assert not result.is_error
    assert progress == [Progress(step, 4) for step in (1, 2, 3, 4)]


@pytest.mark.slow
async def test_resources_are_read_and_a_missing_one_is_not_found(reference: ServerConfig):
    async with run_servers(reference) as servers:
        (document,) = await servers.read_resource(
            "every", "demo://resource/static/document/features.md"
        )
        (text,) = await servers.read_resource("every", "demo://resource/dynamic/text/7")
        (blob,) = await servers.read_resource("every", "demo://resource/dynamic/blob/7")
        with pytest.raises(NotFound):
            await servers.read_resource("every", "demo://nothing")

    assert isinstance(document, Text)
    assert document.text.startswith("# Everything Server")
    assert isinstance(text, Text)
    assert "Resource 7" in text.text
    assert isinstance(blob, Blob)
    assert b"Resource 7" in blob.data


@pytest.mark.slow
async def test_prompts_are_filled_in_and_completed(reference: ServerConfig):
    async with run_servers(reference) as servers:
        prompt = await servers.get_prompt("every", "args-prompt", {"city": "Paris"})
        values = await servers.complete("every", "department", "E", prompt="completable-prompt")
        names = await servers.complete(
            "every",
            "name",
            "",
            prompt="completable-prompt",
            known={"department": "Engineering"},
        )

    assert prompt.messages[0].content == (Text("What's weather in Paris?"),)
    assert values.values == ["Engineering"]
    assert "Alice" in names.values


async def test_forms_addresses_and_the_model_are_asked_of_the_host(reference: ServerConfig):
    host = RecordingHost(
        ElicitationAnswer("accept", {"name": "Ada", "integer": 7}), ElicitationAnswer("accept")
    )
    async with run_servers(reference, host=host) as servers:
        form = await servers.call(call("every__trigger-elicitation-request"))
        agreed_result = await servers.call(
            call("every__trigger-url-elicitation", url="https://example.com/pay")
        )
        sample = await servers.call(call("every__trigger-sampling-request", prompt="hello"))

    form_question, url_question = host.questions
    assert isinstance(form_question, FormElicitation)
    assert "titledMultipleSelectEnum" in {field.name for field in form_question.form.fields}
    assert "- Name: Ada" in form.output
    assert isinstance(url_question, UrlElicitation)
    assert url_question.url == "https://example.com/pay"
    assert not agreed_result.is_error
    assert "well" in sample.output


async def test_roots_are_passed_on_to_the_reference_server(reference: ServerConfig, tmp_path: Path):
    async with run_servers(reference, roots=[tmp_path]) as servers:
        while "every__get-roots-list" not in {tool.spec.name for tool in servers.tools()}:
            await asyncio.sleep(0.01)  # it is offered once the server knows its client
        roots = await servers.call(call("every__get-roots-list"))

    assert tmp_path.resolve().as_uri() in roots.output


async def test_a_call_that_is_cancelled_leaves_the_server_usable(reference: ServerConfig):
    started = asyncio.Event()
    async with run_servers(reference) as servers:
        task = asyncio.create_task(
            servers.call(slow(duration=30, steps=600), lambda progress: started.set())
        )
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        next_result = await servers.call(call("every__echo", message="still here"))

    assert next_result.output == "Echo: still here"


async def test_the_environment_is_not_handed_to_servers(
    everything_command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SECRET_OF_OURS", "hunter2")
    async with run_servers(server_config(everything_command, env={"GIVEN": "yes"})) as servers:
        environment = json.loads((await servers.call(call("every__get-env"))).output)

    assert environment["GIVEN"] == "yes"
    assert "SECRET_OF_OURS" not in environment


async def test_the_reference_server_killed_in_a_call_fails_it_and_comes_back(
    everything_command, tmp_path: Path
):
    started = asyncio.Event()
    script = f"echo $$ > {tmp_path}/id; exec " + shlex.join((*everything_command, "stdio"))
    config = ServerConfig(name="every", command="sh", args=("-c", script))
    async with run_servers(config, delays=(0.01,)) as servers:
        task = asyncio.create_task(
            servers.call(slow(duration=30, steps=600), lambda progress: started.set())
        )
        await started.wait()
        os.kill(int((tmp_path / "id").read_text()), signal.SIGKILL)
        result = await task
        second = await servers.call(call("every__echo", message="back"))

    assert result.fault == "unavailable"
    assert "SIGKILL" in result.output
    assert second.output == "Echo: back"


async def test_the_reference_server_killed_over_http_fails_its_call(everything_command):
    started = asyncio.Event()
    with run_reference_server(everything_command, "streamableHttp") as (port, process):
        async with run_servers(http_config(port), delays=()) as servers:
            task = asyncio.create_task(
                servers.call(slow(duration=30, steps=600), lambda progress: started.set())
            )
            await started.wait()
            process.kill()
            result = await task

    assert result.fault == "unavailable"


async def test_the_reference_server_is_used_over_the_legacy_transport(everything_command):
    with run_reference_server(everything_command, "sse") as (port, _):
        config = ServerConfig(name="every", transport="sse", url=f"http://127.0.0.1:{port}/sse")
        async with run_servers(config) as servers:
            echo = await servers.call(call("every__echo", message="hi"))

    assert echo.output == "Echo: hi"


@pytest.mark.slow
async def test_servers_of_pypi_tell_the_time_fetch_pages_and_read_a_repository(
    python: tuple[str, str], tmp_path: Path
):
    program, protocol = python
    create_repository(tmp_path)
    with serve_page("# Hello") as url:
        async with run_servers(
            pypi_config(program, "time", "--local-timezone", "UTC"),
            pypi_config(program, "fetch", "--ignore-robots-txt", "--allow-private-ips"),
            pypi_config(program, "git", "--repository", str(tmp_path)),
        ) as servers:
            states = servers.states()
            time_result, fetch_result, log_result, unknown_zone = await asyncio.gather(
                servers.call(call("time__get_current_time", timezone="Asia/Tokyo")),
                servers.call(call("fetch__fetch", url=url)),
                servers.call(call("git__git_log", repo_path=str(tmp_path))),
                servers.call(call("time__get_current_time", timezone="Mars/Olympus")),
            )
            prompts = await servers.prompts("fetch")

    assert [state.protocol for state in states] == [protocol] * 3
    assert "Asia/Tokyo" in time_result.output
    assert "+09:00" in time_result.output
    assert "Hello" in fetch_result.output
    assert "A first word" in log_result.output
    assert unknown_zone.is_error
    assert [prompt.name for prompt in prompts] == ["fetch"]


@pytest.mark.slow
async def test_hints_of_servers_of_pypi_mark_the_tools_that_only_read(python: tuple[str, str]):
    async with run_servers(pypi_config(python[0], "git")) as servers:
        hints = {tool.own_name: tool.hints for tool in servers.tools()}

    assert hints["git_status"].read_only
    assert hints["git_reset"].destructive


def test_the_lock_file_names_no_address_of_packages():
    lock = (PINNED / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 100


def slow(**arguments):
    return call("every__trigger-long-running-operation", **arguments)


def server_config(command: tuple[str, str], **more) -> ServerConfig:
    node, program = command
    return ServerConfig(name="every", command=node, args=(program, "stdio"), **more)


def http_config(port: int) -> ServerConfig:
    return ServerConfig(name="every", transport="http", url=f"http://127.0.0.1:{port}/mcp")


def pypi_config(python: str, name: str, *args: str) -> ServerConfig:
    return ServerConfig(name=name, command=python, args=("-m", f"mcp_server_{name}", *args))


@contextmanager
def run_reference_server(
    command: tuple[str, str], transport: str
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run a reference server over HTTP; yield its port and its process."""
    port = find_port()
    with subprocess.Popen(
        [*command, transport],
        env=os.environ | {"PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert any(str(port) in line for line in process.stderr)
            Thread(target=process.stderr.read, daemon=True).start()
            yield port, process
        finally:
            process.kill()


@contextmanager
def serve_page(text: str) -> Iterator[str]:
    """Serve a page with this text; yield its address."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/plain")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def create_repository(folder: Path) -> None:
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for arguments in (
        ["init", "-q"],
        [*author, "commit", "-q", "--allow-empty", "-m", "A first word"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)

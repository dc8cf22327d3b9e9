"""A full server of the SDK, over every transport and in both protocols: tools and all the rest."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("mcp", reason="the extra antiphon[mcp] is not installed")

from mcp import Client
from mcp_types import ElicitResult

from antiphon.mcp.client.client_features import (
    Elicitation,
    ElicitationAnswer,
    FormElicitation,
    UrlElicitation,
)
from antiphon.mcp.client.http import connect_http
from antiphon.mcp.client.server_listing import Prompt, PromptArgument, ServerState
from antiphon.mcp.client.session_monitor import SessionMonitor
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.types.errors import NotFound, Unavailable
from antiphon.types.messages import Blob, Hints, Link, Progress, Text, ToolResult
from tests.support.mcp.serving import RecordingHost, call, serve_whole, whole
from tests.support.tools.call_clock import RECHECK_SECONDS, CallClock

QUIET_SECONDS = 3.0
"""Far more than a server takes for the first answer, on a machine however busy."""

TRANSPORTS = {
    "http, old": ("http", "legacy"),
    "http, new": ("http", "auto"),
    "sse, old": ("sse", "legacy"),
}


@pytest.fixture(params=TRANSPORTS)
def config(request: pytest.FixtureRequest) -> ServerConfig:
    transport, mode = TRANSPORTS[request.param]
    return server_config(request.getfixturevalue(f"{transport}_port"), transport, mode=mode)


@asynccontextmanager
async def run_servers(config: ServerConfig, host: RecordingHost | None = None, **options):
    async with asyncio.timeout(60), AsyncMcpServerPool([config], host, **options) as servers:
        assert await servers.ready(50) == ()
        yield servers


async def test_tools_are_offered_and_called(config: ServerConfig):
    async with run_servers(config) as servers:
        tools = {tool.spec.name: tool for tool in servers.tools()}
        result = await servers.call(call("whole__echo", text="hi"))
        state = servers.states()[0]

    assert result == ToolResult("hi")
    assert tools["whole__hinted"].hints == Hints(title="Look", read_only=True)
    assert tools["whole__hinted"].spec.description == "Only looks."
    assert tools["whole__hinted"].own_name == "hinted"
    assert (state.title, state.version, state.instructions) == ("Everything", "1.2.3", "Be kind.")
    assert state.protocol == ("2025-11-25" if config.mode == "legacy" else "2026-07-28")
    assert state.tools == len(tools)


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_same_holds_of_a_server_that_is_started(mode: str, tmp_path: Path):
    host = RecordingHost(ElicitationAnswer("accept", {"name": "Ada", "age": 36}))
    progress: list[Progress] = []
    config = whole(mode=mode, log_level="info")
    async with run_servers(config, host, roots=[tmp_path]) as servers:
        await servers.call(call("whole__steps"), progress.append)
        greeting = await servers.call(call("whole__greet"))
        await servers.call(call("whole__chatter"))
        log_entry = await host.heard.get()
        roots = await servers.call(call("whole__folders"))
        note = await servers.read_resource("whole", "note://7")

    assert [each.done for each in progress] == [1, 2, 3]
    assert greeting.output == "hello Ada, 36, False"
    assert log_entry[0] == "logged"
    assert roots.output == tmp_path.resolve().as_uri()
    assert note == (Text("note 7"),)


async def test_structured_output_is_a_value_and_its_text(config: ServerConfig):
    async with run_servers(config) as servers:
        result = await servers.call(call("whole__add", a=1, b=2))

    assert result.structured == {"total": 3}
    assert '"total": 3' in result.output


async def test_output_that_does_not_match_its_schema_is_a_failure_that_says_so(
    config: ServerConfig,
):
    async with run_servers(config) as servers:
        result = await servers.call(call("whole__lie"))

    assert result.fault == "failed"


async def test_an_error_of_a_tool_is_a_result(config: ServerConfig):
    async with run_servers(config) as servers:
        result = await servers.call(call("whole__broken"))

    assert result.is_error
    assert result.fault == "failed"
    assert "broken" in result.output


async def test_pictures_sounds_texts_and_links_come_whole(config: ServerConfig):
    async with run_servers(config) as servers:
        result = await servers.call(call("whole__media"))

    text, image, audio, note, link = result.content
    assert text == Text("see")
    assert isinstance(image, Blob)
    assert len(image.data) == 12_004
    assert audio == Blob(media_type="audio/wav", data=b"RIFF")
    assert note == Text("a note")
    assert link == Link(uri="https://example.com/x", name="x")
    assert result.output.splitlines() == [
        "see",
        "[image/png, 12 kB, shown to the user]",
        "[audio/wav, 4 B, shown to the user]",
        "a note",
        "[link to x, https://example.com/x]",
    ]


async def test_progress_is_reported_in_order_and_cleaned(config: ServerConfig):
    progress: list[Progress] = []
    async with run_servers(config) as servers:
        await servers.call(call("whole__steps"), progress.append)

    assert progress == [Progress(n, 3, f"step \u241b[31m{n}") for n in (1, 2, 3)]


async def test_cancelling_a_call_stops_the_tool_on_its_server(config: ServerConfig, tmp_path: Path):
    mark = tmp_path / "mark"
    async with run_servers(config) as servers:
        task = asyncio.create_task(servers.call(call("whole__endless", mark=str(mark))))
        await wait_for_file(tmp_path / "mark.begun")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wait_for_file(tmp_path / "mark.stopped")
        next_result = await servers.call(call("whole__echo", text="still here"))

    assert next_result.output == "still here"


async def test_tools_that_come_later_are_listed_again(config: ServerConfig):
    was_listed = asyncio.Event()
    name = f"late_{config.transport}_{config.mode[:4]}"

    def record_change(state: ServerState) -> None:
        if any(tool.own_name == name for tool in servers.tools()):
            was_listed.set()

    servers = AsyncMcpServerPool([config], changed=record_change)
    async with asyncio.timeout(60), servers:
        await servers.ready(50)
        await servers.call(call("whole__grow", name=name))
        await was_listed.wait()
        result = await servers.call(call(f"whole__{name}"))

    assert result.output == "new"


async def test_a_form_is_shown_to_the_person_and_its_answer_sent_to_the_server(
    config: ServerConfig,
):
    host = RecordingHost(ElicitationAnswer("accept", {"name": "Ada", "age": 36}))
    async with run_servers(config, host) as servers:
        result = await servers.call(call("whole__greet"))

    question = host.questions[0]
    assert result.output == "hello Ada, 36, False"
    assert isinstance(question, FormElicitation)
    assert (question.server, question.message) == ("whole", "Who are you?")
    assert [(each.name, each.kind, each.required) for each in question.form.fields] == [
        ("name", "text", True),
        ("age", "integer", True),
        ("newsletter", "boolean", False),
    ]


async def test_a_person_may_think_longer_about_a_form_than_the_call_may_take(
    config: ServerConfig, call_clock: CallClock
):
    class Slow(RecordingHost):
        async def ask(self, question: Elicitation) -> ElicitationAnswer:
            await call_clock.think()
            return await super().ask(question)

    host = Slow(ElicitationAnswer("accept", {"name": "Ada", "age": 36}))
    async with run_servers(replace_program(config, timeout=RECHECK_SECONDS), host) as servers:
        result = await servers.call(call("whole__greet"))

    assert result.output == "hello Ada, 36, False"


async def test_an_answer_that_does_not_fit_the_form_never_reaches_the_server(config: ServerConfig):
    host = RecordingHost(ElicitationAnswer("accept", {"name": "A", "age": 36}))
    async with run_servers(config, host) as servers:
        result = await servers.call(call("whole__greet"))

    assert result.is_error


async def test_a_refusal_is_passed_on_to_the_server(config: ServerConfig):
    async with run_servers(config, RecordingHost(ElicitationAnswer("decline"))) as servers:
        result = await servers.call(call("whole__greet"))

    assert result.is_error


async def test_an_address_is_shown_whole(config: ServerConfig):
    host = RecordingHost(ElicitationAnswer("accept"))
    async with run_servers(config, host) as servers:
        result = await servers.call(call("whole__open_page"))

    question = host.questions[0]
    assert result.output == "accept"
    assert isinstance(question, UrlElicitation)
    assert question.url == "https://example.com/pay?x=1"


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "http://example.com/",
        "file:///etc",
        "https://[",
        "https://",
        "https://example.com/\x1b]52;c;bHM=\x07",
        "https://example.com/\u202egnp.exe",
        "https://example.com/`id`",
    ],
)
async def test_an_address_that_nobody_should_open_is_declined(config: ServerConfig, url: str):
    host = RecordingHost()
    async with run_servers(config, host) as servers:
        result = await servers.call(call("whole__open_page", where=url))

    assert host.questions == []
    assert result.output == "decline"


async def test_requests_that_no_host_can_answer_are_never_sent(config: ServerConfig):
    async with run_servers(config) as servers:
        form = await servers.call(call("whole__greet"))
        sample = await servers.call(call("whole__think"))
        roots = await servers.call(call("whole__folders"))

    for result in (form, sample, roots):
        assert "did not declare" in result.output


async def test_a_server_may_ask_the_model_where_the_host_consents(config: ServerConfig):
    host = RecordingHost()
    async with run_servers(config, host) as servers:
        result = await servers.call(call("whole__think"))

    assert result.output == "m1: well"
    assert host.wanted[0].max_tokens == 10
    assert host.wanted[0].messages[0].content == (Text("a word?"),)


async def test_roots_are_passed_on(config: ServerConfig, tmp_path: Path):
    async with run_servers(config, roots=[tmp_path]) as servers:
        result = await servers.call(call("whole__folders"))

    assert result.output == tmp_path.resolve().as_uri()


async def test_log_lines_reach_the_host_cleaned(config: ServerConfig):
    host = RecordingHost()
    async with run_servers(replace_program(config, log_level="info"), host) as servers:
        await servers.call(call("whole__chatter"))
        log_entry = await host.heard.get()

    assert log_entry == ("logged", "whole", "all is \u241b]0;well\u2407")
    assert host.logged[0].level == "warning"
    assert host.logged[0].logger == "heart"


async def test_resources_are_listed_and_read(config: ServerConfig):
    async with run_servers(config) as servers:
        resources = {each.uri: each for each in await servers.resources("whole")}
        templates = await servers.resource_templates("whole")
        text = await servers.read_resource("whole", "note://all")
        note = await servers.read_resource("whole", "note://7")
        picture = await servers.read_resource("whole", "pic://one")

    assert resources["note://all"].description == "All notes"
    assert [each.uri_template for each in templates] == ["note://{number}"]
    assert text == (Text("many notes"),)
    assert note == (Text("note 7"),)
    assert picture == (Blob(media_type="image/png", data=b"\x89PNG", name="one"),)


async def test_a_resource_that_does_not_exist_is_not_found(config: ServerConfig):
    async with run_servers(config) as servers:
        with pytest.raises(NotFound, match="whole says"):
            await servers.read_resource("whole", "nothing://here")


async def test_prompts_are_listed_filled_in_and_completed(config: ServerConfig):
    async with run_servers(config) as servers:
        prompts = await servers.prompts("whole")
        prompt = await servers.get_prompt("whole", "city", {"name": "Paris"})
        values = await servers.complete("whole", "name", "Par", prompt="city", known={"tone": "!"})
        numbers = await servers.complete("whole", "number", "", template="note://{number}")

    assert prompts == (
        Prompt(
            name="city",
            description="Ask about a city",
            arguments=(
                PromptArgument(name="name", required=True),
                PromptArgument(name="tone", required=False),
            ),
        ),
    )
    assert prompt.messages[0].content == (Text("Tell me of Paris, dry."),)
    assert values.values == ["Paris!", "Parrma!"]
    assert values.more
    assert numbers.values == ["is", "rma"]


async def test_a_change_of_a_subscribed_resource_is_reported(config: ServerConfig):
    host = RecordingHost()
    async with run_servers(config, host) as servers:
        if "resources.subscribe" not in servers.states()[0].capabilities:
            pytest.skip("the SDK's server subscribes in the new protocol only")
        await servers.subscribe("whole", "note://all")
        task = asyncio.create_task(host.heard.get())
        while not task.done():  # the subscription is made in the background
            await servers.call(call("whole__touch", uri="note://all"))

    assert task.result() == ("updated", "whole", "note://all")


async def test_an_unknown_tool_of_a_known_server_is_unknown(config: ServerConfig):
    async with run_servers(config) as servers:
        result = await servers.call(call("whole__nothing"))

    assert result.fault == "unknown_tool"


async def test_an_unknown_server_is_not_found():
    async with AsyncMcpServerPool([]) as servers:
        with pytest.raises(NotFound):
            await servers.resources("nobody")


async def test_the_answer_to_a_call_is_waited_for_however_quiet_it_is_meanwhile(http_port: int):
    async def answer_late(context: object, params: object) -> ElicitResult:
        await asyncio.sleep(2 * QUIET_SECONDS)
        return ElicitResult(action="accept", content={"name": "Ann", "age": 3})

    streams = connect_http(
        server_config(http_port), SessionMonitor(), None, quiet_seconds=QUIET_SECONDS
    )
    async with (
        asyncio.timeout(60),
        Client(streams, mode="legacy", elicitation_callback=answer_late) as client,
    ):
        result = await client.call_tool("greet", {})

    assert not result.is_error


async def test_a_server_over_http_that_dies_fails_its_calls_at_once():
    with serve_whole("http") as port:
        config = server_config(port)
    async with asyncio.timeout(60), AsyncMcpServerPool([config], delays=()) as servers:
        missing = await servers.ready(50)
        with pytest.raises(Unavailable, match="cannot be reached"):
            await servers.resources("whole")

    assert missing[0].status == "failed"


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_a_server_over_http_killed_in_a_call_is_unavailable(name: str, tmp_path: Path):
    transport, mode = TRANSPORTS[name]
    with serve_whole(transport) as port:
        async with run_servers(server_config(port, transport, mode=mode), delays=()) as servers:
            pid = int((await servers.call(call("whole__process"))).output)
            mark = str(tmp_path / "mark")
            task = asyncio.create_task(servers.call(call("whole__endless", mark=mark)))
            await wait_for_file(tmp_path / "mark.begun")
            os.kill(pid, signal.SIGKILL)
            result = await task

    assert result.fault == "unavailable"


async def test_a_session_that_the_server_forgot_is_opened_again():
    with serve_whole("http") as port:
        async with run_servers(server_config(port, mode="legacy"), delays=(0.01,)) as servers:
            await servers.call(call("whole__forget"))
            failed_result = await servers.call(call("whole__echo", text="hi"))
            second = await servers.call(call("whole__echo", text="hi"))

    assert failed_result.fault == "unavailable"
    assert "forgotten the session" in failed_result.output
    assert second.output == "hi"


def server_config(port: int, transport: str = "http", **more) -> ServerConfig:
    path = {"http": "mcp", "sse": "sse"}[transport]
    url = f"http://127.0.0.1:{port}/{path}"
    return ServerConfig(name="whole", transport=transport, url=url, **more)


def replace_program(config: ServerConfig, **changes) -> ServerConfig:
    return msgspec.structs.replace(config, **changes)


async def wait_for_file(file: Path) -> None:
    while not file.exists():
        await asyncio.sleep(0.01)

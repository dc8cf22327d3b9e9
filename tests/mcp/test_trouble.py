"""Servers that die, hang, lie or flood: each failure has its reason, and other servers work."""

import asyncio
import gc
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from ipaddress import ip_network
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the extra antiphon[mcp] is not installed")

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification

from antiphon.mcp.client import http, session_monitor
from antiphon.mcp.client.client_features import Elicitation, ElicitationAnswer, UrlElicitation
from antiphon.mcp.client.server import RETRIES
from antiphon.mcp.client.server_listing import ServerState
from antiphon.mcp.client.session_monitor import CLOSED, MOST_PER_SECOND, SessionMonitor
from antiphon.mcp.client.stdio import connect_stdio
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.tools.consent import Consent
from antiphon.tools.egress_policy import EgressPolicy, Exemption
from antiphon.tools.gate import Gate
from antiphon.tools.permissions import Rules
from antiphon.tools.questions import ConsentAnswer, ConsentRequest
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.errors import Unavailable
from antiphon.types.messages import Progress, ToolCall, ToolResult
from tests.support.mcp.serving import SERVERS, RecordingHost, call, raw
from tests.support.tools.call_clock import RECHECK_SECONDS, CallClock

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")


ECHO_CALL = call("raw__echo", text="hi")


class StateRecorder:
    """Record the states of servers, and wait for one of them."""

    def __init__(self) -> None:
        self._states: asyncio.Queue[ServerState] = asyncio.Queue()

    def __call__(self, state: ServerState) -> None:
        self._states.put_nowait(state)

    async def wait_for_status(self, status: str) -> ServerState:
        async with asyncio.timeout(60):
            while (state := await self._states.get()).status != status:
                pass
        return state


@asynccontextmanager
async def run_servers(*configs: ServerConfig, **options) -> AsyncIterator[AsyncMcpServerPool]:
    options.setdefault("delays", (0.01,))
    async with asyncio.timeout(60), AsyncMcpServerPool(configs, **options) as servers:
        await servers.ready(50)
        yield servers


async def start_endless_call(servers: AsyncMcpServerPool) -> tuple[asyncio.Task[ToolResult], int]:
    """Start a call that does not end; return its task and the process of the server."""
    first_progress: asyncio.Future[Progress] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(servers.call(call("raw__hang"), first_progress.set_result))
    return task, int((await first_progress).message)


class SlowHost(RecordingHost):
    """A host that thinks before each answer for longer than any call may take."""

    def __init__(self, clock: CallClock) -> None:
        super().__init__()
        self.was_asked, self.may_think, self.has_thought = (asyncio.Event() for _ in range(3))
        self._clock = clock

    async def ask(self, question: Elicitation) -> ElicitationAnswer:
        self.was_asked.set()
        await self.may_think.wait()
        await self._clock.think()
        self.has_thought.set()
        return ElicitationAnswer("accept", {"x": "well"})


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_server_killed_in_a_call_fails_the_call_at_once_and_comes_back():
    states = StateRecorder()
    async with run_servers(raw(), changed=states) as servers:
        task, pid = await start_endless_call(servers)
        os.kill(pid, signal.SIGKILL)
        result = await task
        state = await states.wait_for_status("restarting")
        second = await servers.call(call("raw__echo", text="hi"))

    assert result.fault == "unavailable"
    assert "SIGKILL" in result.output
    assert state.why == "it was ended by SIGKILL"
    assert second == ToolResult('{"text": "hi"}')


async def test_a_tool_that_is_another_after_a_restart_is_asked_about_before_it_is_called(
    tmp_path: Path,
):
    """S5: the call waits for the server, which restarts with another tool of the same name."""
    descriptions: list[str] = []

    async def answer(question: ConsentRequest) -> ConsentAnswer:
        descriptions.append(question.tool.spec.description)
        return ConsentAnswer(allowed=len(descriptions) == 1, keep="session")

    file, states = tmp_path / "pid", StateRecorder()
    async with run_servers(raw("another", str(file)), changed=states) as servers:
        processor = ToolProcessor(servers, consent=Consent(asker=answer))
        [(_, first)] = [each async for each in processor.process_tool_calls("run_1", [ECHO_CALL])]
        os.kill(int(file.read_text()), signal.SIGKILL)
        await states.wait_for_status("restarting")
        [(_, second)] = [each async for each in processor.process_tool_calls("run_1", [ECHO_CALL])]

    assert first.output == '{"text": "hi"}'
    assert descriptions == ["Says it.", "Deletes all."]
    assert (second.fault, second.output) == ("refused", "The user refused this call.")


async def test_a_program_of_the_working_folder_is_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """S22: an empty entry of PATH names the working folder, whose owner is unknown."""
    program = tmp_path / "npx-of-a-stranger"
    program.write_text("#!/bin/sh\ntouch started\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f":.:{os.environ['PATH']}")
    config = ServerConfig(name="far", command=program.name)
    async with run_servers(config) as servers:
        (state,) = servers.states()

    assert f"no program {program.name}" in state.why
    assert not (tmp_path / "started").exists()


async def test_a_server_that_exits_in_a_call_is_reported_with_its_exit_code_and_last_output():
    async with run_servers(raw()) as servers:
        result = await servers.call(call("raw__die"))

    assert result.fault == "unavailable"
    assert "exited with code 3" in result.output
    assert "\u241b[31mlast words" in result.output
    assert "may or may not" in result.output


async def test_a_message_to_a_server_that_is_exiting_fails_once_its_exit_code_is_known():
    monitor = SessionMonitor()
    script = "import os, sys, time; os.close(0); time.sleep(0.1); sys.exit(2)"
    config = ServerConfig(name="exiting", command=sys.executable, args=("-c", script))
    message = SessionMessage(JSONRPCNotification(jsonrpc="2.0", method="notifications/roots"))

    async with asyncio.timeout(60), connect_stdio(config, monitor) as (_, stdin):

        async def send_until_refused() -> None:
            while True:
                await stdin.send(message)
                await asyncio.sleep(0)

        with pytest.raises(anyio.BrokenResourceError):
            await send_until_refused()
        reason = monitor.end_reason

    assert reason == "it exited with code 2"


async def test_an_exit_code_is_a_better_reason_than_a_closed_connection():
    monitor = SessionMonitor()

    monitor.end(CLOSED)
    monitor.end("it exited with code 2")
    monitor.end("it closed its stdout")

    assert monitor.end_reason == "it exited with code 2"


async def test_a_server_killed_while_idle_is_noticed_without_a_call():
    states = StateRecorder()
    async with run_servers(raw(), changed=states) as servers:
        task, pid = await start_endless_call(servers)
        task.cancel()
        os.kill(pid, signal.SIGKILL)

        await states.wait_for_status("restarting")
        await states.wait_for_status("ready")


async def test_a_server_that_dies_again_and_again_is_not_restarted_until_it_is_used():
    async with run_servers(raw(), delays=(0.01, 0.01)) as servers:
        for _ in range(3):
            await servers.call(call("raw__die"))
        await servers.ready(50)
        status = servers.states()[0].status
        result = await servers.call(call("raw__echo"))

    assert status == "failed"
    assert not result.is_error


@pytest.mark.slow
@pytest.mark.parametrize("called_tool", ["a tool that is not there", "a tool that was there"])
async def test_a_server_that_fails_again_and_again_is_not_started_at_each_call(
    tmp_path: Path, called_tool: str
):
    now = 0.0
    mode = "crash" if called_tool == "a tool that is not there" else "good"
    script = f"import sys, runpy; sys.argv[1:] = [open({str(tmp_path / 'mode')!r}).read()]; "
    script += f"runpy.run_path({str(SERVERS / 'raw.py')!r}, run_name='__main__')"
    (tmp_path / "mode").write_text(mode)
    config = ServerConfig(name="raw", command=sys.executable, args=("-I", "-S", "-c", script))
    statuses: list[str] = []

    async with run_servers(
        config,
        delays=(),
        clock=lambda: now,
        changed=lambda state: statuses.append(state.status),
    ) as servers:
        if mode == "good":
            (tmp_path / "mode").write_text("crash")
            await servers.call(call("raw__die"))
        processor = ToolProcessor(servers, consent=Consent(Rules(allow=("*",))))
        failures = []
        for seconds in (0.0, 0.0, 0.0, RETRIES[1], 0.0):
            now += seconds
            async with aclosing(
                processor.process_tool_calls("run_1", [call("raw__echo")])
            ) as results:
                async for _ in results:
                    await servers.ready(50)
            failures.append(statuses.count("failed"))

    assert failures == [2, 2, 2, 3, 3]


async def test_a_process_whose_child_holds_its_pipes_counts_as_ended_all_the_same(tmp_path: Path):
    states = StateRecorder()
    async with run_servers(raw("parent", str(tmp_path / "pid")), changed=states) as servers:
        task, pid = await start_endless_call(servers)
        os.kill(pid, signal.SIGKILL)
        result = await task

    assert result.fault == "unavailable"


async def test_the_whole_process_tree_ends_with_the_client(tmp_path: Path):
    async with run_servers(raw("parent", str(tmp_path / "pid"))):
        child = int((tmp_path / "pid").read_text())
        was_alive = is_alive(child)

    assert was_alive
    assert not is_alive(child)


async def test_a_server_that_does_not_exit_is_killed():
    async with run_servers(raw("stubborn")) as servers:
        task, pid = await start_endless_call(servers)
        task.cancel()

    assert not is_alive(pid)


async def test_cancelling_a_call_reaches_the_server(tmp_path: Path):
    mark = tmp_path / "cancelled"
    async with run_servers(raw("good", str(mark))) as servers:
        task, _ = await start_endless_call(servers)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await servers.call(call("raw__echo"))  # lines are read in order

    assert "requestId" in mark.read_text()


async def test_a_servers_own_deadline_is_a_result_and_reaches_the_server(tmp_path: Path):
    mark = tmp_path / "cancelled"
    async with run_servers(raw("good", str(mark), timeout=0.1)) as servers:
        result = await servers.call(call("raw__hang"))
        await servers.call(call("raw__echo"))

    assert result.fault == "timed_out"
    assert mark.exists()


async def test_a_persons_time_to_think_ends_no_call_of_the_server_that_asks(
    call_clock: CallClock,
):
    host = SlowHost(call_clock)
    host.may_think.set()
    async with run_servers(raw("good", timeout=RECHECK_SECONDS), host=host) as servers:
        gate = Gate(servers, seconds=RECHECK_SECONDS)
        result = await gate.call(call("raw__ask"))
        late_result = await gate.call(call("raw__hang"), lambda _: pass_time(call_clock))

    assert json.loads(result.output) == {"action": "accept", "content": {"x": "well"}}
    assert late_result.fault == "timed_out"


def pass_time(clock: CallClock) -> None:
    clock.now += 1_000


async def test_calls_that_begin_during_a_question_wait_for_it_too(call_clock: CallClock):
    host = SlowHost(call_clock)
    async with run_servers(raw("good", timeout=RECHECK_SECONDS), host=host) as servers:
        asking_call = asyncio.create_task(servers.call(call("raw__ask")))
        await host.was_asked.wait()
        started = asyncio.Event()
        late_call = asyncio.create_task(servers.call(call("raw__hang"), lambda _: started.set()))
        await started.wait()
        host.may_think.set()
        await host.has_thought.wait()
        has_waited = not late_call.done()
        result = await asking_call
        pass_time(call_clock)
        late_result = await late_call

    assert has_waited
    assert not result.is_error
    assert late_result.fault == "timed_out"


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock, so that all messages of a server come within one second."""
    monkeypatch.setattr(session_monitor, "_now", lambda: 7.0)


@pytest.mark.usefixtures("one_second")
async def test_a_flood_of_requests_is_cut_and_reported():
    async with run_servers(raw()) as servers:
        result = await servers.call(call("raw__pings", questions=MOST_PER_SECOND + 500))
        state = servers.states()[0]

    assert not result.is_error
    assert "messages were dropped" in state.notes[-1]


@pytest.mark.slow
async def test_a_result_of_too_many_parts_is_cut_and_the_model_is_told():
    async with run_servers(raw()) as servers:
        result = await servers.call(call("raw__parts", count=100_000))

    assert result.output.count("x") == 5_000
    assert result.output.endswith("[95000 more parts were left out.]")


async def test_a_server_at_a_foreign_address_has_a_lower_limit_of_size(http_port: int):
    url = f"http://127.0.0.1:{http_port}/mcp"
    config = ServerConfig(name="whole", transport="http", url=url)
    loopback_policy = EgressPolicy((Exemption(ip_network("127.0.0.0/8")),))
    async with run_servers(config, reach=loopback_policy) as servers:
        small_result = await servers.call(call("whole__echo", text="x" * 3_000_000))
        large_result = await servers.call(call("whole__echo", text="x" * 5_000_000))
        next_result = await servers.call(call("whole__echo", text="hi"))

    assert len(small_result.output) == 3_000_000
    assert large_result.is_error
    assert next_result.output == "hi"


async def test_calls_that_come_just_when_a_server_has_died_have_it_started_once():
    statuses: list[str] = []
    async with run_servers(
        raw(), delays=(), changed=lambda state: statuses.append(state.status)
    ) as servers:
        await servers.call(call("raw__die"))
        results = await asyncio.gather(*(servers.call(call("raw__echo")) for _ in range(10)))

    assert not any(result.is_error for result in results)
    assert (statuses.count("failed"), statuses.count("ready")) == (1, 2)


@pytest.mark.slow
async def test_many_servers_start_together_and_each_that_fails_is_named_with_its_reason():
    broken = {
        "missing": ServerConfig(name="missing", command="no-such-program-anywhere"),
        "nowhere": raw(name="nowhere", cwd="/no/such/folder"),
        "silent": raw("silent", name="silent", connect_timeout=4.0),
        "crash": raw("crash", name="crash"),
        "gone": ServerConfig(name="gone", transport="http", url="http://127.0.0.1:9/mcp"),
    }
    good_configs = [raw(name=f"good{n}") for n in range(5)]
    async with (
        asyncio.timeout(60),
        AsyncMcpServerPool([*broken.values(), *good_configs]) as servers,
    ):
        early_tools = servers.tools()
        failed_states = {state.server: state for state in await servers.ready(50)}
        outputs = [await servers.call(call(f"good{n}__echo")) for n in range(5)]

    assert early_tools == ()
    assert set(failed_states) == set(broken)
    assert all(state.status == "failed" for state in failed_states.values())
    assert "no program no-such-program-anywhere" in failed_states["missing"].why
    assert "folder" in failed_states["nowhere"].why
    assert "within 4 s" in failed_states["silent"].why
    assert failed_states["silent"].stderr == ("waiting for better days",)
    assert failed_states["crash"].why == "it exited with code 2"
    assert failed_states["crash"].stderr == ("no licence\u241b[2J found",)
    assert "cannot be reached" in failed_states["gone"].why
    assert not any(output.is_error for output in outputs)


PROGRAM = """
import os, subprocess, sys
holder = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
child = subprocess.Popen(holder, stdin=-3, stdout=-3, start_new_session=True)
os.close(1)
with open("pid", "w") as file:
    file.write(str(child.pid))
os.rename("pid", "held")
sys.stdin.read()
sys.exit(2)
"""
"""Closes its stdout, ends with its stdin, and leaves a process behind that holds its stderr."""


async def test_a_session_that_is_closed_while_its_server_ends_knows_the_exit_code(tmp_path: Path):
    config = ServerConfig(name="x", command=sys.executable, args=("-c", PROGRAM), cwd=str(tmp_path))
    pid_file = tmp_path / "held"
    monitor = SessionMonitor()
    try:
        async with asyncio.timeout(60), connect_stdio(config, monitor):
            while not pid_file.exists():
                await asyncio.sleep(0)
            for _ in range(10):  # until the end of its stdout has been seen
                await asyncio.sleep(0)
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)

    assert monitor.end_reason == "it exited with code 2"


async def test_ready_waits_no_longer_than_it_is_told():
    async with AsyncMcpServerPool([raw("silent")]) as servers:
        start = time.monotonic()
        missing = await servers.ready(0.1)
        seconds = time.monotonic() - start

    assert [state.status for state in missing] == ["starting"]
    assert seconds < 10


async def test_rubbish_on_stdout_is_counted_reported_and_harmless(capfd):
    async with run_servers(raw("rubbish")) as servers:
        result = await servers.call(call("raw__echo"))
        state = servers.states()[0]

    assert not result.is_error
    assert "wrote 3 lines to its stdout that are no messages" in state.notes[0]
    assert "\x1b" not in state.notes[0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("one_second")
async def test_a_flood_of_log_lines_is_cut_and_the_call_answered():
    host = RecordingHost()
    async with run_servers(raw(), host=host) as servers:
        result = await servers.call(call("raw__flood", lines=MOST_PER_SECOND + 500))
        state = servers.states()[0]

    assert not result.is_error
    assert 900 < len(host.logged) <= MOST_PER_SECOND
    assert "messages were dropped" in state.notes[-1]


async def test_a_server_that_lies_about_its_tools_loses_only_those_that_cannot_be_used():
    async with run_servers(raw("liar")) as servers:
        tools = {tool.own_name: tool for tool in servers.tools()}
        reasons = {each.tool: each.why for each in servers.states()[0].left_out}

    assert set(tools) == {
        "good",
        "no_schema",
        "wrong_schema",
        "odd",
        "bad_output",
        "slow",
        "looped",
    }
    assert all(tool.spec.parameters["type"] == "object" for tool in tools.values())
    assert tools["wrong_schema"].spec.parameters == {"type": "object", "properties": {}}
    assert tools["odd"].hints.read_only is None
    assert reasons["deep"] == "its schema is nested more than 32 deep"
    assert reasons["task"] == "it can be run as a task only"
    assert "a tool without a name" in reasons


@pytest.mark.parametrize("tool", ["slow", "looped"])
async def test_a_schema_of_outputs_can_neither_hang_nor_break_the_client(tool: str):
    async with run_servers(raw("liar")) as servers:
        async with asyncio.timeout(60):
            result = await servers.call(call(f"raw__{tool}"))

    assert result.fault in {None, "failed"}


async def test_escapes_and_hidden_characters_are_revealed_in_all_texts_of_a_server():
    async with run_servers(raw("evil")) as servers:
        tool = servers.tools()[0]
        state = servers.states()[0]
        result = await servers.call(call("raw__evil"))

    for text in (tool.spec.description, tool.hints.title, state.version, state.instructions):
        assert text is not None
        assert "\u241b]52;c;AAAA\u2407" in text
        assert not {"\x1b", "\x07", "\u202e", "\u200b"} & set(text)
    assert len(tool.spec.description) < 4_200
    assert tool.spec.description.endswith("(cut)")
    assert result.fault == "failed"


async def test_too_many_tools_are_cut_and_reported():
    async with run_servers(raw("many")) as servers:
        count = len(servers.tools())
        left_out = servers.states()[0].left_out

    assert count == 1_000
    assert [(each.tool, each.why) for each in left_out] == [
        ("2000 tools", "more than 1000 were offered")
    ]


async def test_all_pages_are_read():
    async with run_servers(raw("pages")) as servers:
        names = [tool.own_name for tool in servers.tools()]

    assert names == ["page0", "page1", "page2", "page3"]


async def test_pages_without_end_are_cut():
    async with run_servers(raw("endless_pages")) as servers:
        count = len(servers.tools())
        left_out = servers.states()[0].left_out

    assert count == 100
    assert "never end" in left_out[0].why


@pytest.mark.slow
async def test_a_result_that_is_too_large_fails_its_call_and_nothing_else():
    async with run_servers(raw()) as servers:
        large_result = await servers.call(call("raw__big", size=40_000_000))
        next_result = await servers.call(call("raw__echo"))

    assert large_result.fault == "failed"
    assert "larger than 32 MB" in large_result.output
    assert not next_result.is_error


async def test_a_large_result_within_the_limit_is_not_cut():
    async with run_servers(raw()) as servers:
        result = await servers.call(call("raw__big", size=5_000_000))

    assert len(result.output) == 5_000_000


async def test_an_invalid_result_fails_its_call():
    async with run_servers(raw()) as servers:
        result = await servers.call(call("raw__odd"))

    assert result.fault == "failed"
    assert "no valid result" in result.output


async def test_a_server_that_dies_of_the_new_handshake_is_started_with_the_old_one():
    async with run_servers(raw("frail")) as servers:
        states = servers.states()

    assert states[0].status == "ready"
    assert states[0].protocol == "2025-11-25"


async def test_a_server_that_must_speak_the_new_protocol_and_does_not_is_not_used():
    async with run_servers(raw(mode="2026-07-28")) as servers:
        state = servers.states()[0]

    assert state.status == "failed"
    assert state.why == "it speaks 2025-11-25, and not 2026-07-28 as it must"


async def test_arguments_that_are_no_object_never_reach_a_server():
    async with run_servers(raw()) as servers:
        list_result = await servers.call(ToolCall("c", "raw__echo", "[1]"))
        null_result = await servers.call(ToolCall("c", "raw__echo", "null"))

    assert list_result.fault == "invalid_arguments"
    assert null_result == ToolResult("{}")


async def test_an_unknown_tool_is_reported_with_the_servers_that_are_not_ready():
    async with run_servers(raw("crash")) as servers:
        result = await servers.call(call("raw__echo"))

    assert result.fault == "unknown_tool"
    assert "raw is failed" in result.output


async def test_a_server_sees_the_short_environment_and_its_own_and_no_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    code = "import os, sys; sys.stderr.write(' '.join(sorted(os.environ)) + '\\n')"
    config = ServerConfig(
        name="env", command=sys.executable, args=("-S", "-c", code), env={"MINE": "1"}
    )
    async with run_servers(config) as servers:
        names = " ".join(servers.states()[0].stderr).split()

    assert "MINE" in names
    assert "PATH" in names
    assert "OPENAI_API_KEY" not in names


async def test_a_server_that_is_not_enabled_is_not_started():
    async with run_servers(raw(enabled=False)) as servers:
        states = servers.states()
        missing = await servers.ready(1)

    assert [state.status for state in states] == ["disabled"]
    assert missing == ()


async def test_only_the_selected_tools_are_offered():
    async with run_servers(raw(tools=("e*", "d*"), exclude=("die",))) as servers:
        names = [tool.own_name for tool in servers.tools()]

    assert names == ["echo"]


class UndecidedHost(RecordingHost):
    """A host that never answers."""

    async def ask(self, question: Elicitation) -> ElicitationAnswer:
        self.questions.append(question)
        await asyncio.Event().wait()
        raise AssertionError


async def test_only_a_few_of_many_simultaneous_questions_are_shown():
    host = UndecidedHost()
    async with run_servers(raw(), host=host) as servers:
        await servers.call(call("raw__nosy", questions=50))
        await servers.call(call("raw__echo"))

    assert len(host.questions) == 8


async def test_a_call_that_first_needs_a_person_at_a_url_says_if_the_person_agreed():
    host = RecordingHost(ElicitationAnswer("accept"))
    async with run_servers(raw(), host=host) as servers:
        agreed_result = await servers.call(call("raw__away"))
    async with run_servers(raw()) as servers:
        refused_result = await servers.call(call("raw__away"))

    assert isinstance(host.questions[0], UrlElicitation)
    assert "has agreed: call again" in agreed_result.output
    assert "did not agree" in refused_result.output


async def test_a_reply_that_is_nested_too_deep_fails_its_call_and_nothing_else():
    async with run_servers(raw()) as servers:
        result = await servers.call(call("raw__abyss"))
        next_result = await servers.call(call("raw__echo"))

    assert result.fault == "failed"
    assert not next_result.is_error


async def test_a_change_of_a_resource_of_an_old_server_is_reported():
    host = RecordingHost()
    async with run_servers(raw(), host=host) as servers:
        await servers.subscribe("raw", "note://1")
        await servers.call(call("raw__touch"))
        event = await host.heard.get()
        await servers.unsubscribe("raw", "note://1")
        await servers.set_logging_level("raw", "debug")

    assert event == ("updated", "raw", "note://1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        ("image/png", "A" * 28_000_000, "[image/png, 21 MB, too large to be taken]"),
        ("image/png", "A", "[image/png, which came damaged]"),
        ("\x1b[31m", "QUJD", "[application/octet-stream, 3 B, shown to the user]"),
    ],
)
async def test_a_picture_is_taken_only_as_it_can_be(kind: str, data: str, line: str):
    async with run_servers(raw()) as servers:
        result = await servers.call(call("raw__picture", type=kind, data=data))

    assert result.output == line


async def test_a_server_that_wants_a_login_is_distinguished_from_a_broken_one():
    async with serve_answer(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") as port:
        config = ServerConfig(name="web", transport="http", url=f"http://127.0.0.1:{port}/")
        async with asyncio.timeout(60), AsyncMcpServerPool([config]) as servers:
            state = (await servers.ready(50))[0]

    assert state.why == "HTTP 401 Unauthorized"
    assert state.http_status == 401


async def test_an_answer_over_http_that_is_too_large_is_not_read():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
    async with serve_answer(head + b" " * 40_000_000) as port:
        config = ServerConfig(
            name="web", transport="http", url=f"http://127.0.0.1:{port}/", mode="legacy"
        )
        async with asyncio.timeout(60), AsyncMcpServerPool([config]) as servers:
            state = (await servers.ready(50))[0]

    assert "larger than 32 MB" in state.why


async def test_a_connection_that_was_idle_for_too_long_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(http, "IDLE_SECONDS", 0.0)  # its server is about to close it
    ports: list[int] = []
    async with serve_answer(
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", ports
    ) as port:
        config = ServerConfig(name="web", transport="http", url=f"http://127.0.0.1:{port}/")
        async with asyncio.timeout(60), AsyncMcpServerPool([config], delays=()) as servers:
            await servers.ready(50)

    assert len(set(ports)) == len(ports) > 1


@asynccontextmanager
async def serve_answer(answer: bytes, ports: list[int] | None = None) -> AsyncIterator[int]:
    """Answer every request with this; yield the port. `ports` collects the port of each client."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                if ports is not None:
                    ports.append(writer.get_extra_info("peername")[1])
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_calls_and_restarts_work_on_uvloop_too(tmp_path: Path):
    uvloop = pytest.importorskip("uvloop")
    mark = tmp_path / "cancelled"

    async def work() -> tuple[ToolResult, ToolResult, str]:
        states = StateRecorder()
        async with run_servers(raw("good", str(mark)), changed=states) as servers:
            task, pid = await start_endless_call(servers)
            large_result = await servers.call(call("raw__big", size=3_000_000))
            os.kill(pid, signal.SIGKILL)
            return large_result, await task, (await states.wait_for_status("restarting")).why

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        large_result, killed_result, reason = runner.run(work())

    assert len(large_result.output) == 3_000_000
    assert killed_result.fault == "unavailable"
    assert reason == "it was ended by SIGKILL"


async def test_no_process_is_left_behind_even_when_closing_is_cancelled(tmp_path: Path):
    file = tmp_path / "pid"
    has_entered = asyncio.Event()

    async def hold() -> None:
        async with connect_stdio(raw("family", str(file)), SessionMonitor()):
            has_entered.set()
            await asyncio.Event().wait()

    async with asyncio.timeout(60):
        task = asyncio.create_task(hold())
        await has_entered.wait()
        while not file.exists() or not file.read_text():
            await asyncio.sleep(0.01)
        task.cancel()
        for _ in range(10):  # until the session is closing
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while is_alive(int(file.read_text())):
            await asyncio.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts what /proc has")
async def test_a_server_whose_start_is_cancelled_is_waited_for():
    def list_children() -> set[str]:
        files = Path("/proc/self/task").glob("*/children")
        return {pid for each in files for pid in each.read_text().split()}

    old_children = list_children()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with connect_stdio(raw("stubborn"), SessionMonitor()):
            await anyio.sleep_forever()

    assert list_children() <= old_children  # a child of a test before this one may end meanwhile


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts what /proc has")
async def test_servers_that_came_and_went_leave_nothing_behind(http_port: int):
    def count_resources() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())

    url = f"http://127.0.0.1:{http_port}/mcp"
    over_http = ServerConfig(name="whole", transport="http", url=url)
    first: tuple[int, int] | None = None
    for _ in range(8):
        async with run_servers(raw(), over_http, raw("crash", name="crash")) as servers:
            await servers.call(call("raw__echo"))
        first = first or count_resources()

    assert count_resources() == first


async def test_a_pool_that_was_not_entered_is_closed():
    servers = AsyncMcpServerPool([raw()])

    with pytest.raises(Unavailable, match="it is closed"):
        await servers.resources("raw")
    assert servers.states()[0].status == "closed"

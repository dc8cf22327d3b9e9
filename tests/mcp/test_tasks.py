"""Calls that an MCP server answers with a task, whose end is awaited by polling."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("mcp", reason="the extra antiphon[mcp] is not installed")

from antiphon import ToolContext, tool
from antiphon.mcp.client import server, task_follower, tasks, tool_caller
from antiphon.mcp.client.client_features import Elicitation, ElicitationAnswer, FormElicitation
from antiphon.mcp.client.tasks import TaskFailed, parse_state
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.sync_servers import McpServerPool
from antiphon.ports import Toolbox
from antiphon.tools.consent import Consent
from antiphon.tools.functions import Functions
from antiphon.tools.gate import Gate
from antiphon.tools.permissions import Rules
from antiphon.tools.task_journal import use_journal
from antiphon.tools.tool_manager import ToolManager
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.errors import Conflict, Unavailable
from antiphon.types.messages import Progress, TaskHandle, ToolCall, ToolResult
from tests.support.mcp.serving import RecordingHost, call, lines_of, tasked, tasked_over_http
from tests.support.tools.call_clock import RECHECK_SECONDS, CallClock

FORM = {
    "method": "elicitation/create",
    "params": {
        "mode": "form",
        "message": "How many?",
        "requestedSchema": {
            "type": "object",
            "properties": {"count": {"type": "integer"}},
            "required": ["count"],
        },
    },
}


@pytest.fixture(params=["stdio", "http"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerConfig]:
    if request.param == "stdio":
        yield tasked(tmp_path)
    else:
        with tasked_over_http(tmp_path) as config:
            yield config


@asynccontextmanager
async def run_servers(
    config: ServerConfig, host: RecordingHost | None = None, **more: Any
) -> AsyncGenerator[AsyncMcpServerPool]:
    async with asyncio.timeout(60), AsyncMcpServerPool([config], host, **more) as servers:
        assert await servers.ready(50) == ()
        yield servers


async def wait_until(is_so: Callable[[], object]) -> None:
    """Wait until this is true, which depends on another process."""
    while not is_so():
        await asyncio.sleep(0.005)


def count_requests(folder: Path, method: str) -> int:
    """Return the number of requests of this method that the server has received."""
    return sum(line.split()[0] == method for line in lines_of(folder, "log"))


def result(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


COMPLETED = {"status": "completed", "result": result("done")}


class Journal:
    """A journal in memory."""

    def __init__(self) -> None:
        self.handles: dict[str, TaskHandle] = {}
        self.open = True
        self.faults: list[Exception] = []

    async def find(self, call_id: str) -> TaskHandle | None:
        return self.handles.get(call_id)

    async def save(self, call_id: str, handle: TaskHandle) -> bool:
        if self.faults:
            raise self.faults.pop(0)
        self.handles[call_id] = handle
        return True

    async def is_open(self, call_id: str) -> bool:
        return self.open


async def test_a_task_is_polled_until_it_has_a_result(config: ServerConfig, tmp_path: Path):
    states = [{"status": "working"}, {"status": "working"}, COMPLETED]
    async with run_servers(config) as servers:
        state = servers.states()[0]
        answer = await servers.call(call("tasked__job", states=states))

    assert answer == ToolResult("done")
    assert "tasks" in state.capabilities
    assert lines_of(tmp_path, "ran") == ["c1"]
    assert count_requests(tmp_path, "tasks/get") == 3
    assert count_requests(tmp_path, "tasks/cancel") == 0


async def test_new_status_messages_are_progress(config: ServerConfig):
    progress: list[Progress] = []
    states = [
        {"status": "working", "statusMessage": "one \x1b[31mred"},
        {"status": "working", "statusMessage": "one \x1b[31mred"},
        {"status": "working", "statusMessage": "two"},
        COMPLETED,
    ]
    first_state = {"statusMessage": "queued"}
    async with run_servers(config) as servers:
        await servers.call(call("tasked__job", states=states, created=first_state), progress.append)

    assert [each.done for each in progress] == [1, 2, 3]
    assert [each.message for each in progress][::2] == ["queued", "two"]
    assert "\x1b" not in progress[1].message


async def test_a_person_is_asked_once_for_each_required_input(config: ServerConfig, tmp_path: Path):
    host = RecordingHost(
        ElicitationAnswer("accept", {"count": 3}), ElicitationAnswer("accept", {"count": 4})
    )
    async with run_servers(config, host) as servers:
        answer = await servers.call(call("tasked__job", asks={"a": FORM, "b": FORM}))

    assert [type(each) for each in host.questions] == [FormElicitation] * 2
    inputs = json.loads(answer.output)
    assert sorted(each["content"]["count"] for each in inputs.values()) == [3, 4]
    answers = [key for line in lines_of(tmp_path, "answers") for key in json.loads(line)]
    assert sorted(answers) == ["a", "b"], "each is sent once"


async def test_an_invalid_answer_of_a_person_is_a_refusal(config: ServerConfig):
    host = RecordingHost(ElicitationAnswer("accept", {"count": "many"}))
    async with run_servers(config, host) as servers:
        answer = await servers.call(call("tasked__job", asks={"a": FORM}))

    assert json.loads(answer.output) == {"a": {"action": "cancel"}}


async def test_inputs_that_are_withdrawn_again_and_again_have_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Thinker(RecordingHost):
        async def ask(self, question: Elicitation) -> ElicitationAnswer:
            self.questions.append(question)
            return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(task_follower, "MOST_QUESTIONS_IN_ALL", 3)
    host = Thinker()
    states = [
        {"status": "input_required", "inputRequests": {key: FORM}} for key in ("a", "b", "a", "b")
    ]
    async with run_servers(tasked(tmp_path), host) as servers:
        answer = await servers.call(call("tasked__job", states=[*states, COMPLETED]))

    assert "requires more than 3 inputs" in answer.output
    assert len(host.questions) == 3
    assert count_requests(tmp_path, "tasks/cancel") == 1


async def test_polling_goes_on_while_a_person_thinks(config: ServerConfig, tmp_path: Path):
    class Thinker(RecordingHost):
        was_withdrawn = False

        async def ask(self, question: object) -> ElicitationAnswer:
            try:
                return await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.was_withdrawn = True
                raise

    host = Thinker()
    question_state = {"status": "input_required", "inputRequests": {"a": FORM}}
    async with run_servers(config, host) as servers:
        answer = await servers.call(
            call("tasked__job", states=[question_state, question_state, COMPLETED])
        )
        await wait_until(lambda: host.was_withdrawn)

    assert answer.output == "done"
    assert lines_of(tmp_path, "answers") == []


async def test_a_task_that_asks_without_a_person_fails_and_is_cancelled(
    config: ServerConfig, tmp_path: Path
):
    async with run_servers(config) as servers:
        answer = await servers.call(call("tasked__job", asks={"a": FORM}))

    assert answer.is_error
    assert "requires an input that is not given here" in answer.output
    assert count_requests(tmp_path, "tasks/cancel") == 1


async def test_an_output_is_checked_against_the_schema_of_its_tool(config: ServerConfig):
    good = {"status": "completed", "result": {**result("5"), "structuredContent": {"total": 5}}}
    bad: dict[str, Any] = {
        "status": "completed",
        "result": {**result("5"), "structuredContent": {}},
    }
    async with run_servers(config) as servers:
        right_result = await servers.call(call("tasked__strict", last=good))
        wrong_result = await servers.call(call("tasked__strict", last=bad))

    assert right_result.structured == {"total": 5}
    assert wrong_result.fault == "failed"
    assert "gave no valid result for strict" in wrong_result.output


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"status": "failed", "error": {"code": -32603, "message": "no disk"}}, "says: no disk"),
        ({"status": "failed", "error": {"code": "x"}, "statusMessage": "oh"}, "says: oh"),
        (
            {"status": "failed", "error": {"code": -32602, "message": "bad"}, "result": {}},
            "refuses the call: bad",
        ),
        ({"status": "cancelled", "statusMessage": "tired"}, "has cancelled its task: tired"),
        ({"status": "completed"}, "completed its task without a result"),
        ({"status": "completed", "result": {"content": 5}}, "something that is no result"),
        (
            {"status": "completed", "result": {**result("x"), "resultType": "task"}},
            "completed its task with another task",
        ),
        ({"status": "asleep\x1b[2J"}, "which is no status"),
        ({"status": ["working"]}, "which is no status"),
        ({"status": "working", "taskId": "other"}, "with another task"),
        ({"status": "working", "resultType": "task"}, "with something else"),
        ({"status": "input_required"}, "inputs for its task that cannot be given"),
        (
            {"status": "input_required", "inputRequests": {str(n): FORM for n in range(9)}},
            "inputs for its task that cannot be given",
        ),
        (
            {"status": "input_required", "inputRequests": {"a": {"method": "rm -rf"}}},
            "an input that cannot be understood",
        ),
        ({"error_code": -32602}, "does not know its task any more: Task not found"),
        ({"error_code": -32601}, "does not know its task any more"),
    ],
)
async def test_a_task_without_a_valid_result_is_an_error(
    last: dict[str, Any], words: str, tmp_path: Path
):
    async with run_servers(tasked(tmp_path), RecordingHost()) as servers:
        answer = await servers.call(call("tasked__job", last=last))

    assert answer.is_error
    assert answer.output.startswith("tasked ")
    assert words in answer.output
    assert "\x1b" not in answer.output
    assert lines_of(tmp_path, "ran") == ["c1"], "it is never called again"


async def test_a_task_whose_state_is_no_result_at_all_is_cancelled(tmp_path: Path):
    async with run_servers(tasked(tmp_path)) as servers:
        answer = await servers.call(call("tasked__job", last={"status": "working", "_meta": 5}))

    assert answer.fault == "failed"
    assert "gave no valid result for job" in answer.output
    assert count_requests(tmp_path, "tasks/cancel") == 1


async def test_a_task_that_works_after_its_end_is_an_error(tmp_path: Path):
    async with run_servers(tasked(tmp_path)) as servers:
        backwards = call("tasked__job", created={"status": "completed"})
        answer = await servers.call(backwards)
        completed_call = call("tasked__job", created={"status": "completed"}, states=[COMPLETED])
        completed_answer = await servers.call(completed_call)

    assert "says that its task is working after it was over" in answer.output
    assert count_requests(tmp_path, "tasks/cancel") == 1
    assert completed_answer.output == "done"


@pytest.mark.parametrize("task_id", ["", "a\nb", "x" * 2_000, 7, None])
async def test_a_task_without_a_usable_id_is_an_error(task_id: object, tmp_path: Path):
    async with run_servers(tasked(tmp_path)) as servers:
        answer = await servers.call(call("tasked__job", created={"taskId": task_id}))

    assert "started a task without a usable id" in answer.output
    assert count_requests(tmp_path, "tasks/get") == 0


async def test_a_task_of_a_server_that_does_not_declare_them_is_an_error(tmp_path: Path):
    (tmp_path / "undeclared").touch()
    async with run_servers(tasked(tmp_path)) as servers:
        state = servers.states()[0]
        answer = await servers.call(call("tasked__job"))

    assert "does not declare the extension io.modelcontextprotocol/tasks" in answer.output
    assert "tasks" not in state.capabilities


def test_intervals_and_lifetimes_have_bounds():
    def read_times(**more: object) -> tuple[float, float | None]:
        state = parse_state({"taskId": "t", "status": "working", **more}, "t")
        return state.interval, state.ttl

    years = 10.0**12
    assert read_times() == (tasks.USUAL_INTERVAL, None)
    assert read_times(pollIntervalMs=2_000, ttlMs=60_000) == (2.0, 60.0)
    assert read_times(pollIntervalMs=0, ttlMs=0) == (tasks.LEAST_INTERVAL, 0.0)
    assert read_times(pollIntervalMs=-5, ttlMs=-5) == (tasks.LEAST_INTERVAL, 0.0)
    assert read_times(pollIntervalMs=years, ttlMs=None) == (tasks.MOST_INTERVAL, None)
    odd_values: list[Any] = ["soon", True, float("nan"), float("inf"), 10**400, [], None]
    for value in odd_values:
        assert read_times(pollIntervalMs=value, ttlMs=value) == (tasks.USUAL_INTERVAL, None)


def test_a_failed_task_has_no_result_whatever_the_server_says():
    raw: dict[str, Any] = {
        "taskId": "t",
        "status": "failed",
        "result": {"content": []},
        "error": {"code": 1},
    }
    assert parse_state(raw, "t").result == {}
    with pytest.raises(TaskFailed):
        parse_state({**raw, "status": "Failed"}, "t")


async def test_a_task_is_given_up_when_its_server_no_longer_keeps_it(
    config: ServerConfig, tmp_path: Path
):
    async with run_servers(config) as servers:
        short_call = call(
            "tasked__job", last={"status": "working", "ttlMs": 50, "pollIntervalMs": 9e9}
        )
        answer = await servers.call(short_call)

    assert answer.fault == "timed_out"
    assert "within the 0.05 s for which it keeps it" in answer.output
    assert count_requests(tmp_path, "tasks/cancel") == 1


async def test_endless_work_ends_with_the_deadline_of_its_call(
    config: ServerConfig, tmp_path: Path, call_clock: CallClock
):
    async with run_servers(config) as servers:
        gate = Gate(servers, seconds=RECHECK_SECONDS)
        pending_call = asyncio.create_task(gate.call(call("tasked__job")))
        await wait_until(lambda: count_requests(tmp_path, "tasks/get"))
        call_clock.now += 1.0
        answer = await pending_call
        await wait_until(lambda: count_requests(tmp_path, "tasks/cancel"))

    assert answer.fault == "timed_out"
    assert lines_of(tmp_path, "ran") == ["c1"]


async def test_a_task_may_have_its_own_timeout(tmp_path: Path, call_clock: CallClock):
    config = tasked(tmp_path, task_timeout=5.0, timeout=RECHECK_SECONDS)
    async with run_servers(config) as servers:
        gate = Gate(servers, seconds=RECHECK_SECONDS)
        pending_call = asyncio.create_task(gate.call(call("tasked__job")))
        await wait_until(lambda: count_requests(tmp_path, "tasks/get"))
        await call_clock.think(4.0)
        assert not pending_call.done(), "the deadlines of the call do not count"
        call_clock.now += 1.0
        answer = await pending_call
        await wait_until(lambda: count_requests(tmp_path, "tasks/cancel"))

    assert answer.fault == "timed_out"
    assert "within 5 s, its task_timeout" in answer.output


async def test_a_cancelled_call_cancels_its_task(config: ServerConfig, tmp_path: Path):
    async with run_servers(config) as servers:
        pending_call = asyncio.create_task(servers.call(call("tasked__job")))
        await wait_until(lambda: count_requests(tmp_path, "tasks/get"))
        pending_call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending_call

    assert count_requests(tmp_path, "tasks/cancel") == 1


async def test_a_task_survives_its_server(tmp_path: Path):
    states = [{"status": "working"}, {"exit": True}, COMPLETED]
    async with run_servers(tasked(tmp_path), delays=(0.01,)) as servers:
        answer = await servers.call(call("tasked__job", states=states))

    assert answer.output == "done"
    assert lines_of(tmp_path, "ran") == ["c1"]


async def test_the_error_of_a_failed_task_is_returned_though_its_server_was_restarted(
    tmp_path: Path,
):
    failed = {"status": "failed", "error": {"code": -32603, "message": "no disk"}}
    async with run_servers(tasked(tmp_path), delays=(0.01,)) as servers:
        answer = await servers.call(call("tasked__job", states=[{"exit": True}, failed]))

    assert answer.fault == "failed"
    assert answer.output == "tasked says: no disk"


async def test_polls_that_fail_are_repeated_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(task_follower, "LONGEST_PAUSE", 0.01)
    broken = {"error_code": -32603}
    async with run_servers(tasked(tmp_path)) as servers:
        answer = await servers.call(call("tasked__job", states=[broken] * 7 + [COMPLETED]))
        failed_result = await servers.call(call("tasked__job", last=broken))

    assert answer.output == "done"
    assert failed_result.fault == "unavailable"
    assert "does not answer questions about its task" in failed_result.output


async def test_the_old_protocol_has_no_tasks(tmp_path: Path):
    async with run_servers(tasked(tmp_path, mode="legacy")) as servers:
        state = servers.states()[0]
        answer = await servers.call(call("tasked__job"))
        rude_result = await servers.call(call("tasked__job", rude=True))

    assert state.protocol == "2025-11-25"
    assert tasks.EXTENSION not in "".join(lines_of(tmp_path, "log"))
    assert answer.output == "done without a task"
    assert rude_result.is_error
    assert count_requests(tmp_path, "tasks/get") == 0


async def test_a_person_may_think_longer_about_an_input_than_the_call_may_take(
    config: ServerConfig, call_clock: CallClock
):
    class Slow(RecordingHost):
        async def ask(self, question: Elicitation) -> ElicitationAnswer:
            await call_clock.think()
            return await super().ask(question)

    host = Slow(ElicitationAnswer("accept", {"count": 3}))
    async with run_servers(config, host) as servers:
        answer = await Gate(servers, seconds=RECHECK_SECONDS).call(
            call("tasked__job", asks={"a": FORM})
        )

    assert json.loads(answer.output) == {"a": {"action": "accept", "content": {"count": 3}}}


# The journal.


async def test_a_saved_task_is_followed_and_its_tool_not_called_again(
    config: ServerConfig, tmp_path: Path
):
    journal = Journal()
    async with run_servers(config) as servers:
        with use_journal(journal):
            pending_call = asyncio.create_task(servers.call(call("tasked__job")))
        await wait_until(lambda: journal.handles)
        pending_call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending_call
    assert count_requests(tmp_path, "tasks/cancel") == 0, "the call is open: it is left to others"

    (tmp_path / "done").write_text("from before")
    async with run_servers(config) as servers:
        with use_journal(journal):
            answer = await servers.call(call("tasked__job"))

    assert answer.output == "from before"
    assert lines_of(tmp_path, "ran") == ["c1"]


async def test_a_task_whose_call_is_over_is_cancelled(config: ServerConfig, tmp_path: Path):
    journal = Journal()
    async with run_servers(config) as servers:
        with use_journal(journal):
            pending_call = asyncio.create_task(servers.call(call("tasked__job")))
        await wait_until(lambda: journal.handles)
        journal.open = False
        pending_call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending_call

    assert count_requests(tmp_path, "tasks/cancel") == 1


@pytest.mark.parametrize("is_left", [True, False])
async def test_a_task_whose_call_is_ended_after_its_tool_was_stopped_is_cancelled_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_left: bool
):
    monkeypatch.setattr(server, "CHECK_SECONDS", 60.0 if is_left else 0.01)
    journal = Journal()
    async with run_servers(tasked(tmp_path)) as servers:
        with use_journal(journal):
            pending_call = asyncio.create_task(servers.call(call("tasked__job")))
        await wait_until(lambda: journal.handles)
        pending_call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending_call
        journal.open = False
        if not is_left:
            await wait_until(lambda: count_requests(tmp_path, "tasks/cancel"))

    assert count_requests(tmp_path, "tasks/cancel") == 1


async def test_a_call_that_the_user_stops_cancels_its_task_though_its_run_goes_on(
    config: ServerConfig, tmp_path: Path
):
    journal = Journal()
    consent = Consent(Rules(allow=("*",)))
    async with run_servers(config) as servers:
        processor = ToolProcessor(servers, consent=consent)
        outcomes = processor.process_tool_calls("run_1", [call("tasked__job")], journal=journal)
        async with aclosing(outcomes) as results:
            next_result = asyncio.ensure_future(anext(results))
            await wait_until(lambda: journal.handles)
            processor.cancel("c1")
            _, answer = await next_result
        await wait_until(lambda: count_requests(tmp_path, "tasks/cancel"))

    assert answer.fault == "cancelled"


@pytest.mark.parametrize("sync", [True, False])
async def test_a_call_that_is_refused_when_it_is_resumed_cancels_its_task(
    tmp_path: Path, *, sync: bool
):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "t.json").write_text('{"id": "t", "polls": 0}')
    config = tasked(tmp_path)
    journal = Journal()
    journal.handles["c1"] = TaskHandle(task_id="t", origin=config.origin, tool="job", created_at=0)

    async def answer(servers: Toolbox) -> ToolResult:
        processor = ToolProcessor(ToolManager(servers), consent=Consent(Rules(deny=("*",))))
        calls = [call("tasked__job")]
        outcomes = processor.process_tool_calls("run_1", calls, journal=journal)
        async with aclosing(outcomes) as results:
            _, answer = await anext(results)
        return answer

    if sync:
        with McpServerPool([config]) as pool:
            assert await asyncio.to_thread(pool.ready, 50) == ()
            refusal = await answer(pool)
    else:
        async with run_servers(config) as servers:
            refusal = await answer(servers)

    assert refusal.fault == "refused"
    assert lines_of(tmp_path, "log")[-1] == "tasks/cancel t"
    assert lines_of(tmp_path, "ran") == []


async def test_a_journal_is_used_on_its_own_loop_by_servers_that_run_on_another(tmp_path: Path):
    loop = asyncio.get_running_loop()

    class Strict(Journal):
        async def find(self, call_id: str) -> TaskHandle | None:
            assert asyncio.get_running_loop() is loop
            return await super().find(call_id)

        async def save(self, call_id: str, handle: TaskHandle) -> bool:
            assert asyncio.get_running_loop() is loop
            return await super().save(call_id, handle)

    journal = Strict()
    with McpServerPool([tasked(tmp_path)]) as servers:
        assert await asyncio.to_thread(servers.ready, 50) == ()
        processor = ToolProcessor(servers, consent=Consent(Rules(allow=("*",))))
        calls = [call("tasked__job", states=[COMPLETED])]
        async with aclosing(
            processor.process_tool_calls("run_1", calls, journal=journal)
        ) as results:
            _, answer = await anext(results)

    assert answer.output == "done"
    assert list(journal.handles) == ["c1"]


async def test_a_call_that_a_tool_makes_itself_is_in_no_journal(tmp_path: Path):
    (tmp_path / "done").write_text("built")
    journal = Journal()
    async with run_servers(tasked(tmp_path)) as servers:

        @tool
        async def deploy() -> str:
            """Deploy."""
            return (await servers.call(ToolCall("inner", "tasked__job", "{}"))).output

        outcomes = ToolProcessor(Functions([deploy])).process_tool_calls(
            "run_1", [ToolCall("c1", "deploy", "{}")], journal=journal
        )
        async with aclosing(outcomes) as results:
            _, answer = await anext(results)

    assert answer.output == "built"
    assert journal.handles == {}


async def test_a_function_that_calls_two_tools_under_its_own_id_gets_two_results(tmp_path: Path):
    journal = Journal()
    states = [[{**COMPLETED, "result": result(word)}] for word in ("one", "two", "three")]
    async with run_servers(tasked(tmp_path)) as servers:

        @tool
        async def deploy(context: ToolContext) -> list[str]:
            """Deploy."""
            calls = [call("tasked__job", states=each) for each in states]
            renamed_calls = [msgspec.structs.replace(each, id=context.call.id) for each in calls]
            results = [await servers.call(each) for each in renamed_calls]
            return [each.output for each in results]

        outcomes = ToolProcessor(Functions([deploy])).process_tool_calls(
            "run_1", [ToolCall("c1", "deploy", "{}")], journal=journal
        )
        async with aclosing(outcomes) as results:
            _, answer = await anext(results)

    assert json.loads(answer.output) == ["one", "two", "three"]
    assert list(journal.handles) == ["c1"]


async def test_a_long_task_of_a_call_that_is_in_no_journal_is_followed_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(task_follower, "CHECK_SECONDS", 0.0)
    states = [{"status": "working"}] * 3
    async with run_servers(tasked(tmp_path)) as servers:
        answer = await servers.call(call("tasked__job", states=[*states, COMPLETED]))

    assert answer.output == "done"


async def test_a_call_that_is_cancelled_while_its_handle_is_saved_leaves_its_task_to_others(
    tmp_path: Path,
):
    class Slow(Journal):
        def __init__(self) -> None:
            super().__init__()
            self.saving, self.release = asyncio.Event(), asyncio.Event()

        async def save(self, call_id: str, handle: TaskHandle) -> bool:
            self.saving.set()
            await self.release.wait()
            return await super().save(call_id, handle)

    journal = Slow()
    async with run_servers(tasked(tmp_path)) as servers:
        with use_journal(journal):
            pending_call = asyncio.create_task(servers.call(call("tasked__job")))
        await journal.saving.wait()
        pending_call.cancel()
        asyncio.get_running_loop().call_soon(journal.release.set)
        with pytest.raises(asyncio.CancelledError):
            await pending_call

    assert list(journal.handles) == ["c1"]
    assert count_requests(tmp_path, "tasks/cancel") == 0


async def test_a_task_whose_first_state_is_not_valid_is_cancelled(
    config: ServerConfig, tmp_path: Path
):
    async with run_servers(config) as servers:
        answer = await servers.call(call("tasked__job", created={"status": "odd"}))

    assert "says that its task is odd" in answer.output
    assert count_requests(tmp_path, "tasks/get") == 0
    assert count_requests(tmp_path, "tasks/cancel") == 1


async def test_a_call_that_another_process_has_ended_ends_its_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(task_follower, "CHECK_SECONDS", 0.01)
    journal = Journal()
    journal.open = False
    async with run_servers(tasked(tmp_path)) as servers:
        with use_journal(journal):
            answer = await servers.call(call("tasked__job"))

    assert answer.fault == "cancelled"
    assert count_requests(tmp_path, "tasks/cancel") == 1


async def test_a_handle_that_cannot_be_saved_now_is_saved_later(tmp_path: Path):
    journal = Journal()
    journal.faults = [Unavailable("no database"), Unavailable("no database")]
    states = [{"status": "working"}] * 3
    async with run_servers(tasked(tmp_path)) as servers:
        with use_journal(journal):
            answer = await servers.call(call("tasked__job", states=[*states, COMPLETED]))

    assert answer.output == "done"
    assert journal.handles["c1"].tool == "job"


async def test_a_task_that_is_not_saved_is_cancelled_with_its_call(tmp_path: Path):
    journal = Journal()
    journal.faults = [Conflict("another task")]
    async with run_servers(tasked(tmp_path)) as servers:
        with use_journal(journal):
            pending_call = asyncio.create_task(servers.call(call("tasked__job")))
        await wait_until(lambda: count_requests(tmp_path, "tasks/get"))
        pending_call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending_call

    assert journal.handles == {}
    assert count_requests(tmp_path, "tasks/cancel") == 1


async def test_the_task_of_another_server_is_neither_followed_nor_started_again(tmp_path: Path):
    journal = Journal()
    config = tasked(tmp_path)
    for origin, tool_name in (("elsewhere", "job"), (config.origin, "strict")):
        journal.handles["c1"] = TaskHandle(task_id="t", origin=origin, tool=tool_name, created_at=0)
        async with run_servers(config) as servers:
            with use_journal(journal):
                answer = await servers.call(call("tasked__job"))
        assert "is not sent again" in answer.output

    assert lines_of(tmp_path, "ran") == []


async def test_a_task_that_the_server_has_forgotten_is_not_started_again(tmp_path: Path):
    journal = Journal()
    config = tasked(tmp_path)
    handle = TaskHandle(task_id="gone", origin=config.origin, tool="job", created_at=0)
    journal.handles["c1"] = handle
    async with run_servers(config) as servers:
        with use_journal(journal):
            answer = await servers.call(call("tasked__job"))

    assert "does not know its task any more" in answer.output
    assert "it may or may not have been carried out" in answer.output
    assert lines_of(tmp_path, "ran") == []


async def test_a_task_that_ended_without_an_observer_has_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tool_caller, "LAST_LOOK_SECONDS", 60.0)
    journal = Journal()
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "t.json").write_text('{"id": "t", "polls": 0}')
    (tmp_path / "done").write_text("long ago")
    config = tasked(tmp_path, task_timeout=1.0)
    journal.handles["c1"] = TaskHandle(task_id="t", origin=config.origin, tool="job", created_at=0)
    async with run_servers(config) as servers:
        with use_journal(journal):
            answer = await servers.call(call("tasked__job"))

    assert answer.output == "long ago"

"""Tools that the worker runs itself: in the same stream, approved or not, lost and found again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.engine.snapshot import ReadSet
from antiphon.engine.transcript import Transcript
from antiphon.engine.unit_of_work import CANCELLED
from antiphon.ports import ProgressCallback, Toolbox, quiet
from antiphon.providers.scripted import ScriptGate
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.events import (
    ActionRequired,
    MessageCompleted,
    Numbered,
    RunStatus,
    TextDelta,
    ToolOutputAdded,
    TurnEnded,
    TurnRestarted,
)
from antiphon.types.messages import Blob, Message, Tool, ToolCall, ToolResult, ToolSpec, Upload
from antiphon.types.runs import Action, McpServer, Sampling
from tests.support.runtime.rig import (
    BY,
    OWNER,
    RuntimeRig,
    find_ended,
    find_event,
    find_started,
    open_rig,
)

YES, NO = '{"approve": true}', '{"approve": false, "reason": "Not now."}'
FREE = McpServer("far", require_approval="never")
ASKING = McpServer("far")

ToolHandler = Callable[[ToolCall], Awaitable[ToolResult]]


class FarServers:
    """MCP servers as the runtime sees them: tools `far__*`, and the calls that they got."""

    def __init__(self, **handlers: ToolHandler) -> None:
        self.calls: list[ToolCall] = []
        self.gates: defaultdict[str, ScriptGate] = defaultdict(ScriptGate)
        self.is_there = True
        self.holders = 0
        self.cancelled_calls = 0
        self.description = ""
        self._handlers: dict[str, ToolHandler] = {
            "read": _text_result,
            "write": _text_result,
            "wait": self._wait,
        } | handlers

    async def check_allowed(self, servers: Sequence[McpServer]) -> None:
        if any(server.name != "far" for server in servers):
            raise errors.InvalidRequest("There is no such server.")

    @asynccontextmanager
    async def hold(self, owner: str, servers: Sequence[McpServer]) -> AsyncIterator[Toolbox]:
        self.holders += 1
        try:
            yield self
        finally:
            self.holders -= 1

    def states(self) -> Sequence[operations.BackendServer]:
        return [operations.BackendServer("far", "ready")]

    def origins(self, servers: Sequence[McpServer]) -> Sequence[str]:
        return [server.name for server in servers]

    def has(self, origins: Sequence[str]) -> bool:
        return True

    def tools(self) -> Sequence[Tool]:
        names = self._handlers if self.is_there else ()
        return [
            Tool(spec=ToolSpec(f"far__{n}", self.description), server="far", own_name=n)
            for n in names
        ]

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        self.calls.append(call)
        return await self._handlers[call.name.removeprefix("far__")](call)

    async def _wait(self, call: ToolCall) -> ToolResult:
        gate = self.gates[msgspec.json.decode(call.arguments)["gate"]]
        gate.reached.set()
        try:
            await gate.opened.wait()
        except asyncio.CancelledError:
            self.cancelled_calls += 1
            raise
        return await _text_result(call)


async def _text_result(call: ToolCall) -> ToolResult:
    return ToolResult(f"{call.name} of {call.arguments}")


async def outputs(rig: RuntimeRig, thread_id: str) -> list[str]:
    return [m.text for m in await rig.messages(thread_id) if m.role == "tool"]


async def answer(rig: RuntimeRig, run_id: str, tool_call_id: str, output: str) -> Action:
    call = operations.SubmitToolOutput(run_id, tool_call_id, output)
    action: Action = (await rig.dispatcher.dispatch(call, BY)).value
    return action


async def replay(rig: RuntimeRig, run_id: str) -> list[Numbered]:
    return await rig.read(operations.Follow(run_id))


def fold(events: Sequence[Numbered]) -> list[Message]:
    """Fold the events to messages; check each against the deltas before it."""
    transcript, messages = Transcript(), []
    for number, event in events:
        transcript.add(number, event)
        if isinstance(event, MessageCompleted):
            reply = transcript.reply
            assert (reply.text, reply.reasoning) == (event.message.text, event.message.reasoning)
            assert [c.id for c in reply.calls] == [c.id for c in event.message.tool_calls]
            messages.append(event.message)
    return messages


async def test_the_workers_tools_run_within_one_stream() -> None:
    far = FarServers()
    async with open_rig(
        'say Let me look.\ncall far__read {"x":1}', "say It is 1.", servers=far
    ) as rig:
        events = await rig.ask(mcp_servers=(FREE,))

        assert find_ended(events).status == "completed"
        assert [event.status for _, event in events if isinstance(event, RunStatus)] == [
            "queued",
            "in_progress",
            "completed",
        ]
        assert sum(isinstance(event, TurnEnded) for _, event in events) == 1
        assert [m.text for m in fold(events)] == ["Let me look.", "It is 1."]
        assert find_event(events, ToolOutputAdded).output == 'far__read of {"x":1}'
        assert (await rig.run(find_started(events).run_id)).turn == 2
        assert await replay(rig, find_started(events).run_id) == events
        assert far.holders == 0


async def test_the_model_reads_what_the_tool_gave() -> None:
    async with open_rig('call far__read {"x":1}', "say Done.", servers=FarServers()) as rig:
        await rig.ask(mcp_servers=(FREE,))

        first, second = rig.model.requests
        assert [tool.name for tool in first.tools] == ["far__read", "far__write", "far__wait"]
        assert [m["role"] for m in second.decode_messages()] == ["user", "assistant", "tool"]
        assert second.turn == 2


async def test_calls_of_one_reply_run_side_by_side_but_not_too_many() -> None:
    far = FarServers()
    script = "\n".join(f'call far__wait {{"gate":"{n}"}}' for n in range(3))
    settings = Settings(max_parallel_tools=2)
    async with open_rig(script, "say Done.", servers=far, settings=settings) as rig:
        ask_task = asyncio.create_task(rig.ask(mcp_servers=(FREE,)))
        await far.gates["0"].reached.wait()
        await far.gates["1"].reached.wait()
        assert not far.gates["2"].reached.is_set()
        far.gates["1"].opened.set()
        await far.gates["2"].reached.wait()
        far.gates["2"].opened.set()
        far.gates["0"].opened.set()
        events = await ask_task

        assert await outputs(rig, find_started(events).thread_id) == [
            f'far__wait of {{"gate":"{n}"}}' for n in range(3)
        ]


async def test_each_call_has_an_id_that_no_other_run_has() -> None:
    """The model's own ids do not serve: some providers count from 1 in each reply."""
    far = FarServers()
    async with open_rig('call far__read {"x":1}', "say Done.", servers=far) as rig:
        events = await rig.ask(mcp_servers=(FREE,))

        actions_answer = await rig.dispatcher.dispatch(
            operations.ListActions(find_started(events).run_id), BY
        )
        assert [call.id for call in far.calls] == [
            action.id for action in actions_answer.value.data
        ]


async def test_a_mixed_reply_rests_for_the_client_and_then_runs_the_workers_own() -> None:
    far = FarServers()
    script = 'call look {"q":1}\ncall far__read {"x":1}'
    async with open_rig(script, "say Done.", servers=far) as rig:
        events = await rig.ask(mcp_servers=(FREE,), tools=(ToolSpec("look"),))
        assert [action.name for action in find_event(events, ActionRequired).actions] == ["look"]
        assert not far.calls
        await rig.submit(events, "seen")
        later_events = await rig.read(operations.Process(run_id=find_started(events).run_id))

        assert find_ended(later_events).status == "completed"
        assert await outputs(rig, find_started(events).thread_id) == [
            "seen",
            'far__read of {"x":1}',
        ]
        assert (await rig.run(find_started(events).run_id)).turn == 2


async def test_a_call_runs_only_when_it_was_approved() -> None:
    far = FarServers()
    async with open_rig('call far__write {"x":1}', "say Done.", servers=far) as rig:
        events = await rig.ask(mcp_servers=(ASKING,))
        (action,) = find_event(events, ActionRequired).actions
        assert (action.kind, action.server, action.arguments) == ("approval", "far", {"x": 1})
        assert find_ended(events).status == "action_required"
        run_id = find_started(events).run_id
        with pytest.raises(errors.OutputsMissing):
            await rig.read(operations.Process(run_id=run_id))
        approved_action = await answer(rig, run_id, action.tool_call_id, YES)
        assert (approved_action.approval, approved_action.status, approved_action.output) == (
            "given",
            "pending",
            None,
        )
        assert not far.calls
        later_events = await rig.read(operations.Process(run_id=run_id))

        assert find_event(later_events, ToolOutputAdded).output == 'far__write of {"x":1}'
        assert find_ended(later_events).status == "completed"
        assert len(far.calls) == 1


async def test_a_tool_that_became_another_since_its_call_was_approved_is_not_run() -> None:
    far = FarServers()
    script = 'call far__write {"x":1}\ncall far__read {"x":1}'
    mcp_server = McpServer("far", require_approval={"read": "never"})
    async with open_rig(script, "say Odd.", servers=far) as rig:
        events = await rig.ask(mcp_servers=(mcp_server,))
        run_id = find_started(events).run_id
        await answer(rig, run_id, find_event(events, ActionRequired).actions[0].tool_call_id, YES)
        far.description = "Writes to somebody else."
        later_events = await rig.read(operations.Process(run_id=run_id))

        assert find_ended(later_events).status == "completed"
        refused_output, read_output = await outputs(rig, find_started(events).thread_id)
        assert "has changed since" in refused_output
        assert read_output == 'far__read of {"x":1}'
        assert [call.name for call in far.calls] == ["far__read"]


async def test_a_tool_that_becomes_another_while_its_approved_call_waits_is_not_run() -> None:
    """S5: calls of a reply wait for each other's slots, for minutes if they are slow."""
    far = FarServers()
    script = 'call far__wait {"gate":"a"}\ncall far__write {"x":1}'
    mcp_server = McpServer("far", require_approval={"wait": "never"})
    settings = Settings(max_parallel_tools=1)
    async with open_rig(script, "say Odd.", servers=far, settings=settings) as rig:
        events = await rig.ask(mcp_servers=(mcp_server,))
        run_id = find_started(events).run_id
        await answer(rig, run_id, find_event(events, ActionRequired).actions[0].tool_call_id, YES)
        read_task = asyncio.create_task(rig.read(operations.Process(run_id=run_id)))
        await far.gates["a"].reached.wait()
        far.description = "Writes to somebody else."
        far.gates["a"].opened.set()
        later_events = await read_task

        assert find_ended(later_events).status == "completed"
        waited_output, refused_output = await outputs(rig, find_started(events).thread_id)
        assert waited_output == 'far__wait of {"gate":"a"}'
        assert "has changed since" in refused_output
        assert [call.name for call in far.calls] == ["far__wait"]


async def test_a_refused_call_never_reaches_its_server() -> None:
    far = FarServers()
    async with open_rig('call far__write {"x":1}', "say As you like.", servers=far) as rig:
        events = await rig.ask(mcp_servers=(ASKING,))
        run_id = find_started(events).run_id
        await answer(rig, run_id, find_event(events, ActionRequired).actions[0].tool_call_id, NO)
        later_events = await rig.read(operations.Process(run_id=run_id))

        assert find_ended(later_events).status == "completed"
        assert await outputs(rig, find_started(events).thread_id) == [
            "This call was refused and not carried out. Not now."
        ]
        assert not far.calls


async def test_two_clients_may_say_the_same_and_the_call_runs_once() -> None:
    far = FarServers()
    async with open_rig('call far__write {"x":1}', "say Done.", servers=far) as rig:
        events = await rig.ask(mcp_servers=(ASKING,), background=False)
        run_id, call_id = (
            find_started(events).run_id,
            find_event(events, ActionRequired).actions[0].tool_call_id,
        )
        approvals = await asyncio.gather(*(answer(rig, run_id, call_id, YES) for _ in range(2)))
        assert approvals[0] == approvals[1]
        with pytest.raises(errors.OutputConflict):
            await answer(rig, run_id, call_id, NO)
        streams = await asyncio.gather(
            *(rig.read(operations.Process(run_id=run_id)) for _ in range(2))
        )

        assert streams[0] == streams[1]
        assert len(far.calls) == 1
        assert (await answer(rig, run_id, call_id, YES)).output == 'far__write of {"x":1}'


async def test_an_approval_is_no_message() -> None:
    async with open_rig('call far__write {"x":1}', servers=FarServers()) as rig:
        events = await rig.ask(mcp_servers=(ASKING,))
        call_id = find_event(events, ActionRequired).actions[0].tool_call_id
        call = operations.CreateMessage(
            find_started(events).thread_id, YES, role="tool", tool_call_id=call_id
        )

        with pytest.raises(errors.InvalidRequest, match="approved"):
            await rig.dispatcher.dispatch(call, BY)


async def test_approval_is_asked_for_tool_by_tool() -> None:
    far = FarServers()
    mcp_server = McpServer("far", require_approval={"read": "never", "w*": "always"})
    script = 'call far__read {"x":1}\ncall far__write {"x":2}'
    async with open_rig(script, "say Done.", servers=far) as rig:
        events = await rig.ask(mcp_servers=(mcp_server,))

        assert [action.name for action in find_event(events, ActionRequired).actions] == [
            "far__write"
        ]


async def test_only_the_allowed_tools_are_offered_and_a_clashing_name_is_the_clients() -> None:
    mcp_server = McpServer("far", allowed_tools=("r*", "write"), require_approval="never")
    async with open_rig('call far__write {"x":1}', servers=FarServers()) as rig:
        events = await rig.ask(mcp_servers=(mcp_server,), tools=(ToolSpec("far__write", "Mine."),))

        offered_tools = rig.model.requests[0].tools
        assert [(t.name, t.description) for t in offered_tools] == [
            ("far__write", "Mine."),
            ("far__read", ""),
        ]
        assert find_event(events, ActionRequired).actions[0].kind == "tool"


@pytest.mark.parametrize("choice", ["required", "far__read"])
async def test_a_run_whose_servers_are_away_still_answers(choice: str) -> None:
    far = FarServers()
    far.is_there = False
    async with open_rig("say I cannot look.", servers=far) as rig:
        events = await rig.ask(mcp_servers=(FREE,), sampling=Sampling(tool_choice=choice))

        assert find_ended(events).status == "completed"
        (question,) = rig.model.requests
        assert (question.tools, question.sampling.tool_choice) == ((), None)


async def test_a_choice_of_a_servers_tool_reaches_the_model() -> None:
    async with open_rig("say Hm.", servers=FarServers()) as rig:
        await rig.ask(mcp_servers=(FREE,), sampling=Sampling(tool_choice="far__read"))

        assert rig.model.requests[0].sampling.tool_choice == "far__read"


@pytest.mark.parametrize("choice", ["required", "far__read"])
async def test_a_call_is_forced_in_the_first_turn_alone(choice: str) -> None:
    async with open_rig('call far__read {"q":"x"}', "say Done.", servers=FarServers()) as rig:
        events = await rig.ask(mcp_servers=(FREE,), sampling=Sampling(tool_choice=choice))

        choices = [request.sampling.tool_choice for request in rig.model.requests]
        assert choices == [choice, None]
        assert find_ended(events).status == "completed"


async def test_a_tool_that_breaks_or_takes_too_long_is_a_result() -> None:
    async def break_down(call: ToolCall) -> ToolResult:
        raise RuntimeError("out of paper")

    far = FarServers(breaks=break_down)
    script = 'call far__breaks {}\ncall far__wait {"gate":"never"}'
    settings = Settings(tool_timeout=0.05)
    async with open_rig(script, "say Too bad.", servers=far, settings=settings) as rig:
        events = await rig.ask(mcp_servers=(FREE,))

        assert find_ended(events).status == "completed"
        broken_output, late_output = await outputs(rig, find_started(events).thread_id)
        assert "out of paper" in broken_output
        assert "0.05 s" in late_output
        actions = (
            await rig.dispatcher.dispatch(operations.ListActions(find_started(events).run_id), BY)
        ).value.data
        assert [action.status for action in actions] == ["failed", "failed"]
        assert far.cancelled_calls == 1


async def test_what_a_tool_gave_besides_words_is_kept_for_its_owner() -> None:
    async def draw(call: ToolCall) -> ToolResult:
        return ToolResult("A dot.", content=(Blob(media_type="image/png", data=b"dot", name="d"),))

    async with open_rig("call far__draw {}", "say See.", servers=FarServers(draw=draw)) as rig:
        events = await rig.ask(mcp_servers=(FREE,))
        tool = next(
            m for m in await rig.messages(find_started(events).thread_id) if m.role == "tool"
        )

        upload, content = await rig.dispatcher.files.download(OWNER, tool.metadata["files"])
        assert (upload.media_type, content) == ("image/png", b"dot")
        with pytest.raises(errors.NotFound):
            await rig.store.get(Upload, "somebody else", upload.id)


async def test_a_cancel_reaches_the_tool() -> None:
    far = FarServers()
    async with open_rig('call far__wait {"gate":"never"}', servers=far) as rig:
        ask_task = asyncio.create_task(rig.ask(mcp_servers=(FREE,)))
        await far.gates["never"].reached.wait()
        (run,) = (await rig.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        await rig.dispatcher.dispatch(operations.CancelRun(run.id), BY)
        events = await ask_task
        while rig.worker.active_runs:
            await asyncio.sleep(0)

        assert find_ended(events).status == "cancelled"
        assert far.cancelled_calls == 1
        assert await outputs(rig, run.thread_id) == [CANCELLED]
        actions = (await rig.dispatcher.dispatch(operations.ListActions(run.id), BY)).value.data
        assert [action.status for action in actions] == ["cancelled"]


async def test_a_call_whose_worker_died_is_run_again_under_its_id_by_the_next() -> None:
    far = FarServers()
    script = 'say Let me look.\ncall far__read {"x":1}\ncall far__wait {"gate":"never"}'
    async with open_rig(script, "say Found.", servers=far) as rig:
        ask_task = asyncio.create_task(rig.ask(mcp_servers=(FREE,)))
        await far.gates["never"].reached.wait()
        (run,) = (await rig.dispatcher.dispatch(operations.ListRuns(), BY)).value.data
        (run_task,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("run ")]
        run_task.cancel()
        await asyncio.wait([run_task])
        far.gates["never"].opened.set()
        rig.now += 16_000
        await rig.worker.sweeper.sweep()
        events = await ask_task

        assert find_ended(events).status == "completed"
        assert [m.text for m in fold(events)] == ["Let me look.", "Found."]
        assert not any(isinstance(event, TurnRestarted) for _, event in events)
        first_id, second_id = (call.id for call in far.calls if call.name == "far__wait")
        assert first_id == second_id
        assert len(await outputs(rig, run.thread_id)) == 2
        assert await replay(rig, run.id) == events


async def test_a_reply_lost_after_the_tools_voids_itself_and_no_tool_runs_again() -> None:
    far = FarServers()
    scripts = ('say Looking.\ncall far__read {"x":1}', "say Lost words\nwait never", "say Found.")
    async with open_rig(*scripts, servers=far) as rig:
        ask_task = asyncio.create_task(rig.ask(mcp_servers=(FREE,)))
        await rig.model.gates["never"].reached.wait()
        await rig.worker.stop(0)
        rig.worker = rig.new_worker("second")
        rig.worker.start()
        events = await ask_task

        assert [m.text for m in fold(events)] == ["Looking.", "Found."]
        restart = find_event(events, TurnRestarted)
        lost_numbers = [
            n for n, event in events if isinstance(event, TextDelta) and "Lost" in event.text
        ]
        (output,) = (n for n, event in events if isinstance(event, ToolOutputAdded))
        assert output <= restart.after < min(lost_numbers)
        assert len(far.calls) == 1


async def test_a_broken_call_after_the_tools_voids_only_its_own_reply() -> None:
    far = FarServers()
    scripts = (
        'say Looking.\ncall far__read {"x":1}',
        'say Broken.\ncall far__read {"x":',
        "say Mended.",
    )
    async with open_rig(*scripts, servers=far) as rig:
        events = await rig.ask(mcp_servers=(FREE,))

        assert find_ended(events).status == "completed"
        assert [m.text for m in fold(events)] == ["Looking.", "Mended."]


async def test_a_loop_of_calls_ends_at_the_limit_of_turns() -> None:
    far = FarServers()
    async with open_rig(*['call far__read {"x":1}'] * 5, servers=far) as rig:
        events = await rig.ask(mcp_servers=(FREE,), max_turns=3)

        assert (find_ended(events).status, find_ended(events).reason) == ("incomplete", "max_turns")
        assert len(far.calls) == 2


async def test_an_output_waits_for_a_store_that_is_away() -> None:
    far = FarServers()
    attempts = []

    def fail_twice(read_set: ReadSet) -> Exception | None:
        if read_set.what == "result" and len(attempts) < 2:
            attempts.append(read_set)
            return errors.Unavailable("away")
        return None

    async with open_rig('call far__read {"x":1}', "say Done.", servers=far) as rig:
        rig.store.trouble = fail_twice
        events = await rig.ask(mcp_servers=(FREE,))

        assert find_ended(events).status == "completed"
        assert len(attempts) == 2
        assert len(far.calls) == 1


async def test_a_background_run_goes_all_its_way_after_the_approval() -> None:
    far = FarServers()
    async with open_rig('call far__write {"x":1}', "say Done.", servers=far) as rig:
        process = operations.Process(
            message=operations.NewMessage("Write!"), mcp_servers=(ASKING,), background=True
        )
        run = (await rig.dispatcher.open_stream(process, BY)).value  # type: ignore[union-attr]
        events: list[Numbered] = []
        async for numbered in rig.listen(operations.Follow(run.id)):
            events.append(numbered)
            if isinstance(numbered[1], ActionRequired):
                await answer(rig, run.id, numbered[1].actions[0].tool_call_id, YES)

        assert isinstance(events[-2][1], RunStatus)
        assert find_ended(events).status == "completed"
        assert len(far.calls) == 1


async def test_an_assistant_names_servers_for_its_runs() -> None:
    far = FarServers()
    async with open_rig('call far__read {"x":1}', "say Done.", servers=far) as rig:
        create = operations.CreateAssistant(mcp_servers=(FREE,))
        assistant = (await rig.dispatcher.dispatch(create, BY)).value
        events = await rig.ask(assistant_id=assistant.id)

        assert len(far.calls) == 1
        assert (await rig.run(find_started(events).run_id)).mcp_servers == (FREE,)
        change = operations.UpdateAssistant(assistant.id, mcp_servers=())
        assert (await rig.dispatcher.dispatch(change, BY)).value == replace(
            assistant, mcp_servers=(), updated_at=assistant.updated_at
        )


@pytest.mark.parametrize(
    "call",
    [
        operations.CreateAssistant(mcp_servers=(FREE,)),
        operations.CreateRun("thread", mcp_servers=(FREE,)),
        operations.Process(message=operations.NewMessage("Hi"), mcp_servers=(FREE,)),
    ],
)
async def test_no_server_may_be_named_where_the_operator_allows_none(
    call: operations.Operation[object],
) -> None:
    async with open_rig() as rig:
        open_call = (
            rig.dispatcher.open_stream
            if isinstance(call, operations.Process)
            else rig.dispatcher.dispatch
        )
        with pytest.raises(errors.Forbidden, match="MCP servers"):
            await open_call(call, BY)  # type: ignore[arg-type]
        assert not (await rig.dispatcher.dispatch(operations.ListThreads(), BY)).value.data


async def test_an_assistant_of_better_times_begins_no_run_once_servers_are_off() -> None:
    async with open_rig(servers=FarServers()) as allowing_rig, open_rig() as rig:
        create = operations.CreateAssistant(mcp_servers=(FREE,))
        assistant = (await allowing_rig.dispatcher.dispatch(create, BY)).value
        await rig.store.put(OWNER, assistant)

        with pytest.raises(errors.Forbidden):
            await rig.ask(assistant_id=assistant.id)

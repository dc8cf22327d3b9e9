"""Each request to a model holds a history that every server takes, whatever befell its thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from antiphon.api import operations
from antiphon.ports import TakeNow, take_none
from antiphon.providers import history
from antiphon.providers.chat_completions import payload
from antiphon.providers.quirks import PLAIN
from antiphon.providers.scripted import ScriptedProvider, ScriptGate
from antiphon.providers.servers import SERVERS
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.chunks import Chunk, ModelRequest
from antiphon.types.messages import File, Image, Part, Text

# The checker lives beside the tests of the provider for which it was written.
from tests.support.providers.judge import faults
from tests.support.runtime.rig import BY, TOOLS, RuntimeRig

PROFILES = [PLAIN, *(server.quirks for server in SERVERS.values())]
DAYS = 24 * 60 * 60 * 1000
ONE = 'call look {"q":1}'
CALLING = [ONE, f"think Hm.\nsay So:\n{ONE}", f"{ONE}\ncall add {{}}\n{ONE}"]
SCRIPTS = [
    *("say Hello.", "think Hm.\nsay Well.", "think Hm.", "say Half\nfinish length", "end"),
    *("say Half\ncut", "think Half\ncut", "fail provider_error No.", "think Hm.\nfinish length"),
    *('say "\\n\\n"', f'say "\\n\\n"\n{ONE}', 'call nothing {"q":1}'),
    *("call look [", f"think Hm.\n{ONE}\nfinish length", f"{ONE}\ncut"),
    *CALLING,
]
TEXTS = st.sampled_from(["", " \n", "Hi.", '"antiphon:reasoning":"x",', 'long "words" ' * 20])
CONTENT: st.SearchStrategy[str | tuple[Part, ...]] = TEXTS | st.builds(
    lambda text, other: (Text(text), other),
    TEXTS,
    st.sampled_from([Image(url="https://example.org/a.png"), File("file_none"), Text("")]),
)
PLACES = st.integers(0, 100)


class SwitchableModel(ScriptedProvider):
    """Model that says what the test wants next; its calls are counted from one with each reply."""

    script = "say Hello."

    async def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        self.requests.append(request)
        provider = ScriptedProvider(self.script)
        provider.gates = self.gates
        async for chunks in provider.stream(request, take_now):
            yield chunks


class Threads(RuleBasedStateMachine):
    """Runtime, some threads, and all that may happen to them."""

    @initialize(context_tokens=st.sampled_from([None, 40, 400]))
    def begin(self, context_tokens: int | None) -> None:
        self.loop = asyncio.new_event_loop()
        self.judged = 0
        self.asked: list[str] = []

        async def open_rig() -> None:
            self.model = SwitchableModel()
            self.rig = RuntimeRig(self.model, Settings(context_tokens=context_tokens))
            self.rig.worker.start()
            self.threads = [(await self.answer(operations.CreateThread())).id]

        self.loop.run_until_complete(open_rig())

    @rule(at=PLACES, content=CONTENT, role=st.sampled_from(["user", "system"]))
    def say(self, at: int, content: Any, role: Any) -> None:
        self.perform(lambda: self.answer(operations.CreateMessage(self.thread(at), content, role)))

    @rule(
        at=PLACES,
        script=st.sampled_from(SCRIPTS),
        message=st.none() | st.builds(operations.NewMessage, CONTENT),
        if_busy=st.sampled_from(["reject", "interrupt", "rollback"]),
        fields=st.fixed_dictionaries(
            {"tools": st.just(TOOLS)},
            optional={
                "instructions": st.just("Be brief."),
                "max_turns": st.just(1),
                "on_expiry": st.just("expire"),
            },
        ),
    )
    def ask(self, at: int, script: str, message: Any, if_busy: Any, fields: dict[str, Any]) -> None:
        self.model.script = script
        call = operations.Process(
            thread_id=self.thread(at), message=message, if_busy=if_busy, **fields
        )
        self.perform(lambda: self.rig.read(call))

    @rule(at=PLACES, script=st.sampled_from(SCRIPTS))
    def go_on(self, at: int, script: str) -> None:
        self.model.script = script
        self.perform(
            lambda: self.with_run(at, lambda run: self.rig.read(operations.Process(run_id=run)))
        )

    @rule(at=PLACES, places=st.lists(PLACES, max_size=3), output=TEXTS)
    def submit(self, at: int, places: list[int], output: str) -> None:
        async def submit_outputs(run_id: str) -> None:
            actions = (await self.answer(operations.ListActions(run_id=run_id))).data
            for place in places if actions else ():
                call_id = actions[place % len(actions)].tool_call_id
                await self.answer(operations.SubmitToolOutput(run_id, call_id, output))

        self.perform(lambda: self.with_run(at, submit_outputs))

    @rule(
        at=PLACES,
        script=st.sampled_from(CALLING),
        then_script=st.sampled_from(SCRIPTS),
        output=TEXTS,
    )
    def hand_off(self, at: int, script: str, then_script: str, output: str) -> None:
        self.ask(at, script, operations.NewMessage("Look!"), "interrupt", {"tools": TOOLS})
        self.submit(at, [2, 0, 1], output)
        self.go_on(at, then_script)

    @rule(at=PLACES)
    def cancel(self, at: int) -> None:
        self.perform(lambda: self.with_run(at, lambda run: self.answer(operations.CancelRun(run))))

    @rule()
    def expire(self) -> None:
        self.rig.now += 8 * DAYS
        self.perform(self.rig.worker.sweeper.sweep)

    @rule(
        at=PLACES, script=st.sampled_from(["say Lost", "think Lost", ONE, ""]), cancel=st.booleans()
    )
    def stall(self, at: int, script: str, cancel: bool) -> None:
        """Lose the worker, or cancel the run, while the model speaks."""
        self.model.script = f"{script}\nwait never"
        call = operations.Process(thread_id=self.thread(at), tools=TOOLS, if_busy="interrupt")
        self.perform(lambda: self.break_off(call, cancel=cancel))

    @precondition(lambda self: len(self.threads) < 4)
    @rule(at=PLACES, place=PLACES)
    def fork(self, at: int, place: int) -> None:
        async def fork() -> None:
            messages = await self.rig.messages(self.thread(at))
            last_message_id = messages[place % len(messages)].id if messages else None
            self.threads.append(
                (await self.answer(operations.ForkThread(self.thread(at), last_message_id))).id
            )

        self.perform(fork)

    @invariant()
    def check_requests(self) -> None:
        for question in getattr(self, "model", SwitchableModel()).requests[
            getattr(self, "judged", 0) :
        ]:
            for quirks in PROFILES:
                assert faults(payload(question, quirks), quirks) == [], (quirks, question.messages)
            assert history.pair_outputs(question.decode_messages()) == question.decode_messages(), (
                "kept as it is sent"
            )
            self.judged += 1

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.loop.run_until_complete(self.rig.worker.stop(0))
            self.loop.close()

    # Helpers.

    def perform(self, action: Callable[[], Awaitable[object]]) -> None:
        """Perform an action that may be refused, which adds nothing to a history."""

        async def within_time() -> None:
            async with asyncio.timeout(60):
                with suppress(errors.CallerError):
                    await action()

        self.loop.run_until_complete(within_time())

    def thread(self, at: int) -> str:
        return self.threads[at % len(self.threads)]

    async def answer(self, call: Any) -> Any:
        return (await self.rig.dispatcher.dispatch(call, BY)).value

    async def with_run(self, at: int, action: Callable[[str], Awaitable[object]]) -> None:
        """Apply the action to the newest run of the thread, if it has one."""
        runs = (await self.answer(operations.ListRuns(thread_id=self.thread(at)))).data
        if runs:
            await action(runs[0].id)

    async def break_off(self, call: operations.Process, *, cancel: bool) -> None:
        gate = self.model.gates["never"] = ScriptGate()
        read_task = asyncio.create_task(self.rig.read(call))
        gate_task = asyncio.create_task(gate.reached.wait())
        await asyncio.wait([read_task, gate_task], return_when=asyncio.FIRST_COMPLETED)
        gate_task.cancel()
        if not read_task.done():
            runs = (await self.answer(operations.ListRuns(thread_id=call.thread_id))).data
            if cancel:
                await self.answer(operations.CancelRun(runs[0].id))
            else:
                await self.lose(runs[0].id)
        await read_task

    async def lose(self, run_id: str) -> None:
        self.model.script = "say Found."
        (run_task,) = [task for task in asyncio.all_tasks() if task.get_name() == f"run {run_id}"]
        run_task.cancel()
        self.rig.now += 16_000
        await self.rig.worker.sweeper.sweep()


TestThreads = Threads.TestCase
TestThreads.settings = settings(
    max_examples=settings.default.max_examples,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

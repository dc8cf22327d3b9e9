"""`AsyncClient`: conversations whose tools run here, and every operation, for asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from copy import copy
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from antiphon.api.operations import (
    ClaimActions,
    Content,
    ListActions,
    ListMessages,
    Options,
    Process,
)
from antiphon.client.async_events import AsyncEvents, create_events, raise_at_end
from antiphon.client.async_operations import AsyncOperations
from antiphon.client.async_runner import AsyncRunner
from antiphon.client.async_transport import AsyncTransport
from antiphon.client.compaction import (
    KEEP,
    PAGE,
    TITLE,
    Compaction,
    CompactionPlan,
    SummaryReader,
    choose_model,
    summary_request,
)
from antiphon.client.conversation import (
    Conversation,
    ExecuteActions,
    first_request,
    initial_state,
    tasks_by_call,
)
from antiphon.client.options import ClientOptions, ConversationOptions
from antiphon.client.portal import CallerLoop, async_temporary
from antiphon.client.result import Result
from antiphon.client.run_state import RunState
from antiphon.client.tool_worker import LEASE_SECONDS, ToolWorker, worker_name
from antiphon.client.transport import Target, create_async_transport
from antiphon.client.typed_answer import TypedAnswer
from antiphon.engine import sanitize
from antiphon.ports import ProgressCallback, Toolbox, quiet
from antiphon.settings.deprecated import resolve_argument
from antiphon.settings.settings import Settings
from antiphon.tools.consent import Consent
from antiphon.tools.functions import Handler
from antiphon.tools.gate import AT_ONCE, SECONDS
from antiphon.tools.hooks import ToolHooks
from antiphon.tools.questions import AskUser
from antiphon.tools.tool_events import OnToolEvent, ignore_event
from antiphon.tools.tool_processor import ProcessorOptions, ToolProcessor
from antiphon.tools.tool_sources import ToolSource, gather_tools
from antiphon.types.errors import InvalidRequest, UnsupportedByProvider
from antiphon.types.events import to_pending_action
from antiphon.types.messages import Message
from antiphon.types.runs import Action

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")


class AsyncClient(AsyncOperations):
    """Antiphon in this process, or the server at an address.

        async with AsyncClient() as client:
            async for event in client.converse("When is the flight?", tools=[get_flight_times]):
                match event:
                    case TextDelta(text=text):
                        print(text, end="")

    Without `server` the address comes from the settings (`ANTIPHON_SERVER`, `antiphon.toml`), as
    does the key (`ANTIPHON_API_KEY`); if they have no address either, a runtime is opened in this
    process when it is first needed, with the database at `database`.

    `model` is the model of new runs that name neither a model nor an assistant. `timeout` is the
    number of seconds that a request may wait for its answer (60), `max_retries` how often it is
    repeated after a failure that may pass (by default for 60 seconds). `headers` are sent with each
    request. `http_client` is an httpx2 client of your own, with its proxies and certificates;
    closing this client leaves it open. Raises `BadSettings`.

    It belongs to one event loop.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        api_key: str | None = None,
        model: str | None = None,
        database: str | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
        http_client: httpx2.AsyncClient | None = None,
        settings: Settings | None = None,
    ) -> None:
        target = Target(
            server=server,
            api_key=api_key,
            database=database,
            settings=settings,
            options=ClientOptions(
                timeout=timeout, max_retries=max_retries, headers=headers or {}, model=model
            ),
            http_client=http_client,
        )
        self.transport = create_async_transport(target)
        self._loop = CallerLoop()

    def converse(
        self,
        text: Content | None = None,
        *,
        tools: Iterable[ToolSource] = (),
        toolbox: Toolbox | None = None,
        run_id: str | None = None,
        after: int | None = None,
        idempotency_key: str | None = None,
        consent: Consent | None = None,
        hooks: ToolHooks | None = None,
        ask_user: AskUser | None = None,
        on_tool_event: OnToolEvent = ignore_event,
        max_tools: int = AT_ONCE,
        tool_timeout: float = SECONDS,
        raise_on_failure: bool = True,
        watch: OnToolEvent | None = None,
        **options: Unpack[Options],
    ) -> AsyncEvents:
        """Run a conversation from a message to the final answer, with the tools run here.

        If the run does not complete, its `RunError` is raised after the last event: `RunFailed`,
        `RunIncomplete` with the text so far, `RunExpired` or `RunCancelled`, each with `run_id` and
        `thread_id`. With `raise_on_failure=False`, check the `status` of the events instead.

        `run_id` resumes a run that this client or another left unfinished. With `after`, the number
        of the last event that was read, all later events come first. If the run has ended
        meanwhile, its remaining events are yielded, and it ends in the same way. A call of a tool
        that is not among `tools` stays pending, and `InvalidRequest` is raised after the others;
        with `raise_on_failure=False` the model reads that there is no such tool.

        The same call again with the same `idempotency_key`, by any program within 24 hours, goes on
        with the run that the first one began, from its first event. With other parameters it raises
        `IdempotencyConflict`.

        `tools` are functions, objects whose methods `@tool` marks, toolboxes such as a pool of MCP
        servers, and specs of tools that run in workers: their outputs are waited for. `toolbox` is
        one more toolbox. At most `max_tools` tools run at once, each for at most `tool_timeout`
        seconds. `consent` decides whether a call may run; without it functions run, and all other
        calls are refused. `hooks` run before consent, and after each tool. `ask_user` asks the user
        what a tool wants to know. `on_tool_event` is called with each event of these tools;
        `cancel_tool` of the returned events cancels one. `watch` is the deprecated name of
        `on_tool_event`.
        """
        gathered = gather_tools(tools, toolbox)
        state = initial_state(run_id, after)
        opening = first_request(text, gathered, run_id, options)
        if idempotency_key is not None:
            sanitize.validate_idempotency_key(idempotency_key)
        conversation = Conversation(
            opening,
            state,
            resumed=after is not None,
            idempotency_key=idempotency_key,
            elsewhere=frozenset(spec.name for spec in gathered.offered),
        )
        return self._start(
            conversation,
            state,
            gathered.toolbox,
            leave_unknown=run_id is not None and raise_on_failure,
            raise_on_failure=raise_on_failure,
            consent=consent,
            hooks=hooks,
            ask_user=ask_user,
            at_once=max_tools,
            seconds=tool_timeout,
            on_tool_event=resolve_argument("watch", watch, "on_tool_event", on_tool_event),
        )

    @overload
    async def ask(
        self,
        text: Content,
        *,
        output_type: type[T],
        on_partial: Callable[[Any], object] | None = ...,
        idempotency_key: str | None = ...,
        **options: Unpack[ConversationOptions],
    ) -> Result[T]: ...
    @overload
    async def ask(
        self,
        text: Content,
        *,
        output_type: None = None,
        on_partial: Callable[[Any], object] | None = ...,
        idempotency_key: str | None = ...,
        **options: Unpack[ConversationOptions],
    ) -> Result[str]: ...
    @overload
    async def ask(
        self,
        text: Content,
        *,
        output_type: Any,
        on_partial: Callable[[Any], object] | None = ...,
        idempotency_key: str | None = ...,
        **options: Unpack[ConversationOptions],
    ) -> Result[Any]: ...
    async def ask(
        self,
        text: Content,
        *,
        output_type: Any = None,
        on_partial: Callable[[Any], object] | None = None,
        idempotency_key: str | None = None,
        tools: Iterable[ToolSource] = (),
        toolbox: Toolbox | None = None,
        consent: Consent | None = None,
        hooks: ToolHooks | None = None,
        ask_user: AskUser | None = None,
        on_tool_event: OnToolEvent = ignore_event,
        max_tools: int = AT_ONCE,
        tool_timeout: float = SECONDS,
        **options: Unpack[Options],
    ) -> Result[Any]:
        """Run a conversation to its final answer, with the tools run here, and return the answer.

            result = await client.ask("When is the flight?", tools=[get_flight_times])
            print(result.text, result.usage.cost)

        With `output_type`, `value` is the answer as this type: a dataclass, TypedDict, pydantic
        model, msgspec Struct, Enum, Literal, a union or a plain type. Its schema is sent to the
        model. If an answer does not fit, the model reads why in the thread and answers again, at
        most twice; then `InvalidAnswer` is raised. `on_partial` is called with the value so far, as
        JSON and not validated, each time that it has grown; it must return quickly.

        With an `idempotency_key`, a program that asks again after a crash gets the same answer, and
        no tool with an output runs again. The other parameters are those of `converse`.

        Raises the `RunError` of a run that does not complete: `RunFailed`, `RunIncomplete` with the
        text so far, `RunExpired` or `RunCancelled`.
        Raises `UnfitType` for a type that JSON cannot express.
        """
        run = partial(
            self._run_to_end,
            tools=tools,
            toolbox=toolbox,
            consent=consent,
            hooks=hooks,
            ask_user=ask_user,
            on_tool_event=on_tool_event,
            max_tools=max_tools,
            tool_timeout=tool_timeout,
        )
        if output_type is None:
            return await run(text, options, idempotency_key, on_partial)
        answer: TypedAnswer[Any] = TypedAnswer(output_type, text, options)
        return await self._run_until_fit(answer, run, idempotency_key, on_partial)

    async def _run_until_fit(
        self,
        answer: TypedAnswer[Any],
        run: Callable[..., Awaitable[Result[str]]],
        idempotency_key: str | None,
        on_partial: Callable[[Any], object] | None,
    ) -> Result[Any]:
        """Run conversations of the answer until it fits its type; return the last result."""
        on_value = None if on_partial is None else answer.unwrap_for(on_partial)
        whole: Result[str] | None = None
        while True:
            try:
                key = answer.key(idempotency_key)
                result = await run(*answer.request(), key, on_partial=on_value)
            except UnsupportedByProvider as refusal:
                answer.handle_refusal(refusal)
                continue
            whole = result if whole is None else result.after(whole)
            if answer.accept(whole):
                return whole.with_value(answer.value)

    async def _run_to_end(
        self,
        text: Content,
        options: Options,
        idempotency_key: str | None,
        on_partial: Callable[[Any], object] | None = None,
        **given: Any,
    ) -> Result[str]:
        events = self.converse(text, idempotency_key=idempotency_key, **given, **options)
        async with events:
            if on_partial is None:
                async for _ in events.batches():
                    pass
            else:
                async for value in events.partial():
                    on_partial(value)
        return events.result()

    def resume(
        self,
        id: str,
        *,
        after: int | None = None,
        tools: Iterable[ToolSource] = (),
        toolbox: Toolbox | None = None,
        consent: Consent | None = None,
        hooks: ToolHooks | None = None,
        ask_user: AskUser | None = None,
        on_tool_event: OnToolEvent = ignore_event,
        max_tools: int = AT_ONCE,
        tool_timeout: float = SECONDS,
        raise_on_failure: bool = True,
    ) -> AsyncEvents:
        """Continue a run, or the last run of a thread: `id` is that of either.

            async for event in client.resume(thread_id, tools=[get_flight_times]):
                ...

        A turn in progress is read, waiting tools run here, and the next turn is requested. If the
        run has ended, its remaining events are read. So a program has to keep only the id.
        The parameters are those of `converse`. Instead of the first event, `NotFound` is raised for
        an unknown id, and for a thread without a run.
        """
        gathered = gather_tools(tools, toolbox)
        state = initial_state(id, after)
        is_thread = id.startswith("thread_")
        if is_thread:
            state.run_id = None
        conversation = Conversation(
            Process(run_id=id),
            state,
            resumed=after is not None,
            elsewhere=frozenset(spec.name for spec in gathered.offered),
            thread_id=id if is_thread else None,
        )
        return self._start(
            conversation,
            state,
            gathered.toolbox,
            leave_unknown=raise_on_failure,
            raise_on_failure=raise_on_failure,
            consent=consent,
            hooks=hooks,
            ask_user=ask_user,
            at_once=max_tools,
            seconds=tool_timeout,
            on_tool_event=on_tool_event,
        )

    def _start(
        self,
        conversation: Conversation,
        state: RunState,
        toolbox: Toolbox,
        *,
        leave_unknown: bool,
        raise_on_failure: bool,
        **options: Unpack[ProcessorOptions],
    ) -> AsyncEvents:
        """Return the events of a conversation with these tools."""
        runner = self._runner(leave_unknown=leave_unknown)
        processor = runner.create_processor(toolbox, **options)
        batches = runner.run_conversation(conversation, processor)
        if raise_on_failure:
            batches = raise_at_end(batches, state)
        return AsyncEvents(batches, state, processor)

    async def poll_and_execute_action(
        self,
        run_id: str,
        handler: Callable[[str, dict[str, Any]], Any] | ToolProcessor,
        *,
        consent: Consent | None = None,
        on_tool_event: OnToolEvent = ignore_event,
        max_tools: int = AT_ONCE,
        tool_timeout: float = SECONDS,
        raise_on_failure: bool = True,
        watch: OnToolEvent | None = None,
    ) -> list[Action]:
        """Wait until the run needs its client, then answer its calls by `handler(name, arguments)`.

        The handler may be async. Outputs are saved as tool messages. `consent` decides the calls
        that the server runs and that wait for approval; without it they are refused. A
        `ToolProcessor` as handler has its own consent, callback and limits. Returns the answered
        actions in their new state; none if the run has completed. If the run ended otherwise, its
        `RunError` is raised, unless `raise_on_failure` is False.
        """
        runner = self._runner()
        run = await runner.wait_until_settled(run_id)
        if raise_on_failure:
            await runner.raise_for_status(run)
        waiting = {
            action.tool_call_id: action
            async for action in self.paginate(ListActions(run_id, status="pending"))
            if action.awaited
        }
        processor = handler
        if not isinstance(processor, ToolProcessor):
            processor = runner.create_processor(
                Handler(processor),
                consent=consent,
                at_once=max_tools,
                seconds=tool_timeout,
                on_tool_event=resolve_argument("watch", watch, "on_tool_event", on_tool_event),
            )
        answered: list[Action] = []
        actions = tuple(map(to_pending_action, waiting.values()))
        due = ExecuteActions(run_id, actions, run.thread_id, tasks_by_call(waiting.values()))
        results = runner.run_tools(due, processor)
        async with aclosing(results):
            async for call, result in results:
                action = waiting[call.id]
                save = runner.message_saver(action)
                if action.approval is not None:  # an approval is not a message of the thread
                    save = runner.output_saver(run_id, call)
                if not await runner.save_result(result, save):
                    if raise_on_failure:
                        await runner.raise_for_status(await self.get_run(run_id))
                    break
                answered.append(await self.get_action(action.id))
        return answered

    async def work(
        self,
        tools: Iterable[ToolSource] = (),
        *,
        toolbox: Toolbox | None = None,
        thread_id: str | None = None,
        assistant_id: str | None = None,
        model: str | None = None,
        metadata: dict[str, str] | None = None,
        worker: str | None = None,
        lease: float = LEASE_SECONDS,
        consent: Consent | None = None,
        hooks: ToolHooks | None = None,
        on_tool_event: OnToolEvent = ignore_event,
        max_tools: int = AT_ONCE,
        tool_timeout: float = SECONDS,
        grace: float = 0.0,
        until_idle: bool = False,
    ) -> int:
        """Run the pending calls of these tools, in any runs, until interrupted.

            await client.work([get_flight_times])

        Any number of workers on any machines share the calls: each is claimed by one, for `lease`
        seconds at a time. If that worker dies, another claims the call after the lease, and
        `attempt` of the tool's `ToolContext` is above 1. The last output of a turn starts the next
        turn. `thread_id`, `assistant_id`, `model` and `metadata` select the runs whose calls are
        taken; `worker` is a name for people. The other parameters are those of `converse`.

        Errors that may pass are retried. When it is interrupted or cancelled, it lets its tools run
        for `grace` seconds, then cancels them and releases their calls. With `until_idle` it
        returns when nothing is pending. Returns the number of outputs that it saved. Raises
        `InvalidRequest` without tools, and errors that do not pass, such as `Unauthorized`.
        """
        gathered = gather_tools(tools, toolbox)
        if gathered.offered or (not tools and toolbox is None):
            raise InvalidRequest(
                "A worker needs tools that it can run.", expected="functions or toolboxes"
            )
        wanted = ClaimActions(
            tools=(),
            worker=worker_name() if worker is None else worker,
            lease=lease,
            thread_id=thread_id,
            assistant_id=assistant_id,
            model=model,
            metadata=metadata,
        )
        tool_worker = ToolWorker(
            self._loop.callback(self.transport.send),
            gathered.toolbox,
            partial(
                self._runner().create_processor,
                gathered.toolbox,
                consent=consent,
                hooks=hooks,
                seconds=tool_timeout,
            ),
            wanted,
            at_once=max_tools,
            grace=grace,
            on_tool_event=on_tool_event,
        )
        return await self._loop.run_to_end(tool_worker.run(until_idle=until_idle))

    async def compact(
        self,
        thread_id: str,
        *,
        keep: int = KEEP,
        model: str | None = None,
        tell: ProgressCallback = quiet,
    ) -> Compaction | None:
        """Summarize the older messages of a thread; models read the summary instead of them.

        The last `keep` exchanges stay whole, and nothing is deleted: see `uncompact`. `model`
        writes the summary, by default the model of the thread's last run, in a temporary thread.
        `tell` is called with the number of letters written so far. Returns None if nothing is older
        than the kept exchanges. Raises `RunActive` and the errors of runs; the thread is then
        unchanged.
        """
        model_name = choose_model((await self.list_runs(thread_id, limit=1)).data, model)
        models = (await self.list_models(model=model_name)).data if model_name else ()
        messages = [each async for each in self.paginate(ListMessages(thread_id, limit=PAGE))]
        plan = CompactionPlan(thread_id, messages, keep, models)
        while (text := plan.next_question()) is not None:
            reader = SummaryReader(plan.progress, tell)
            plan.add_summary(await self._write_summary(text, model_name, reader), reader.usage)
        if not plan.started:
            return None
        return plan.result(await self.transport.send(plan.summary_operation()))

    async def uncompact(self, thread_id: str) -> Message:
        """Make models read the whole thread again. Returns the message that records this."""
        return await self.create_message(thread_id, "", role="system", compacts=0)

    @classmethod
    def over(cls, transport: AsyncTransport) -> AsyncClient:
        """Return a client over an existing transport."""
        client = cls.__new__(cls)
        client.transport, client._loop = transport, CallerLoop()
        return client

    def with_options(
        self,
        *,
        model: str | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncClient:
        """Return a client over the same connections with other options; None keeps an option.

            with_patience = client.with_options(timeout=600)

        `headers` are added to those of this client. Closing it leaves this client open. Raises
        `BadSettings`.
        """
        changes = {"model": model, "timeout": timeout, "max_retries": max_retries}
        other = copy(self)
        other.transport = self.transport.with_options(changes, headers or {})
        other._loop = CallerLoop()
        return other

    def on_behalf_of(self, owner: str) -> AsyncClient:
        """Return a client over the same transport that acts for this owner.

        It sees only what belongs to that owner. Closing it leaves this client open. A server
        requires the scope `admin`; an embedded runtime does not. Raises `InvalidRequest` if `owner`
        is not valid.
        """
        acting = copy(self)
        acting.transport, acting._loop = self.transport.on_behalf_of(owner), CallerLoop()
        return acting

    def as_actor(self, actor: str) -> AsyncClient:
        """Return a client whose changes the audit log attributes to this person.

        This is for programs in which administrators log in. The client uses the same transport;
        closing it leaves this client open. Requires the scope `admin`. Raises `InvalidRequest` if
        `actor` is not a valid id.
        """
        acting = copy(self)
        acting.transport, acting._loop = self.transport.as_actor(actor), CallerLoop()
        return acting

    async def close(self) -> None:
        """Close the connections; end an embedded runtime."""
        await self._loop.close()
        await self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _write_summary(self, text: str, model: str | None, reader: SummaryReader) -> str:
        """Return a model's summary, written in a temporary thread."""
        async with async_temporary(
            partial(self.create_thread, title=TITLE), lambda thread: self.delete_thread(thread.id)
        ) as thread:
            async with create_events(
                self.transport, summary_request(thread.id, text, model)
            ) as events:
                async for event in events:
                    reader.add(event)
            return reader.summary(events.status, events.reason, events.error)

    def _runner(self, *, leave_unknown: bool = False) -> AsyncRunner:
        return AsyncRunner(self.transport, self._loop, leave_unknown=leave_unknown)

"""`AsyncClient`: conversations, operations and streams for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from copy import copy
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from antiphon.api import operations
from antiphon.api.operations import (
    ClaimActions,
    Content,
    ListActions,
    Listed,
    ListMessages,
    Operation,
    Options,
    OwnerImport,
    Process,
)
from antiphon.client import creations
from antiphon.client.async_events import AsyncEvents, AsyncStream, create_events, raise_at_end
from antiphon.client.async_runner import AsyncRunner, paginate
from antiphon.client.async_transport import AsyncPieces, AsyncTransport
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
    RunState,
    first_request,
    initial_state,
)
from antiphon.client.options import ClientOptions, ConversationOptions
from antiphon.client.portal import CallerLoop, async_temporary
from antiphon.client.result import Result
from antiphon.client.tool_worker import LEASE_SECONDS, ToolWorker, worker_name
from antiphon.client.transport import (
    RenamedMethods,
    Source,
    Target,
    async_list_method,
    async_method,
    create_async_transport,
    read_attachment,
    stream_method,
)
from antiphon.client.typed_answer import TypedAnswer
from antiphon.deprecated import renamed_argument
from antiphon.engine import sanitize
from antiphon.ports import ProgressCallback, Toolbox, quiet
from antiphon.settings.settings import Settings
from antiphon.tools.consent import Consent
from antiphon.tools.functions import Handler
from antiphon.tools.questions import AskUser
from antiphon.tools.tool_events import OnToolEvent, ignore_event
from antiphon.tools.tool_processor import AT_ONCE, SECONDS, ProcessorOptions, ToolProcessor
from antiphon.tools.tool_sources import ToolSource, gather_tools
from antiphon.types.errors import (
    InvalidRequest,
    UnsupportedByProvider,
)
from antiphon.types.events import to_pending_action
from antiphon.types.messages import Message, Upload
from antiphon.types.runs import Action

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")


class AsyncClient(RenamedMethods):
    """Antiphon in this process, or the server at an address.

        async with AsyncClient() as client:
            async for event in client.converse("When is the flight?", tools=[get_flight_times]):
                match event:
                    case TextDelta(text=text):
                        print(text, end="")

    Without `server` the address comes from the settings (`ANTIPHON_SERVER`, `antiphon.toml`), as
    does the key (`ANTIPHON_API_KEY`); if they have no address either, a runtime is opened in this
    process when it is first needed, with the database at `database`.

    `model` is that of new runs for which nothing else names one. `timeout` is how many seconds a
    request may wait for its answer (60), `max_retries` how often it is repeated after a failure
    that may pass (by default for 60 seconds). `headers` are sent with each request. `http_client`
    is an httpx2 client of your own, with its proxies and certificates; closing this client leaves
    it open. Raises `BadSettings`.

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
        self.transport: AsyncTransport = create_async_transport(target)
        self._loop = CallerLoop()

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

    create_assistant = async_method(creations.CreateAssistant)
    list_assistants = async_list_method(operations.ListAssistants)
    get_assistant = async_method(operations.GetAssistant)
    update_assistant = async_method(operations.UpdateAssistant)
    delete_assistant = async_method(operations.DeleteAssistant)
    create_thread = async_method(creations.CreateThread)
    list_threads = async_list_method(operations.ListThreads)
    get_thread = async_method(operations.GetThread)
    update_thread = async_method(operations.UpdateThread)
    delete_thread = async_method(operations.DeleteThread)
    fork_thread = async_method(creations.ForkThread)
    create_message = async_method(creations.CreateMessage)
    append_messages = async_method(creations.AppendMessages)
    list_messages = async_list_method(operations.ListMessages)
    get_message = async_method(operations.GetMessage)
    search = async_method(operations.Search)
    create_run = async_method(creations.CreateRun)
    list_runs = async_list_method(operations.ListRuns)
    get_run = async_method(operations.GetRun)
    list_events = async_method(operations.ListEvents)
    cancel_run = async_method(operations.CancelRun)
    submit_tool_output = async_method(operations.SubmitToolOutput)
    submit_tool_outputs = async_method(operations.SubmitToolOutputs)
    list_actions = async_list_method(operations.ListActions)
    get_action = async_method(operations.GetAction)
    claim_actions = async_method(operations.ClaimActions)
    renew_claim = async_method(operations.RenewClaim)
    release_claim = async_method(operations.ReleaseClaim)
    list_files = async_list_method(operations.ListFiles)
    get_file = async_method(operations.GetFile)
    delete_file = async_method(operations.DeleteFile)
    list_models = async_method(operations.ListModels)
    get_caller = async_method(operations.GetCaller)
    create_browser_token = async_method(operations.CreateBrowserToken)

    create_person = async_method(operations.CreatePerson)
    list_people = async_list_method(operations.ListPeople)
    get_person = async_method(operations.GetPerson)
    update_person = async_method(operations.UpdatePerson)
    delete_person = async_method(operations.DeletePerson)
    sign_in = async_method(operations.SignIn)
    create_key = async_method(operations.CreateKey)
    list_keys = async_list_method(operations.ListKeys)
    update_key = async_method(operations.UpdateKey)
    revoke_key = async_method(operations.RevokeKey)
    create_project = async_method(operations.CreateProject)
    list_projects = async_list_method(operations.ListProjects)
    get_project = async_method(operations.GetProject)
    update_project = async_method(operations.UpdateProject)
    delete_project = async_method(operations.DeleteProject)
    list_acts = async_list_method(operations.ListActs)
    list_live_runs = async_list_method(operations.ListLiveRuns)
    get_usage = async_method(operations.GetUsage)
    list_servers = async_list_method(operations.ListServers)
    create_webhook = async_method(operations.CreateWebhook)
    list_webhooks = async_list_method(operations.ListWebhooks)
    get_webhook = async_method(operations.GetWebhook)
    update_webhook = async_method(operations.UpdateWebhook)
    delete_webhook = async_method(operations.DeleteWebhook)
    rotate_webhook_secret = async_method(operations.RotateWebhookSecret)
    send_test_event = async_method(operations.SendTestEvent)
    list_webhook_deliveries = async_list_method(operations.ListWebhookDeliveries)
    resend_webhook_delivery = async_method(operations.ResendWebhookDelivery)
    list_all_webhooks = async_list_method(operations.ListAllWebhooks)
    set_provider_key = async_method(operations.SetProviderKey)
    list_provider_keys = async_list_method(operations.ListProviderKeys)
    delete_provider_key = async_method(operations.DeleteProviderKey)
    set_owners_provider_key = async_method(operations.SetOwnersProviderKey)
    list_all_provider_keys = async_list_method(operations.ListAllProviderKeys)
    list_owners = async_list_method(operations.ListOwners)
    erase_owner = async_method(operations.EraseOwner)

    process = stream_method(creations.Process, create_events)
    completions = stream_method(creations.Complete, create_events)
    events = stream_method(operations.Follow, create_events)

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
        calls are refused. `ask_user` asks the user what a tool wants to know. `on_tool_event` is
        called with each event of these tools; `cancel_tool` of the returned events cancels one.
        `watch` is the deprecated name of `on_tool_event`.
        """
        gathered = gather_tools(tools, toolbox)
        state = initial_state(run_id, after)
        opening = first_request(text, gathered.specs(), run_id, options)
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
            ask_user=ask_user,
            at_once=max_tools,
            seconds=tool_timeout,
            on_tool_event=renamed_argument("watch", watch, "on_tool_event", on_tool_event),
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
        ask_user: AskUser | None = None,
        on_tool_event: OnToolEvent = ignore_event,
        max_tools: int = AT_ONCE,
        tool_timeout: float = SECONDS,
        **options: Unpack[Options],
    ) -> Result[Any]:
        """Run a conversation to its final answer, with the tools run here, and return the answer.

            result = await client.ask("When is the flight?", tools=[get_flight_times])
            print(result.text, result.usage.cost)

        With `output_type` the answer is of this type, in `value`: a dataclass, TypedDict, pydantic
        model, msgspec Struct, Enum, Literal, a union or a plain type. Its schema is sent to the
        model. An answer that does not fit is explained to the model in the thread, at most twice;
        then `InvalidAnswer` is raised. `on_partial` is called with the value so far, as JSON and
        not validated, each time that it has grown; it must return quickly.

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
            ask_user=ask_user,
            on_tool_event=on_tool_event,
            max_tools=max_tools,
            tool_timeout=tool_timeout,
        )
        if output_type is None:
            return await run(text, options, idempotency_key, on_partial)
        answer: TypedAnswer[Any] = TypedAnswer(output_type, text, options)
        whole: Result[str] | None = None
        while True:
            try:
                result = await run(
                    *answer.request(),
                    answer.key(idempotency_key),
                    on_partial=None if on_partial is None else answer.unwrap_for(on_partial),
                )
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
        ask_user: AskUser | None = None,
        on_tool_event: OnToolEvent = ignore_event,
        max_tools: int = AT_ONCE,
        tool_timeout: float = SECONDS,
        raise_on_failure: bool = True,
    ) -> AsyncEvents:
        """Do what is due in a run, or in the last run of a thread: `id` is that of either.

            async for event in client.resume(thread_id, tools=[get_flight_times]):
                ...

        A turn in progress is read, waiting tools run here, the next turn is requested, and of a run
        that has ended the remaining events are read. So the id is all that a program has to keep.
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
                on_tool_event=renamed_argument("watch", watch, "on_tool_event", on_tool_event),
            )
        answered: list[Action] = []
        actions = tuple(map(to_pending_action, waiting.values()))
        results = runner.run_tools(ExecuteActions(run_id, actions, run.thread_id), processor)
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
        on_tool_event: OnToolEvent = ignore_event,
        max_tools: int = AT_ONCE,
        tool_timeout: float = SECONDS,
        grace: float = 0.0,
        until_idle: bool = False,
    ) -> int:
        """Run the pending calls of these tools, of whichever runs, until interrupted.

            await client.work([get_flight_times])

        Any number of workers on any machines share the calls: each is claimed by one, for `lease`
        seconds at a time. If that worker dies, another claims the call after the lease, and
        `attempt` of the tool's `ToolContext` is above 1. The last output of a turn starts the next
        turn. `thread_id`, `assistant_id`, `model` and `metadata` select the runs whose calls are
        taken; `worker` is a name for people. The other parameters are those of `converse`.

        Errors that may pass are retried. Interrupted or cancelled, it lets its tools run for
        `grace` seconds, then cancels them and gives their calls back. With `until_idle` it returns
        when nothing is pending, and tells how many outputs it saved. Raises `InvalidRequest`
        without tools, and errors that do not pass, such as `Unauthorized`.
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
        """Let models read the whole thread again. Returns the message that records this."""
        return await self.create_message(thread_id, "", role="system", compacts=0)

    def sync_stream(self) -> AsyncStream:
        """Return a new stream of one turn; `turn_stream` is the same."""
        return AsyncStream(self.transport)

    turn_stream = sync_stream

    async def upload_file(
        self,
        source: Source,
        name: str | None = None,
        media_type: str | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Upload:
        """Upload a file, given by its path or as bytes with a name."""
        if idempotency_key is not None:
            sanitize.validate_idempotency_key(idempotency_key)
        file = await asyncio.to_thread(read_attachment, source, name, media_type)
        return await self.transport.upload(
            file.name, file.media_type, file.content, idempotency_key
        )

    async def download_file(self, file_id: str) -> bytes:
        """Return the bytes of an uploaded file."""
        return await self.transport.download(file_id)

    def export_owner(self, owner: str) -> AsyncPieces:
        """Yield everything that an owner has as a zip file, in pieces.

        Close the iterator to stop early. Raises `ConnectionLost` if the export breaks off; it
        cannot be resumed.
        """
        return self.transport.export(owner)

    async def import_owner(
        self,
        path: str | PathLike[str],
        owner: str | None = None,
        *,
        new_ids: bool = False,
        check: bool = False,
    ) -> OwnerImport:
        """Import the zip file at this path, which `export_owner` gave, here or elsewhere.

        Everything comes in for `owner`, or for the owner that it was exported of. Ids are kept, or
        with `new_ids` replaced by new ones. With `check` nothing is written. The same import again
        changes nothing, and one that broke off goes on. Raises `Conflict` where an id is taken by
        something else, `InvalidRequest` and `TooLarge` for a file that is not an export.
        """
        call = operations.ImportOwner(owner, new_ids, check)
        return await self.transport.import_archive(call, Path(path))

    def paginate(self, listing: Operation[Listed[T]]) -> AsyncIterator[T]:
        """Iterate over all pages of a list: `paginate(operations.ListThreads(q="flight"))`."""
        return paginate(self.transport, listing)

    @classmethod
    def over(cls, transport: AsyncTransport) -> AsyncClient:
        """Return a client over an existing transport."""
        client = cls.__new__(cls)
        client.transport, client._loop = transport, CallerLoop()
        return client

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

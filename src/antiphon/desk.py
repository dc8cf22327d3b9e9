"""Answers every call, one small function each.

Every face comes here, the HTTP server and the embedded client alike, so that a call means the same
whichever way it came. What may happen is decided in `engine/moves`, inside the store's transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from antiphon import calls, errors
from antiphon.administration import Administration
from antiphon.attachments import attached
from antiphon.calls import Call, Deleted, Listed
from antiphon.engine import checks, moves
from antiphon.engine.draft import output_message_id
from antiphon.engine.moves import Asked, Wish
from antiphon.engine.records import Change, Records, events_expired
from antiphon.engine.window import window
from antiphon.exporting import Archive
from antiphon.ids import Mint
from antiphon.listening import PATIENCE, Listening
from antiphon.measures import TOOLS
from antiphon.messages import Message, Upload, chat, parts
from antiphon.metrics import Metrics
from antiphon.people import Principal
from antiphon.ports import LEASES, QUEUE, About, Bus, Once, Opened, Store
from antiphon.runs import Action, Assistant, McpServer, Run, Sampling, Thread

T = TypeVar("T")

FORK_PAGE = 1000

_SHOWN = {b'"type":"image_url"': "images", b'"type":"file"': "files"}
"""How pictures and files stand in a conversation as the model gets it."""

_NOBODY = Assistant(id="", created_at=0, updated_at=0)
"""The assistant of a run that names none."""


class Answer(msgspec.Struct, frozen=True):
    """What a call is answered: `value` is of the call's `answer` type.

    Where the call was answered before under the same idempotency key, `value` is that answer's JSON
    as `msgspec.Raw`.
    """

    value: Any
    status: int
    replayed: bool = False


class Desk:
    """Answers calls of a principal; every record it touches is checked to be that owner's."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        mint: Mint,
        default_model: Callable[[], Awaitable[str]],
        open_model: Callable[[str, str], Awaitable[Opened]],
        models: Callable[[str | None, str], Awaitable[Sequence[calls.Model]]],
        refuse_servers: Callable[[Sequence[McpServer]], Awaitable[None]],
        administration: Administration,
        metrics: Metrics | None = None,
        busy_seconds: float = 300.0,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._store = store
        self._bus = bus
        self._mint = mint
        self._default_model = default_model
        self._open_model = open_model
        self._models = models
        self._refuse_servers = refuse_servers
        self._administration = administration
        self._busy_seconds = busy_seconds
        self._answers: dict[type[Call[Any]], Callable[..., Awaitable[Any]]] = {
            calls.CreateAssistant: self._create_assistant,
            calls.ListAssistants: self._list_assistants,
            calls.GetAssistant: self._get_assistant,
            calls.UpdateAssistant: self._update_assistant,
            calls.DeleteAssistant: self._delete_assistant,
            calls.CreateThread: self._create_thread,
            calls.ListThreads: self._list_threads,
            calls.GetThread: self._get_thread,
            calls.UpdateThread: self._update_thread,
            calls.DeleteThread: self._delete_thread,
            calls.ForkThread: self._fork_thread,
            calls.CreateMessage: self._create_message,
            calls.ListMessages: self._list_messages,
            calls.GetMessage: self._get_message,
            calls.CreateRun: self._create_run,
            calls.ListRuns: self._list_runs,
            calls.GetRun: self._get_run,
            calls.CancelRun: self._cancel_run,
            calls.SubmitToolOutput: self._submit_tool_output,
            calls.ListActions: self._list_actions,
            calls.GetAction: self._get_action,
            calls.ListFiles: self._list_files,
            calls.GetFile: self._get_file,
            calls.ListModels: self._list_models,
        }

    async def answer(self, call: Call[Any], by: Principal, key: str | None = None) -> Answer:
        """Do what the call asks. `key` is its idempotency key, for calls that create.

        Raises `CallerError` where the call is at fault, `TryAgain` where it is not.
        """
        if self._administration.answers(call):
            return Answer(await self._administration.answer(call, by), call.http_status)
        once = _once(call, by.owner, key)
        # What was answered once is answered so again, whatever has become of the things it names.
        value = await self._answered(once)
        if value is None:
            value = await self._answers[type(call)](call, by, once)
        if isinstance(value, Answer):
            return value
        return Answer(value, call.http_status, replayed=isinstance(value, msgspec.Raw))

    async def open(
        self,
        call: calls.Process | calls.Complete | calls.Follow,
        by: Principal,
        key: str | None = None,
    ) -> Listening | Answer:
        """Do all of a streaming call that can go wrong, and return the reader of its events.

        A `/process` in the background is answered with its run instead.
        """
        if isinstance(call, calls.Follow):
            return await self._follow(call.run_id, call.after, by.owner)
        once = _once(call, by.owner, key)
        told = await self._answered(once) or await self._asked_for(call, by, once)
        asked = told if isinstance(told, Asked) else msgspec.json.decode(told, type=Asked)
        if isinstance(call, calls.Process) and call.background:
            return Answer(asked.run, 202, replayed=told is not asked)
        return Listening(self._store, self._bus, asked.run.id, asked.after, whole=False)

    async def _asked_for(
        self, call: calls.Process | calls.Complete, by: Principal, once: Once | None
    ) -> Asked | msgspec.Raw:
        """The turn that the call asks for; as `Raw` where its twin was quicker."""
        match call:
            case calls.Complete(run_id, fresh):
                return await self._ask(run_id, by, once, fresh=fresh)
            case calls.Process(run_id=str(run_id), force_refresh=fresh):
                checks.refuse_beginnings(call)
                return await self._ask(run_id, by, once, fresh=fresh)
            case calls.Process():
                return await self._begin(call, by, once)

    async def _answered(self, once: Once | None) -> msgspec.Raw | None:
        return await self._store.answered(once) if once else None

    async def _change(self, about: About, decide: Callable[[Records], Change | None]) -> Any:
        """The change, and then a ring for everybody whom it concerns."""
        written: Change | None = None

        def remembered(records: Records) -> Change | None:
            nonlocal written
            written = decide(records)
            return written

        with self._metrics.stored(about.what):
            answer = await self._store.change(about, remembered)
        self._note_outputs(written.actions if written else ())
        for driven in written.driven if written else ():
            self._bus.ring(driven.run.id)
            if driven.drive.wanted:
                self._bus.ring(QUEUE)
            if driven.run.status.ended:
                self._bus.ring(LEASES)
        return answer

    def _note_outputs(self, actions: Sequence[Action]) -> None:
        """How long clients took for what they were asked; nobody is waited for but them."""
        for action in actions:
            if action.runs_on == "client" and action.ended_at is not None:
                seconds = (action.ended_at - action.created_at) / 1000
                self._metrics.observe(TOOLS, seconds, "client", action.status)

    async def upload(
        self, owner: str, name: str, media_type: str, content: bytes, key: str | None = None
    ) -> Answer:
        """Keep a file. `name` is only ever shown, never used as a path."""
        once = None
        if key is not None:
            digest = blake2b(msgspec.json.encode([name, media_type]), digest_size=32)
            digest.update(content)
            once = Once(owner, "POST /v1/files", key, digest.digest())
        upload = Upload(
            id=self._mint("file"),
            name=name,
            media_type=media_type,
            size=len(content),
            created_at=await self._store.now(),
        )
        value = await self._store.put(owner, upload, once, content)
        return Answer(value, 201, replayed=isinstance(value, msgspec.Raw))

    async def download(self, owner: str, upload_id: str) -> tuple[Upload, bytes]:
        """A file and its bytes. Raises `NotFound`."""
        upload = await self._store.get(Upload, owner, upload_id)
        return upload, await self._store.content(owner, upload_id)

    async def export(self, call: calls.ExportOwner, by: Principal) -> Archive:
        """Everything of an owner as a file. Raises `NotFound`."""
        return await self._administration.export(call, by)

    # Assistants.

    async def _create_assistant(
        self, call: calls.CreateAssistant, by: Principal, once: Once | None
    ) -> object:
        checks.refuse_twins(call.tools)
        checks.refuse_formless(call.sampling)
        if call.model is not None:
            await self._open_model(call.model, by.owner)
        await self._refuse_servers(call.mcp_servers)
        now = await self._store.now()
        assistant = Assistant(
            id=self._mint("asst"), created_at=now, updated_at=now, **_fields(call)
        )
        return await self._store.put(by.owner, assistant, once)

    async def _list_assistants(
        self, call: calls.ListAssistants, by: Principal, _: Once | None
    ) -> Listed[Assistant]:
        return await self._page(Assistant, by.owner, call.limit, call.after)

    async def _get_assistant(
        self, call: calls.GetAssistant, by: Principal, _: Once | None
    ) -> Assistant:
        return await self._store.get(Assistant, by.owner, call.assistant_id)

    async def _update_assistant(
        self, call: calls.UpdateAssistant, by: Principal, _: Once | None
    ) -> object:
        checks.refuse_twins(call.tools)
        if isinstance(call.sampling, Sampling):
            checks.refuse_formless(call.sampling)
        if isinstance(call.model, str):
            await self._open_model(call.model, by.owner)
        if call.mcp_servers is not msgspec.UNSET:
            await self._refuse_servers(call.mcp_servers)
        changes = _given(call, but="assistant_id") | {"updated_at": await self._store.now()}
        return await self._store.update_assistant(
            by.owner, call.assistant_id, lambda assistant: replace(assistant, **changes)
        )

    async def _delete_assistant(
        self, call: calls.DeleteAssistant, by: Principal, _: Once | None
    ) -> Deleted:
        await self._store.remove(Assistant, by.owner, call.assistant_id)
        return Deleted(call.assistant_id)

    # Threads.

    async def _create_thread(
        self, call: calls.CreateThread, by: Principal, once: Once | None
    ) -> object:
        def decide(records: Records) -> Change:
            thread = self._new_thread(records.now, title=call.title, metadata=call.metadata)
            return Change(answer=thread, owner=by.owner, thread=thread)

        return await self._store.change(About(owner=by.owner, once=once, what="thread"), decide)

    def _new_thread(self, now: int, **fields: Any) -> Thread:
        return Thread(id=self._mint("thread"), created_at=now, updated_at=now, **fields)

    async def _list_threads(
        self, call: calls.ListThreads, by: Principal, _: Once | None
    ) -> Listed[Thread]:
        return await self._page(
            Thread, by.owner, call.limit, call.after, query=call.q, parent_id=call.parent_id
        )

    async def _get_thread(self, call: calls.GetThread, by: Principal, _: Once | None) -> Thread:
        return await self._store.get(Thread, by.owner, call.thread_id)

    async def _update_thread(
        self, call: calls.UpdateThread, by: Principal, _: Once | None
    ) -> object:
        def decide(records: Records) -> Change:
            thread = _found(records.thread, "thread")
            changed = replace(thread, updated_at=records.now, **_given(call, but="thread_id"))
            return Change(answer=changed, thread=changed)

        about = About(owner=by.owner, thread_id=call.thread_id, what="thread")
        return await self._store.change(about, decide)

    async def _delete_thread(
        self, call: calls.DeleteThread, by: Principal, _: Once | None
    ) -> Deleted:
        await self._store.remove(Thread, by.owner, call.thread_id)
        self._bus.ring(LEASES)
        return Deleted(call.thread_id)

    async def _fork_thread(
        self, call: calls.ForkThread, by: Principal, once: Once | None
    ) -> object:
        source = await self._store.get(Thread, by.owner, call.thread_id)
        if call.before:
            checks.refuse_before_nothing(call)
        upto = await self._messages_up_to(by.owner, call.thread_id, call.message_id)
        messages = upto[:-1] if call.before else upto

        now = await self._store.now()
        new = self._new_thread(
            now,
            title=source.title if call.title is None else call.title,
            metadata=source.metadata,
            parent_id=source.id,
        )
        # Made here: what a transaction of the store takes long for, all others wait for.
        thread, copies = moves.fork(messages, new, self._mint, now)
        change = Change(answer=thread, owner=by.owner, thread=thread, messages=copies)
        return await self._store.change(
            About(owner=by.owner, once=once, what="thread"), lambda _: change
        )

    async def _messages_up_to(
        self, owner: str, thread_id: str, message_id: str | None
    ) -> list[Message]:
        messages: list[Message] = []
        after = None
        while True:
            page = await self._store.list(
                Message, owner, limit=FORK_PAGE, after=after, thread_id=thread_id
            )
            for message in page.data:
                messages.append(message)
                if message.id == message_id:
                    return messages
            if not page.has_more:
                break
            after = messages[-1].id
        if message_id is not None:
            raise errors.NotFound(f"Thread {thread_id} has no message {message_id}.")
        return messages

    # Messages.

    async def _create_message(
        self, call: calls.CreateMessage, by: Principal, once: Once | None
    ) -> object:
        await self._check_summary(call, by.owner)
        if call.role == "tool":
            return await self._save_output_message(call, by, once)
        checks.refuse_output_fields(call)
        await self._check_attachments(call.content, by.owner)
        about = About(owner=by.owner, thread_id=call.thread_id, once=once, what="message")
        return await self._store.change(
            about, lambda records: moves.add_message(records, call, self._mint)
        )

    async def _check_summary(self, call: calls.CreateMessage, owner: str) -> None:
        if call.compacts is None:
            return
        await self._store.get(Thread, owner, call.thread_id)
        context = await self._store.context(call.thread_id)
        checks.refuse_unfit_summary(call, call.compacts, context)

    async def _save_output_message(
        self, call: calls.CreateMessage, by: Principal, once: Once | None
    ) -> object:
        """A tool message is a tool output: saved once per call, whichever way it came."""
        tool_call_id, output = checks.tool_output(call)
        about = About(
            owner=by.owner,
            thread_id=None if call.run_id else call.thread_id,
            run_id=call.run_id,
            tool_call_id=tool_call_id,
            once=once,
            what="output",
        )
        saved: Action | None = None

        def decide(records: Records) -> Change | None:
            nonlocal saved
            checks.refuse_other_thread(records, call)
            checks.refuse_approval(records, tool_call_id)
            change = moves.save_output(
                records, tool_call_id, output, call.is_error, self._mint, call.metadata
            )
            saved = change.answer
            return replace(change, answer=change.messages[0]) if change.messages else None

        told = await self._change(about, decide)
        if told is None and saved is not None:  # it was saved before
            return await self._store.get(Message, by.owner, output_message_id(saved))
        return told

    async def _list_messages(
        self, call: calls.ListMessages, by: Principal, _: Once | None
    ) -> Listed[Message]:
        await self._store.get(Thread, by.owner, call.thread_id)
        return await self._page(Message, by.owner, call.limit, call.after, thread_id=call.thread_id)

    async def _get_message(self, call: calls.GetMessage, by: Principal, _: Once | None) -> Message:
        return await self._store.get(Message, by.owner, call.message_id)

    # Runs.

    async def _create_run(self, call: calls.CreateRun, by: Principal, once: Once | None) -> object:
        wish = await self._wish(call, by.owner)

        def decide(records: Records) -> Change:
            change = moves.create_run(records, wish, self._mint, by=by, if_busy=call.if_busy)
            return replace(change, answer=change.answer.run)

        return await self._change_when_free(call, by, once, decide)

    async def _begin(
        self, call: calls.Process, by: Principal, once: Once | None
    ) -> Asked | msgspec.Raw:
        """Thread, message and run, as far as they are missing, in one transaction."""
        checks.refuse_nothing(call)
        if call.message is not None:
            await self._check_attachments(call.message.content, by.owner)
        wish = await self._wish(call, by.owner)

        def decide(records: Records) -> Change:
            return moves.create_run(
                records,
                wish,
                self._mint,
                by=by,
                if_busy=call.if_busy,
                message=call.message,
                new_thread=self._new_thread(records.now) if call.thread_id is None else None,
                ask=True,
                fresh=call.force_refresh,
            )

        begun: Asked | msgspec.Raw = await self._change_when_free(call, by, once, decide)
        return begun

    async def _change_when_free(
        self,
        call: calls.CreateRun | calls.Process,
        by: Principal,
        once: Once | None,
        decide: Callable[[Records], Change],
    ) -> Any:
        """The new run; where the thread is busy and the caller has time, after that run's end."""
        about = About(
            owner=by.owner,
            thread_id=call.thread_id,
            once=once,
            turn_log=call.if_busy in ("interrupt", "rollback"),
            key_id=_counted(by),
            what="run",
        )
        until = asyncio.get_running_loop().time() + self._busy_seconds
        while True:
            try:
                return await self._change(about, decide)
            except errors.RunActive as busy:
                if call.if_busy != "wait":
                    raise
                try:
                    async with asyncio.timeout_at(until):
                        await self._ended(str(busy.details["run_id"]))
                except TimeoutError:
                    raise self._waited_in_vain(busy) from None

    def _waited_in_vain(self, busy: errors.RunActive) -> errors.RunActive:
        return errors.RunActive(
            f"{busy.message} It was waited for {self._busy_seconds:g} seconds.",
            **busy.details | {"hint": "Finish or cancel that run, or ask again to wait on."},
        )

    async def _ended(self, run_id: str) -> None:
        with self._bus.watch(run_id) as bell:
            while True:
                try:
                    run = await self._store.get(Run, None, run_id)
                except errors.NotFound:
                    return
                if run.status.ended:
                    return
                await bell.wait(PATIENCE)

    async def _wish(self, call: calls.CreateRun | calls.Process, owner: str) -> Wish:
        assistant = _NOBODY
        if call.assistant_id is not None:
            assistant = await self._store.get(Assistant, owner, call.assistant_id)
        checks.refuse_twins(call.tools)
        tools = _first(call.tools, assistant.tools)
        servers = _first(call.mcp_servers, assistant.mcp_servers)
        await self._refuse_servers(servers)
        sampling = _first(call.sampling, assistant.sampling)
        model = call.model or assistant.model or await self._default_model()
        opened = await self._open_model(model, owner)
        checks.refuse_formless(sampling)
        if not servers:  # what these offer is known when the model is asked
            checks.refuse_choice(sampling, tools)
        checks.refuse_unsupported(opened.name, opened.lacks, sampling, tools or servers)
        await self._refuse_unshowable(opened, call, owner)
        return Wish(
            model=model,
            assistant_id=call.assistant_id,
            instructions=_first(call.instructions, assistant.instructions),
            tools=tools,
            mcp_servers=servers,
            sampling=sampling,
            deadlines=call.deadlines,
            background=call.background,
            max_turns=call.max_turns,
            max_attempts=call.max_attempts,
            on_expiry=call.on_expiry,
            expires_in=call.expires_in,
            metadata=call.metadata,
        )

    async def _refuse_unshowable(
        self, opened: Opened, call: calls.CreateRun | calls.Process, owner: str
    ) -> None:
        """No picture and no file, in the thread or new, that the model's provider does not take."""
        missing = {mark: lack for mark, lack in _SHOWN.items() if lack in opened.lacks}
        if not missing:
            return
        said: list[bytes] = []
        if call.thread_id is not None:
            await self._store.get(Thread, owner, call.thread_id)
            said.append(window(await self._store.context(call.thread_id), None))
        if isinstance(call, calls.Process) and call.message is not None:
            said.append(chat(_unsent(call.message)))
        shown = await attached(b",".join(filter(None, said)), self._store, owner)
        if found := [lack for mark, lack in missing.items() if mark in shown]:
            raise checks.unsupported(opened.name, found)

    async def _list_runs(self, call: calls.ListRuns, by: Principal, _: Once | None) -> Listed[Run]:
        if call.thread_id is not None:
            await self._store.get(Thread, by.owner, call.thread_id)
        return await self._page(Run, by.owner, call.limit, call.after, thread_id=call.thread_id)

    async def _get_run(self, call: calls.GetRun, by: Principal, _: Once | None) -> Run:
        return await self._store.get(Run, by.owner, call.run_id)

    async def _cancel_run(self, call: calls.CancelRun, by: Principal, _: Once | None) -> Answer:
        had_ended = False

        def decide(records: Records) -> Change:
            nonlocal had_ended
            had_ended = records.run is not None and records.run.status.ended
            return moves.cancel(records, self._mint, by)

        about = About(owner=by.owner, run_id=call.run_id, turn_log=True, what="cancel")
        run = await self._change(about, decide)
        return Answer(run, 200 if had_ended else 202)

    async def _ask(
        self, run_id: str, by: Principal, once: Once | None, *, fresh: bool
    ) -> Asked | msgspec.Raw:
        about = About(owner=by.owner, run_id=run_id, once=once, key_id=_counted(by), what="ask")
        decide = partial(moves.ask, by=by, fresh=fresh)
        asked: Asked | msgspec.Raw = await self._change(about, decide)
        return asked

    async def _follow(self, run_id: str, after: int, owner: str) -> Listening:
        await self._store.get(Run, owner, run_id)
        drive = await self._store.drive(run_id)
        if after > drive.last_event:
            raise errors.InvalidEventId(
                f"Run {run_id} has no event {after}.",
                expected=f"0 to {drive.last_event}",
                received=str(after),
                hint="0 is the start.",
                last_event=drive.last_event,
            )
        if after < drive.kept_after:
            raise events_expired(run_id, drive.kept_after, after)
        return Listening(self._store, self._bus, run_id, after, whole=True)

    # Actions.

    async def _submit_tool_output(
        self, call: calls.SubmitToolOutput, by: Principal, _: Once | None
    ) -> Action:
        about = About(
            owner=by.owner, run_id=call.run_id, tool_call_id=call.tool_call_id, what="output"
        )
        action: Action = await self._change(
            about,
            lambda records: moves.save_output(
                records, call.tool_call_id, call.output, call.is_error, self._mint, call.metadata
            ),
        )
        return action

    async def _list_actions(
        self, call: calls.ListActions, by: Principal, _: Once | None
    ) -> Listed[Action]:
        await self._store.get(Run, by.owner, call.run_id)
        return await self._page(
            Action, by.owner, call.limit, call.after, run_id=call.run_id, status=call.status
        )

    async def _get_action(self, call: calls.GetAction, by: Principal, _: Once | None) -> Action:
        return await self._store.get(Action, by.owner, call.action_id)

    # Files and models.

    async def _list_files(
        self, call: calls.ListFiles, by: Principal, _: Once | None
    ) -> Listed[Upload]:
        return await self._page(Upload, by.owner, call.limit, call.after)

    async def _get_file(self, call: calls.GetFile, by: Principal, _: Once | None) -> Upload:
        return await self._store.get(Upload, by.owner, call.file_id)

    async def _list_models(
        self, call: calls.ListModels, by: Principal, _: Once | None
    ) -> Listed[calls.Model]:
        return Listed(tuple(await self._models(call.model, by.owner)), has_more=False)

    async def _page(
        self,
        kind: type[Any],
        owner: str,
        limit: int,
        after: str | None,
        **where: str | None,
    ) -> Listed[Any]:
        page = await self._store.list(kind, owner, limit=limit, after=after, **where)
        last = page.data[-1].id if page.data and page.has_more else None
        return Listed(tuple(page.data), has_more=page.has_more, next=last)

    async def _check_attachments(self, content: calls.Content, owner: str) -> None:
        """Each attachment is the owner's."""
        for file_id in checks.attachments(content):
            await self._store.get(Upload, owner, file_id)


def _once(call: Call[Any], owner: str, key: str | None) -> Once | None:
    if key is None or not call.creates:
        return None
    digest = blake2b(msgspec.json.encode(call), digest_size=32).digest()
    return Once(owner, call.route, key, digest)


def _counted(by: Principal) -> str | None:
    """The key whose runs are counted; one without limits costs nothing."""
    return by.key_id if by.limits.bind_runs else None


def _unsent(new: calls.NewMessage) -> Message:
    return Message(
        id="", thread_id="", number=0, role=new.role, content=parts(new.content), created_at=0
    )


def _first(given: T | None, fallback: T) -> T:
    return fallback if given is None else given


def _found(thing: T | None, what: str) -> T:
    if thing is None:
        raise errors.NotFound(f"There is no such {what}.")
    return thing


def _fields(call: Call[Any]) -> dict[str, Any]:
    return {name: getattr(call, name) for name in call.__struct_fields__}


def _given(call: Call[Any], *, but: str) -> dict[str, Any]:
    """The fields that were given, without the id."""
    return {
        name: value
        for name, value in _fields(call).items()
        if name != but and value is not msgspec.UNSET
    }

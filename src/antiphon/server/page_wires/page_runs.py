"""Runs of a page: a message starts one, outputs of the page's tools and answers continue it.

A page sends all it knows with each request, and may send a request twice. So everything is found by
the client's own ids: a message that is stored is not stored again, and of the outputs those count
for which the run waits. The same request again is answered by the same events.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase

from msgspec.structs import replace

from antiphon.api.operations import (
    Complete,
    GetAssistant,
    GetRun,
    ListActions,
    ListEvents,
    ListMessages,
    ListRuns,
    Process,
    SubmitToolOutputs,
)
from antiphon.api.threads import PastMessage
from antiphon.server.caller_api import PAGE, CallerApi
from antiphon.server.page_wires.page_requests import (
    ANSWERS_AGAIN,
    CONTEXT_HEAD,
    CONTINUES,
    HAS_CONTEXT,
    MESSAGE,
    SHOWN,
    PageRequest,
    PageRun,
    client_run_marks,
    find_hand_off,
    find_named_calls,
    is_same_message,
    is_with_page,
    page_outputs,
    person_answers,
    wants_another_answer,
)
from antiphon.server.page_wires.page_threads import PageThreads, make_key
from antiphon.server.page_wires.page_tools import check_names, has_other_tools, mark_tools
from antiphon.types.accounts import BrowserGrant
from antiphon.types.errors import (
    Forbidden,
    IdempotencyConflict,
    InvalidRequest,
    NotFound,
    OutputConflict,
    OutputsMissing,
    RunEnded,
)
from antiphon.types.events import Numbered
from antiphon.types.messages import Message, Refusal, Text, ToolSpec
from antiphon.types.runs import Action, Run, Status, Thread
from antiphon.wires.openai.chat_request import SentMessage


class PageRuns:
    """Starts and continues runs for a page; `grant` is what its token allows."""

    def __init__(self, api: CallerApi, grant: BrowserGrant | None, threads: PageThreads) -> None:
        self._api = api
        self._grant = grant
        self._threads = threads

    async def handle(self, request: PageRequest) -> PageRun:
        """Carry out the request. Raises `CallerError`."""
        if request.regenerate is not None:
            return await self._regenerate(request)
        if request.message is None:
            return await self._continue(request, await self._threads.get(request.name))
        thread, is_new = await self._threads.get_or_create(request.name)
        if is_new:
            return await self._start(request, thread, None)
        stored = await self._find_message(thread, request)
        if stored is not None and is_same_message(stored, request):
            if request.approvals:  # of calls that the page does not see yet
                return await self._continue(request, thread)
            run = await self._find_run(thread, {MESSAGE: request.message_id})
            if run is not None and not wants_another_answer(run, request):
                return PageRun(run)
        if stored is not None:  # the page has edited it, or wants another answer
            thread = await self._threads.branch_before(request.name, thread, stored)
        return await self._start(request, thread, await self._threads.newest_run(thread))

    async def newest(self, name: str) -> Run | None:
        """Return the newest run of the thread of this name. Raises as `PageThreads.find`."""
        thread = await self._threads.find(name)
        return None if thread is None else await self._threads.newest_run(thread)

    async def read_log(self, run: Run) -> list[Numbered]:
        """Return the events of a run that are stored now."""
        events: list[Numbered] = []
        while True:
            after = events[-1][0] if events else 0
            page = await self._api.ask(ListEvents(run.id, after))
            events += [(each.number, each.event) for each in page.data]
            if page.ended or not page.data:
                return events

    # A new message.

    async def _start(self, request: PageRequest, thread: Thread, busy: Run | None) -> PageRun:
        """Add the message and start the run that answers it, in one transaction.

        `busy` is the thread's newest run, which may have ended.
        """
        waits = False
        if busy is not None and busy.status is Status.ACTION_REQUIRED:
            _, actions = await self._submit(request, busy)
            waits = is_with_page(busy, actions)
        elif busy is not None and busy.status is Status.QUEUED and busy.turn:
            with suppress(RunEnded):  # all outputs are there, but its next turn was never asked for
                await self._api.open_turn(Complete(busy.id))
        marks = {MESSAGE: request.message_id} if request.message_id else {}
        message = PastMessage(request.message or (), metadata=marks)
        if request.context:
            page = Text(CONTEXT_HEAD + request.context)
            message = PastMessage((*(request.message or ()), page), metadata=marks | SHOWN)
        if request.files:
            (kept,) = await self._api.keep_files([SentMessage(message, request.files)])
            message = replace(kept, metadata=message.metadata)
        call = await self._run_fields(request)
        call = replace(
            call,
            thread_id=thread.id,
            history=(message,),
            if_busy="interrupt" if waits else "reject",
            metadata=call.metadata | marks | client_run_marks(request),
        )
        key = make_key("message", thread.id, request.message_id) if request.message_id else None
        try:
            reader = await self._api.open_turn(call, key)
        except IdempotencyConflict:  # the same message, sent twice at once
            await self._api.delete_files()
            run = await self._find_run(thread, {MESSAGE: request.message_id})
            if run is None:
                raise
            return PageRun(run)
        return PageRun(await self._api.ask(GetRun(reader.run_id)))

    async def _regenerate(self, request: PageRequest) -> PageRun:
        """Answer a question again, in a branch of the same name."""
        thread = await self._threads.get(request.name)
        answer = request.regenerate or ""
        if answer:
            run = await self._find_run(thread, {ANSWERS_AGAIN: answer})
            if run is not None:
                return PageRun(run)
        question = await self._find_question(thread, answer)
        branch = await self._threads.branch_before(request.name, thread, question)
        content = tuple(part for part in question.content if not isinstance(part, Refusal))
        shown = SHOWN if HAS_CONTEXT in question.metadata else {}
        call = await self._run_fields(request)
        marks = {MESSAGE: question.metadata.get(MESSAGE, "")}
        call = replace(
            call,
            thread_id=branch.id,
            history=(PastMessage(content, metadata=marks | shown),),
            metadata=call.metadata | marks | {ANSWERS_AGAIN: answer},
        )
        reader = await self._api.open_turn(call)
        return PageRun(await self._api.ask(GetRun(reader.run_id)))

    async def _run_fields(self, request: PageRequest) -> Process:
        """Return the run that the request asks for. Raises `Forbidden` beyond the token."""
        assistant_id, model = request.assistant_id, request.model
        if self._grant is not None:
            allowed = (self._grant.assistant_id, self._grant.model)
            for wanted, granted in zip((assistant_id, model), allowed, strict=True):
                if wanted not in (None, granted):
                    raise Forbidden(
                        "The token allows no choice of this assistant or model.",
                        expected=", ".join(filter(None, allowed)) or "no choice",
                    )
            assistant_id, model = allowed
        tools: tuple[ToolSpec, ...] | None = None
        if request.tools:
            given: tuple[ToolSpec, ...] = ()
            if assistant_id is not None:
                given = (await self._api.ask(GetAssistant(assistant_id))).tools
            check_names(request.tools, given)
            tools = given + request.tools
        ask = self._asking(request)
        if ask and not request.can_ask_people:
            raise InvalidRequest(
                "A tool of the page asks a person, which this version of the AI SDK cannot do.",
                expected="version 6 or later",
                received=", ".join(sorted(ask))[:200],
            )
        return Process(
            assistant_id=assistant_id,
            model=model,
            personal=False,
            tools=tools,
            metadata=mark_tools(request.tools or (), ask),
        )

    def _asking(self, request: PageRequest) -> frozenset[str]:
        """Return the page's tools that ask, by its own words or by those of its token."""
        globs = self._grant.ask if self._grant else ()
        return request.ask | frozenset(
            tool.name
            for tool in request.tools or ()
            if any(fnmatchcase(tool.name, glob) for glob in globs)
        )

    async def _find_message(self, thread: Thread, request: PageRequest) -> Message | None:
        """Return the message that the client gave this id."""
        if not request.message_id:
            return None
        marks = {MESSAGE: request.message_id}
        found = await self._api.ask(ListMessages(thread.id, limit=1, role="user", metadata=marks))
        return found.data[0] if found.data else None

    async def _find_run(self, thread: Thread, marks: dict[str, str]) -> Run | None:
        found = await self._api.ask(ListRuns(thread.id, limit=1, metadata=marks))
        return found.data[0] if found.data else None

    async def _find_question(self, thread: Thread, answer: str) -> Message:
        """Return the user's message that this answer, or the last one, belongs to."""
        question: Message | None = None
        for message in await self._api.list_all(ListMessages(thread.id, limit=PAGE)):
            if message.role == "user":
                question = message
            if answer and answer in (message.run_id, message.id, message.metadata.get(MESSAGE)):
                break
        else:
            question = None if answer else question
        if question is None:
            raise NotFound("There is no such message to answer again in this chat.")
        return question

    # What a page gives to a run that waits for it.

    async def _continue(self, request: PageRequest, thread: Thread) -> PageRun:
        """Save outputs and answers, and continue the run, which may wait for more."""
        run = await self._threads.newest_run(thread)
        if run is None:
            raise NotFound("Nothing in this chat waits for an output or an answer.")
        saved, actions = await self._submit(request, run)
        named = find_named_calls(request, actions)
        if not named and await self._has_gone_on(request, thread, run):
            return PageRun(run)
        if not named:
            raise NotFound(
                "This answers nothing that is asked in this chat now.",
                hint="Its last run did not call these tools.",
            )
        run = await self._api.ask(GetRun(run.id))
        if run.status.ended and run.status is not Status.COMPLETED and not saved:
            raise RunEnded(
                f"Run {run.id} has ended: {run.status.value}.",
                hint="Send a new message.",
                run_id=run.id,
                run_status=run.status.value,
            )
        if run.status is Status.QUEUED and has_other_tools(run, request.tools):
            call = await self._run_fields(request)
            first = run.metadata.get(CONTINUES, run.id)
            metadata = call.metadata | {CONTINUES: first}
            call = replace(call, thread_id=thread.id, if_busy="interrupt", metadata=metadata)
            reader = await self._api.open_turn(call)
            return PageRun(await self._api.ask(GetRun(reader.run_id)))
        if not run.status.ended:
            with suppress(OutputsMissing, RunEnded):
                await self._api.open_turn(Complete(run.id))
        log = await self.read_log(run)
        after = find_hand_off(log, named)
        last = log[-1][0] if log else 0
        approved = frozenset(each.id for each in actions if each.approval == "given")
        approved |= {each for each, answer in request.approvals.items() if answer.approve}
        approved |= request.approved or frozenset()
        return PageRun(run, after, last if saved else min(last, after + 1), approved)

    async def _submit(self, request: PageRequest, run: Run) -> tuple[bool, Sequence[Action]]:
        """Save the outputs and answers that the run waits for.

        Return whether there were any, and the run's actions. Others are left out: those of earlier
        turns, which a page sends again, and those of tools that the page does not run.
        """
        actions = await self._list_actions(run)
        outputs = [*page_outputs(request, run, actions), *person_answers(request, run, actions)]
        if not outputs or run.status is not Status.ACTION_REQUIRED:
            return False, actions
        try:
            await self._api.ask(SubmitToolOutputs(run.id, tuple(outputs)))
        except (OutputConflict, RunEnded):  # another tab of the page was faster
            return False, await self._list_actions(run)
        return True, await self._list_actions(run)

    async def _has_gone_on(self, request: PageRequest, thread: Thread, run: Run) -> bool:
        """Return whether the request is one after which its run went on as this one."""
        if CONTINUES not in run.metadata:
            return False
        listing = ListActions(thread_id=thread.id, order="newest", limit=PAGE)
        return bool(find_named_calls(request, (await self._api.ask(listing)).data))

    async def _list_actions(self, run: Run) -> Sequence[Action]:
        return await self._api.list_all(ListActions(run.id, limit=PAGE))

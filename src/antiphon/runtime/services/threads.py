"""Operations on threads and messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.fields import MAX_TAGS
from antiphon.api.operations import Deleted, Listed, Operation, field_values, select_given_fields
from antiphon.engine import actions, threads, validation
from antiphon.engine.snapshot import ChangeSet, IdempotencyKey, ReadSet, Snapshot
from antiphon.engine.thread_order import position_of
from antiphon.engine.unit_of_work import output_message_id
from antiphon.ports import LEASES, Bus, RunStore
from antiphon.runtime.attachments import check_attachments
from antiphon.runtime.notify import ChangeCommitter
from antiphon.runtime.responses import OperationHandler, paginate, to_listed
from antiphon.runtime.services.folders import take_out
from antiphon.types import errors
from antiphon.types.accounts import Principal
from antiphon.types.folders import NO_FOLDER, Folder
from antiphon.types.ids import Mint
from antiphon.types.messages import Message
from antiphon.types.runs import MARKS, Action, Thread

FORK_PAGE = 1000
MAX_FAMILY = 200
"""Most threads of a family that are changed together."""


class ThreadService:
    """Creates, reads, changes, forks and deletes threads and messages."""

    def __init__(self, store: RunStore, bus: Bus, changes: ChangeCommitter, mint: Mint) -> None:
        self._store = store
        self._bus = bus
        self._changes = changes
        self._mint = mint
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.CreateThread: self._create_thread,
            operations.ListThreads: self._list_threads,
            operations.GetThread: lambda operation, by, _: store.get(
                Thread, by.owner, operation.thread_id
            ),
            operations.UpdateThread: self._update_thread,
            operations.ListTags: self._list_tags,
            operations.DeleteThread: self._delete_thread,
            operations.ChangeThreads: self._change_threads,
            operations.ForkThread: self._fork_thread,
            operations.CreateMessage: self._create_message,
            operations.AppendMessages: self._append_messages,
            operations.ListMessages: self._list_messages,
            operations.GetMessage: lambda operation, by, _: store.get(
                Message, by.owner, operation.message_id
            ),
        }

    async def _create_thread(
        self, operation: operations.CreateThread, by: Principal, once: IdempotencyKey | None
    ) -> object:
        validation.validate_past_messages(operation.messages, "messages")
        tags = validation.parse_tags(operation.tags)
        for message in operation.messages:
            await check_attachments(self._store, message.content, by.owner)
        if operation.folder_id is not None:
            await self._store.get(Folder, by.owner, operation.folder_id)

        def decide(records: Snapshot) -> ChangeSet:
            fields = {**select_given_fields(operation, but="messages"), "tags": tags}
            if operation.title:
                fields["title_from"] = "client"
            thread = threads.new_thread(self._mint, records.now, **fields)
            change = threads.begin_thread(thread, operation.messages, self._mint, records.now)
            return replace(change, owner=by.owner)

        read_set = ReadSet(owner=by.owner, idempotency_key=once, what="thread")
        created = (await self._store.change(read_set, decide)).answer
        if isinstance(created, Thread) and created.folder_id is not None:
            await self._check_folder_is_left(by.owner, created.id, created.folder_id)
        return created

    async def _check_folder_is_left(self, owner: str, thread_id: str, folder_id: str) -> None:
        """Remove the thread from its folder, and raise `NotFound`, if the folder was deleted.

        `DeleteFolder` empties the folder once more after it has deleted it. A thread that came
        later than that is taken out here.
        """
        try:
            await self._store.get(Folder, owner, folder_id)
        except errors.NotFound:
            await take_out(self._store, owner, thread_id, folder_id)
            raise

    async def _list_threads(
        self, operation: operations.ListThreads, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Thread]:
        filters: dict[str, Any] = {
            **field_values(operation),
            "temporary": bool(operation.temporary),
        }
        if operation.tag is not None:
            filters["tag"] = validation.normalize_tag(operation.tag)
        if operation.folder_id not in (None, NO_FOLDER):
            await self._store.get(Folder, by.owner, operation.folder_id)
        anywhere = (operation.q, operation.family, operation.parent_id, operation.metadata) != (
            None,
        ) * 4
        if operation.archived is None and not anywhere:
            filters["archived"] = False
        page = await self._store.list(Thread, by.owner, query=filters.pop("q"), **filters)
        if operation.order == "activity" and page.has_more:
            cursor = position_of(page.data[-1]).cursor()
            return Listed(tuple(page.data), has_more=True, next=cursor)
        return to_listed(page)

    async def _update_thread(
        self, operation: operations.UpdateThread, by: Principal, _: IdempotencyKey | None
    ) -> object:
        changes = select_given_fields(operation, but="thread_id")
        if "tags" in changes:
            changes["tags"] = validation.parse_tags(changes["tags"])
        if "title" in changes:
            changes["title_from"] = "client"
        folder_id = changes.get("folder_id")
        if folder_id is not None:
            await self._store.get(Folder, by.owner, folder_id)

        def decide(records: Snapshot) -> ChangeSet:
            if records.thread is None:
                raise errors.NotFound("There is no such thread.")
            validation.validate_temporary_change(operation, records.thread)
            is_activity = not changes or not changes.keys() <= {*MARKS, "options"}
            at = records.now if is_activity else records.thread.updated_at
            changed = replace(records.thread, updated_at=at, **changes)
            return ChangeSet(answer=changed, thread=changed)

        read_set = ReadSet(owner=by.owner, thread_id=operation.thread_id, what="thread")
        changed = (await self._store.change(read_set, decide)).answer
        if folder_id is not None:
            await self._check_folder_is_left(by.owner, operation.thread_id, folder_id)
        return changed

    async def _list_tags(
        self, operation: operations.ListTags, by: Principal, _: IdempotencyKey | None
    ) -> Listed[operations.TagCount]:
        found = await self._store.count_tags(by.owner, operation.limit + 1, operation.after or "")
        page, more = found[: operation.limit], len(found) > operation.limit
        counts = tuple(operations.TagCount(*each) for each in page)
        return Listed(counts, has_more=more, next=page[-1].tag if more else None)

    async def _delete_thread(
        self, operation: operations.DeleteThread, by: Principal, _: IdempotencyKey | None
    ) -> Deleted:
        await self._store.delete(Thread, by.owner, operation.thread_id)
        self._bus.notify(LEASES)
        return Deleted(operation.thread_id)

    async def _change_threads(
        self, operation: operations.ChangeThreads, by: Principal, _: IdempotencyKey | None
    ) -> operations.ThreadOutcomes:
        tags = validation.parse_tags(operation.tags)
        if bool(tags) != (operation.action in ("tag", "untag")):
            raise errors.InvalidRequest(
                "Tags belong to the actions tag and untag.",
                expected=f"{'no ' if tags else ''}tags with the action {operation.action}",
                received=", ".join(tags) or "none",
                where="$.tags",
            )
        if operation.folder_id is not None:
            if operation.action != "move":
                raise errors.InvalidRequest(
                    "A folder belongs to the action move.",
                    expected=f"no folder with the action {operation.action}",
                    received=ascii(operation.folder_id),
                    where="$.folder_id",
                )
            await self._store.get(Folder, by.owner, operation.folder_id)
        outcomes: list[operations.ThreadOutcome] = []
        for thread_id in dict.fromkeys(operation.thread_ids):
            try:
                for each in await self._find_family(by, thread_id, whole=operation.family):
                    await self._change_one(by, each, operation, tags)
            except (errors.CallerError, errors.TryAgain) as fault:
                problem = operations.ThreadOutcome(thread_id, False, fault.code, fault.message)
                outcomes.append(problem)
            else:
                outcomes.append(operations.ThreadOutcome(thread_id, True))
        return operations.ThreadOutcomes(tuple(outcomes))

    async def _find_family(self, by: Principal, thread_id: str, *, whole: bool) -> Sequence[str]:
        """Return the ids of the thread's family, its own last; only its own unless `whole`."""
        await self._store.get(Thread, by.owner, thread_id)
        if not whole:
            return [thread_id]
        kin = await self._store.list(Thread, by.owner, limit=MAX_FAMILY, family=thread_id)
        return [*(each.id for each in kin.data if each.id != thread_id), thread_id]

    async def _change_one(
        self,
        by: Principal,
        thread_id: str,
        operation: operations.ChangeThreads,
        tags: tuple[str, ...],
    ) -> None:
        match operation.action:
            case "delete":
                await self._delete_thread(operations.DeleteThread(thread_id), by, None)
                return
            case "archive" | "unarchive":
                change = operations.UpdateThread(thread_id, archived=operation.action == "archive")
            case "move":
                change = operations.UpdateThread(thread_id, folder_id=operation.folder_id)
            case "tag" | "untag":
                had = (await self._store.get(Thread, by.owner, thread_id)).tags
                left = threads.change_tags(had, tags, remove=operation.action == "untag")
                if len(left) > MAX_TAGS:
                    raise errors.InvalidRequest(
                        "The thread would have too many tags.",
                        expected=f"at most {MAX_TAGS}",
                        received=str(len(left)),
                    )
                change = operations.UpdateThread(thread_id, tags=left)
            case _:
                assert_never(operation.action)
        await self._update_thread(change, by, None)

    async def _fork_thread(
        self, operation: operations.ForkThread, by: Principal, once: IdempotencyKey | None
    ) -> object:
        source = await self._store.get(Thread, by.owner, operation.thread_id)
        if operation.before:
            validation.validate_fork(operation)
        upto = await self._messages_up_to(by.owner, operation.thread_id, operation.message_id)
        messages = upto[:-1] if operation.before else upto

        now = await self._store.now()
        new = threads.new_thread(
            self._mint,
            now,
            title=source.title if operation.title is None else operation.title,
            title_from=source.title_from if operation.title is None else "client",
            metadata=source.metadata,
            tags=source.tags,
            options=source.options,
            folder_id=source.folder_id,
            parent_id=source.id,
            temporary=source.temporary if operation.temporary is None else operation.temporary,
        )
        # Made here: what a transaction of the store takes long for, all others wait for.
        thread, copies = threads.fork(messages, new, self._mint, now)
        change = ChangeSet(answer=thread, owner=by.owner, thread=thread, messages=copies)
        read_set = ReadSet(owner=by.owner, idempotency_key=once, what="thread")
        return (await self._store.change(read_set, lambda _: change)).answer

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

    async def _create_message(
        self, operation: operations.CreateMessage, by: Principal, once: IdempotencyKey | None
    ) -> object:
        if operation.compacts is not None:
            await self._store.get(Thread, by.owner, operation.thread_id)
            context = await self._store.context(operation.thread_id)
            validation.validate_summary(operation, operation.compacts, context)
        if operation.role == "tool":
            return await self._save_output_message(operation, by, once)
        validation.validate_no_output_fields(operation)
        await check_attachments(self._store, operation.content, by.owner)
        read_set = ReadSet(
            owner=by.owner, thread_id=operation.thread_id, idempotency_key=once, what="message"
        )
        committed = await self._store.change(
            read_set, lambda records: threads.add_message(records, operation, self._mint)
        )
        return committed.answer

    async def _save_output_message(
        self, operation: operations.CreateMessage, by: Principal, once: IdempotencyKey | None
    ) -> object:
        """Save a tool message as a tool output: once per call, through any operation."""
        tool_call_id, output = validation.parse_tool_output(operation)
        given = operations.NewToolOutput(
            tool_call_id, output, operation.is_error, operation.metadata
        )
        read_set = ReadSet(
            owner=by.owner,
            thread_id=None if operation.run_id else operation.thread_id,
            run_id=operation.run_id,
            tool_call_id=tool_call_id,
            idempotency_key=once,
            what="output",
        )
        saved: Action | None = None

        def decide(records: Snapshot) -> ChangeSet | None:
            nonlocal saved
            validation.validate_output_thread(records, operation)
            validation.validate_not_approval(records, tool_call_id)
            change = actions.save_output(records, given, self._mint)
            saved = change.answer
            return replace(change, answer=change.messages[0]) if change.messages else None

        message = await self._changes.commit_and_notify(read_set, decide)
        if message is None and saved is not None:  # it was saved before
            return await self._store.get(Message, by.owner, output_message_id(saved))
        return message

    async def _append_messages(
        self, operation: operations.AppendMessages, by: Principal, once: IdempotencyKey | None
    ) -> object:
        validation.validate_past_messages(operation.messages, "messages")
        for message in operation.messages:
            await check_attachments(self._store, message.content, by.owner)
        keep = None
        if operation.replace_from is not None:
            first = await self._store.get(Message, by.owner, operation.replace_from)
            validation.validate_replaceable(first, operation)
            keep = first.number - 1
        read_set = ReadSet(
            owner=by.owner, thread_id=operation.thread_id, idempotency_key=once, what="messages"
        )
        committed = await self._store.change(
            read_set,
            lambda records: threads.append_messages(records, operation, self._mint, keep),
        )
        return committed.answer

    async def _list_messages(
        self, operation: operations.ListMessages, by: Principal, _: IdempotencyKey | None
    ) -> Listed[Message]:
        if operation.thread_id is not None:
            await self._store.get(Thread, by.owner, operation.thread_id)
        return await paginate(self._store, Message, by.owner, **field_values(operation))

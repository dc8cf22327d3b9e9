"""Snapshots of shares: their size, and changes of a share at the same time."""

from __future__ import annotations

from itertools import count

import pytest
from msgspec.structs import replace

from antiphon.api.operations import CreateShare, NewShare, UpdateShare
from antiphon.engine.shares import take_snapshot, to_past_messages
from antiphon.engine.snapshot import ReadSet
from antiphon.runtime.services import shares
from antiphon.runtime.services.shares import ShareService
from antiphon.settings.settings import Settings
from antiphon.stores.memory.store import MemoryStore
from antiphon.types import errors
from antiphon.types.accounts import AuditEntry, Principal
from antiphon.types.documents import Document
from antiphon.types.messages import File, Text, ToolCall, Upload
from antiphon.types.shares import Share, UnreadFile
from tests.support.stores.steps import a_message, add_thread, say

ANN = Principal(owner="ann")
THREAD = ReadSet(owner="ann", thread_id="thread_1")


class ContestedStore(MemoryStore):
    """Store in which each share loses its tool calls right after it was read."""

    async def find_share(self, owner: str, share_id: str) -> Share:
        found_share = await super().find_share(owner, share_id)
        entry = AuditEntry(id="audit_0", at=1, actor="ann", what="share.updated", target=share_id)
        await super().change_share(
            owner, share_id, lambda share: replace(share, include_tools=False), b"", entry
        )
        return found_share


async def create_share(store: MemoryStore) -> tuple[ShareService, NewShare]:
    numbers = count(1)
    service = ShareService(store, lambda kind: f"{kind}_{next(numbers)}", Settings(), None)  # type: ignore[arg-type]
    handler = service.handlers[CreateShare]
    share = await handler(CreateShare("thread_1", include_tools=True), ANN, None)
    assert isinstance(share, NewShare)
    return service, share


async def test_an_update_refuses_a_share_that_was_changed_meanwhile() -> None:
    store = ContestedStore()
    await add_thread(store)
    await store.change(THREAD, say(a_message(1, "Hello")))
    service, new = await create_share(store)

    with pytest.raises(errors.Conflict):
        await service.handlers[UpdateShare](UpdateShare(new.share.id, title="A"), ANN, None)

    (stored_share,) = await store.shares("ann")
    assert (stored_share.title, stored_share.include_tools) == ("", False)


async def test_the_time_of_reasoning_is_shared_with_the_reasoning() -> None:
    message = a_message(1, "Hi", role="assistant", reasoning="Hm.", reasoning_seconds=4)

    (with_reasoning,) = take_snapshot([message], {}, {}, tools=False, reasoning=True)
    (without_reasoning,) = take_snapshot([message], {}, {}, tools=False, reasoning=False)

    assert (with_reasoning.reasoning_seconds, without_reasoning.reasoning_seconds) == (4, 0)


async def test_a_call_that_was_stopped_is_stopped_in_a_snapshot_and_its_copy_too() -> None:
    call_message = a_message(1, "", role="assistant", tool_calls=(ToolCall("c", "look", "{}"),))
    error_fields = {"is_error": True, "metadata": {"fault": "cancelled"}}
    output = a_message(2, "This call was cancelled.", role="tool", tool_call_id="c", **error_fields)

    snapshot = take_snapshot([call_message, output], {}, {}, tools=True, reasoning=False)
    copied_messages = list(to_past_messages(snapshot))

    assert [each.fault for each in snapshot[0].calls] == ["cancelled"]
    assert copied_messages[-1].metadata == {"fault": "cancelled"}


async def test_reasoning_and_arguments_count_for_the_size_of_a_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "MAX_BYTES", 100)
    store = MemoryStore()
    await add_thread(store)
    thought = a_message(1, "Hi", role="assistant", reasoning="x" * 60)
    call_message = a_message(2, "", role="assistant", tool_calls=(ToolCall("c", "look", "y" * 60),))
    await store.change(THREAD, say(thought))
    await create_share(store)

    await store.change(THREAD, say(call_message))

    with pytest.raises(errors.TooLarge):
        await create_share(store)


async def test_a_snapshot_names_files_whose_text_could_not_be_read() -> None:
    message = a_message(1, "Look", content=(Text("Look"), File("file_1"), File("file_2")))
    document = Document(status="ready", pages=1)
    files = {
        "file_1": an_upload("a.pdf", Document(status="failed", reason="encrypted")),
        "file_2": an_upload("b.pdf", document),
    }

    (shared,) = take_snapshot([message], {}, files, tools=False, reasoning=False)

    assert shared.attachments == ("a.pdf", "b.pdf")
    assert shared.unread == (UnreadFile("a.pdf", "encrypted"),)


def an_upload(name: str, document: Document) -> Upload:
    kind = "application/pdf"
    return Upload(id=name, name=name, media_type=kind, size=1, created_at=1, document=document)

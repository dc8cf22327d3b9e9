"""Archives of owners for tests: written, read, and changed."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from antiphon.api.operations import ImportOwner, OwnerImport
from antiphon.engine.snapshot import ChangeSet, ReadSet, RunUpdate, Snapshot
from antiphon.ports import Store
from antiphon.runtime.admin.archive_reader import Bounds
from antiphon.runtime.admin.export import OwnerExporter
from antiphon.runtime.admin.import_owner import OwnerImporter
from antiphon.runtime.runtime import mint
from antiphon.types import ids
from antiphon.types.accounts import AuditEntry, Key, Principal, ProviderKey
from antiphon.types.events import MessageCompleted, TurnEnded
from antiphon.types.folders import Folder
from antiphon.types.messages import File, Message, Text, ToolCall, Upload
from antiphon.types.runs import Action, Assistant, Run, RunLease, Status, Thread, Usage
from tests.support.stores.appending import append_lines
from tests.support.stores.steps import (
    a_message,
    an_action,
    begin,
    lines,
    move_run,
    say,
    status_of,
    take,
)

SHORT = 5
LONG = 300


def an_id(prefix: Any, number: int) -> str:
    return ids.make(prefix, 1_700_000_000_000 + number, number.to_bytes(16))


THREAD, BRANCH, WAITING, CUT = (an_id("thread", number) for number in (1, 2, 3, 4))
FOLDER = an_id("folder", 10)
FILE, ASSISTANT, ENDED = an_id("file", 5), an_id("asst", 6), an_id("run", 7)
PAUSED, DRIVEN = an_id("run", 8), an_id("run", 9)
BOUNDS = Bounds()
CONTENT = bytes(range(256)) * 64


async def fill(store: Store, owner: str = "ann", *, messages: int = SHORT) -> None:
    """Add a record of each kind, with an ended run and no active one."""
    await store.put(
        owner,
        Assistant(id=ASSISTANT, name="Ada", model="demo", created_at=1, updated_at=2),
    )
    upload = Upload(id=FILE, name="ö.bin", media_type="text/plain", size=len(CONTENT), created_at=3)
    await store.put(owner, upload, None, CONTENT)
    folder = Folder(id=FOLDER, name="Ordner", instructions="Be brief.", created_at=1, updated_at=2)
    await store.put(owner, folder)
    await add_thread(store, owner, THREAD, title="Größe", folder_id=FOLDER)
    await add_thread(store, owner, BRANCH, parent_id=THREAD, metadata={"replaces": THREAD})
    read_set = ReadSet(owner=owner, thread_id=THREAD)
    thread_messages = [
        a_message(n, f"m{n} ä\n", THREAD, id=an_id("msg", 100 + n)) for n in range(1, messages)
    ]
    thread_messages.append(
        a_message(messages, "see", THREAD, id=an_id("msg", 99), content=(Text("see"), File(FILE)))
    )
    await store.change(read_set, say(*thread_messages))
    await store.change(
        ReadSet(owner=owner, thread_id=BRANCH), say(a_message(1, "b", BRANCH, id=an_id("msg", 98)))
    )
    await add_run(store, owner, ENDED, THREAD, messages)
    await store.add_key(
        Key(id=an_id("key", 1), owner=owner, name="k", prefix="ak_1", created_at=1),
        b"digest-secret",
    )
    entry = AuditEntry(
        id=an_id("audit", 1), at=5, actor="local", what="key.created", target="key_1", owner=owner
    )
    await store.save_provider_key(
        ProviderKey(owner=owner, provider="openai", hint="...ab12", created_at=1),
        b"sealed-secret",
        entry,
    )


async def add_thread(store: Store, owner: str, id: str, **fields: Any) -> None:
    thread = Thread(id=id, created_at=10, updated_at=20, **fields)
    await store.change(ReadSet(owner=owner), lambda _: ChangeSet(thread=thread, owner=owner))


async def add_run(store: Store, owner: str, id: str, thread: str, messages: int) -> None:
    """Add an ended run with a reply, a tool call and its output."""
    run = Run(id=id, thread_id=thread, assistant_id=ASSISTANT, model="demo", created_at=30)
    read_set = ReadSet(owner=owner, thread_id=thread)
    await store.change(read_set, begin_run(owner, run))
    claim = await store.claim(take())
    assert claim is not None
    await append_lines(store, id, claim.lease.epoch, 3, lines("hel", "lo"), urgent=True)
    call = ToolCall("call_1", "look", '{"at": 1}')
    reply = a_message(
        messages + 1,
        "",
        thread,
        id=an_id("msg", 90),
        role="assistant",
        tool_calls=(call,),
        run_id=id,
    )
    output = a_message(
        messages + 2,
        "out",
        thread,
        id=an_id("msg", 91),
        role="tool",
        tool_call_id="call_1",
        run_id=id,
        metadata={"files": FILE},
    )
    action = an_action(
        1, id, id=an_id("act", 91), thread_id=thread, status="completed", output="out", ended_at=40
    )
    await store.change(ReadSet(owner=owner, run_id=id), finish(thread, (reply, output), (action,)))


def begin_run(owner: str, run: Run) -> Callable[[Snapshot], ChangeSet]:
    begin_run = begin(run, wanted=True)
    return lambda records: replace(begin_run(records), owner=owner)


def finish(
    thread: str, messages: tuple[Message, ...], actions: tuple[Action, ...]
) -> Callable[[Snapshot], ChangeSet]:
    def decide(records: Snapshot) -> ChangeSet:
        assert records.thread is not None
        events = [MessageCompleted(message=message) for message in messages]
        update = move_run(records, Status.COMPLETED, *events)
        turn_ended = TurnEnded(run_id=update.run.id, status=Status.COMPLETED)
        usage = Usage(input_tokens=7, output_tokens=5, cost=0.25)
        update = RunUpdate(
            replace(update.run, usage=usage, turn=1),
            replace(
                update.lease,
                last_event=update.lease.last_event + 1,
                turn_began_after=update.lease.last_event + 1,
            ),
            (*update.events, turn_ended),
        )
        numbers = [message.number for message in messages]
        updated_thread = replace(
            records.thread, messages=max(numbers), version=records.thread.version + 1
        )
        return ChangeSet(
            thread=updated_thread, messages=messages, run_updates=(update,), actions=actions
        )

    return decide


async def add_active(store: Store, owner: str = "ann") -> None:
    """Add a run that waits for the output of its call, and one that a worker runs."""
    await add_thread(store, owner, WAITING)
    await add_thread(store, owner, CUT)
    run = Run(id=DRIVEN, thread_id=CUT, model="demo", created_at=30, turn=1)
    user = a_message(1, "Hi", CUT, id=an_id("msg", 80))
    await store.change(ReadSet(owner=owner, thread_id=CUT), say(user))
    await store.change(ReadSet(owner=owner, thread_id=CUT), begin_run(owner, run))
    claim = await store.claim(take())
    assert claim is not None
    await append_lines(store, DRIVEN, claim.lease.epoch, 3, lines("half an ", "answ"), urgent=True)
    call = ToolCall("call_1", "look", "{}")
    paused = Run(id=PAUSED, thread_id=WAITING, model="demo", created_at=31, turn=1)
    reply = a_message(1, "", WAITING, id=an_id("msg", 81), role="assistant", tool_calls=(call,))
    action = an_action(1, PAUSED, id=an_id("act", 82), thread_id=WAITING)

    def pause(records: Snapshot) -> ChangeSet:
        assert records.thread is not None
        queued = RunUpdate(paused, RunLease(last_event=1), (status_of(paused),))
        thread = replace(records.thread, messages=2, version=1)
        return ChangeSet(thread=thread, messages=(reply,), run_updates=(queued,), actions=(action,))

    read_set = ReadSet(owner=owner, thread_id=WAITING)
    await store.change(read_set, pause)
    await store.change(
        read_set, lambda records: ChangeSet(run_updates=(move_run(records, Status.IN_PROGRESS),))
    )
    await store.change(
        read_set,
        lambda records: ChangeSet(run_updates=(move_run(records, Status.ACTION_REQUIRED),)),
    )


async def write_archive(store: Store, path: Path, owner: str = "ann") -> Path:
    """Write the owner's archive to this file."""
    archive = await OwnerExporter(store, mint).begin(owner, Principal())
    with path.open("wb") as file:
        async with aclosing(archive.pieces) as pieces:
            async for piece in pieces:
                file.write(piece)
    return path


async def import_archive(
    store: Store,
    path: Path,
    owner: str | None = None,
    bounds: Bounds = BOUNDS,
    max_schedules: int = 50,
    **options: bool,
) -> OwnerImport:
    with path.open("rb") as file:
        return await OwnerImporter(store, mint, bounds, max_schedules=max_schedules).run(
            ImportOwner(owner=owner, **options), file, Principal()
        )


Contents = dict[str, Any]


def contents(path: Path) -> Contents:
    """Return all members of an archive: records as JSON values, files as bytes."""
    with zipfile.ZipFile(path) as archive:
        return {
            name: [json.loads(line) for line in archive.read(name).splitlines()]
            if name.endswith(".jsonl")
            else archive.read(name)
            for name in archive.namelist()
        }


def read_contents(path: Path) -> Contents:
    """Return the records of an archive that an import copies unchanged, by file."""
    members = contents(path)
    for kind in ("audit", "keys", "provider_keys"):
        del members[f"{kind}.jsonl"]
    del members["manifest.json"]
    return members


def write(path: Path, members: Contents, *, count: bool = True) -> Path:
    """Write an archive; with `count` its manifest counts the records."""
    if count:
        manifest = json.loads(members["manifest.json"])
        manifest["counts"] = {
            name.removesuffix(".jsonl"): len(records)
            for name, records in members.items()
            if name.endswith(".jsonl")
        }
        members = {**members, "manifest.json": json.dumps(manifest).encode()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content if isinstance(content, bytes) else json_lines(content))
    return path


def json_lines(records: list[Any]) -> bytes:
    out = io.BytesIO()
    for record in records:
        out.write(record if isinstance(record, bytes) else json.dumps(record).encode())
        out.write(b"\n")
    return out.getvalue()

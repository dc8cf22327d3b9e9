"""Imports of chats in the background: checked, written, cancelled, continued after a crash."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import IO, Any

import pytest

from antiphon.api import operations
from antiphon.api.operations import Operation
from antiphon.buses.local import LocalBus
from antiphon.engine.chat_imports import ABANDONED_MS, LEASE_MS, MAX_ATTEMPTS
from antiphon.isolated_process import ProcessFailed
from antiphon.ports import AmendImport
from antiphon.runtime import chat_importer
from antiphon.runtime.admin.import_owner import OwnerImporter
from antiphon.runtime.admin.owners import OwnerDeleter
from antiphon.runtime.chat_importer import ChatImporter
from antiphon.runtime.imports import archive_writer
from antiphon.runtime.imports import process as conversion_process
from antiphon.runtime.imports.conversion import Advance, ConversionRequest, Converted
from antiphon.runtime.imports.convert import convert_export
from antiphon.runtime.imports.process import Convert, convert_in_process
from antiphon.runtime.services.chat_imports import ChatImportService
from antiphon.settings.settings import Settings
from antiphon.stores.memory.store import MemoryStore
from antiphon.types import errors
from antiphon.types.accounts import Principal
from antiphon.types.chat_imports import ChatImport, ImportClaim, StoredImport
from antiphon.types.imports import ImportBatch
from antiphon.types.runs import Thread
from tests.support.runtime.chat_exports import CLAUDE, SCRIPT, Json, as_json, as_zip, chatgpt

ANN = Principal(owner="ann", actor="ann")


Hook = Callable[[], Awaitable[None]]


async def do_nothing() -> None:
    pass


class HookedStore(MemoryStore):
    """A memory store that awaits these around its methods, which write, give and delete."""

    before_import: Hook = staticmethod(do_nothing)
    after_import: Hook = staticmethod(do_nothing)
    after_finish: Hook = staticmethod(do_nothing)
    before_transfer: Hook = staticmethod(do_nothing)
    before_delete: Hook = staticmethod(do_nothing)
    before_change: Hook = staticmethod(do_nothing)
    after_change: Hook = staticmethod(do_nothing)

    async def import_records(
        self, owner: str, batch: ImportBatch, claim: ImportClaim | None = None
    ) -> None:
        await self.before_import()
        await super().import_records(owner, batch, claim)
        await self.after_import()

    async def finish_import(self, *args: Any) -> None:
        await super().finish_import(*args)
        await self.after_finish()

    async def transfer_owned(
        self, owner: str, to: str, limit: int, claim: ImportClaim | None = None
    ) -> int:
        await self.before_transfer()
        return await super().transfer_owned(owner, to, limit, claim)

    async def delete_owned(self, owner: str, limit: int, claim: ImportClaim | None = None) -> int:
        await self.before_delete()
        return await super().delete_owned(owner, limit, claim)

    async def change_chat_import(
        self, owner: str, import_id: str, amend: AmendImport
    ) -> StoredImport:
        await self.before_change()
        changed = await super().change_chat_import(owner, import_id, amend)
        await self.after_change()
        return changed


class Desk:
    """A service and workers on one memory store, whose clock the test sets."""

    def __init__(self, limit: int = 1_000_000) -> None:
        self.time = 1_000_000
        self.store = HookedStore(lambda: self.time)
        numbers = count(1)
        self.mint: Callable[[Any], str] = lambda kind: f"{kind}_{next(numbers)}"
        settings = Settings(max_chat_import=limit)
        self.service = ChatImportService(self.store, LocalBus(), self.mint, settings)
        self.limit = limit

    def worker(self, name: str = "one", convert: Convert | None = None) -> ChatImporter:
        importer = OwnerImporter(self.store, self.mint)
        return ChatImporter(
            self.store,
            LocalBus(),
            importer,
            name=name,
            max_upload=self.limit,
            convert=convert or convert_here,
        )

    async def ask(self, call: Operation[Any], by: Principal = ANN) -> ChatImport:
        answer = await self.service.handlers[type(call)](call, by, None)
        assert isinstance(answer, ChatImport)
        return answer

    async def upload(self, content: bytes, *, start: bool = False) -> str:
        made = await self.ask(operations.CreateChatImport(len(content), "a.zip", start=start))
        for place in range(0, len(content), 700):
            text = base64.b64encode(content[place : place + 700]).decode()
            made = await self.ask(operations.AddImportPiece(made.id, place, text))
        assert made.status == "checking"
        return made.id

    async def read(self, import_id: str) -> ChatImport:
        return await self.ask(operations.GetChatImport(import_id))

    async def owners(self) -> list[str]:
        """Return the owners of what is stored, also of what is not given to anyone yet."""
        return [each.owner for each in (await self.store.owners(9)).data]

    async def titles(self, owner: str = "ann") -> list[str]:
        page = await self.store.list(Thread, owner, limit=50)
        return sorted(each.title for each in page.data)


async def convert_here(
    request: ConversionRequest, export: AsyncIterable[bytes], archive: IO[bytes], advance: Advance
) -> Converted:
    """Convert without a process of its own, which takes half a second to start."""
    return convert_export(
        io.BytesIO(b"".join([piece async for piece in export])),
        archive,
        request.owner,
        request.source,
        request.known,
        advance,
        request.max_total,
    )


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content[:700]
    yield content[700:]


def a_request(seconds: int = 60) -> ConversionRequest:
    return ConversionRequest(
        owner="ann", source=None, known=[], max_total=1_000_000, seconds=seconds
    )


class Died(BaseException):
    """The end of a process."""


def zipped(*items: Json) -> bytes:
    return as_zip(**{"conversations.json": as_json(*items)})


def bomb(size: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", b"[" + b" " * size + b"]")
    return file.getvalue()


async def test_a_file_is_checked_and_only_then_written_and_twice_adds_nothing() -> None:
    desk = Desk()
    content = zipped(chatgpt("c1"), chatgpt("c2"))
    first = await desk.upload(content)

    assert await desk.worker().import_next()
    ready = await desk.read(first)
    assert (ready.status, ready.source) == ("ready", "chatgpt")
    assert ready.found is not None
    assert (ready.found.conversations, ready.found.present) == (2, 0)
    assert not await desk.worker().import_next()
    assert await desk.titles() == []

    await desk.ask(operations.StartChatImport(first))
    assert await desk.worker().import_next()
    completed = await desk.read(first)
    written = await desk.titles()
    second = await desk.upload(content, start=True)
    assert await desk.worker().import_next()

    assert (completed.status, completed.problem) == ("completed", None)
    assert len(written) == 4
    assert all("\x1b" not in title for title in written)
    again = await desk.read(second)
    assert again.status == "completed"
    assert again.found is not None
    assert (again.found.conversations, again.found.present) == (0, 2)
    assert await desk.titles() == written


async def test_another_worker_goes_on_with_an_import_whose_server_died_while_it_wrote() -> None:
    desk, writes = Desk(), 0

    async def die_at_the_second() -> None:
        nonlocal writes
        writes += 1
        if writes == 2:
            raise Died

    desk.store.before_import = die_at_the_second
    import_id = await desk.upload(as_json(CLAUDE), start=True)

    with pytest.raises(Died):
        await desk.worker("dying").import_next()
    assert await desk.titles() == []
    assert not await desk.worker("other").import_next()  # the lease has not ended
    desk.time += LEASE_MS + 1
    assert await desk.worker("other").import_next()

    assert (await desk.read(import_id)).status == "completed"
    undisturbed = Desk()
    await undisturbed.upload(as_json(CLAUDE), start=True)
    assert await undisturbed.worker().import_next()
    assert await desk.titles() == await undisturbed.titles() != []


async def test_a_cancelled_import_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_importer, "REPORT_SECONDS", 0.01)
    writing = asyncio.Event()

    async def hang() -> None:
        writing.set()
        await asyncio.Event().wait()

    desk = Desk()
    desk.store.after_import = hang
    import_id = await desk.upload(as_json(CLAUDE), start=True)
    work = asyncio.create_task(desk.worker().import_next())
    await writing.wait()

    cancelling = await desk.ask(operations.CancelChatImport(import_id))
    assert (cancelling.status, cancelling.step) == ("importing", "cancelling")
    assert await work

    assert (await desk.read(import_id)).status == "cancelled"
    assert await desk.owners() == []
    assert not await desk.worker().import_next()  # deletes the file
    assert await desk.store.import_piece(import_id, 0) is None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"MZ not an export", "invalid_request"),
        (zipped(chatgpt())[:-40], "invalid_request"),
        (as_json(chatgpt())[:-30], "invalid_request"),
        (as_json({"mapping": "no"}), "invalid_request"),
        (bomb(60_000_000), "too_large"),
    ],
)
async def test_a_file_that_is_no_export_fails_with_what_is_wrong(content: bytes, code: str) -> None:
    desk = Desk(limit=200_000)
    import_id = await desk.upload(content, start=True)

    assert await desk.worker().import_next()

    failed = await desk.read(import_id)
    assert failed.status == "failed"
    assert failed.problem is not None
    assert failed.problem.code == code
    assert await desk.titles() == []
    assert not await desk.worker().import_next()


async def test_a_small_file_that_unfolds_to_millions_of_values_holds_up_nothing() -> None:
    desk = Desk(limit=20_000_000)
    import_id = await desk.upload(
        as_zip(**{"conversations.json": b'[{"x":[' + b"{}," * 1_400_000 + b"{}]}]"}), start=True
    )
    work = asyncio.create_task(desk.worker(convert=convert_in_process).import_next())
    turns = 0
    while not work.done():
        await asyncio.wait([work], timeout=0.05)
        turns += 1

    assert await work
    ended = await desk.read(import_id)
    assert ended.found is not None
    assert ended.found.skipped == {"conversations that are too large": 1}
    assert turns > 5  # the event loop was free meanwhile


async def test_a_process_of_its_own_converts_as_this_one_does() -> None:
    export = zipped(chatgpt("c1"), chatgpt("c2"))
    request = a_request()
    read: list[int] = []
    one, other = io.BytesIO(), io.BytesIO()

    converted = await convert_in_process(request, pieces(export), one, read.append)

    assert sum(read) > 0
    assert converted == await convert_here(request, pieces(export), other, lambda _: None)
    assert one.getvalue() == other.getvalue()


async def test_a_killed_server_leaves_nothing_of_an_import_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names: list[list[Path]] = []

    async def look() -> None:
        names.append(list(tmp_path.iterdir()))

    async def convert(
        request: ConversionRequest, export: AsyncIterable[bytes], archive: IO[bytes], _: Advance
    ) -> Converted:
        return await convert_in_process(
            request, export, archive, lambda _: names.append(list(tmp_path.iterdir()))
        )

    desk = Desk()
    desk.store.before_import = look
    import_id = await desk.upload(zipped(chatgpt()), start=True)

    assert await desk.worker(convert=convert).import_next()

    assert (await desk.read(import_id)).status == "completed"
    assert len(names) > 2
    assert not any(names)


@pytest.mark.parametrize(
    ("program", "seconds", "wrong", "word"),
    [
        ("import time; time.sleep(600)", 1, errors.TooLarge, "too long"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 60, ProcessFailed, "-9"),
        ("print('MZ')", 60, ProcessFailed, "protocol"),
        ("print('x' * 2_000_000)", 60, ProcessFailed, "protocol"),
        (
            "from antiphon.runtime.imports import converter\n"
            "converter.convert_export = lambda *_: bytearray(3_000_000_000)\n"
            "converter.main()",
            *(60, errors.TooLarge, "memory"),
        ),
    ],
)
async def test_a_conversion_that_dies_or_does_not_end_is_an_error(
    program: str,
    seconds: int,
    wrong: type[Exception],
    word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversion_process, "PROGRAM", (sys.executable, "-I", "-c", program))
    request = a_request(seconds)

    with pytest.raises(wrong, match=word):
        await convert_in_process(request, pieces(b"{}"), io.BytesIO(), lambda _: None)


async def test_a_conversion_that_writes_more_than_it_may_is_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = (
        "from antiphon.runtime.imports import converter\n"
        "converter.ROOM = -990_000\n"
        "converter.main()"
    )
    monkeypatch.setattr(conversion_process, "PROGRAM", (sys.executable, "-I", "-c", program))
    export = as_json(*(chatgpt(f"c{number}") for number in range(50)))
    request = a_request()

    with pytest.raises(errors.TooLarge, match="too large together"):
        await convert_in_process(request, pieces(export), io.BytesIO(), lambda _: None)


async def test_a_conversion_that_writes_lines_without_end_is_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = (sys.executable, "-I", "-c", "while True: print('{}')")
    monkeypatch.setattr(conversion_process, "PROGRAM", program)
    monkeypatch.setattr(conversion_process, "ROOM", 0)

    with pytest.raises(errors.TooLarge, match="too large together"):
        await convert_in_process(a_request(600), pieces(b"{}"), io.BytesIO(), lambda _: None)


async def test_a_full_disk_is_a_fault_of_the_server_and_not_of_the_export(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def open_full_device() -> io.FileIO:
        return io.FileIO("/dev/full", "r+")

    monkeypatch.setattr(archive_writer, "TemporaryFile", open_full_device)
    desk = Desk()
    import_id = await desk.upload(zipped(chatgpt()), start=True)

    assert await desk.worker().import_next()

    failed = await desk.read(import_id)
    assert failed.problem is not None
    assert (failed.status, failed.problem.code) == ("failed", "internal")
    assert "No space left" in caplog.text


async def test_an_import_whose_servers_die_of_it_fails_at_the_third_time() -> None:
    async def die(*_: Any) -> Converted:
        raise Died

    desk = Desk()
    import_id = await desk.upload(as_json(CLAUDE), start=True)
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(Died):
            await desk.worker(convert=die).import_next()
        assert (await desk.read(import_id)).status == "checking"
        desk.time += LEASE_MS + 1

    assert await desk.worker().import_next()
    failed = await desk.read(import_id)
    assert failed.problem is not None
    assert (failed.status, failed.problem.message.split(".")[0]) == (
        "failed",
        "The import was begun 3 times, and its server ended each time",
    )


@pytest.mark.parametrize("fault", [RuntimeError("full"), errors.InvalidRequest("no")])
async def test_an_import_that_fails_leaves_nothing_behind(fault: Exception) -> None:
    async def fail() -> None:
        raise fault

    desk = Desk()
    desk.store.after_import = fail
    import_id = await desk.upload(as_json(CLAUDE), start=True)

    assert await desk.worker().import_next()

    assert (await desk.read(import_id)).status == "failed"
    assert await desk.owners() == []


async def test_a_worker_that_fails_and_is_late_deletes_nothing_of_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat_importer, "REPORT_SECONDS", 600)  # it is frozen: it renews no lease
    frozen, awake = asyncio.Event(), asyncio.Event()

    async def fail_once() -> None:
        if not frozen.is_set():
            raise OSError("full")

    async def freeze() -> None:
        frozen.set()
        await awake.wait()

    async def wake_the_late_one() -> None:
        awake.set()
        await asyncio.wait([late])

    desk = Desk()
    desk.store.after_import = fail_once
    desk.store.before_delete = freeze
    desk.store.before_transfer = wake_the_late_one
    import_id = await desk.upload(as_json(CLAUDE), start=True)
    late = asyncio.create_task(desk.worker("late").import_next())
    await frozen.wait()
    desk.time += LEASE_MS + 1

    assert await desk.worker("other").import_next()
    assert await late

    assert (await desk.read(import_id)).status == "completed"
    assert len(await desk.titles()) == 2


async def test_a_worker_keeps_its_import_while_it_deletes_what_it_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat_importer, "REPORT_SECONDS", 0.01)
    deleting, renewed = asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        raise OSError("full")

    async def note_renewal() -> None:
        if deleting.is_set():
            renewed.set()

    async def take_long() -> None:
        if not deleting.is_set():
            desk.time += LEASE_MS - 1
            deleting.set()
            await renewed.wait()
            desk.time += LEASE_MS - 1
            assert not await desk.worker("other").import_next()

    desk = Desk()
    desk.store.after_import = fail
    desk.store.after_change = note_renewal
    desk.store.before_delete = take_long
    import_id = await desk.upload(as_json(CLAUDE), start=True)

    assert await desk.worker().import_next()

    assert (await desk.read(import_id)).status == "failed"
    assert await desk.owners() == []


async def test_an_import_whose_servers_die_while_they_write_leaves_nothing_behind() -> None:
    async def die() -> None:
        raise Died

    desk = Desk()
    desk.store.after_import = die
    import_id = await desk.upload(as_json(CLAUDE), start=True)
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(Died):
            await desk.worker().import_next()
        desk.time += LEASE_MS + 1
    assert len(await desk.owners()) == 1

    assert await desk.worker().import_next()

    assert (await desk.read(import_id)).status == "failed"
    assert await desk.owners() == []


@pytest.mark.parametrize("hook", ["before_import", "before_transfer"])
async def test_the_erasure_of_an_owner_ends_an_import_and_nothing_comes_back(hook: str) -> None:
    writing, erased = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        writing.set()
        await erased.wait()

    desk = Desk()
    setattr(desk.store, hook, wait)
    await desk.upload(as_json(CLAUDE), start=True)
    work = asyncio.create_task(desk.worker().import_next())
    await writing.wait()

    deleter = OwnerDeleter(desk.store, LocalBus(), desk.mint, settle=0)
    async with aclosing(deleter.delete("ann", Principal(owner="root"))) as batches:
        async for _ in batches:
            pass
    erased.set()
    assert await work

    assert await desk.owners() == []
    assert not await desk.store.chat_imports("ann")
    assert not await desk.worker("other").import_next()


async def test_an_import_that_is_cancelled_as_its_check_ends_is_cancelled() -> None:
    desk = Desk()

    async def cancel(*args: Any) -> Converted:
        converted = await convert_here(*args)
        await desk.ask(operations.CancelChatImport(import_id))
        return converted

    import_id = await desk.upload(as_json(CLAUDE))

    assert await desk.worker(convert=cancel).import_next()

    assert (await desk.read(import_id)).status == "cancelled"


async def test_an_import_that_gives_what_it_wrote_comes_to_its_end_whatever_happens() -> None:
    desk, deaths = Desk(), 0

    async def die_at_first() -> None:
        nonlocal deaths
        if not deaths:
            deaths += 1
            raise Died

    async def die_until_the_last_attempt() -> None:
        nonlocal deaths
        if deaths < MAX_ATTEMPTS:
            deaths += 1
            raise Died

    desk.store.after_finish = die_at_first
    desk.store.before_transfer = die_until_the_last_attempt
    import_id = await desk.upload(as_json(CLAUDE), start=True)
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(Died):
            await desk.worker().import_next()
        desk.time += LEASE_MS + 1

    cancelled = await desk.ask(operations.CancelChatImport(import_id))
    assert cancelled.status == "importing"
    assert cancelled.step != "cancelling"
    assert await desk.worker().import_next()

    assert (await desk.read(import_id)).status == "completed"
    assert await desk.owners() == ["ann"]
    assert len(await desk.titles()) == 2
    [entry] = (await desk.store.audit_entries(9)).data
    assert (entry.what, entry.details["threads"]) == ("owner.imported", "2")


async def test_an_error_while_conversations_are_given_discards_none_of_them() -> None:
    desk, given = Desk(), 0

    async def refuse_the_second() -> None:
        nonlocal given
        given += 1
        if given == 2:
            raise errors.Conflict("Another record is in the way.")

    desk.store.before_transfer = refuse_the_second
    import_id = await desk.upload(as_json(CLAUDE), start=True)

    assert await desk.worker().import_next()
    assert (await desk.read(import_id)).status == "importing"
    desk.time += LEASE_MS + 1
    assert await desk.worker("two").import_next()

    assert (await desk.read(import_id)).status == "completed"
    assert await desk.owners() == ["ann"]
    assert len(await desk.titles()) == 2


async def test_a_cancel_before_anything_is_given_is_in_time() -> None:
    async def cancel() -> None:
        await desk.ask(operations.CancelChatImport(import_id))

    desk = Desk()
    desk.store.after_import = cancel
    import_id = await desk.upload(as_json(CLAUDE), start=True)

    assert await desk.worker().import_next()

    assert (await desk.read(import_id)).status == "cancelled"
    assert await desk.owners() == []
    assert not (await desk.store.audit_entries(9)).data


async def test_a_server_that_stops_hands_its_import_over_and_this_is_no_attempt() -> None:
    begun = asyncio.Event()

    async def wait(*_: Any) -> Converted:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    desk = Desk()
    import_id = await desk.upload(as_json(CLAUDE), start=True)
    for _ in range(MAX_ATTEMPTS + 1):
        begun.clear()
        worker = desk.worker(convert=wait)
        worker.start()
        await begun.wait()
        await worker.stop()

    assert await desk.worker().import_next()
    assert (await desk.read(import_id)).status == "completed"


async def test_pieces_must_follow_each_other_and_fit_the_announced_size() -> None:
    desk = Desk(limit=1000)
    made = await desk.ask(operations.CreateChatImport(6))
    abc = base64.b64encode(b"abc").decode()
    await desk.ask(operations.AddImportPiece(made.id, 0, abc))

    for refused, wrong in (
        (operations.AddImportPiece(made.id, 0, abc), errors.Conflict),
        (operations.AddImportPiece(made.id, 4, abc), errors.Conflict),
        (
            operations.AddImportPiece(made.id, 3, base64.b64encode(b"abcd").decode()),
            errors.InvalidRequest,
        ),
        (operations.AddImportPiece(made.id, 3, "no base64!"), errors.InvalidRequest),
        (operations.StartChatImport(made.id), errors.Conflict),
        (operations.CreateChatImport(6), errors.Conflict),
        (operations.CreateChatImport(1001), errors.TooLarge),
    ):
        with pytest.raises(wrong) as excinfo:
            await desk.ask(refused)
        assert excinfo.value.details["expected"]
        if isinstance(refused, operations.StartChatImport):
            assert "begin a new import" in excinfo.value.details["hint"]

    assert (await desk.read(made.id)).received == 3


async def test_an_import_that_its_owner_left_is_cancelled_after_a_day() -> None:
    desk = Desk()
    made = await desk.ask(operations.CreateChatImport(6))
    desk.time += ABANDONED_MS + 1
    worker = desk.worker()
    assert not await worker.import_next()
    assert (await desk.read(made.id)).status == "cancelled"

    ready = await desk.upload(as_json(CLAUDE))
    assert await worker.import_next()
    desk.time += ABANDONED_MS + 1
    assert not await worker.import_next()

    assert (await desk.read(ready)).status == "cancelled"
    assert await desk.store.import_piece(ready, 0) is None
    await desk.ask(operations.CreateChatImport(6))


async def test_imports_that_wait_or_are_claimed_cost_no_write() -> None:
    desk, changes = Desk(), 0

    async def count_change() -> None:
        nonlocal changes
        changes += 1

    desk.store.before_change = count_change
    for owner in ("ann", "bob", "eve"):
        await desk.ask(operations.CreateChatImport(6), Principal(owner=owner))

    assert not await desk.worker().import_next()

    assert changes == 0


async def test_titles_with_scripts_and_control_characters_stay_text() -> None:
    desk = Desk()
    await desk.upload(as_json(chatgpt()), start=True)
    assert await desk.worker().import_next()

    (title, *_) = await desk.titles()
    assert "<script>" in SCRIPT
    assert title.startswith("<script>alert(1)</script>")
    assert "\x1b" not in json.loads(json.dumps(title))

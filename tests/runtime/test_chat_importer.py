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
    """Memory store that awaits these hooks around its methods that write, transfer and delete."""

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
        chat_import = await super().change_chat_import(owner, import_id, amend)
        await self.after_change()
        return chat_import


class ImportRig:
    """Service and workers on one memory store, whose clock the test sets."""

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
        created = await self.ask(operations.CreateChatImport(len(content), "a.zip", start=start))
        for offset in range(0, len(content), 700):
            text = base64.b64encode(content[offset : offset + 700]).decode()
            created = await self.ask(operations.AddImportPiece(created.id, offset, text))
        assert created.status == "checking"
        return created.id

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


class ProcessDeath(BaseException):
    """The death of a process."""


def zip_items(*items: Json) -> bytes:
    return as_zip(**{"conversations.json": as_json(*items)})


def make_bomb(size: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", b"[" + b" " * size + b"]")
    return file.getvalue()


async def test_a_file_is_checked_and_only_then_written_and_twice_adds_nothing() -> None:
    rig = ImportRig()
    content = zip_items(chatgpt("c1"), chatgpt("c2"))
    first = await rig.upload(content)

    assert await rig.worker().import_next()
    checked = await rig.read(first)
    assert (checked.status, checked.source) == ("ready", "chatgpt")
    assert checked.found is not None
    assert (checked.found.conversations, checked.found.present) == (2, 0)
    assert not await rig.worker().import_next()
    assert await rig.titles() == []

    await rig.ask(operations.StartChatImport(first))
    assert await rig.worker().import_next()
    completed = await rig.read(first)
    titles = await rig.titles()
    second = await rig.upload(content, start=True)
    assert await rig.worker().import_next()

    assert (completed.status, completed.problem) == ("completed", None)
    assert len(titles) == 4
    assert all("\x1b" not in title for title in titles)
    second_import = await rig.read(second)
    assert second_import.status == "completed"
    assert second_import.found is not None
    assert (second_import.found.conversations, second_import.found.present) == (0, 2)
    assert await rig.titles() == titles


async def test_another_worker_goes_on_with_an_import_whose_server_died_while_it_wrote() -> None:
    rig, writes = ImportRig(), 0

    async def die_at_the_second() -> None:
        nonlocal writes
        writes += 1
        if writes == 2:
            raise ProcessDeath

    rig.store.before_import = die_at_the_second
    import_id = await rig.upload(as_json(CLAUDE), start=True)

    with pytest.raises(ProcessDeath):
        await rig.worker("dying").import_next()
    assert await rig.titles() == []
    assert not await rig.worker("other").import_next()  # the lease has not ended yet
    rig.time += LEASE_MS + 1
    assert await rig.worker("other").import_next()

    assert (await rig.read(import_id)).status == "completed"
    undisturbed_rig = ImportRig()
    await undisturbed_rig.upload(as_json(CLAUDE), start=True)
    assert await undisturbed_rig.worker().import_next()
    assert await rig.titles() == await undisturbed_rig.titles() != []


async def test_a_cancelled_import_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_importer, "REPORT_SECONDS", 0.01)
    writing = asyncio.Event()

    async def hang() -> None:
        writing.set()
        await asyncio.Event().wait()

    rig = ImportRig()
    rig.store.after_import = hang
    import_id = await rig.upload(as_json(CLAUDE), start=True)
    work = asyncio.create_task(rig.worker().import_next())
    await writing.wait()

    cancelling = await rig.ask(operations.CancelChatImport(import_id))
    assert (cancelling.status, cancelling.step) == ("importing", "cancelling")
    assert await work

    assert (await rig.read(import_id)).status == "cancelled"
    assert await rig.owners() == []
    assert not await rig.worker().import_next()  # deletes the file
    assert await rig.store.import_piece(import_id, 0) is None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"MZ not an export", "invalid_request"),
        (zip_items(chatgpt())[:-40], "invalid_request"),
        (as_json(chatgpt())[:-30], "invalid_request"),
        (as_json({"mapping": "no"}), "invalid_request"),
        (make_bomb(60_000_000), "too_large"),
    ],
)
async def test_a_file_that_is_no_export_fails_with_what_is_wrong(content: bytes, code: str) -> None:
    rig = ImportRig(limit=200_000)
    import_id = await rig.upload(content, start=True)

    assert await rig.worker().import_next()

    chat_import = await rig.read(import_id)
    assert chat_import.status == "failed"
    assert chat_import.problem is not None
    assert chat_import.problem.code == code
    assert await rig.titles() == []
    assert not await rig.worker().import_next()


async def test_a_small_file_that_unfolds_to_millions_of_values_holds_up_nothing() -> None:
    rig = ImportRig(limit=20_000_000)
    import_id = await rig.upload(
        as_zip(**{"conversations.json": b'[{"x":[' + b"{}," * 1_400_000 + b"{}]}]"}), start=True
    )
    work = asyncio.create_task(rig.worker(convert=convert_in_process).import_next())
    turns = 0
    while not work.done():
        await asyncio.wait([work], timeout=0.05)
        turns += 1

    assert await work
    chat_import = await rig.read(import_id)
    assert chat_import.found is not None
    assert chat_import.found.skipped == {"conversations that are too large": 1}
    assert turns > 5  # the event loop was free meanwhile


async def test_a_process_of_its_own_converts_as_this_one_does() -> None:
    export = zip_items(chatgpt("c1"), chatgpt("c2"))
    request = a_request()
    sizes: list[int] = []
    first_archive, second_archive = io.BytesIO(), io.BytesIO()

    result = await convert_in_process(request, pieces(export), first_archive, sizes.append)

    assert sum(sizes) > 0
    assert result == await convert_here(request, pieces(export), second_archive, lambda _: None)
    assert first_archive.getvalue() == second_archive.getvalue()


async def test_a_killed_server_leaves_nothing_of_an_import_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names: list[list[Path]] = []

    async def look_at_folder() -> None:
        names.append(list(tmp_path.iterdir()))

    async def convert(
        request: ConversionRequest, export: AsyncIterable[bytes], archive: IO[bytes], _: Advance
    ) -> Converted:
        return await convert_in_process(
            request, export, archive, lambda _: names.append(list(tmp_path.iterdir()))
        )

    rig = ImportRig()
    rig.store.before_import = look_at_folder
    import_id = await rig.upload(zip_items(chatgpt()), start=True)

    assert await rig.worker(convert=convert).import_next()

    assert (await rig.read(import_id)).status == "completed"
    assert len(names) > 2
    assert not any(names)


@pytest.mark.parametrize(
    ("program", "seconds", "error", "word"),
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
    error: type[Exception],
    word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversion_process, "PROGRAM", (sys.executable, "-I", "-c", program))
    request = a_request(seconds)

    with pytest.raises(error, match=word):
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
    rig = ImportRig()
    import_id = await rig.upload(zip_items(chatgpt()), start=True)

    assert await rig.worker().import_next()

    chat_import = await rig.read(import_id)
    assert chat_import.problem is not None
    assert (chat_import.status, chat_import.problem.code) == ("failed", "internal")
    assert "No space left" in caplog.text


async def test_an_import_whose_servers_die_of_it_fails_at_the_third_time() -> None:
    async def die(*_: Any) -> Converted:
        raise ProcessDeath

    rig = ImportRig()
    import_id = await rig.upload(as_json(CLAUDE), start=True)
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(ProcessDeath):
            await rig.worker(convert=die).import_next()
        assert (await rig.read(import_id)).status == "checking"
        rig.time += LEASE_MS + 1

    assert await rig.worker().import_next()
    chat_import = await rig.read(import_id)
    assert chat_import.problem is not None
    assert (chat_import.status, chat_import.problem.message.split(".")[0]) == (
        "failed",
        "The import was begun 3 times, and its server ended each time",
    )


@pytest.mark.parametrize("fault", [RuntimeError("full"), errors.InvalidRequest("no")])
async def test_an_import_that_fails_leaves_nothing_behind(fault: Exception) -> None:
    async def fail() -> None:
        raise fault

    rig = ImportRig()
    rig.store.after_import = fail
    import_id = await rig.upload(as_json(CLAUDE), start=True)

    assert await rig.worker().import_next()

    assert (await rig.read(import_id)).status == "failed"
    assert await rig.owners() == []


async def test_a_worker_that_fails_and_is_late_deletes_nothing_of_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat_importer, "REPORT_SECONDS", 600)  # it is frozen: it renews no lease
    is_frozen, may_go_on = asyncio.Event(), asyncio.Event()

    async def fail_once() -> None:
        if not is_frozen.is_set():
            raise OSError("full")

    async def freeze() -> None:
        is_frozen.set()
        await may_go_on.wait()

    async def wake_the_late_one() -> None:
        may_go_on.set()
        await asyncio.wait([late_task])

    rig = ImportRig()
    rig.store.after_import = fail_once
    rig.store.before_delete = freeze
    rig.store.before_transfer = wake_the_late_one
    import_id = await rig.upload(as_json(CLAUDE), start=True)
    late_task = asyncio.create_task(rig.worker("late").import_next())
    await is_frozen.wait()
    rig.time += LEASE_MS + 1

    assert await rig.worker("other").import_next()
    assert await late_task

    assert (await rig.read(import_id)).status == "completed"
    assert len(await rig.titles()) == 2


async def test_a_worker_keeps_its_import_while_it_deletes_what_it_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chat_importer, "REPORT_SECONDS", 0.01)
    is_deleting, is_renewed = asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        raise OSError("full")

    async def note_renewal() -> None:
        if is_deleting.is_set():
            is_renewed.set()

    async def take_long() -> None:
        if not is_deleting.is_set():
            rig.time += LEASE_MS - 1
            is_deleting.set()
            await is_renewed.wait()
            rig.time += LEASE_MS - 1
            assert not await rig.worker("other").import_next()

    rig = ImportRig()
    rig.store.after_import = fail
    rig.store.after_change = note_renewal
    rig.store.before_delete = take_long
    import_id = await rig.upload(as_json(CLAUDE), start=True)

    assert await rig.worker().import_next()

    assert (await rig.read(import_id)).status == "failed"
    assert await rig.owners() == []


async def test_an_import_whose_servers_die_while_they_write_leaves_nothing_behind() -> None:
    async def die() -> None:
        raise ProcessDeath

    rig = ImportRig()
    rig.store.after_import = die
    import_id = await rig.upload(as_json(CLAUDE), start=True)
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(ProcessDeath):
            await rig.worker().import_next()
        rig.time += LEASE_MS + 1
    assert len(await rig.owners()) == 1

    assert await rig.worker().import_next()

    assert (await rig.read(import_id)).status == "failed"
    assert await rig.owners() == []


@pytest.mark.parametrize("hook", ["before_import", "before_transfer"])
async def test_the_erasure_of_an_owner_ends_an_import_and_nothing_comes_back(hook: str) -> None:
    is_writing, is_erased = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        is_writing.set()
        await is_erased.wait()

    rig = ImportRig()
    setattr(rig.store, hook, wait)
    await rig.upload(as_json(CLAUDE), start=True)
    work = asyncio.create_task(rig.worker().import_next())
    await is_writing.wait()

    deleter = OwnerDeleter(rig.store, LocalBus(), rig.mint, settle=0)
    async with aclosing(deleter.delete("ann", Principal(owner="root"))) as batches:
        async for _ in batches:
            pass
    is_erased.set()
    assert await work

    assert await rig.owners() == []
    assert not await rig.store.chat_imports("ann")
    assert not await rig.worker("other").import_next()


async def test_an_import_that_is_cancelled_as_its_check_ends_is_cancelled() -> None:
    rig = ImportRig()

    async def cancel(*args: Any) -> Converted:
        result = await convert_here(*args)
        await rig.ask(operations.CancelChatImport(import_id))
        return result

    import_id = await rig.upload(as_json(CLAUDE))

    assert await rig.worker(convert=cancel).import_next()

    assert (await rig.read(import_id)).status == "cancelled"


async def test_an_import_that_gives_what_it_wrote_comes_to_its_end_whatever_happens() -> None:
    rig, deaths = ImportRig(), 0

    async def die_at_first() -> None:
        nonlocal deaths
        if not deaths:
            deaths += 1
            raise ProcessDeath

    async def die_until_the_last_attempt() -> None:
        nonlocal deaths
        if deaths < MAX_ATTEMPTS:
            deaths += 1
            raise ProcessDeath

    rig.store.after_finish = die_at_first
    rig.store.before_transfer = die_until_the_last_attempt
    import_id = await rig.upload(as_json(CLAUDE), start=True)
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(ProcessDeath):
            await rig.worker().import_next()
        rig.time += LEASE_MS + 1

    chat_import = await rig.ask(operations.CancelChatImport(import_id))
    assert chat_import.status == "importing"
    assert chat_import.step != "cancelling"
    assert await rig.worker().import_next()

    assert (await rig.read(import_id)).status == "completed"
    assert await rig.owners() == ["ann"]
    assert len(await rig.titles()) == 2
    [entry] = (await rig.store.audit_entries(9)).data
    assert (entry.what, entry.details["threads"]) == ("owner.imported", "2")


async def test_an_error_while_conversations_are_given_discards_none_of_them() -> None:
    rig, transfers = ImportRig(), 0

    async def refuse_the_second() -> None:
        nonlocal transfers
        transfers += 1
        if transfers == 2:
            raise errors.Conflict("Another record is in the way.")

    rig.store.before_transfer = refuse_the_second
    import_id = await rig.upload(as_json(CLAUDE), start=True)

    assert await rig.worker().import_next()
    assert (await rig.read(import_id)).status == "importing"
    rig.time += LEASE_MS + 1
    assert await rig.worker("two").import_next()

    assert (await rig.read(import_id)).status == "completed"
    assert await rig.owners() == ["ann"]
    assert len(await rig.titles()) == 2


async def test_a_cancel_before_anything_is_given_is_in_time() -> None:
    async def cancel() -> None:
        await rig.ask(operations.CancelChatImport(import_id))

    rig = ImportRig()
    rig.store.after_import = cancel
    import_id = await rig.upload(as_json(CLAUDE), start=True)

    assert await rig.worker().import_next()

    assert (await rig.read(import_id)).status == "cancelled"
    assert await rig.owners() == []
    assert not (await rig.store.audit_entries(9)).data


async def test_a_server_that_stops_hands_its_import_over_and_this_is_no_attempt() -> None:
    is_begun = asyncio.Event()

    async def wait(*_: Any) -> Converted:
        is_begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    rig = ImportRig()
    import_id = await rig.upload(as_json(CLAUDE), start=True)
    for _ in range(MAX_ATTEMPTS + 1):
        is_begun.clear()
        worker = rig.worker(convert=wait)
        worker.start()
        await is_begun.wait()
        await worker.stop()

    assert await rig.worker().import_next()
    assert (await rig.read(import_id)).status == "completed"


async def test_pieces_must_follow_each_other_and_fit_the_announced_size() -> None:
    rig = ImportRig(limit=1000)
    created = await rig.ask(operations.CreateChatImport(6))
    abc = base64.b64encode(b"abc").decode()
    await rig.ask(operations.AddImportPiece(created.id, 0, abc))

    for call, error in (
        (operations.AddImportPiece(created.id, 0, abc), errors.Conflict),
        (operations.AddImportPiece(created.id, 4, abc), errors.Conflict),
        (
            operations.AddImportPiece(created.id, 3, base64.b64encode(b"abcd").decode()),
            errors.InvalidRequest,
        ),
        (operations.AddImportPiece(created.id, 3, "no base64!"), errors.InvalidRequest),
        (operations.StartChatImport(created.id), errors.Conflict),
        (operations.CreateChatImport(6), errors.Conflict),
        (operations.CreateChatImport(1001), errors.TooLarge),
    ):
        with pytest.raises(error) as excinfo:
            await rig.ask(call)
        assert excinfo.value.details["expected"]
        if isinstance(call, operations.StartChatImport):
            assert "begin a new import" in excinfo.value.details["hint"]

    assert (await rig.read(created.id)).received == 3


async def test_an_import_that_its_owner_left_is_cancelled_after_a_day() -> None:
    rig = ImportRig()
    created = await rig.ask(operations.CreateChatImport(6))
    rig.time += ABANDONED_MS + 1
    worker = rig.worker()
    assert not await worker.import_next()
    assert (await rig.read(created.id)).status == "cancelled"

    import_id = await rig.upload(as_json(CLAUDE))
    assert await worker.import_next()
    rig.time += ABANDONED_MS + 1
    assert not await worker.import_next()

    assert (await rig.read(import_id)).status == "cancelled"
    assert await rig.store.import_piece(import_id, 0) is None
    await rig.ask(operations.CreateChatImport(6))


async def test_imports_that_wait_or_are_claimed_cost_no_write() -> None:
    rig, changes = ImportRig(), 0

    async def count_change() -> None:
        nonlocal changes
        changes += 1

    rig.store.before_change = count_change
    for owner in ("ann", "bob", "eve"):
        await rig.ask(operations.CreateChatImport(6), Principal(owner=owner))

    assert not await rig.worker().import_next()

    assert changes == 0


async def test_titles_with_scripts_and_control_characters_stay_text() -> None:
    rig = ImportRig()
    await rig.upload(as_json(chatgpt()), start=True)
    assert await rig.worker().import_next()

    (title, *_) = await rig.titles()
    assert "<script>" in SCRIPT
    assert title.startswith("<script>alert(1)</script>")
    assert "\x1b" not in json.loads(json.dumps(title))

"""Worker that reads files: the results that it stores, and the files that it cannot read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from antiphon.buses.local import LocalBus
from antiphon.documents.process import FileContent
from antiphon.documents.reader import ReadEnd
from antiphon.runtime.document_worker import MAX_ATTEMPTS, DocumentWorker
from antiphon.stores.memory.store import MemoryStore
from antiphon.types.documents import Document, DocumentPage
from antiphon.types.errors import Unavailable
from antiphon.types.messages import Upload

OWNER = "ann"
LINES = [DocumentPage(number=1, text="one"), DocumentPage(number=2, text="two")]


class Clock:
    """Clock that the test sets, in milliseconds."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


class ScriptedReader:
    """Yields these items for every file, and notes the files that it was given."""

    seconds = 10

    def __init__(
        self, items: Sequence[DocumentPage | ReadEnd | Exception], tesseract: str | None = None
    ):
        self.items = items
        self.tesseract = tesseract
        self.seen: list[tuple[str, bytes]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, file: FileContent) -> AsyncGenerator[DocumentPage | ReadEnd, None]:
        content = b"".join([piece async for piece in file.pieces])
        self.seen.append((file.name, content))
        await self.gate.wait()
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item


async def add(store: MemoryStore, number: int = 1, content: bytes = b"hello") -> str:
    upload = Upload(
        id=f"file_{number}",
        name="a.txt",
        media_type="text/plain",
        size=len(content),
        created_at=number,
    )
    await store.put(OWNER, upload, None, content)
    return upload.id


async def state(store: MemoryStore, file_id: str = "file_1") -> Document:
    return (await store.documents([file_id]))[file_id]


async def test_a_file_is_read_and_its_pages_are_stored() -> None:
    store, reader = MemoryStore(), ScriptedReader([*LINES, ReadEnd(cut=True)])
    worker = DocumentWorker(store, LocalBus(), reader)
    content = b"x" * 300_000
    file_id = await add(store, content=content)
    assert await worker.read_next()
    assert not await worker.read_next()
    assert reader.seen == [("a.txt", content)]
    assert await state(store) == Document(status="ready", pages=2, cut=True)
    assert (await store.pages(file_id, 10)).data == LINES


async def test_a_file_that_cannot_be_read_has_a_reason_and_is_not_read_again() -> None:
    store, reader = MemoryStore(), ScriptedReader([ReadEnd("encrypted")])
    worker = DocumentWorker(store, LocalBus(), reader)
    await add(store)
    assert await worker.read_next()
    document = await state(store)
    assert (document.status, document.reason) == ("failed", "encrypted")
    assert not await worker.read_next()


async def test_a_file_that_a_dead_process_was_reading_is_read_by_another() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await add(store)
    assert await store.claim_document(70_000) is not None  # by a process that dies
    worker = DocumentWorker(store, LocalBus(), ScriptedReader([*LINES, ReadEnd()]))
    assert not await worker.read_next()
    clock.now += 70_000
    assert await worker.read_next()
    assert (await state(store)).status == "ready"


async def test_a_file_whose_readers_die_is_given_up() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await add(store)
    for _ in range(MAX_ATTEMPTS):
        assert await store.claim_document(0) is not None
    worker = DocumentWorker(store, LocalBus(), ScriptedReader([*LINES, ReadEnd()]))
    assert await worker.read_next()
    assert (await state(store)).reason == "too_slow"


async def test_a_file_that_is_deleted_meanwhile_keeps_no_other_from_being_read() -> None:
    store, reader = MemoryStore(), ScriptedReader([*LINES, ReadEnd()])
    reader.gate.clear()
    worker = DocumentWorker(store, LocalBus(), reader)
    await add(store, 1)
    await add(store, 2)
    read_task = asyncio.create_task(worker.read_next())
    while not reader.seen:
        await asyncio.sleep(0)
    await store.delete(Upload, OWNER, "file_1")
    reader.gate.set()
    assert await read_task
    assert await worker.read_next()
    assert (await state(store, "file_2")).status == "ready"


async def test_the_loop_goes_on_after_a_failure_and_ends_at_once() -> None:
    store, bus = MemoryStore(), LocalBus()
    reader = ScriptedReader([Unavailable("The disk is gone."), ReadEnd()])
    worker = DocumentWorker(store, bus, reader)
    worker.start()
    worker.start()
    await add(store, 1)
    while not reader.seen:
        bus.notify("documents")
        await asyncio.sleep(0)
    reader.items = [*LINES, ReadEnd()]
    await add(store, 2)
    async with asyncio.timeout(60):
        while (await state(store, "file_2")).status != "ready":
            await asyncio.sleep(0.01)
    reader.gate.clear()
    await add(store, 3)
    async with asyncio.timeout(60):
        while len(reader.seen) < 3:
            bus.notify("documents")
            await asyncio.sleep(0.01)
        await worker.stop()
    assert (await state(store, "file_3")).status == "pending"


async def test_what_another_server_could_not_read_is_read_where_it_can_be() -> None:
    store = MemoryStore()
    for number, reason in ((1, "no_ocr"), (2, "encrypted"), (3, "no_extra")):
        await add(store, number)
        claim = await store.claim_document(10)
        assert claim is not None
        await store.settle_document(claim, Document(status="failed", reason=reason))  # type: ignore[arg-type]
    bare_worker = DocumentWorker(store, LocalBus(), ScriptedReader([ReadEnd()]))
    assert await bare_worker.retry_failed() == 1  # the libraries are installed here
    with_program = DocumentWorker(store, LocalBus(), ScriptedReader([ReadEnd()], "/bin/tesseract"))
    assert await with_program.retry_failed() == 1
    assert (await state(store, "file_2")).status == "failed"

"""Text of files in every store: claims, pages, searches, transfers and deletions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from antiphon.engine.text_search import parse_query
from antiphon.ports import Store
from antiphon.types.documents import Document, DocumentClaim, DocumentPage
from antiphon.types.imports import ImportBatch
from antiphon.types.messages import Upload

LEASE = 60_000


def upload(number: int) -> Upload:
    return Upload(
        id=f"file_{number}", name="a.txt", media_type="text/plain", size=5, created_at=number
    )


async def add(store: Store, number: int, owner: str = "ann") -> str:
    await store.put(owner, upload(number), None, b"hello")
    return f"file_{number}"


async def claim(store: Store) -> DocumentClaim:
    claimed = await store.claim_document(LEASE)
    assert claimed is not None
    return claimed


async def read_in(store: Store, number: int, texts: Sequence[str], owner: str = "ann") -> str:
    """Add a file with these pages, as a process that reads it does."""
    file_id = await add(store, number, owner)
    document_claim = await claim(store)
    assert (document_claim.owner, document_claim.upload_id) == (owner, file_id)
    pages = [DocumentPage(number=place, text=text) for place, text in enumerate(texts, 1)]
    assert await store.add_pages(document_claim, pages)
    assert await store.settle_document(document_claim, Document(status="ready", pages=len(pages)))
    return file_id


async def search(store: Store, words: str, **options: object) -> list[tuple[str, int]]:
    matches = await store.search_pages("ann", parse_query(words), limit=10, **options)  # type: ignore[arg-type]
    return [(each.file_id, each.page.number) for each in matches]


async def test_a_file_is_read_once_and_has_its_pages(store: Store) -> None:
    file_id = await add(store, 1)
    assert await store.documents([file_id, "file_9"]) == {file_id: Document(status="pending")}
    assert await store.has_pending_documents()
    document_claim = await claim(store)
    assert not await store.has_pending_documents()
    assert await store.claim_document(LEASE) is None
    assert await store.add_pages(
        document_claim, [DocumentPage(number=1, title="One", text="alpha")]
    )
    assert await store.add_pages(document_claim, [DocumentPage(number=2, text="beta")])
    ready = Document(status="ready", pages=2, cut=True)
    assert await store.settle_document(document_claim, ready)
    assert await store.documents([file_id]) == {file_id: ready}
    first = await store.pages(file_id, 1)
    assert (first.data, first.has_more) == (
        [DocumentPage(number=1, title="One", text="alpha")],
        True,
    )
    rest = await store.pages(file_id, 1, 1)
    assert (rest.data, rest.has_more) == ([DocumentPage(number=2, text="beta")], False)


async def test_a_reading_that_was_cut_off_begins_again_without_its_pages(
    store: Store,
) -> None:
    file_id = await add(store, 1)
    first = await store.claim_document(0)  # its lease has ended at once
    assert first is not None
    assert await store.add_pages(first, [DocumentPage(number=1, text="alpha")])
    second = await claim(store)
    assert (second.upload_id, second.attempt) == (file_id, 2)
    assert (await store.pages(file_id, 10)).data == []
    assert await search(store, "alpha") == []
    assert not await store.add_pages(first, [DocumentPage(number=1, text="late")])
    assert not await store.settle_document(first, Document(status="ready"))
    assert await store.add_pages(second, [DocumentPage(number=1, text="beta")])


async def test_what_failed_for_the_servers_reasons_is_tried_again(store: Store) -> None:
    for number, reason in enumerate(("no_extra", "encrypted", "no_ocr"), 1):
        await add(store, number)
        await store.settle_document(await claim(store), Document(status="failed", reason=reason))  # type: ignore[arg-type]
    states = await store.documents(["file_1", "file_2", "file_3"])
    assert [each.reason for each in states.values()] == ["no_extra", "encrypted", "no_ocr"]
    assert states["file_2"].message == (
        "The file is encrypted. Save it without a password, and upload it again."
    )
    assert await store.retry_documents(["no_extra"]) == 1
    assert (await claim(store)).upload_id == "file_1"
    assert await store.claim_document(LEASE) is None


async def test_pages_are_found_by_their_words(store: Store) -> None:
    one = await read_in(store, 1, ["Vacation takes 30 days", "Overtime is paid", "vacations"])
    two = await read_in(store, 2, ["The vacation of the head"])
    await read_in(store, 3, ["Vacation of Ben"], owner="ben")
    assert sorted(await search(store, "VACATION")) == [(one, 1), (one, 3), (two, 1)]
    assert await search(store, "vacation days") == [(one, 1)]
    assert sorted(await search(store, "vacation overtime", any_phrase=True)) == [
        (one, 1),
        (one, 2),
        (one, 3),
        (two, 1),
    ]
    assert await search(store, "vacation overtime") == []
    assert await search(store, "vacation", file_ids=[two]) == [(two, 1)]
    assert await search(store, "vacation", file_ids=[]) == []
    assert await search(store, "vacation", file_ids=["file_3"]) == []
    assert await search(store, "...") == []


@pytest.mark.parametrize("name", ["file", "owner", "words", "a OR b", '") OR ("', "it's"])
async def test_no_text_is_read_as_a_query(store: Store, name: str) -> None:
    file_id = await read_in(store, 1, [f"before {name} after"])
    assert await search(store, name) == [(file_id, 1)]
    assert await search(store, name, file_ids=[name, file_id]) == [(file_id, 1)]
    assert await search(store, "file_1") == []


async def test_a_deleted_file_takes_its_text_with_it(store: Store) -> None:
    file_id = await read_in(store, 1, ["alpha", "beta"])
    await store.delete(Upload, "ann", file_id)
    assert await search(store, "alpha") == []
    assert (await store.pages(file_id, 10)).data == []
    assert await store.documents([file_id]) == {}


async def test_a_file_that_is_deleted_while_it_is_read_gets_no_pages(store: Store) -> None:
    file_id = await add(store, 1)
    document_claim = await claim(store)
    await store.delete(Upload, "ann", file_id)
    assert not await store.add_pages(document_claim, [DocumentPage(number=1, text="alpha")])
    assert not await store.settle_document(document_claim, Document(status="ready"))
    assert not await store.has_pending_documents()


async def test_an_erased_owner_leaves_no_text(store: Store) -> None:
    await read_in(store, 1, ["alpha"])
    while await store.delete_owned("ann", 10):
        pass
    assert await search(store, "alpha") == []
    assert await store.documents(["file_1"]) == {}


async def test_text_is_transferred_with_its_file(store: Store) -> None:
    file_id = await read_in(store, 1, ["alpha beta"], owner="ben")
    assert await search(store, "alpha") == []
    while await store.transfer_owned("ben", "ann", 10):
        pass
    assert await search(store, "alpha beta") == [(file_id, 1)]
    assert await store.search_pages("ben", parse_query("alpha"), limit=10) in ([], ())


async def test_an_imported_file_is_read(store: Store) -> None:
    imported = replace(upload(1), purpose="import")
    await store.import_records("ann", ImportBatch(uploads=[(imported, b"hello")]))
    assert (await claim(store)).upload_id == "file_1"

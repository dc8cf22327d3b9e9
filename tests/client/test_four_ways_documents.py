"""The text of files, by each of the four ways to a runtime that reads it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from antiphon import AsyncClient
from antiphon.types.errors import AntiphonError, TooMany
from antiphon.types.messages import File, Text
from tests.support.client.four_ways import SETTINGS, Ways, four_ways, in_all_ways
from tests.support.documents import make_pdf


def catch_error(call: Callable[[], object]) -> AntiphonError:
    with pytest.raises(AntiphonError) as error_info:
        call()
    return error_info.value


@pytest.fixture(scope="module")
def ways() -> Iterator[Ways]:
    with four_ways(replace(SETTINGS, documents=True)) as ways:
        yield ways


@pytest.mark.slow
@in_all_ways
def test_the_text_of_a_file_is_found_with_its_page(client: Any) -> object:
    upload = client.upload_file(b"Vacation takes thirty days.", "rules.txt")
    other = client.upload_file(b"Vacation of another kind.", "other.txt")
    assistant = client.create_assistant("clerk", file_ids=[upload.id])
    thread = client.create_thread()
    client.create_message(thread.id, (Text("Read it."), File(file_id=other.id)))
    wait_until_read(client, upload.id, other.id)

    hits = client.search_files("vacation", file_ids=[upload.id])
    hits_of_both = client.search_files("vacation", thread_id=thread.id, assistant_id=assistant.id)
    loose_hits = client.search_files("how many days of vacation are there")
    assert [(hit.file, hit.page) for hit in hits.data] == [("rules.txt", 1)]
    assert (hits_of_both.searched, hits_of_both.pending) == (2, 0)
    assert loose_hits.data[0].file == "rules.txt"
    files = client.list_files(thread_id=thread.id, assistant_id=assistant.id)
    assert {file.id for file in files.data} == {upload.id, other.id}
    return [
        hits,
        sorted(hit.file for hit in hits_of_both.data),
        client.list_files(assistant_id=assistant.id),
        client.list_pages(upload.id),
        client.list_pages(upload.id, page=1),
        client.list_pages(upload.id, page=2),
        client.update_assistant(assistant.id, file_ids=[]).file_ids,
        catch_error(lambda: client.list_pages(upload.id, after="x")),
        catch_error(lambda: client.list_pages("file_none")),
        catch_error(lambda: client.search_files("a", file_ids=["file_none"])),
        catch_error(lambda: client.search_files("a", thread_id="thread_none")),
        catch_error(lambda: client.search_files("a", assistant_id="asst_none")),
        catch_error(lambda: client.create_assistant("b", file_ids=["file_none"])),
        catch_error(lambda: client.update_assistant(assistant.id, file_ids=["file_none"])),
    ]


@in_all_ways
def test_a_page_of_a_pdf_has_a_picture(client: Any) -> object:
    upload = client.upload_file(make_pdf("Thirty days."), "rules.pdf", "application/pdf")
    text = client.upload_file(b"Thirty days.", "rules.txt")
    picture = client.get_page_picture(upload.id)

    assert picture.media_type == "image/webp"
    assert (picture.width, picture.height) == (1600, 800)
    assert picture.data[8:12] == b"WEBP"
    return [
        picture,
        catch_error(lambda: client.get_page_picture(upload.id, page=2)),
        catch_error(lambda: client.get_page_picture(text.id)),
        catch_error(lambda: client.get_page_picture("file_none")),
    ]


async def test_an_owner_has_few_pages_drawn_at_once() -> None:
    async with AsyncClient(settings=replace(SETTINGS, documents=True)) as client:
        upload = await client.upload_file(make_pdf("Thirty days."), "rules.pdf")
        results = await asyncio.gather(
            *(client.get_page_picture(upload.id) for _ in range(5)), return_exceptions=True
        )

    refusals = [each for each in results if isinstance(each, Exception)]
    assert [type(each) for each in refusals] == [TooMany]


def wait_until_read(client: Any, *file_ids: str) -> None:
    deadline = time.monotonic() + 120
    while any(client.get_file(each).document.status == "pending" for each in file_ids):
        assert time.monotonic() < deadline
        time.sleep(0.02)

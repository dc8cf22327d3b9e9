"""Attachments over the web: the server names and types uploads, and downloads cannot act."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse

from antiphon.web.http import plain_name
from tests.support.web.named import browser_of, many_may_come
from tests.support.web.visiting import Browser, Chat, open_chat

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16
JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 16
GIF = b"GIF89a" + b"\0" * 16
WEBP = b"RIFF\x10\0\0\0WEBPVP8 "
PAGE = b"<script>alert(1)</script>"


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with open_chat(max_upload=100_000) as chat:
        yield chat


@pytest.fixture
async def browser(chat: Chat) -> Browser:
    return await chat.browser().arrive()


async def send_file(
    browser: Browser, content: bytes, name: str = "a.bin", kind: str | None = None, **form: Any
) -> TestResponse:
    file = FileStorage(BytesIO(content), filename=name, content_type=kind)
    fields = {"file": file, **form}
    return await browser.open("POST", "/api/files", data=fields, buffered=True)


async def test_a_file_is_downloaded_as_it_was_uploaded(browser: Browser) -> None:
    upload = await send_file(browser, b"one, two", "numbers.csv", "text/csv")
    answer = await browser.get(f"/api/files/{upload.json['id']}")

    assert upload.status_code == 201
    assert upload.json == {
        "id": upload.json["id"],
        "name": "numbers.csv",
        "media_type": "text/csv",
        "size": 8,
    }
    assert answer.data == b"one, two"


@pytest.mark.parametrize("query", ["", "?inline=1"])
@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("a.html", "text/html", PAGE),
        ("a.png", "image/png", PAGE),
        ("a.svg", "image/svg+xml", b"<svg onload='alert(1)'/>"),
        ("a.pdf", "application/pdf", b"%PDF-1.7"),
        ("a.xhtml", "application/xhtml+xml", PAGE),
    ],
)
async def test_a_file_that_could_act_is_a_download_whatever_its_claimed_type(
    browser: Browser, query: str, name: str, kind: str, content: bytes
) -> None:
    upload = (await send_file(browser, content, name, kind)).json
    answer = await browser.get(f"/api/files/{upload['id']}{query}")

    assert answer.mimetype == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment") or query
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")],
)
async def test_a_picture_is_known_by_its_bytes_and_shown_where_that_is_asked(
    browser: Browser, content: bytes, kind: str
) -> None:
    upload = (await send_file(browser, content, "a.txt", "text/plain")).json
    inline = await browser.get(f"/api/files/{upload['id']}?inline=1")
    download = await browser.get(f"/api/files/{upload['id']}")

    assert upload["media_type"] == kind
    assert inline.mimetype == kind
    assert inline.headers["Content-Disposition"].startswith("inline")
    assert "sandbox" in inline.headers["Content-Security-Policy"]
    assert download.mimetype == "application/octet-stream"
    assert download.headers["Content-Disposition"].startswith("attachment")


async def test_a_file_that_only_claims_to_be_a_picture_is_not_called_one(browser: Browser) -> None:
    upload = await send_file(browser, PAGE, "a.png", "image/png")

    assert upload.json["media_type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\me\\notes.txt", "notes.txt"),
        ("..", "file"),
        ("...", "file"),
        ("", "file"),
        (".bashrc", "bashrc"),
        ("a\0b.txt", "a\ufffdb.txt"),
        ("a\r\nSet-Cookie: x=y.txt", "aSet-Cookie: x=y.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("zero\u200bwidth.txt", "zerowidth.txt"),
        ("half \ud83d.txt", "half \ufffd.txt"),
        ("Grüße.txt", "Grüße.txt"),
        ("日本.pdf", "日本.pdf"),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        ("x" * 300, "x" * 255),
    ],
)
def test_a_name_keeps_only_its_harmless_characters(name: str, expected: str) -> None:
    assert plain_name(name) == expected


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\\..\\b.txt", 'a"; filename="b.txt'])
async def test_a_name_never_leads_anywhere(browser: Browser, name: str) -> None:
    upload = (await send_file(browser, b"x", name)).json

    assert "/" not in upload["name"]
    assert "\\" not in upload["name"]
    assert (await browser.get(f"/api/files/{upload['id']}")).data == b"x"


async def test_a_name_in_other_scripts_is_sent_unchanged(browser: Browser, chat: Chat) -> None:
    upload = await chat.site.client.upload_file(b"x", 'Grüße "日本"; a=b.txt')
    answer = await browser.get(f"/api/files/{upload.id}")

    disposition = answer.headers["Content-Disposition"]
    assert disposition.isascii()
    assert (
        "filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%22%E6%97%A5%E6%9C%AC%22%3B%20a%3Db.txt" in disposition
    )


async def test_a_file_that_is_too_large_is_refused(browser: Browser) -> None:
    answer = await send_file(browser, b"x" * 100_001)

    assert answer.status_code == 413
    assert answer.json["expected"] == "at most 100000 bytes"
    assert (await send_file(browser, b"x" * 99_000)).status_code == 201


async def test_a_form_without_a_file_or_with_two_is_refused(browser: Browser) -> None:
    without_file = await browser.open(
        "POST",
        "/api/files",
        data={"file": "text"},
        buffered=True,
        content_type="multipart/form-data",
    )
    with_two_files = await browser.open(
        "POST",
        "/api/files",
        data={"file": [(BytesIO(b"a"), "a"), (BytesIO(b"b"), "b")]},
        buffered=True,
    )

    assert (without_file.status_code, with_two_files.status_code) == (422, 422)
    assert without_file.json["expected"] == "one field `file` with a filename"


@pytest.mark.parametrize("name", ["file_unknown", "..", "%2e%2e%2fetc", "a%00b", "a%0d%0ab"])
async def test_a_file_that_does_not_exist_is_not_found(browser: Browser, name: str) -> None:
    answer = await browser.get(f"/api/files/{name}")

    assert answer.status_code in (404, 422)
    assert answer.mimetype == "application/problem+json"


async def test_a_file_of_another_person_is_unknown() -> None:
    async with many_may_come() as chat:
        ann, bob = await browser_of(chat, "ann"), await browser_of(chat, "bob")
        upload = (await send_file(ann, PNG, "a.png")).json

        for query in ("", "?inline=1"):
            answer = await bob.get(f"/api/files/{upload['id']}{query}")
            assert (answer.status_code, answer.json["code"]) == (404, "not_found")
        assert (await ann.get(f"/api/files/{upload['id']}")).data == PNG

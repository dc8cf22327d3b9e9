"""Attachments: accepted names and types, and the headers of downloads."""

from __future__ import annotations

from urllib.parse import unquote

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.server.files import content_disposition
from tests.support.server.served import SETTINGS, Served

HTML = b"<script>alert(1)</script>"
EVIL_NAMES = [
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\boot.ini",
    "C:\\boot.ini",
    "a\0.txt",
    "a\r\nSet-Cookie: evil=1",
    "a\n.txt",
    "\u202etxt.exe",
    ".",
    "..",
    "",
    "   ",
    "a" * 256,
]


async def _form(
    client: httpx2.AsyncClient, name: str, content: bytes = b"hello"
) -> httpx2.Response:
    return await client.post("/v1/files", files={"file": (name, content, "text/plain")})


async def test_a_purpose_goes_with_a_form_and_with_a_raw_body(client: httpx2.AsyncClient) -> None:
    form = {"file": ("a.txt", b"hello", "text/plain")}
    by_form = await client.post("/v1/files", params={"purpose": "marks"}, files=form)
    by_body = await client.post(
        "/v1/files", params={"name": "b.txt", "purpose": "marks"}, content=b"x"
    )
    odd_purpose = await client.post(
        "/v1/files", params={"name": "c.txt", "purpose": "A B"}, content=b"x"
    )
    wrong_size = await client.post("/v1/files", params={"name": "d.txt", "size": "2"}, content=b"x")
    files = (await client.get("/v1/files", params={"purpose": "marks"})).json()["data"]

    assert (by_form.status_code, by_body.status_code) == (201, 201)
    assert [file["id"] for file in files] == [by_body.json()["id"], by_form.json()["id"]]
    assert (odd_purpose.status_code, wrong_size.status_code) == (422, 422)
    assert odd_purpose.json()["where"] == "purpose"


async def test_a_file_is_uploaded_by_form_and_comes_back_as_it_was(
    client: httpx2.AsyncClient,
) -> None:
    content = bytes(range(256)) * 10
    upload = await _form(client, "bytes.bin", content)
    file = upload.json()
    download = await client.get(f"/v1/files/{file['id']}/content")

    assert upload.status_code == 201
    assert (file["name"], file["size"], file["media_type"]) == ("bytes.bin", 2560, "text/plain")
    assert (await client.get(f"/v1/files/{file['id']}")).json() == file
    assert (await client.get("/v1/files")).json()["data"] == [file]
    assert download.content == content


async def test_a_file_is_uploaded_as_it_is_under_the_name_of_the_query(
    client: httpx2.AsyncClient,
) -> None:
    upload = await client.post(
        "/v1/files",
        params={"name": "notes.md"},
        content=b"# notes",
        headers={"content-type": "text/markdown; charset=utf-8"},
    )

    assert upload.status_code == 201
    assert (upload.json()["name"], upload.json()["media_type"]) == ("notes.md", "text/markdown")


async def test_an_upload_is_kept_once_per_idempotency_key(client: httpx2.AsyncClient) -> None:
    headers = {"idempotency-key": "once"}
    answers = [
        await client.post("/v1/files?name=a.txt", content=content, headers=headers)
        for content in (b"a", b"a", b"b")
    ]

    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotency-replayed"] == "true"


async def test_a_file_is_served_so_that_no_browser_runs_it(client: httpx2.AsyncClient) -> None:
    upload = await client.post(
        "/v1/files?name=page.html", content=HTML, headers={"content-type": "text/html"}
    )
    download = await client.get(f"/v1/files/{upload.json()['id']}/content")

    assert download.headers["content-disposition"].startswith("attachment;")
    assert download.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in download.headers["content-security-policy"]


@pytest.mark.parametrize("name", EVIL_NAMES)
async def test_what_is_no_name_is_refused(client: httpx2.AsyncClient, name: str) -> None:
    answer = await client.post("/v1/files", params={"name": name}, content=b"x")

    assert answer.status_code in (400, 422)
    assert answer.json()["code"] == "invalid_request"


@pytest.mark.parametrize(
    "disposition",
    [
        b'name="file"; filename="../../etc/passwd"',
        b'name="file"; filename="a\x00b"',
        b"name=\"file\"; filename*=UTF-8''..%2f..%2fpasswd",
        b'name="file"; filename=""',
        b'name="file"',
        b'name="other"; filename="a.txt"',
        b'filename="a.txt"',
        b"",
    ],
)
async def test_a_form_without_a_file_of_a_good_name_is_refused(
    client: httpx2.AsyncClient, disposition: bytes
) -> None:
    body = b"--b\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\nhello\r\n--b--\r\n"

    answer = await client.post(
        "/v1/files", content=body, headers={"content-type": "multipart/form-data; boundary=b"}
    )

    assert answer.status_code in (400, 422)
    assert (await client.get("/v1/files")).json()["data"] == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=" + "b" * 300, b"x"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"\x00" * 1000),
        ("multipart/form-data; boundary=b", b"--b\r\n" * 10_000),
        (
            "multipart/form-data; boundary=b",
            b"".join(
                b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n\r\n' % n
                for n in range(10_000)
            ),
        ),
        ("multipart/form-data; boundary=b", b"--b\r\nX: " + b"a" * 100_000),
    ],
)
async def test_a_form_that_is_none_is_refused(
    client: httpx2.AsyncClient, content_type: str, body: bytes
) -> None:
    answer = await client.post("/v1/files", content=body, headers={"content-type": content_type})

    assert answer.status_code in (400, 422)


async def test_two_files_in_one_form_are_refused(client: httpx2.AsyncClient) -> None:
    files = [("file", ("a.txt", b"a")), ("file", ("b.txt", b"b"))]

    assert (await client.post("/v1/files", files=files)).status_code == 400


async def test_a_file_above_the_limit_is_refused(client: httpx2.AsyncClient) -> None:
    assert (await _form(client, "big.bin", b"x" * SETTINGS.max_body)).status_code == 413


async def test_a_file_needs_a_name(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/v1/files", content=b"x")).status_code == 422
    assert (await client.post("/v1/files?name=a&b=c", content=b"x")).status_code == 422


@pytest.mark.parametrize(
    "media_type",
    ["text/html\r\nX-Evil: 1", "nonsense", "a/b/c", "text/h\u00e4", "", "a" * 300 + "/b"],
)
async def test_an_odd_media_type_becomes_plain_bytes(server: Served, media_type: str) -> None:
    upload = await server.runtime.dispatcher.files.upload("local", "a", media_type, b"x")
    download = await (await server.client()).get(f"/v1/files/{upload.value.id}/content")

    assert download.headers["content-type"] == "application/octet-stream"
    assert "x-evil" not in download.headers


@pytest.mark.parametrize(
    "name", ["a\r\nX-Evil: 1", 'a"; filename="b', "\u6a21\u578b.txt", "\ud800", "a\0b"]
)
async def test_a_name_cannot_break_out_of_its_header(server: Served, name: str) -> None:
    upload = await server.runtime.dispatcher.files.upload("local", name, "text/plain", b"x")
    download = await (await server.client()).get(f"/v1/files/{upload.value.id}/content")

    assert download.status_code == 200
    assert "x-evil" not in download.headers


@given(st.text())
def test_a_disposition_is_one_ascii_line_that_holds_the_name(name: str) -> None:
    value = content_disposition(name)
    plain, _, encoded = value.removeprefix('attachment; filename="').partition(
        "\"; filename*=UTF-8''"
    )

    assert value.isascii()
    assert value.isprintable()
    assert '"' not in plain
    assert "\\" not in plain
    assert unquote(encoded, errors="strict") == name.encode("utf-8", "replace").decode()

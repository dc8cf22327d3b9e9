"""Files that are made to do harm, or are broken: reading each of them ends, with a reason."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import docx
import openpyxl
import pytest

from antiphon.documents import process
from antiphon.documents.archives import open_office_archive
from antiphon.documents.kinds import Unreadable
from antiphon.documents.pages import MAX_PAGE_TEXT, MAX_PAGES, MAX_TEXT
from antiphon.documents.process import LINE_BYTES, DocumentReader, FileContent
from antiphon.documents.reader import ReadEnd
from antiphon.types.documents import PagePicture
from antiphon.types.errors import NotFound
from tests.support.documents import (
    BYTES,
    draw,
    make_epub,
    make_pdf,
    pack,
    pieces,
    read,
    repack,
    save,
)

pytestmark = pytest.mark.processes

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000)


def word() -> bytes:
    document = docx.Document()
    document.add_paragraph("Hello")
    return save(document)


def encrypted_zip() -> bytes:
    """Return an archive whose member says that it is encrypted."""
    content = bytearray(pack({"word/document.xml": "secret"}))
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        place = content.index(mark) + (6 if mark == b"PK\x03\x04" else 8)
        content[place] |= 1
    return bytes(content)


def nested_bomb() -> bytes:
    inner = pack({f"{number}.xml": b"0" * 20_000_000 for number in range(3)})
    return repack(word(), {"word/embeddings/inner.zip": inner})


LAUGHS = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'
READS_A_FILE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bomb.docx", pack({"word/document.xml": b"0" * 50_000_000}), "unsafe"),
        ("bomb.xlsx", pack({f"{number}.xml": b"0" * 200_000 for number in range(500)}), "unsafe"),
        ("many.docx", pack({str(number): "" for number in range(20_001)}), "unsafe"),
        ("laughs.docx", repack(word(), {"word/document.xml": LAUGHS}), "unsafe"),
        ("reads.docx", repack(word(), {"word/document.xml": READS_A_FILE}), "unsafe"),
        (
            "sixteen.docx",
            repack(word(), {"word/document.xml": READS_A_FILE.encode("utf-16")}),
            "unsafe",
        ),
        ("reads.epub", make_epub({"a.xhtml": "<p>a</p>"}, **{"OEBPS/book.opf": LAUGHS}), "unsafe"),
        ("secret.docx", encrypted_zip(), "encrypted"),
        ("secret.docx", OLE, "encrypted"),
        ("old.doc", OLE, "unsupported"),
        ("movie.mp4", b"\0\0\0\x18ftypmp42", "unsupported"),
        ("files.zip", pack({"a.txt": "a"}), "unsupported"),
        ("wrong.pdf", b"Just text.", "wrong_type"),
        ("wrong.docx", make_pdf("a"), "wrong_type"),
        ("wrong.txt", make_pdf("a"), "wrong_type"),
        ("wrong.png", b"MZ\x90\x00", "wrong_type"),
        ("other.docx", pack({"a.txt": "a"}), "damaged"),
        ("half.docx", word()[:-400], "damaged"),
        ("half.pdf", b"%PDF-1.7\n1 0 obj <<", "damaged"),
        ("broken.epub", pack({"mimetype": "application/epub+zip"}), "damaged"),
        ("blank.pdf", make_pdf("", ""), "empty"),
        ("blank.txt", b"", "empty"),
        ("blank.txt", b" \n\n ", "empty"),
    ],
)
async def test_a_file_that_cannot_be_read_has_a_reason(
    name: str, content: bytes, reason: str
) -> None:
    _, end = await read(name, content)
    assert end.reason == reason


async def test_an_encrypted_pdf_says_so() -> None:
    # The passwords are not those of anybody: no key of the file fits them.
    content = make_pdf("secret").replace(
        b"/Root 1 0 R",
        b"/Root 1 0 R /ID [<00> <00>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -1 /O <"
        + b"00" * 32
        + b"> /U <"
        + b"11" * 32
        + b"> >>",
    )
    _, end = await read("a.pdf", content)
    assert end.reason == "encrypted"


@pytest.mark.parametrize("name", ["word/document2.bin", "extra", "word/a.XML", "xl/vba.vml"])
@pytest.mark.parametrize(
    "content",
    [
        READS_A_FILE.encode(),
        b"\xef\xbb\xbf \r\n\t" + READS_A_FILE.encode(),
        (" " * 1_500_000 + READS_A_FILE).encode("utf-16"),
        READS_A_FILE.encode("utf-16-be"),
        READS_A_FILE.encode("utf-32"),
    ],
    ids=["plain", "utf-8-sig", "late", "utf-16-be", "utf-32"],
)
def test_xml_of_any_name_in_an_office_file_declares_nothing(name: str, content: bytes) -> None:
    with pytest.raises(Unreadable) as excinfo:
        open_office_archive(repack(word(), {name: content}))
    assert excinfo.value.reason == "unsafe"


def test_a_picture_in_an_office_file_may_hold_any_bytes() -> None:
    picture = b"\x89PNG\r\n\x1a\n" + READS_A_FILE.encode()
    open_office_archive(repack(word(), {"word/media/a.png": picture})).close()


async def test_archives_in_a_document_stay_closed() -> None:
    pages, end = await read("a.docx", nested_bomb())
    assert [page.text for page in pages] == ["Hello"]
    assert end == ReadEnd()


async def test_of_ten_thousand_pages_the_first_are_kept() -> None:
    pages, end = await read("a.pdf", make_pdf(*(f"page {n}" for n in range(1, 10_001))))
    assert len(pages) == MAX_PAGES
    assert pages[-1].text == f"page {MAX_PAGES}"
    assert end == ReadEnd(cut=True)


async def test_of_a_sheet_without_end_the_first_pages_are_kept() -> None:
    workbook = openpyxl.Workbook(write_only=True)
    sheet = workbook.create_sheet("Long")
    for number in range(30_000):
        sheet.append([number, "x" * 200])
    pages, end = await read("a.xlsx", save(workbook))
    assert 500 < len(pages) <= MAX_PAGES
    assert end == ReadEnd()


async def test_a_parser_without_end_is_killed_at_its_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_instead(monkeypatch, "import time\nwhile True: pass")
    start = time.monotonic()
    assert await read("a.txt", b"a", reader=DocumentReader(1)) == ([], ReadEnd("too_slow"))
    assert time.monotonic() - start < 60


async def test_a_reader_that_closes_its_output_and_goes_on_is_killed_at_its_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_instead(monkeypatch, "import os\nos.close(1)\nwhile True: pass")
    async with asyncio.timeout(60):
        assert await read("a.txt", b"a", reader=DocumentReader(1)) == ([], ReadEnd("too_slow"))


async def test_a_process_that_leaves_the_group_with_the_output_delays_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_instead(
        monkeypatch,
        "import subprocess, json\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "page = {'number': 1, 'title': '', 'text': str(child.pid)}\n"
        "print(json.dumps({'page': page}), flush=True)\n"
        "print('{\"end\": {}}', flush=True)",
    )
    async with asyncio.timeout(60):
        pages, end = await read("a.txt", b"a")
    os.kill(int(pages[0].text), signal.SIGKILL)
    assert end == ReadEnd()


async def test_a_reading_ends_while_the_process_still_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sign_file = tmp_path / "signs"
    sign_file.touch()
    line = "json.dumps({'page': {'number': n, 'title': '', 'text': 'x' * 20_000}})"
    run_instead(
        monkeypatch,
        f"import json\nsigns = open({str(sign_file)!r}, 'ab', buffering=0)\n"
        f"for n in range(1, 1_000):\n    signs.write(b'.')\n    print({line}, flush=True)",
    )
    reading = DocumentReader(60).read(FileContent("a.txt", BYTES, pieces(b"a")))
    async with asyncio.timeout(60):
        await anext(reading)
        while sign_file.stat().st_size < 2 * LINE_BYTES // 20_000:  # its output fills the buffer
            await asyncio.sleep(0)
        await reading.aclose()


async def test_a_file_that_is_gone_ends_its_reading_at_once() -> None:
    async def raise_not_found() -> AsyncIterator[bytes]:
        yield b"a"
        raise NotFound("The file is gone.")

    reading = DocumentReader(600).read(FileContent("a.txt", BYTES, raise_not_found()))
    with pytest.raises(NotFound):
        await asyncio.wait_for(anext(reading), 60)


async def test_what_a_reader_starts_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run_instead(
        monkeypatch,
        "import os, subprocess, sys, json\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "page = {'number': 1, 'title': '', 'text': str(child.pid)}\n"
        "print(json.dumps({'page': page}), flush=True)\n"
        "while True: pass",
    )
    pages, end = await read("a.txt", b"a", reader=DocumentReader(5))
    assert end == ReadEnd("too_slow")
    child = int(pages[0].text)
    async with asyncio.timeout(60):
        while is_alive(child):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "output",
    [
        "'x' * 5_000_000",
        "'[]'",
        """'{"page": {"number": 7, "title": "", "text": "a"}}'""",
        """'{"page": {"number": "one", "text": "a"}}'""",
        "''",
    ],
)
async def test_a_reader_that_writes_what_it_must_not_ends_the_document(
    monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    run_instead(monkeypatch, f"print({output})")
    assert await read("a.txt", b"a") == ([], ReadEnd("damaged"))


@pytest.mark.parametrize(
    "picture",
    [
        {"data": "UklGRgQAAABXRUJQ", "width": 1, "height": 2_001},
        {"data": "UklGRgUAAABXRUJQ", "width": 1, "height": 1},
        {"data": "PHN2Zz4gIDwvc3ZnPg==", "width": 1, "height": 1},
        {"data": "UklGRgQAAABXRUJQ", "width": 1, "height": 1, "media_type": "image/svg+xml"},
    ],
)
async def test_a_reader_that_draws_what_is_no_picture_of_a_page_ends_the_document(
    monkeypatch: pytest.MonkeyPatch, picture: dict[str, object]
) -> None:
    run_instead(monkeypatch, f"import json\nprint(json.dumps({{'picture': {picture!r}}}))")
    assert await draw("a.pdf", b"%PDF-", 1) == "damaged"


async def test_a_picture_of_a_page_passes_the_same_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = {"data": "UklGRgQAAABXRUJQ", "width": 1, "height": 2_000}
    run_instead(monkeypatch, f"import json\nprint(json.dumps({{'picture': {picture!r}}}))")
    expected_picture = PagePicture(width=1, height=2_000, data=b"RIFF\4\0\0\0WEBP")
    assert await draw("a.pdf", b"%PDF-", 1) == expected_picture


@pytest.mark.parametrize(
    ("length", "page_count"),
    [(MAX_PAGE_TEXT + 1, 0), (MAX_PAGE_TEXT, MAX_TEXT // MAX_PAGE_TEXT)],
)
async def test_a_reader_that_writes_more_text_than_is_kept_ends_the_document(
    monkeypatch: pytest.MonkeyPatch, length: int, page_count: int
) -> None:
    run_instead(
        monkeypatch,
        "import json\n"
        f"for number in range(1, {page_count + 2}):\n"
        f"    page = {{'number': number, 'title': '', 'text': 'x' * {length}}}\n"
        "    print(json.dumps({'page': page}))\n"
        "print('{\"end\": {}}')",
    )
    pages, end = await read("a.txt", b"a")
    assert (len(pages), end) == (page_count, ReadEnd("damaged"))


async def test_what_a_reader_writes_is_cleaned_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    text = r'{"page": {"number": 1, "title": "a\u0000\nb", "text": "\u001b[2Jx"}}'
    run_instead(monkeypatch, f"print({text!r}); print('{{\"end\": {{}}}}')")
    pages, end = await read("a.txt", b"a")
    assert [(page.title, page.text) for page in pages] == [("a b", "[2Jx")]
    assert end == ReadEnd()


async def test_a_reader_has_nothing_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    run_instead(
        monkeypatch,
        "import os, json, socket\n"
        "from antiphon.isolated_process import limit_process\n"
        "from antiphon.documents.reader import MEMORY\n"
        "limit_process(60, MEMORY)\n"
        "import resource\n"
        "def tries(work):\n"
        "    try:\n"
        "        work()\n"
        "    except Exception as fault:\n"
        "        return type(fault).__name__\n"
        "    return 'done'\n"
        "def fill():\n"
        "    with open(os.memfd_create('file'), 'wb') as file:\n"
        "        file.write(b'x')\n"
        "facts = [sorted(os.environ), os.listdir('.'), tries(fill),\n"
        "         tries(lambda: bytearray(3_000_000_000))]\n"
        "page = {'number': 1, 'title': '', 'text': json.dumps(facts)}\n"
        "print(json.dumps({'page': page})); print('{\"end\": {}}')",
    )
    pages, _ = await read("a.txt", b"a")
    environment, files, writing, memory = json.loads(pages[0].text)
    assert set(environment) <= {"LANG", "OMP_THREAD_LIMIT", "TESSDATA_PREFIX", "LC_CTYPE"}
    assert (files, writing, memory) == ([], "OSError", "MemoryError")


def run_instead(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Let the process run this after it has read the request and the file."""
    program = f"import sys\nsys.stdin.buffer.read()\n{source}"
    monkeypatch.setattr(process, "PROGRAM", (sys.executable, "-I", "-c", program))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:  # a process that nobody waits for stays in the list
        return file.read().rpartition(")")[2].split()[0] != "Z"

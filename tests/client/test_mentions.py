"""Files that a message names: mentions, files that are read, and files that are not sent."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import AsyncClient
from antiphon.client.mentions import (
    MAX_TEXT_BYTES,
    MAX_UPLOAD_BYTES,
    PreparedMessage,
    classify_file,
    fence_file,
    find_mentions,
    find_resources,
    format_mention,
    prepare_message,
    upload_attachments,
)
from antiphon.settings.settings import Settings
from antiphon.types.errors import AntiphonError, InvalidRequest, TooLarge
from antiphon.types.messages import File, Image, Text

SETTINGS = Settings(model="demo", database="memory:", demo_delay=0)
PNG = b"\x89PNG\r\n\x1a\n\0\0"
ODD_TEXTS = st.text(st.sampled_from('@\\"ab.:/ \n(')) | st.text(
    st.characters(exclude_characters="[{<'")
)
NAMES = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1)


def paths(text: str) -> list[str]:
    return [each.path for each in find_mentions(text).mentions]


# Mentions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@notes.txt", ["notes.txt"]),
        ("look at @notes.txt, and (@src/a.py).", ["notes.txt", "src/a.py"]),
        ("is it @notes.txt?", ["notes.txt"]),
        ('see @"my notes.txt" now', ["my notes.txt"]),
        (r'@"a \"b\" \\ c"', [r'a "b" \ c']),
        ("@~/notes @./a @../b", ["~/notes", "./a", "../b"]),
        ("line\n@a.md\tand\n@b.md", ["a.md", "b.md"]),
        ("mail ann@example.org", []),
        ("see @git:repo://x/HEAD", []),
        (r"@C:\notes.txt", [r"C:\notes.txt"]),
        (r"no \@notes.txt", []),
        ("@ alone, @, and @@", []),
        ('@"never closed', []),
        ("run `@cached` there", []),
    ],
)
def test_a_mention_begins_a_word(text: str, expected: list[str]) -> None:
    assert paths(text) == expected


def test_an_escape_is_an_at_sign_where_a_mention_could_stand_and_nowhere_else() -> None:
    assert find_mentions(r"\@a.txt and x\@y").text == r"@a.txt and x\@y"


@given(ODD_TEXTS)
def test_a_text_stays_as_it_is_but_for_its_escapes(text: str) -> None:
    unquoted = text.replace('"', "")

    assert find_mentions(unquoted).text == re.sub(r"(?<![^\s(])\\@", "@", unquoted)


@given(ODD_TEXTS)
def test_a_mention_is_where_it_says(text: str) -> None:
    message = find_mentions(text)

    for each in message.mentions:
        assert text[each.start] == "@"
        assert each.quoted or text[each.start + 1 : each.end] == each.path


@given(NAMES)
def test_a_path_that_is_written_as_a_mention_is_read_as_that_path(path: str) -> None:
    assert paths(f"({format_mention(path)} is it)") == [path]


# Files that are read


def test_text_comes_with_its_name_in_a_fence_that_it_cannot_end(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("```\ncode\n````")

    (file,) = prepare_message("Sum up @a.md", folder=tmp_path).files

    assert (file.name, file.kind) == ("a.md", "text")
    assert (
        fence_file(file.name, file.content.decode())
        == "\n\nThe file a.md:\n\n`````\n```\ncode\n````\n`````\n"
    )


@given(st.text())
def test_nothing_in_a_file_ends_its_fence(text: str) -> None:
    block = fence_file("a", text)

    fence = block.rstrip("\n").rpartition("\n")[2]
    assert block.count(fence) == 2


@pytest.mark.parametrize(
    ("content", "kind", "media_type"),
    [
        (PNG, "image", "image/png"),
        (b"\xff\xd8\xff\xe0\0", "image", "image/jpeg"),
        (b"GIF89a\0", "image", "image/gif"),
        (b"RIFF\0\n\0\0WEBPVP8 ", "image", "image/webp"),
        (b"%PDF-1.7\n\0", "file", "application/pdf"),
    ],
)
def test_pictures_and_pdfs_are_known_by_how_they_begin(
    tmp_path: Path, content: bytes, kind: str, media_type: str
) -> None:
    (tmp_path / "thing.txt").write_bytes(content)

    (file,) = prepare_message("@thing.txt", folder=tmp_path).files

    assert (file.kind, file.media_type, file.content) == (kind, media_type, content)


@pytest.mark.parametrize(
    "content", ["né\n".encode(), "\ufeffné\n".encode(), "né\n".encode("utf-16")]
)
def test_text_may_have_a_mark_of_its_byte_order(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)

    (file,) = prepare_message("@a.txt", folder=tmp_path).files

    assert file.content.decode() == "né\n"


@pytest.mark.parametrize(
    "text",
    [
        "hello @ann",
        "@types/node is old",
        "@v1.2",
        "@pytest.mark.asyncio",
        "@app.task",
        '@app.get("/")',
        "@ann.",
    ],
)
def test_a_word_that_no_file_is_called_stays_a_word(tmp_path: Path, text: str) -> None:
    assert prepare_message(text, folder=tmp_path) == PreparedMessage(text)


def test_a_word_that_a_file_is_called_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n")

    assert [each.name for each in prepare_message("see @Makefile", folder=tmp_path).files] == [
        "Makefile"
    ]


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")

    assert len(prepare_message("@a.txt @a.txt", ["a.txt"], folder=tmp_path).files) == 1


# Files that are not sent


def catch_error(text: str, folder: Path, kind: type[AntiphonError] = InvalidRequest) -> str:
    with pytest.raises(kind) as refusal:
        prepare_message(text, folder=folder)
    return refusal.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@missing.txt", "there is no file missing.txt"),
        ('@"ann"', "there is no file ann"),
        ("@./ann", "there is no file ./ann"),
        ("@a.txt/b.txt", "there is no file a.txt/b.txt"),
        ("@folder", "folder is a folder"),
        ("@binary.bin", "binary.bin is neither text"),
        ("@nul.txt", "nul.txt is neither text"),
        ("@pipe.txt", "pipe.txt is a pipe"),
        ('@"\x1b[2J.txt"', "there is no file \u241b[2J.txt"),
        ('@"a\0.txt"', "there is no file a\u2400.txt"),
        (f"@{'x' * 300}.txt", "xxx.txt cannot be read"),
        ("@/proc/self/status", "belongs to the system"),
        ("@/dev/zero", "belongs to the system"),
    ],
)
def test_what_cannot_be_read_is_said_and_nothing_is_sent(
    tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary.bin").write_bytes(b"\xff\xfa\x80")
    (tmp_path / "nul.txt").write_bytes(b"a\0b")
    os.mkfifo(tmp_path / "pipe.txt")

    assert expected in catch_error(text, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        *(".env", ".env.local", ".envrc", "sub/.ENV", ".ssh/config", ".aws/config", ".netrc"),
        *("id_rsa", "id_ed25519", ".npmrc", "credentials.json", ".git-credentials"),
    ],
)
def test_where_secrets_are_kept_nothing_is_read(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("SECRET=1")

    error = catch_error(f"@{name}", tmp_path)

    assert "is not sent: " in error
    assert "keys and" in error


@pytest.mark.parametrize("name", [".env.example", "id_rsa.pub", "environment.py", "id_rsa.md"])
def test_what_only_sounds_like_a_secret_is_sent(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("harmless")

    assert len(prepare_message(f"@{name}", folder=tmp_path).files) == 1


def test_a_link_to_a_secret_is_one(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET=1")
    (tmp_path / "notes.txt").symlink_to(".env")

    assert "notes.txt is not sent" in catch_error("@notes.txt", tmp_path)


@pytest.mark.parametrize("kind", ["", "RSA ", "OPENSSH ", "ENCRYPTED "])
def test_a_private_key_is_known_by_its_first_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.txt").write_text(f"key: |\n  -----BEGIN {kind}PRIVATE KEY-----\n  abc\n")

    assert catch_error("@a.txt", tmp_path) == "a.txt is not sent: it holds a private key"


def test_what_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(MAX_UPLOAD_BYTES + 1)
    (tmp_path / "long.txt").write_text("x" * (MAX_TEXT_BYTES + 1))

    assert "huge.txt is too large" in catch_error("@huge.txt", tmp_path, TooLarge)
    assert "long.txt is too large" in catch_error("@long.txt", tmp_path, TooLarge)


# Files that are sent


async def test_pictures_and_pdfs_are_uploaded_and_text_is_part_of_the_message(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.png").write_bytes(PNG)
    (tmp_path / "c.pdf").write_bytes(b"%PDF-1.7")
    prepared_message = prepare_message("@a.txt @b.png @c.pdf", folder=tmp_path)

    async with AsyncClient(settings=SETTINGS) as client:
        parts = await upload_attachments(client, prepared_message)
        message, text, picture, pdf = parts
        uploads = [await client.get_file(each.file_id or "") for each in (picture, pdf)]

    assert message == Text("@a.txt @b.png @c.pdf")
    assert text == Text("\n\nThe file a.txt:\n\n```\na\n```\n")
    assert (type(picture), type(pdf)) == (Image, File)
    assert [(each.name, each.media_type) for each in uploads] == [
        ("b.png", "image/png"),
        ("c.pdf", "application/pdf"),
    ]


async def test_without_files_a_message_is_its_text() -> None:
    async with AsyncClient(settings=SETTINGS) as client:
        assert await upload_attachments(client, prepare_message("hello")) == "hello"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sum up @docs:note://all, please", [("docs", "note://all")]),
        ("(@docs:a@b) and @docs:a@b.", [("docs", "a@b")]),
        (r"\@docs:x me@docs:y @notes.txt", []),
        (r"@C:\notes.txt @c:/notes.txt", []),
    ],
)
def test_resources_of_servers_are_found_by_their_colon(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert [(each.server, each.uri) for each in find_resources(text)] == expected


def test_documents_of_office_are_known_by_their_name_and_beginning() -> None:
    archive = b"PK\x03\x04rest"
    media_type = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    file = classify_file("Rules.DOCX", archive)

    assert (file.kind, file.media_type, file.content) == ("file", media_type, archive)
    assert classify_file("book.epub", archive).media_type == "application/epub+zip"
    assert classify_file("rules.docx", b"plain words").kind == "text"

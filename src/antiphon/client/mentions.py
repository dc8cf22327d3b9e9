"""Files mentioned in a message: `@notes.txt`, `@"my notes.txt"`.

A mention begins a word. `\\@` is a plain at sign; `@server:uri` is a resource of an MCP server, and
an e-mail address has text before its at sign. Only text that a person typed is searched: text from
a pipe or from a model opens no files.
"""

from __future__ import annotations

import mimetypes
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Literal, Protocol

import msgspec

from antiphon.types.errors import InvalidRequest, TooLarge
from antiphon.types.messages import File, Image, Part, Text, Upload
from antiphon.types.terminal_safe import one_line

MAX_TEXT_BYTES = 1_000_000  # a quarter of a million tokens: more than most models take
MAX_UPLOAD_BYTES = 49_900_000  # a server takes 50 MB with the form around it
MAX_FILES = 100


class Mention(msgspec.Struct, frozen=True):
    """A path in a text, from `start` to `end`; a `quoted` one always means a file."""

    path: str
    start: int
    end: int
    quoted: bool = False


class MentionedText(msgspec.Struct, frozen=True):
    """A text to send, with its escapes removed, and its mentions.

    The positions of `mentions` refer to the text before the escapes were removed.
    """

    text: str
    mentions: tuple[Mention, ...] = ()


class ResourceReference(msgspec.Struct, frozen=True):
    """A resource of an MCP server: the server's name and the resource's URI."""

    server: str
    uri: str


class AttachedFile(msgspec.Struct, frozen=True):
    """A file that was read: its name as it was given, and the kind and type of its bytes."""

    name: str
    kind: Literal["text", "image", "file"]
    media_type: str
    content: bytes


class PreparedMessage(msgspec.Struct, frozen=True):
    """A message to send, with the contents of its files."""

    text: str
    files: tuple[AttachedFile, ...] = ()


class Uploads(Protocol):
    """The part of a client that uploads files."""

    async def upload_file(
        self, source: bytes, name: str | None = None, media_type: str | None = None
    ) -> Upload:
        """Upload the bytes."""
        ...


def find_mentions(text: str) -> MentionedText:
    """Return the mentions in a text. A mention that matches no file may be a plain word."""
    parts: list[str] = []
    mentions: list[Mention] = []
    place = 0
    for found in _MARKED.finditer(text):
        if found["escaped"]:
            parts += text[place : found.start()], "@"
            place = found.end()
        elif (mention := _mention(found)) is not None:
            mentions.append(mention)
    return MentionedText("".join((*parts, text[place:])), tuple(mentions))


def find_resources(text: str) -> Sequence[ResourceReference]:
    """Return the MCP resources that the text mentions, each once; their servers may not exist."""
    named = (found[1].rstrip(_BEHIND) for found in _WITH_A_COLON.finditer(text))
    return list(dict.fromkeys(each for name in named if (each := parse_resource(name)) is not None))


def parse_resource(name: str) -> ResourceReference | None:
    """Parse `server:uri`; return None if it may be a path."""
    found = _RESOURCE.fullmatch(name)
    return ResourceReference(found["server"], found["uri"]) if found else None


def format_mention(path: str) -> str:
    """Return the path as a mention, quoted where needed."""
    bare = find_mentions(f"@{path}").mentions
    if len(bare) == 1 and bare[0].path == path and not bare[0].quoted:
        return f"@{path}"
    return '@"{}"'.format(re.sub(r'(["\\])', r"\\\1", path))


def prepare_message(
    text: str, paths: Sequence[str] = (), *, folder: Path | None = None
) -> PreparedMessage:
    """Read the files that the text mentions, then those at `paths`, each once.

    Paths are relative to `folder`, by default the current one. Raises `InvalidRequest` and
    `TooLarge` for the first file that cannot be sent.
    """
    base = folder or Path()
    found = find_mentions(text)
    names = [each.path for each in found.mentions if each.quoted or _is_meant(each.path, base)]
    names = list(dict.fromkeys((*names, *paths)))
    if len(names) > MAX_FILES:
        raise TooLarge(
            "a message cannot carry so many files",
            expected=f"at most {MAX_FILES}",
            received=str(len(names)),
        )
    return PreparedMessage(found.text, tuple(read_file(name, base) for name in names))


def read_file(name: str, folder: Path | None = None) -> AttachedFile:
    """Return the file of this name.

    Raises `InvalidRequest` and `TooLarge`, before reading if the name or the size is the reason.
    """
    path = _resolve_path(name, folder or Path())
    _check_not_secret(name, path)
    return classify_file(name, _read_bytes(name, path))


def is_picture_or_pdf(content: bytes) -> bool:
    """Return whether the bytes begin with the signature of a picture or a PDF."""
    return any(begins.match(content) for begins, _, _ in _KINDS)


def classify_file(name: str, content: bytes) -> AttachedFile:
    """Return the bytes as a picture, document or text. Raises `InvalidRequest` and `TooLarge`."""
    archive = _ARCHIVES.get(PurePath(name).suffix.lower())
    if archive is not None and content.startswith(b"PK\x03\x04"):
        return AttachedFile(name, "file", archive, content)
    for begins, kind, media_type in _KINDS:
        if begins.match(content):
            return AttachedFile(name, kind, media_type, content)
    text = _decode_text(name, content)
    if len(content) > MAX_TEXT_BYTES:
        raise _too_large_error(name, len(content), MAX_TEXT_BYTES, "text")
    if _PRIVATE_KEY.search(text):
        raise _secret_error(name, "it holds a private key")
    return AttachedFile(name, "text", "text/plain", text.encode())


async def upload_attachments(client: Uploads, message: PreparedMessage) -> str | tuple[Part, ...]:
    """Return the content to send: texts inline, others as uploads of the client."""
    if not message.files:
        return message.text
    parts: list[Part] = [Text(message.text)] if message.text else []
    for file in message.files:
        if file.kind == "text":
            parts.append(Text(fence_file(file.name, file.content.decode())))
            continue
        name = PurePath(file.name).name
        upload = await client.upload_file(file.content, name, file.media_type)
        parts.append(Image(file_id=upload.id) if file.kind == "image" else File(upload.id))
    return tuple(parts)


def fence_file(name: str, text: str) -> str:
    """Return a file's text for a model: its name, then the text in a fence that it cannot close.

    It begins with a blank line, because the texts of a message are joined.
    """
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    end = "" if text.endswith("\n") or not text else "\n"
    return f"\n\nThe file {one_line(name)}:\n\n{fence}\n{text}{end}{fence}\n"


# Syntax of mentions.

MENTION_START = r"""(?<![^\s(\[{<"'])"""
"""A mention begins a word, also inside brackets or quotes."""

_MARKED = re.compile(
    rf"""
    {MENTION_START}
    (?: (?P<escaped>\\@)
      | @"(?P<quoted>(?:[^"\\\n]|\\["\\])+)"
      | @(?P<bare>[^\s"'@`|<>]+)
    )
    """,
    re.VERBOSE,
)
_BEHIND = ".,;:!?)]}"
"""Characters that end a sentence or a bracket; a name does not end with them."""

_RESOURCE = re.compile(r"(?P<server>[\w-]{2,}|[\w-](?!:[\\/])):(?P<uri>.+)", re.DOTALL)
"""`server:uri`; one letter before `:\\` is a drive."""
_WITH_A_COLON = re.compile(MENTION_START + r"""@([^\s"'`|<>:]+:[^\s"'`|<>]+)""")


def _mention(found: re.Match[str]) -> Mention | None:
    if found["quoted"] is not None:
        path = re.sub(r"\\(.)", r"\1", found["quoted"])
        return Mention(path, found.start(), found.end(), quoted=True)
    path = found["bare"].rstrip(_BEHIND)
    if not path or _RESOURCE.match(path):
        return None
    return Mention(path, found.start(), found.start() + 1 + len(path))


def _is_meant(name: str, folder: Path) -> bool:
    """Return whether the name means a file, not a person, package or decorator."""
    if name.startswith(("/", "./", "../", "~/")):
        return True
    suffix = PurePath(name).suffix.lower()
    if _SUFFIX.fullmatch(suffix) or mimetypes.guess_type(f"x{suffix}")[0] is not None:
        return True
    try:
        return _resolve_path(name, folder).exists()
    except (OSError, ValueError):  # a name that is too long or has invalid characters
        return False


_SUFFIX = re.compile(
    r"\.(?:bat|c|cc|cfg|conf|cpp|cs|env|gitignore|go|gradle|h|hpp|ini|ipynb|java|jsonl|jsx|kt|lock"
    r"|log|lua|md|nix|php|pl|proto|r|rb|rs|rst|scala|sh|sql|swift|tex|tf|toml|ts|tsx|vue|ya?ml|zig)"
)
"""Suffixes that `mimetypes` does not always know. `@app.task` is a decorator, `@v1.2` no file."""


def _resolve_path(name: str, folder: Path) -> Path:
    try:
        return folder / Path(name).expanduser()
    except RuntimeError as error:  # `~name` of an unknown user
        raise InvalidRequest(f"there is no file {one_line(name)}") from error


# Secrets, which are not sent.

_SECRET_FOLDERS = frozenset({".ssh", ".aws", ".azure", ".gnupg", ".kube", ".password-store"})
_SECRET_FILES = re.compile(
    r"\.env(?:rc|\..+)?|id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?|\.netrc|_netrc|\.pgpass|\.my\.cnf"
    r"|\.npmrc|\.pypirc|\.git-credentials|\.htpasswd|(?:application_default_)?credentials(?:\.json)?"
)
_HARMLESS = re.compile(r".*\.(?:example|sample|template|dist)|.*\.pub")
_OF_THE_SYSTEM = ("/proc/", "/sys/", "/dev/")
_PRIVATE_KEY = re.compile(
    r"^[ \t]*-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----", re.MULTILINE
)


def _check_not_secret(name: str, path: Path) -> None:
    """Check the path as it was given, and the path to which its links lead."""
    try:
        places = (Path(os.path.abspath(path)), path.resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidRequest(f"there is no file {one_line(name)}") from error
    for place in places:
        if why := _why_secret(place):
            raise _secret_error(name, why)
        if place.as_posix().startswith(_OF_THE_SYSTEM):
            raise InvalidRequest(
                f"{one_line(name)} is not sent: it belongs to the system and is no file of yours",
                hint="pipe in what is needed of it",
            )


def _why_secret(place: Path) -> str:
    *folders, own = (part.lower() for part in place.parts)
    if kept := next((folder for folder in folders if folder in _SECRET_FOLDERS), None):
        return f"keys and logins are stored in {kept}"
    if _SECRET_FILES.fullmatch(own) and not _HARMLESS.fullmatch(own):
        return "files of this name contain keys and passwords"
    return ""


def _secret_error(name: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"{one_line(name)} is not sent: {why}",
        hint="copy what is needed of it, without the secrets, into the message or a file of"
        " another name",
    )


# Contents.

_KINDS: tuple[tuple[re.Pattern[bytes], Literal["image", "file"], str], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image", "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image", "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image", "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image", "image/webp"),
    (re.compile(rb"%PDF-"), "file", "application/pdf"),
)
"""Signatures at the beginning of files. Names are not used: they may be wrong."""

_OFFICE = "application/vnd.openxmlformats-officedocument."
_ARCHIVES = {
    ".docx": f"{_OFFICE}wordprocessingml.document",
    ".xlsx": f"{_OFFICE}spreadsheetml.sheet",
    ".pptx": f"{_OFFICE}presentationml.presentation",
    ".epub": "application/epub+zip",
}
"""Documents that are archives, whose signature does not say which they are."""


def _read_bytes(name: str, path: Path) -> bytes:
    try:
        # Do not block on a pipe without a writer.
        descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
        with os.fdopen(descriptor, "rb") as file:
            _check_readable(name, os.fstat(descriptor))
            content = file.read(MAX_UPLOAD_BYTES + 1)
    except OSError as error:
        raise _unreadable_error(name, path, error) from error
    except ValueError as error:  # a name with a NUL in it
        raise InvalidRequest(f"there is no file {one_line(name)}") from error
    if len(content) > MAX_UPLOAD_BYTES:
        raise _too_large_error(name, len(content), MAX_UPLOAD_BYTES, "a file")
    return content


_AT_ONCE: int = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def _check_readable(name: str, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise _folder_error(name)
    if not stat.S_ISREG(found.st_mode):
        raise InvalidRequest(
            f"{one_line(name)} is a pipe or a device, and no file",
            hint="pipe it in instead: < FILE",
        )
    if found.st_size > MAX_UPLOAD_BYTES:
        raise _too_large_error(name, found.st_size, MAX_UPLOAD_BYTES, "a file")


def _unreadable_error(name: str, path: Path, error: OSError) -> InvalidRequest:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return InvalidRequest(
                f"there is no file {one_line(name)} in {path.absolute().parent}",
                hint=r"if no file is meant, \@ is an at sign",
            )
        case IsADirectoryError():
            return _folder_error(name)
        case PermissionError() if path.is_dir():  # on Windows, a folder is reported so
            return _folder_error(name)
        case _:
            return InvalidRequest(f"{one_line(name)} cannot be read: {error.strerror}")


def _folder_error(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"{one_line(name)} is a folder",
        expected="a file",
        hint=r"name the files that are meant; if none is, \@ is an at sign",
    )


def _too_large_error(name: str, size: int, most: int, kind: str) -> TooLarge:
    return TooLarge(
        f"{one_line(name)} is too large to be sent",
        expected=f"{kind} of at most {most:,} bytes",
        received=f"{size:,} bytes",
        hint="send a part of it",
    )


def _decode_text(name: str, content: bytes) -> str:
    try:
        text = content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise _binary_error(name) from error
    if "\0" in text:
        raise _binary_error(name)
    return text


_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def _binary_error(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"{one_line(name)} is neither text in UTF-8 nor a picture or a PDF",
        expected="text, png, jpeg, gif, webp or pdf",
        hint="convert it",
    )

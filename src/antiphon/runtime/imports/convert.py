"""Converts an export of another chat to an archive, which `OwnerImporter` imports.

Ids follow from the owner and from the ids of the export, so that the same conversation is never
imported twice, and no id of the export can be one of somebody else's. Each branch of a conversation
becomes a thread of one family; lists show the branch that the other chat showed.
"""

from __future__ import annotations

import json
import mimetypes
import re
import zipfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from hashlib import blake2b
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal, NamedTuple
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import msgspec

from antiphon.engine.thread_order import BRANCH_BEGINS, REPLACES
from antiphon.runtime.admin.archive import (
    FILES,
    FORM,
    MANIFEST,
    RECORDS,
    FileRecord,
    Manifest,
    ThreadRecord,
    member,
)
from antiphon.runtime.imports.chatgpt import is_chatgpt, read_chatgpt
from antiphon.runtime.imports.claude import is_claude, read_claude
from antiphon.runtime.imports.conversations import (
    ImportedConversation,
    SourceFile,
    SourceMessage,
)
from antiphon.runtime.imports.json_items import read_items
from antiphon.runtime.imports.open_webui import is_open_webui, read_open_webui
from antiphon.types import ids
from antiphon.types.errors import InvalidRequest, TooLarge
from antiphon.types.json_values import is_object
from antiphon.types.messages import File, Image, Message, MessagePart, Text, ToolCall

Source = Literal["chatgpt", "claude", "open-webui"]

IMPORTED_FROM = "imported_from"
"""Metadata key of an imported thread that holds the source."""
SOURCE_ID = "source_id"
"""Metadata key of an imported thread that holds the conversation's id there."""
MAX_CONVERSATION = 64 << 20
MAX_TOTAL = 8 << 30
MAX_MEMBERS = 100_000
MAX_NODES = 100_000
"""Most messages of one conversation, in all branches."""
MAX_FILE = 32 << 20
PIECE = 1 << 20
_CONVERSATIONS = re.compile(r"(?:.*/)?conversations(?:[-_]?\d+)?\.json", re.IGNORECASE)
_TITLE = 200
_UNSAFE = re.compile(r"[^\w .()+-]")
_TOOL_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_READERS: Mapping[Source, tuple[Callable[[Any], bool], Callable[[Any], ImportedConversation]]] = {
    "chatgpt": (is_chatgpt, read_chatgpt),
    "claude": (is_claude, read_claude),
    "open-webui": (is_open_webui, read_open_webui),
}
SOURCES: tuple[Source, ...] = tuple(_READERS)

Advance = Callable[[int], None]
"""Called with the number of bytes that were read since the last call; may raise to stop."""


class Converted(msgspec.Struct, frozen=True):
    """Result of a conversion: its source, and numbers of what is in the archive.

    `present` conversations were imported before. `skipped` counts what could not be taken, by the
    reason.
    """

    source: Source | None
    conversations: int
    threads: int
    messages: int
    files: int
    present: int
    skipped: dict[str, int]


def convert_export(
    path: Path,
    target: IO[bytes],
    owner: str,
    source: Source | None = None,
    known: Collection[str] = frozenset(),
    advance: Advance = lambda _: None,
) -> Converted:
    """Write an archive of this owner with the conversations of an export: a zip or JSON.

    `known` are ids of threads of the owner: a conversation that is one of them is left out.
    Raises `InvalidRequest` and `TooLarge` for a file that is no export of a `source`.
    """
    with ExitStack() as stack:
        archive = None
        if zipfile.is_zipfile(path):
            archive = stack.enter_context(_open_zip(path))
        texts = stack.enter_context(closing(_read_texts(path, archive, advance)))
        converter = _Converter(owner, source, known, archive, stack)
        try:
            for item in _read_all(texts):
                converter.add(item)
        except (BadZipFile, RuntimeError, NotImplementedError, OSError) as fault:
            raise _unreadable() from fault
        return converter.write(target)


def _open_zip(path: Path) -> ZipFile:
    try:
        archive = ZipFile(path)
    except (BadZipFile, OSError, NotImplementedError) as fault:
        raise _unreadable() from fault
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS or sum(each.file_size for each in infos) > MAX_TOTAL:
        archive.close()
        raise TooLarge(
            "The export holds too much.",
            expected=f"at most {MAX_MEMBERS:,} files of {MAX_TOTAL:,} bytes together",
            received=f"{len(infos):,} files",
        )
    return archive


def _unreadable() -> InvalidRequest:
    return InvalidRequest(
        "The export cannot be read.",
        expected="a zip or a JSON file as ChatGPT, Claude or Open WebUI wrote it",
        hint="Download the export again.",
    )


def _read_texts(
    path: Path, archive: ZipFile | None, advance: Advance
) -> Generator[Iterator[bytes]]:
    """Yield the pieces of each JSON file with conversations."""
    if archive is None:
        with path.open("rb") as file:
            yield _pieces(file, advance)
        return
    names = sorted(
        info.filename
        for info in archive.infolist()
        if _CONVERSATIONS.fullmatch(info.filename) and "__MACOSX" not in info.filename
    )
    if not names:
        raise InvalidRequest(
            "The zip holds no conversations.",
            expected="conversations.json, as ChatGPT and Claude write it",
            received=", ".join(info.filename[:40] for info in archive.infolist()[:3]) or "nothing",
        )
    for name in names:
        with archive.open(name) as file:
            yield _pieces(file, advance)


def _pieces(file: IO[bytes], advance: Advance) -> Iterator[bytes]:
    read = 0
    while piece := file.read(PIECE):
        read += len(piece)
        if read > MAX_TOTAL:
            raise TooLarge("The export holds too much.", expected=f"at most {MAX_TOTAL:,} bytes")
        advance(len(piece))
        yield piece


def _read_all(texts: Iterator[Iterator[bytes]]) -> Iterator[bytes]:
    for pieces in texts:
        yield from read_items(pieces, MAX_CONVERSATION)


class _Content(NamedTuple):
    """Bytes of a file: their digest, their place, and the media type that they tell."""

    digest: str
    start: int
    size: int
    media_type: str


class _Converter:
    """Collects records in temporary files, and writes them as an archive."""

    def __init__(
        self,
        owner: str,
        source: Source | None,
        known: Collection[str],
        archive: ZipFile | None,
        stack: ExitStack,
    ) -> None:
        self._owner = owner
        self._source: Source | None = source
        self._known = known
        self._archive = archive
        self._seen: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._present = self._conversations = self._latest = 0
        self._lines = {
            kind: stack.enter_context(_temporary_file()) for kind in ("threads", "messages")
        }
        self._files: dict[str, FileRecord] = {}
        self._contents = stack.enter_context(_temporary_file())
        self._written = 0
        self._stored: dict[str, _Content] = {}
        self._unpacked: dict[int, _Content] = {}
        self._named: dict[tuple[str, int], str] = {}
        self._places: dict[str, _Content] = {}
        self._members: list[tuple[str, ZipInfo]] | None = None

    def add(self, text: bytes) -> None:
        """Add the conversation of this JSON."""
        try:
            item: Any = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            self._skipped["unreadable conversations"] += 1
            return
        if self._source is None:
            self._source = _detect(item)
        is_readable, read = _READERS[self._source]
        if not is_object(item) or not is_readable(item):
            self._skipped["unreadable conversations"] += 1
            return
        conversation = read(item)
        if len(conversation.messages) > MAX_NODES:
            self._skipped["conversations of too many messages"] += 1
            return
        branches = conversation.branches()
        if not conversation.id or not branches.paths:
            self._skipped["empty conversations"] += 1
            return
        if conversation.id in self._seen:
            self._skipped["repeated conversations"] += 1
            return
        self._seen.add(conversation.id)
        if self._make_id("thread", 0, conversation, "") in self._known:
            self._present += 1
            return
        if branches.left_out:
            self._skipped["branches"] += branches.left_out
        if branches.cut:
            self._skipped["beginnings of long branches"] += branches.cut
        self._add_branches(conversation, branches.paths)

    def _add_branches(
        self, conversation: ImportedConversation, branches: Sequence[tuple[SourceMessage, ...]]
    ) -> None:
        created = conversation.created_at or min(each.at for path in branches for each in path)
        updated = max(conversation.updated_at, created)
        threads: list[ThreadRecord] = []
        earlier: list[tuple[str, list[_Draft], list[Message]]] = []
        for place, path in enumerate(branches):
            key = "" if place == len(branches) - 1 else path[-1].id
            thread_id = self._make_id("thread", 0, conversation, key)
            drafts = list(_draft(path))
            source, shared = _find_source(drafts, earlier)
            messages = self._make_messages(conversation, thread_id, drafts, created, source, shared)
            metadata = {
                IMPORTED_FROM: str(self._source),
                SOURCE_ID: conversation.id[:_TITLE],
            }
            if source is not None:
                metadata |= {REPLACES: source[0], BRANCH_BEGINS: str(shared + 1)}
            at = updated if not key else min(updated - 1, max(each.at for each in path))
            family = threads[0].id if threads else msgspec.UNSET
            threads.append(
                ThreadRecord(
                    id=thread_id,
                    title=_to_line(conversation.title)[:_TITLE],
                    title_from="client",
                    metadata=metadata,
                    parent_id=source[0] if source is not None else None,
                    archived=conversation.archived,
                    pinned=conversation.pinned,
                    messages=len(messages),
                    version=1,
                    created_at=created + place,
                    updated_at=max(at, created),
                    family=family,
                )
            )
            earlier.append((thread_id, drafts, messages))
        self._conversations += 1
        self._latest = max(self._latest, updated)
        for thread in reversed(threads):  # the newest first, as in every archive
            self._write("threads", thread)
        for _, _, messages in earlier:
            for message in messages:
                self._write("messages", message)

    def _make_messages(
        self,
        conversation: ImportedConversation,
        thread_id: str,
        drafts: Sequence[_Draft],
        created: int,
        source: tuple[str, list[_Draft], list[Message]] | None,
        shared: int,
    ) -> list[Message]:
        messages: list[Message] = []
        at = created
        for number, draft in enumerate(drafts, 1):
            at = draft.at or at
            content: list[MessagePart] = [Text(draft.text)] if draft.text else []
            content += filter(None, (self._add_file(conversation, each) for each in draft.files))
            copied = source is not None and number <= shared
            model = {"model": draft.model[:_TITLE]} if draft.model else {}
            messages.append(
                Message(
                    id=self._make_id("msg", at, conversation, f"{thread_id} {number}"),
                    thread_id=thread_id,
                    number=number,
                    role=draft.role,
                    content=tuple(content),
                    tool_calls=(draft.call,) if draft.call else (),
                    tool_call_id=draft.answers,
                    reasoning=draft.reasoning or None,
                    parent_id=source[2][number - 1].id if copied and source else None,
                    metadata=model,
                    created_at=at,
                )
            )
        return messages

    def _make_id(
        self, prefix: ids.Prefix, at: int, conversation: ImportedConversation, rest: str
    ) -> str:
        named = json.dumps([self._owner, self._source, conversation.id, rest])
        digest = blake2b(named.encode(), digest_size=ids.RANDOM_BYTES, person=b"imported").digest()
        return ids.make(prefix, at, digest)

    # Files.

    def _add_file(self, conversation: ImportedConversation, file: SourceFile) -> MessagePart | None:
        content = self._add_content(file.content) if file.content is not None else None
        named = None
        if file.content is None and (info := self._find_member(file.key)):
            content = self._read_member(info)
            named = conversation.id, info.header_offset
        if content is None:
            self._skipped["files that are not in the export"] += 1
            return Text(f"[{_to_line(file.name)[:_TITLE]}]")
        if content.size > MAX_FILE:
            self._skipped["files that are too large"] += 1
            return Text(f"[{_to_line(file.name)[:_TITLE]}]")
        file_id = self._make_id("file", 0, conversation, f"{file.name} {content.digest}")
        if named is not None:  # of a member, a conversation has one file, whatever its names are
            file_id = self._named.setdefault(named, file_id)
        if file_id not in self._files:
            name = _UNSAFE.sub("_", _to_line(file.name))[:100].strip(" .") or "file"
            self._count_bytes(content.size)
            self._files[file_id] = FileRecord(
                id=file_id,
                name=name,
                media_type=_guess_type(file.name, content.media_type),
                size=content.size,
                created_at=conversation.created_at,
                place=f"{FILES}{file_id}-{name}",
            )
            self._places[file_id] = content
        is_picture = self._files[file_id].media_type in _PICTURES
        return Image(file_id=file_id) if is_picture else File(file_id)

    def _find_member(self, key: str) -> ZipInfo | None:
        """Return the member whose name begins with this id of the export."""
        if self._archive is None or not key:
            return None
        if self._members is None:
            infos = [each for each in self._archive.infolist() if each.file_size <= MAX_FILE]
            named = [(each.filename.rpartition("/")[2], each) for each in infos]
            self._members = sorted(named, key=itemgetter(0))
        place = bisect_left(self._members, key, key=itemgetter(0))
        if place < len(self._members) and self._members[place][0].startswith(key):
            return self._members[place][1]
        return None

    def _read_member(self, info: ZipInfo) -> _Content | None:
        """Return the content of a member, which is unpacked once."""
        if self._archive is None:
            return None
        if info.header_offset not in self._unpacked:
            with self._archive.open(info) as file:
                content = self._add_content(file.read(MAX_FILE + 1))
            self._unpacked[info.header_offset] = content
        return self._unpacked[info.header_offset]

    def _add_content(self, content: bytes) -> _Content:
        """Store the content, each once."""
        digest = blake2b(content, digest_size=16).hexdigest()
        if digest not in self._stored:
            start = self._contents.seek(0, 2)
            if len(content) <= MAX_FILE:
                self._contents.write(content)
            self._stored[digest] = _Content(digest, start, len(content), _detect_type(content))
        return self._stored[digest]

    def _count_bytes(self, size: int) -> None:
        """Count bytes of the archive. Raises `TooLarge`."""
        self._written += size
        if self._written > MAX_TOTAL:
            raise TooLarge(
                "The conversations and files of the export are too large together.",
                expected=f"at most {MAX_TOTAL:,} bytes, each file as often as it is attached",
                hint="Import a part of the conversations at a time.",
            )

    # The archive.

    def _write(self, kind: str, record: object) -> None:
        self._counts[kind] += 1
        line = msgspec.json.encode(record) + b"\n"
        self._count_bytes(len(line))
        self._lines[kind].write(line)

    def write(self, target: IO[bytes]) -> Converted:
        """Write the archive, the same bytes for the same export."""
        with ZipFile(target, "w") as archive:
            for file_id, record in self._files.items():
                with archive.open(_entry(record.place), "w") as entry:
                    content = self._places[file_id]
                    self._contents.seek(content.start)
                    entry.write(self._contents.read(content.size))
            for kind in RECORDS:
                with archive.open(_entry(member(kind)), "w", force_zip64=True) as entry:
                    if kind in self._lines:
                        self._lines[kind].seek(0)
                        while piece := self._lines[kind].read(PIECE):
                            entry.write(piece)
                    elif kind == "files":
                        for record in self._files.values():
                            entry.write(msgspec.json.encode(record) + b"\n")
            counts = {**self._counts, "files": len(self._files)}
            manifest = Manifest(FORM, self._owner, self._latest, counts)
            with archive.open(_entry(MANIFEST), "w") as entry:
                entry.write(msgspec.json.encode(manifest))
        return Converted(
            source=self._source,
            conversations=self._conversations,
            threads=self._counts["threads"],
            messages=self._counts["messages"],
            files=len(self._files),
            present=self._present,
            skipped=dict(self._skipped),
        )


def _temporary_file() -> IO[bytes]:
    return TemporaryFile()


def _entry(name: str) -> ZipInfo:
    info = ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = ZIP_DEFLATED
    return info


def _detect(item: object) -> Source:
    if is_object(item):
        for source, (is_readable, _) in _READERS.items():
            if is_readable(item):
                return source
    raise InvalidRequest(
        "The file is no export of a chat that is known here.",
        expected="an export of ChatGPT, Claude or Open WebUI",
        hint="An export of Antiphon itself is imported by `antiphon owners import`.",
    )


# Messages of a branch.


class _Draft(msgspec.Struct, frozen=True):
    """A message before it has a thread. `key` is equal for the same message of another branch."""

    key: str
    role: Literal["user", "assistant", "tool"]
    text: str
    at: int
    model: str = ""
    reasoning: str = ""
    files: tuple[SourceFile, ...] = ()
    call: ToolCall | None = None
    answers: str | None = None


def _draft(path: Sequence[SourceMessage]) -> Iterator[_Draft]:
    """Yield the messages of a branch.

    Reasoning belongs to the reply after it. A call and its output are a pair; one without the
    other becomes text, because a model accepts no half of one.
    """
    reasoning: list[str] = []
    waiting: str | None = None
    for place, message in enumerate(path):
        following = path[place + 1] if place + 1 < len(path) else None
        if message.role == "assistant" and message.reasoning:
            reasoning.append(message.reasoning)
            alone = not (message.text or message.call or message.files)
            if alone and following is not None and following.role == "assistant":
                continue
        thought = "\n\n".join(reasoning) if message.role == "assistant" else ""
        reasoning = [] if message.role != "user" else reasoning
        draft = _Draft(
            message.id, "assistant", message.text, message.at, message.model, thought, message.files
        )
        if message.call and following is not None and following.role == "tool":
            waiting = f"call_{place}"
            name = _TOOL_NAME.sub("_", message.call[0])[:128] or "tool"
            call = ToolCall(waiting, name, message.call[1])
            yield msgspec.structs.replace(draft, call=call)
        elif message.call:
            yield msgspec.structs.replace(draft, text=_to_code(message.call[1]))
        elif message.role == "tool" and waiting is not None:
            yield msgspec.structs.replace(
                draft, role="tool", reasoning="", model="", answers=waiting, files=()
            )
            waiting = None
            if message.files:
                yield _Draft(
                    f"{message.id} files", "assistant", "", message.at, files=message.files
                )
        elif message.role == "tool":
            text = _to_code(message.text) if message.text else ""
            yield msgspec.structs.replace(draft, text=text)
        else:
            yield msgspec.structs.replace(draft, role=message.role)


def _to_code(text: str) -> str:
    fence = "`" * max(3, 1 + max((len(each) for each in re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def _find_source(
    drafts: Sequence[_Draft], earlier: Sequence[tuple[str, list[_Draft], list[Message]]]
) -> tuple[tuple[str, list[_Draft], list[Message]] | None, int]:
    """Return the earlier branch with the longest common beginning, and the length of that."""
    best, longest = None, -1
    for branch in earlier:
        common = 0
        for own, other in zip(drafts, branch[1], strict=False):
            if own != other:
                break
            common += 1
        if common > longest:
            best, longest = branch, common
    return best, max(longest, 0)


_PICTURES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}


def _detect_type(content: bytes) -> str:
    for media_type, head in _PICTURES.items():
        if content.startswith(head):
            return media_type
    return "text/plain" if _is_text(content) else "application/octet-stream"


def _guess_type(name: str, detected: str) -> str:
    """Return the media type of a file of this name, whose bytes are of the type `detected`."""
    guessed = mimetypes.guess_type(name)[0]
    if guessed is None or guessed in _PICTURES or detected in _PICTURES:
        return detected
    return guessed


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode()
    except UnicodeError:
        return False


def _to_line(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())

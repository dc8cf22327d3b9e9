"""Converts an export of another chat to an archive, which `OwnerImporter` imports.

Ids follow from the owner and from the ids of the export, so that the same conversation is never
imported twice, and no id of the export can be one of somebody else's. Each branch of a conversation
becomes a thread of one family; lists show the branch that the other chat showed.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from hashlib import blake2b
from itertools import chain
from operator import itemgetter
from typing import IO, Any
from zipfile import BadZipFile, ZipFile, ZipInfo

import msgspec

from antiphon.engine.thread_order import BRANCH_BEGINS, REPLACES
from antiphon.runtime.admin.archive import ThreadRecord
from antiphon.runtime.imports.archive_writer import (
    MAX_FILE,
    MAX_TOTAL,
    PIECE,
    ArchiveWriter,
    StoredContent,
    to_line,
)
from antiphon.runtime.imports.chatgpt import is_chatgpt, read_chatgpt
from antiphon.runtime.imports.claude import is_claude, read_claude
from antiphon.runtime.imports.conversations import (
    ImportedConversation,
    SourceFile,
    SourceMessage,
)
from antiphon.runtime.imports.conversion import (
    IMPORTED_FROM,
    SOURCE_ID,
    Advance,
    Converted,
    Source,
)
from antiphon.runtime.imports.drafts import Draft, StoredBranch, draft_messages, find_source
from antiphon.runtime.imports.json_items import read_items
from antiphon.runtime.imports.open_webui import is_open_webui, read_open_webui
from antiphon.types import ids
from antiphon.types.errors import InvalidRequest, TooLarge
from antiphon.types.json_values import is_object
from antiphon.types.messages import Message, MessagePart, Text

try:
    import lzma
except ImportError:  # Python was built without it
    lzma = None  # type: ignore[assignment]

MAX_CONVERSATION = 64 << 20
MAX_MEMBERS = 100_000
MAX_NODES = 100_000
"""Most messages of one conversation, in all branches."""
_CONVERSATIONS = re.compile(r"(?:.*/)?conversations(?:[-_]?\d+)?\.json", re.IGNORECASE)
_TITLE = 200
MAX_MESSAGE = 30 << 20
"""Bytes of a message as JSON, below those of a line in an archive."""
_DAMAGED = (
    *(BadZipFile, EOFError, RuntimeError, NotImplementedError, OSError, ValueError),
    *(struct.error, zlib.error, *([lzma.LZMAError] if lzma else [])),
)
"""Errors of a zip that is damaged or encrypted."""
_DAMAGED_FILE = StoredContent("", 0, 0, "")
_READERS: Mapping[Source, tuple[Callable[[Any], bool], Callable[[Any], ImportedConversation]]] = {
    "chatgpt": (is_chatgpt, read_chatgpt),
    "claude": (is_claude, read_claude),
    "open-webui": (is_open_webui, read_open_webui),
}


def convert_export(
    export: IO[bytes],
    target: IO[bytes],
    owner: str,
    source: Source | None = None,
    known: Collection[str] = frozenset(),
    advance: Advance = lambda _: None,
    max_total: int = MAX_TOTAL,
) -> Converted:
    """Write an archive of this owner with the conversations of an export: a zip or JSON.

    The file of the export must be seekable; it is read from its beginning.
    `known` are ids of threads of the owner: a conversation that is one of them is left out.
    `max_total` are the most bytes of its unpacked files, and of the archive.
    Raises `InvalidRequest` and `TooLarge` for a file that is no export of a `source`, and `OSError`
    where the archive or the temporary files cannot be written.
    """
    with ExitStack() as stack:
        archive = None
        if zipfile.is_zipfile(export):
            archive = stack.enter_context(_open_zip(export, max_total))
        texts = stack.enter_context(closing(_read_texts(export, archive, advance, max_total)))
        converter = _Converter(
            owner, source, known, archive, ArchiveWriter(owner, stack, max_total)
        )
        for item in chain.from_iterable(read_items(each, MAX_CONVERSATION) for each in texts):
            if item is None:
                converter.skip_too_large()
            else:
                converter.add(item)
        return converter.write(target)


def _open_zip(export: IO[bytes], max_total: int) -> ZipFile:
    with _reading():
        archive = ZipFile(export)
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS or sum(each.file_size for each in infos) > max_total:
        archive.close()
        raise TooLarge(
            "The export holds too much.",
            expected=f"at most {MAX_MEMBERS:,} files of {max_total:,} bytes together",
            received=f"{len(infos):,} files",
        )
    return archive


@contextmanager
def _reading(member: str = "") -> Generator[None]:
    """Raise `InvalidRequest` where the export cannot be read; nothing is written inside."""
    try:
        yield
    except _DAMAGED as fault:
        named = f"{to_line(member)[:_TITLE]} in the export" if member else "The export"
        raise InvalidRequest(
            f"{named} cannot be read.",
            expected="a zip or a JSON file as ChatGPT, Claude or Open WebUI wrote it",
            hint="Download the export again.",
        ) from fault


def _read_texts(
    export: IO[bytes], archive: ZipFile | None, advance: Advance, max_total: int
) -> Generator[Iterator[bytes]]:
    """Yield the pieces of each JSON file with conversations."""
    if archive is None:
        with _reading():
            export.seek(0)
        yield _pieces(export, "", advance, max_total)
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
        with _reading(name):
            member = archive.open(name)
        with member:
            yield _pieces(member, name, advance, max_total)


def _pieces(file: IO[bytes], name: str, advance: Advance, max_total: int) -> Iterator[bytes]:
    read = 0
    while piece := _read_piece(file, name):
        read += len(piece)
        if read > max_total:
            raise TooLarge("The export holds too much.", expected=f"at most {max_total:,} bytes")
        advance(len(piece))
        yield piece


def _read_piece(file: IO[bytes], name: str) -> bytes:
    with _reading(name):
        return file.read(PIECE)


class _Converter:
    """Makes threads, messages and files of conversations, in the order of the export."""

    def __init__(
        self,
        owner: str,
        source: Source | None,
        known: Collection[str],
        archive: ZipFile | None,
        writer: ArchiveWriter,
    ) -> None:
        self._owner = owner
        self._source: Source | None = source
        self._known = known
        self._archive = archive
        self._seen: set[str] = set()
        self._writer = writer
        self._skipped: Counter[str] = Counter()
        self._present = self._conversations = self._latest = 0
        self._unpacked: dict[int, StoredContent] = {}
        self._named: dict[tuple[str, int], str] = {}
        self._members: list[tuple[str, ZipInfo]] | None = None

    def skip_too_large(self) -> None:
        """Count a conversation that was too large to be read."""
        self._skipped["conversations that are too large"] += 1

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

    def write(self, target: IO[bytes]) -> Converted:
        """Write the archive."""
        self._writer.write(target, self._latest)
        counts = self._writer.counts()
        return Converted(
            source=self._source,
            conversations=self._conversations,
            threads=counts.get("threads", 0),
            messages=counts.get("messages", 0),
            files=counts["files"],
            present=self._present,
            skipped=dict(self._skipped),
        )

    def _add_branches(
        self, conversation: ImportedConversation, branches: Sequence[tuple[SourceMessage, ...]]
    ) -> None:
        drafted = [list(draft_messages(path)) for path in branches]
        if any(_is_too_large(draft) for drafts in drafted for draft in drafts):
            self.skip_too_large()
            return
        created = conversation.created_at or min(each.at for path in branches for each in path)
        updated = max(conversation.updated_at, created)
        threads: list[ThreadRecord] = []
        earlier: list[StoredBranch] = []
        for place, (path, drafts) in enumerate(zip(branches, drafted, strict=True)):
            key = "" if place == len(branches) - 1 else path[-1].id
            thread_id = self._make_id("thread", 0, conversation, key)
            source, shared = find_source(drafts, earlier)
            messages = self._make_messages(conversation, thread_id, drafts, created, source, shared)
            metadata = {
                IMPORTED_FROM: str(self._source),
                SOURCE_ID: conversation.id[:_TITLE],
            }
            if source is not None:
                metadata |= {REPLACES: source.thread_id, BRANCH_BEGINS: str(shared + 1)}
            at = updated if not key else min(updated - 1, max(each.at for each in path))
            family = threads[0].id if threads else msgspec.UNSET
            threads.append(
                ThreadRecord(
                    id=thread_id,
                    title=to_line(conversation.title)[:_TITLE],
                    title_from="client",
                    metadata=metadata,
                    parent_id=source.thread_id if source is not None else None,
                    archived=conversation.archived,
                    pinned=conversation.pinned,
                    messages=len(messages),
                    version=1,
                    created_at=created + place,
                    updated_at=max(at, created),
                    family=family,
                )
            )
            earlier.append(StoredBranch(thread_id, drafts, messages))
        self._conversations += 1
        self._latest = max(self._latest, updated)
        for thread in reversed(threads):
            self._writer.add_thread(thread)
        for branch in earlier:
            for message in branch.messages:
                self._writer.add_message(message)

    def _make_messages(
        self,
        conversation: ImportedConversation,
        thread_id: str,
        drafts: Sequence[Draft],
        created: int,
        source: StoredBranch | None,
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
                    parent_id=source.messages[number - 1].id if copied and source else None,
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
        content = self._writer.store_content(file.content) if file.content is not None else None
        named = None
        if file.content is None and (info := self._find_member(file.key)):
            content = self._read_member(info)
            named = conversation.id, info.header_offset
        if content is None:
            self._skipped["files that are not in the export"] += 1
            return Text(f"[{to_line(file.name)[:_TITLE]}]")
        if content is _DAMAGED_FILE:
            self._skipped["files that are damaged"] += 1
            return Text(f"[{to_line(file.name)[:_TITLE]}]")
        if content.size > MAX_FILE:
            self._skipped["files that are too large"] += 1
            return Text(f"[{to_line(file.name)[:_TITLE]}]")
        file_id = self._make_id("file", 0, conversation, f"{file.name} {content.digest}")
        if named is not None:  # of a member, a conversation has one file, whatever its names are
            file_id = self._named.setdefault(named, file_id)
        return self._writer.add_file(file_id, file.name, content, conversation.created_at)

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

    def _read_member(self, info: ZipInfo) -> StoredContent | None:
        """Return the content of a member, which is unpacked once."""
        if self._archive is None:
            return None
        if info.header_offset not in self._unpacked:
            try:
                with self._archive.open(info) as file:
                    content = file.read(MAX_FILE + 1)
            except _DAMAGED:
                self._unpacked[info.header_offset] = _DAMAGED_FILE
            else:
                self._unpacked[info.header_offset] = self._writer.store_content(content)
        return self._unpacked[info.header_offset]


def _is_too_large(draft: Draft) -> bool:
    attached = 200 * len(draft.files)  # name or id of each, as part of the message
    encoded = msgspec.json.encode([draft.text, draft.reasoning, draft.call])
    return len(encoded) + attached > MAX_MESSAGE


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

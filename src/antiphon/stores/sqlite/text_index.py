"""The index of words in SQLite: messages and titles by what they say.

A message that is deleted leaves its words in the index for a moment, and one of an earlier version
has none there yet: the table `reindex` lists both, and `update` works it off.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing

from antiphon.engine.text_search import Phrase, TextMatches, join_words
from antiphon.ports import FoundPage
from antiphon.stores.rows import SEARCH_BYTES, build_match, decoder, take_page, to_page
from antiphon.stores.sqlite.reads import SQL, encode_query
from antiphon.types.documents import DocumentPage
from antiphon.types.messages import IndexProgress, Message
from antiphon.types.runs import Thread

UPDATE_MESSAGES = 50  # indexed in one transaction, which other writes wait for
UPDATE_BYTES = 200_000  # the same, of their JSON

_AFTER_ALL = 2**63 - 1


def add(connection: sqlite3.Connection, owner: str, messages: Iterable[Message]) -> None:
    """Index messages that were written in this transaction."""
    rows = [
        {"id": message.id, "owner": owner, "words": words}
        for message in messages
        if (words := join_words(message.full_text))
    ]
    connection.executemany(SQL["index_message"], rows)


def search(
    connection: sqlite3.Connection,
    owner: str,
    phrases: Sequence[Phrase],
    limit: int,
    before: int | None,
) -> TextMatches:
    """See `RunStore.search`."""
    if not phrases:
        return TextMatches((), (), False)
    values = {
        "words": encode_query(owner, phrases),
        "owner": owner,
        "before": _AFTER_ALL if before is None else before,
    }
    found = connection.execute(SQL["search_messages"], values | {"limit": limit + 1})
    with closing(found) as rows:
        page, more = take_page(rows, limit, lambda row: len(row[1]), SEARCH_BYTES)
    threads = []
    if before is None:
        docs = connection.execute(SQL["search_titles"], values | {"limit": limit})
        threads = [decoder(Thread)(doc) for (doc,) in docs]
    messages = [build_match(seq, doc, thread, phrases) for seq, doc, thread in page]
    row = connection.execute(SQL["index_progress"]).fetchone()
    progress = IndexProgress(row[1] - row[0], row[1]) if row else None
    return TextMatches(messages, threads, more, progress)


def add_pages(
    connection: sqlite3.Connection, owner: str, upload_id: str, pages: Iterable[DocumentPage]
) -> None:
    """Add pages of a file, and index them."""
    for page in pages:
        values = {
            "upload_id": upload_id,
            "number": page.number,
            "title": page.title,
            "content": page.text,
            "owner": owner,
            "words": join_words(page.text),
        }
        connection.execute(SQL["add_page"], values)
        connection.execute(SQL["index_page"], values)


def search_pages(
    connection: sqlite3.Connection,
    owner: str,
    phrases: Sequence[Phrase],
    limit: int,
    file_ids: Sequence[str] | None,
    *,
    any_phrase: bool,
) -> Sequence[FoundPage]:
    """See `DocumentStore.search_pages`."""
    if not phrases or file_ids == []:
        return ()
    words = encode_query(owner, phrases, file_ids, any_phrase=any_phrase)
    rows = connection.execute(SQL["search_pages"], {"words": words, "owner": owner, "limit": limit})
    with closing(rows):
        return [FoundPage(upload_id, to_page(*columns)) for upload_id, *columns in rows]


def update(connection: sqlite3.Connection) -> bool:
    """Index some messages that are not indexed, the newest first; return False if there are none.

    Words of deleted messages are removed before.
    """
    if remove_deleted(connection):
        return True
    found = connection.execute(SQL["messages_to_index"], {"limit": UPDATE_MESSAGES})
    with closing(found) as rows:
        page, _ = take_page(rows, UPDATE_MESSAGES, lambda row: len(row[2] or b""), UPDATE_BYTES)
    for seq, owner, doc in page:
        _replace_entry(connection, seq, owner, doc)
    return bool(page)


def remove_deleted(connection: sqlite3.Connection) -> bool:
    """Remove words of some deleted messages; return False if there are none."""
    rows = connection.execute(SQL["removed_messages"], {"limit": UPDATE_MESSAGES}).fetchall()
    for (seq,) in rows:
        # By now the number may be that of a new message.
        row = connection.execute(SQL["message_to_index"], (seq,)).fetchone()
        owner, doc = row or ("", None)
        _replace_entry(connection, seq, owner, doc)
    return bool(rows)


def _replace_entry(connection: sqlite3.Connection, seq: int, owner: str, doc: bytes | None) -> None:
    words = join_words(decoder(Message)(doc).full_text) if doc else ""
    if words:
        connection.execute(SQL["replace_index_entry"], (seq, owner, words))
    else:
        connection.execute(SQL["remove_index_entry"], (seq,))
    connection.execute(SQL["mark_indexed"], (seq,))


def compact(connection: sqlite3.Connection) -> bool:
    """Rewrite a part of the index without deleted words; return whether there was any to do."""
    before = connection.total_changes
    connection.execute(SQL["compact_message_index"])
    connection.execute(SQL["compact_title_index"])
    connection.execute(SQL["compact_page_index"])
    return connection.total_changes - before >= _CHANGES_OF_WORK


_CHANGES_OF_WORK = 4  # each of three statements counts as one change where it did nothing

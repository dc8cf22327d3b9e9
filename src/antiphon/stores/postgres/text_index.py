"""The index of words in PostgreSQL: messages and titles by what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Any

from asyncpg.connection import Connection

from antiphon.engine.text_search import Phrase, TextMatches, index_words
from antiphon.ports import FoundPage
from antiphon.stores import search_queue
from antiphon.stores.postgres.connections import SQL, execute, fetch_rows
from antiphon.stores.postgres.reads import encode_query, file_word, owner_word
from antiphon.stores.rows import SEARCH_BYTES, build_match, decoder, take_page, to_page
from antiphon.types.documents import DocumentPage
from antiphon.types.messages import IndexProgress, Message
from antiphon.types.runs import Thread

UPDATE_ROWS = 50  # indexed in one transaction
UPDATE_BYTES = 200_000  # the same, of their JSON
MAX_VECTOR_BYTES = 900_000  # of the text of a vector; PostgreSQL stores at most 1 MiB
MAX_POSITIONS = 255  # of one word in a vector, which PostgreSQL stores

_AFTER_ALL = 2**63 - 1


def encode_vector(owner: str, text: str) -> str:
    """Return the words of an owner's text, with their positions, as a `tsvector` is written.

    Words consist of letters, digits and their marks, which need no escape in quotation marks.
    """
    positions: dict[str, list[int]] = {}
    for place, word in enumerate(index_words(text), 1):
        positions.setdefault(word, []).append(place)
    size = 0
    pieces = [f"'{owner_word(owner)}'"]
    for word, places in positions.items():
        piece = f"'{word}':{','.join(map(str, islice(places, MAX_POSITIONS)))}"
        size += len(piece.encode())
        if size > MAX_VECTOR_BYTES:
            break
        pieces.append(piece)
    return " ".join(pieces)


async def search(
    connection: Connection[Any],
    owner: str,
    phrases: Sequence[Phrase],
    limit: int,
    before: int | None,
    seconds: float,
) -> TextMatches:
    """See `RunStore.search`; it is cancelled in the database after `seconds`."""
    if not phrases:
        return TextMatches((), (), False)
    values = {"words": encode_query(owner, phrases), "owner": owner}
    try:
        async with connection.transaction(readonly=True):
            await execute(connection, "plan_each_time")
            found = await _fetch(
                connection,
                "search_messages",
                seconds,
                **values,
                before=_AFTER_ALL if before is None else before,
                limit=limit + 1,
                cap=SEARCH_BYTES,
            )
            docs: Sequence[Any] = ()
            if before is None:
                docs = await _fetch(connection, "search_titles", seconds, **values, limit=limit)
    except TimeoutError as late:
        raise search_queue.search_timeout_error(seconds) from late
    # Beside the loop, for a long message takes as long as some hundred events.
    messages = await asyncio.to_thread(
        lambda: [build_match(seq, doc, thread, phrases) for seq, doc, thread, _ in found[:limit]]
    )
    more = bool(found) and found[0][3] > len(messages)
    threads = [decoder(Thread)(doc) for (doc,) in docs]
    return TextMatches(messages, threads, more, await _read_progress(connection))


async def add_pages(
    connection: Connection[Any], owner: str, upload_id: str, pages: Sequence[DocumentPage]
) -> None:
    """Add pages of a file with their words."""
    of_file = f" '{file_word(upload_id)}'"
    # Beside the loop, as below.
    vectors = await asyncio.to_thread(
        lambda: [encode_vector(owner, page.text) + of_file for page in pages]
    )
    statement = SQL["add_page"]
    rows = [
        statement.values(
            {
                "upload_id": upload_id,
                "number": page.number,
                "title": page.title,
                "content": page.text,
                "search": vector,
            }
        )
        for page, vector in zip(pages, vectors, strict=True)
    ]
    await connection.executemany(statement.sql, rows)


async def search_pages(
    connection: Connection[Any],
    owner: str,
    phrases: Sequence[Phrase],
    limit: int,
    file_ids: Sequence[str] | None,
    seconds: float,
    *,
    any_phrase: bool,
) -> Sequence[FoundPage]:
    """See `DocumentStore.search_pages`; it is cancelled in the database after `seconds`."""
    if not phrases or file_ids == []:
        return ()
    try:
        rows = await _fetch(
            connection,
            "search_pages",
            seconds,
            words=encode_query(owner, phrases, file_ids, any_phrase=any_phrase),
            ranked=encode_query(None, phrases, any_phrase=True),
            owner=owner,
            limit=limit,
        )
    except TimeoutError as late:
        raise search_queue.search_timeout_error(seconds) from late
    return [FoundPage(upload_id, to_page(*columns)) for upload_id, *columns in rows]


async def _fetch(
    connection: Connection[Any], name: str, seconds: float, **values: Any
) -> Sequence[Any]:
    statement = SQL[name]
    return await connection.fetch(statement.sql, *statement.values(values), timeout=seconds)


async def _read_progress(connection: Connection[Any]) -> IndexProgress | None:
    rows = await fetch_rows(connection, "index_progress")
    return IndexProgress(rows[0][1] - rows[0][0], rows[0][1]) if rows else None


async def update(connection: Connection[Any]) -> bool:
    """Index some messages and titles that are not indexed; return False if there are none."""
    rows = await fetch_rows(connection, "messages_to_index", limit=UPDATE_ROWS)
    page, _ = take_page(rows, UPDATE_ROWS, lambda row: len(row[2]), UPDATE_BYTES)
    titles = await fetch_rows(connection, "titles_to_index", limit=UPDATE_ROWS)
    # Beside the loop too.
    of_messages = await asyncio.to_thread(
        lambda: [
            encode_vector(owner or "", decoder(Message)(doc).full_text) for _, owner, doc in page
        ]
    )
    if page:
        seqs, owners, _ = map(list, zip(*page, strict=True))
        values = {"seqs": seqs, "owners": owners, "searches": of_messages}
        await execute(connection, "index_messages", **values)
    if titles:
        seqs, owners, docs = map(list, zip(*titles, strict=True))
        words = [encode_vector(owner, decoder(Thread)(doc).title) for _, owner, doc in titles]
        values = {"seqs": seqs, "owners": owners, "docs": docs, "searches": words}
        await execute(connection, "index_titles", **values)
    return bool(page or titles)

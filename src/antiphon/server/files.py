"""Upload by form or raw body, download as attachment, and other responses sent in pieces."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from tempfile import TemporaryFile, gettempdir
from typing import IO, NamedTuple
from urllib.parse import quote

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from antiphon.api.operations import ImportOwner
from antiphon.api.problems import Malformed
from antiphon.engine import sanitize
from antiphon.limits.fair_queue import FairQueue
from antiphon.runtime.admin.export import Archive
from antiphon.runtime.services.dispatch import Dispatcher, Response
from antiphon.server import requests, streaming
from antiphon.server.requests import Field, RequestContext, field, watch_disconnect
from antiphon.settings.settings import Settings
from antiphon.types.errors import InvalidRequest, Unavailable


async def stream_file(
    context: RequestContext,
    headers: Iterable[Field],
    pieces: AsyncGenerator[bytes, None],
    session: streaming.SessionCheck,
    timeouts: streaming.StreamTimeouts,
) -> None:
    """Send 200 with these headers and the pieces.

    The connection is aborted if the client has left, reads too slowly or loses its access, so that
    half a file never looks complete. An error before the first piece is raised; a later one aborts.
    """
    async with watch_disconnect(context.receive) as left, aclosing(pieces):
        first = await anext(pieces, b"")
        await context.send(
            {"type": "http.response.start", "status": 200, "headers": [*headers, *HEADERS]}
        )
        if context.scope["method"] == "HEAD":
            await context.send({"type": "http.response.body", "body": b""})
            return
        whole = await _send_pieces(context, first, pieces, left, session, timeouts)
        if whole:
            await context.send({"type": "http.response.body", "body": b""})
            return
    streaming.connection_aborter(context.scope)()


async def _send_pieces(
    context: RequestContext,
    first: bytes,
    pieces: AsyncGenerator[bytes, None],
    left: asyncio.Task[None],
    session: streaming.SessionCheck,
    timeouts: streaming.StreamTimeouts,
) -> bool:
    """Send all pieces; return whether the client read them."""
    if not await _send_piece(context, first, timeouts.patience):
        return False
    checked = time.monotonic()
    async for piece in pieces:
        if time.monotonic() - checked >= timeouts.recheck:
            checked = time.monotonic()
            if not await session.is_valid():
                return False
        if left.done() or not await _send_piece(context, piece, timeouts.patience):
            return False
    return True


async def _send_piece(context: RequestContext, piece: bytes, patience: float) -> bool:
    """Send one piece; return whether the client read the previous ones in time."""
    if not piece:
        return True
    try:
        with context.hold_bytes(len(piece)):
            async with asyncio.timeout(patience):
                await context.send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        return False
    return True


HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
]


MAX_ARCHIVE = 1 << 40  # bytes of an import
SAVE_BYTES = 1_000_000  # written at once
MIN_ROOM = 256_000_000  # bytes that an upload leaves on the disk
_FORM = "multipart/form-data"


async def receive_upload(
    context: RequestContext, dispatcher: Dispatcher, settings: Settings
) -> None:
    """Store an upload: the file of a form, or the whole body with its name in `?name=`.

    `?purpose=` goes with both.
    """
    key = requests.idempotency_key(context.scope)
    content = await requests.read_body(context.scope, context.receive, settings.max_upload)
    media_type = Headers(scope=context.scope).get("content-type", "")
    query = dict(requests.parse_query(context.scope))
    purpose = query.pop("purpose", None)
    if purpose is not None:
        sanitize.validate_purpose(purpose)
    if media_type.lower().startswith(_FORM):
        name, media_type, content, _ = await read_form(context, content)
    else:
        name = _name_from_query(query)
    named, typed = sanitize.validate_file_name(name), sanitize.parse_media_type(media_type)
    owner = context.caller.owner
    answer = await dispatcher.files.upload(owner, named, typed, content, key, purpose=purpose)
    replayed = [(b"idempotency-replayed", b"true")] if answer.replayed else []
    await context.respond_json(answer.status, answer.value, replayed)


async def send_upload(
    context: RequestContext,
    file_id: str,
    dispatcher: Dispatcher,
    queue: FairQueue,
    session: streaming.SessionCheck,
    timeouts: streaming.StreamTimeouts,
) -> None:
    """Send the bytes of an upload, with headers that keep browsers from running it.

    Each piece is read in a slot of the queue.
    """
    await requests.read_body(context.scope, context.receive, 0)
    about, pieces = await dispatcher.files.open_file(context.caller.owner, file_id)
    headers = [
        field(b"content-type", sanitize.parse_media_type(about.media_type)),
        (b"content-length", b"%d" % about.size),
        field(b"content-disposition", content_disposition(about.name)),
    ]
    pieces = queue.make_pieces(context.caller.share_key, pieces)
    await stream_file(context, headers, pieces, session, timeouts)


def content_disposition(name: str) -> str:
    """Return a Content-Disposition for this name (RFC 6266), in ASCII and in RFC 5987 form."""
    plain = re.sub(r"[^ !#-\[\]-~]|[%/\\]", "_", name)
    whole = quote(name, safe="", errors="replace")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}"


class SentFile(NamedTuple):
    """A file of a form, and the other fields of the form."""

    name: str
    media_type: str
    content: bytes
    fields: Mapping[str, str]


async def read_form(context: RequestContext, body: bytes, max_fields: int = 0) -> SentFile:
    """Return the file of a form, its field `file`. Raises `InvalidRequest`."""
    headers = Headers(scope=context.scope)
    kind = headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise Malformed(
            "The request is no form.",
            expected="multipart/form-data with a field `file`",
            received=kind[:64] or "no Content-Type",
        )

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(headers, pieces(), max_files=1, max_fields=max_fields)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Malformed(
            f"The form cannot be taken: {error.message}", expected="one field, `file`"
        ) from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InvalidRequest(
                "The form has no file.",
                expected="a field `file` with a filename",
                received=", ".join(form.keys())[:64] or "no field",
            )
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        content = await file.read()
        return SentFile(file.filename or "", file.content_type or "", content, fields)
    finally:
        await form.close()


def _name_from_query(query: Mapping[str, str]) -> str:
    if set(query) != {"name"}:
        raise InvalidRequest(
            "A body that is a file needs a name.",
            expected=f"?name= and at most a ?purpose=, or {_FORM}",
            received=", ".join(query)[:64] or "no query",
        )
    return query["name"]


async def send_archive(
    context: RequestContext,
    archive: Archive,
    media_type: str,
    session: streaming.SessionCheck,
    timeouts: streaming.StreamTimeouts,
) -> None:
    """Send an owner's archive in pieces, as fast as the client reads them."""
    headers = [
        (b"content-type", media_type.encode()),
        field(b"content-disposition", content_disposition(archive.name)),
    ]
    await stream_file(context, headers, archive.pieces, session, timeouts)


async def import_owner(
    context: RequestContext,
    operation: ImportOwner,
    dispatcher: Dispatcher,
    check_admitted: Callable[[], Awaitable[None]],
) -> Response:
    """Save the body in a file without a name, which is gone with this process, and import it.

    Raises what `check_admitted` raises for a caller who lost the key meanwhile.
    """
    with TemporaryFile() as file:
        async with aclosing(
            requests.stream_body(context.scope, context.receive, MAX_ARCHIVE)
        ) as pieces:
            await _save(pieces, file)
        await check_admitted()
        return await dispatcher.import_owner(operation, file, context.caller.principal)


async def _save(pieces: AsyncGenerator[bytes, None], file: IO[bytes]) -> None:
    """Write the pieces into the file. Raises `Unavailable` where they have no room."""
    batch: list[bytes] = []
    size = 0
    async for piece in pieces:
        batch.append(piece)
        size += len(piece)
        if size >= SAVE_BYTES:
            await asyncio.to_thread(_append, file, batch)
            batch, size = [], 0
    await asyncio.to_thread(_append, file, batch)


def _append(file: IO[bytes], pieces: Sequence[bytes]) -> None:
    room = shutil.disk_usage(gettempdir()).free
    if room < MIN_ROOM:
        raise Unavailable(
            "The server has no room for the upload.",
            expected=f"{MIN_ROOM:,} bytes that are free beyond it",
            received=f"{room:,} bytes",
            hint="TMPDIR names another folder; `antiphon owners import` reads a file in place.",
        )
    file.writelines(pieces)

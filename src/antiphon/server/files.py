"""Attachments over HTTP: in by form or as they are, out as a download and never as a page."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from urllib.parse import quote

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from antiphon.desk import Desk
from antiphon.engine import kept
from antiphon.errors import InvalidRequest
from antiphon.fair_queue import FairQueue
from antiphon.problems import Malformed
from antiphon.server import reading, stream
from antiphon.server.exchange import Exchange, field
from antiphon.server.pieces import send_pieces
from antiphon.settings import Settings

_FORM = "multipart/form-data"


async def upload(exchange: Exchange, desk: Desk, settings: Settings) -> None:
    """Keep the one file of a form, or a body that is the file, named by `?name=`."""
    key = reading.idempotency_key(exchange.scope)
    content = await reading.body(exchange.scope, exchange.receive, settings.max_body)
    media_type = Headers(scope=exchange.scope).get("content-type", "")
    if media_type.lower().startswith(_FORM):
        name, media_type, content = await _from_form(exchange, content)
    else:
        name = _asked_name(exchange)
    named, typed = kept.file_name(name), kept.media_type(media_type)
    answer = await desk.upload(exchange.caller.owner, named, typed, content, key)
    replayed = [(b"idempotency-replayed", b"true")] if answer.replayed else []
    await exchange.say(answer.status, answer.value, replayed)


async def download(
    exchange: Exchange,
    desk: Desk,
    queue: FairQueue,
    welcome: stream.Welcome,
    pace: stream.Pace,
) -> None:
    """Send the bytes of a file in a wrapping in which no browser runs them.

    Each piece is read in a slot of the queue.
    """
    await reading.body(exchange.scope, exchange.receive, 0)
    file_id = reading.path(exchange.scope)["file_id"]
    about, pieces = await desk.open_file(exchange.caller.owner, file_id)
    headers = [
        field(b"content-type", kept.media_type(about.media_type)),
        (b"content-length", b"%d" % about.size),
        field(b"content-disposition", disposition(about.name)),
    ]
    pieces = queue.make_pieces(exchange.caller.who, pieces)
    await send_pieces(exchange, headers, pieces, welcome, pace)


def disposition(name: str) -> str:
    """An attachment by that name (RFC 6266): ASCII for the old, RFC 5987 for everybody else."""
    plain = re.sub(r"[^ !#-\[\]-~]|[%/\\]", "_", name)
    whole = quote(name, safe="", errors="replace")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}"


async def _from_form(exchange: Exchange, body: bytes) -> tuple[str, str, bytes]:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(Headers(scope=exchange.scope), pieces(), max_files=1, max_fields=0)
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
        return file.filename or "", file.content_type or "", await file.read()
    finally:
        await form.close()


def _asked_name(exchange: Exchange) -> str:
    asked = reading.query(exchange.scope)
    if asked.keys() != {"name"}:
        raise InvalidRequest(
            "A body that is a file needs a name.",
            expected=f"?name= and nothing else, or {_FORM}",
            received=", ".join(asked)[:64] or "no query",
        )
    return asked["name"]

"""Attachments: uploaded by a form, downloaded as files."""

from __future__ import annotations

import re
from functools import partial
from typing import Literal

import msgspec
from flask import Blueprint, Response, request

from antiphon.client.async_transport import AsyncPieces
from antiphon.engine import sanitize
from antiphon.types.errors import InvalidRequest, TooLarge
from antiphon.types.messages import Upload
from antiphon.web.http import BYTES, image_type, json_response, read_query
from antiphon.web.session import current_client, current_site
from antiphon.web.streamed_responses import prepend, send_file

routes = Blueprint("files", __name__)

FORM_FIELD = "file"
DEFAULT_NAME = "file"
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class UploadedFile(msgspec.Struct, frozen=True):
    """File that was uploaded; `size` in bytes."""

    id: str
    name: str
    media_type: str
    size: int


class FileQuery(msgspec.Struct, frozen=True):
    """Query of a download; `inline=1` shows an image in place."""

    inline: Literal["0", "1"] = "0"


@routes.post("/api/files")
def upload_file() -> Response:
    """Store the one file of the form for the user."""
    name, media_type, content = _read_form_file(current_site().settings.max_body)
    upload = current_site().run(current_client().upload_file(content, name, media_type))
    return json_response(UploadedFile(upload.id, upload.name, upload.media_type, upload.size), 201)


@routes.get("/api/files/<file_id>")
def get_file(file_id: str) -> Response:
    """Send the file to be saved, or with `?inline=1` an image to be shown."""
    asked, site, client = read_query(FileQuery), current_site(), current_client()

    async def open_file() -> tuple[Upload, bytes, AsyncPieces]:
        upload = await client.get_file(file_id)
        pieces = client.transport.read_file(file_id)
        return upload, await anext(pieces, b""), pieces

    upload, first, pieces = site.run(open_file())
    if request.method == "HEAD":
        site.run(pieces.aclose())
    kind = image_type(first) if asked.inline == "1" else None
    name, content = plain_name(upload.name), partial(prepend, first, pieces)
    return send_file(name, content, kind or BYTES, is_attachment=kind is None, size=upload.size)


def plain_name(given: str) -> str:
    """Return the last segment of a path, without invisible and direction-changing characters."""
    last = re.split(r"[/\\]", sanitize.sanitize_text(given))[-1]
    name = "".join(letter for letter in last if letter.isprintable()).strip(". ")
    return _shorten(name) or DEFAULT_NAME


def _shorten(name: str) -> str:
    """Cut the name to its longest length, and keep its extension."""
    if len(name) <= sanitize.MAX_NAME:
        return name
    stem, _, ending = name.rpartition(".")
    if not stem or len(ending) > 16:
        return name[: sanitize.MAX_NAME]
    return f"{stem[: sanitize.MAX_NAME - len(ending) - 1]}.{ending}"


def _read_form_file(most: int) -> tuple[str, str, bytes]:
    """Return name, media type and bytes of the file in the form."""
    files = request.files.getlist(FORM_FIELD)
    if len(files) != 1:
        raise InvalidRequest(
            "The form does not hold one file.",
            expected=f"one field `{FORM_FIELD}` with a filename",
            received=f"{len(files)} of them",
        )
    content = files[0].stream.read(most + 1)
    if len(content) > most:
        raise TooLarge("The file is too large.", expected=f"at most {most} bytes")
    declared = files[0].mimetype
    if (media_type := image_type(content)) is None:  # the bytes are no image, whatever is declared
        media_type = BYTES if declared in IMAGE_TYPES else sanitize.parse_media_type(declared)
    return plain_name(files[0].filename or ""), media_type, content

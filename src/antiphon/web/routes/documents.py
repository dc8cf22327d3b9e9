"""Text of files: how far it is read, and its pages with their pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
from flask import Blueprint, Response
from msgspec import Meta

from antiphon.api.operations import GetPagePicture, ListPages
from antiphon.engine.text_search import find_highlights
from antiphon.types.documents import Document
from antiphon.types.errors import NotFound
from antiphon.web.http import SANDBOX, json_response, read_query
from antiphon.web.session import current_client, current_site
from antiphon.web.streamed_responses import TypedBody, respond_when_made

routes = Blueprint("documents", __name__)

PDF = "application/pdf"
_PAGE_NUMBER = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


class FileState(msgspec.Struct, frozen=True, kw_only=True):
    """A file, and how far its text is read; `document` is null where no text is read."""

    id: str
    name: str
    size: int
    document: Document | None


class PageQuery(msgspec.Struct, frozen=True):
    """Query of a page: `q` are words that are marked in it."""

    q: Annotated[str, Meta(max_length=256)] = ""


class PageView(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a file's text. `highlights` are places of words, in code points.

    `has_picture` is true for the pages of a PDF.
    """

    file: str
    number: int
    pages: int
    title: str
    text: str
    highlights: Sequence[tuple[int, int]]
    has_picture: bool


class PictureQuery(msgspec.Struct, frozen=True):
    """Query of a picture: the number of the page."""

    page: Annotated[str, Meta(pattern="^[1-9][0-9]{0,5}$")] = "1"


@routes.get("/api/files/<file_id>/document")
def get_document(file_id: str) -> Response:
    """Return the file and the state of its text."""
    upload = current_site().run(current_client().get_file(file_id))
    return json_response(
        FileState(id=upload.id, name=upload.name, size=upload.size, document=upload.document)
    )


@routes.get("/api/files/<file_id>/pages/<number>")
def get_page(file_id: str, number: str) -> Response:
    """Return one page of the file's text."""
    query, client = read_query(PageQuery), current_client()

    async def read() -> PageView:
        upload = await client.get_file(file_id)
        place = int(number) if _PAGE_NUMBER.fullmatch(number) else 0
        found = await client.transport.send(ListPages(file_id, place)) if place else None
        if found is None or not found.data:
            raise NotFound(f"The file has no page {number[:20]}.")
        (page,) = found.data
        return PageView(
            file=upload.name,
            number=page.number,
            pages=upload.document.pages if upload.document else 0,
            title=page.title,
            text=page.text,
            highlights=find_highlights(page.text, query.q),
            has_picture=upload.name.lower().endswith(".pdf") or upload.media_type == PDF,
        )

    return json_response(current_site().run(read()))


@routes.get("/api/files/<file_id>/picture")
def get_picture(file_id: str) -> Response:
    """Return the picture of one page of a PDF; it is no longer drawn when the reader leaves."""
    call, client = GetPagePicture(file_id, int(read_query(PictureQuery).page)), current_client()

    async def draw() -> TypedBody:
        picture = await client.transport.send(call)
        return TypedBody(picture.data, picture.media_type)

    response = respond_when_made(draw)
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["Cache-Control"] = "private, no-store"
    return response

"""Operations on the text of uploaded files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from antiphon.api.fields import FileIds
from antiphon.api.operation import Id, Limit, Listed, Name, Operation
from antiphon.types.documents import DocumentPage, PagePicture


class ListPages(Operation[Listed[DocumentPage]], frozen=True):
    """List the pages of a file's text, in their order; with `page` only the one of that number.

    The list is empty until the text is read: the file's `document` says how far that is. Pages are
    pages of a PDF, slides and chapters; sheets and long texts are cut into pages.
    """

    route: ClassVar[str] = "GET /v1/files/{file_id}/pages"
    answer: ClassVar[Any] = Listed[DocumentPage]

    file_id: Id
    page: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    limit: Limit = 20
    after: Id | None = None


class GetPagePicture(Operation[PagePicture], frozen=True):
    """Get the picture of a page of a PDF: WebP, 1,600 pixels at its longer side.

    `page` is the number of the page in the list of pages. A file of another kind, or one that
    cannot be drawn, is refused.
    """

    route: ClassVar[str] = "GET /v1/files/{file_id}/picture"
    answer: ClassVar[Any] = PagePicture

    file_id: Id
    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1


class PageHit(msgspec.Struct, frozen=True, kw_only=True):
    """A page on which a search found its words.

    `file` is the name of the file, `title` that of the sheet, the slide or the chapter. `snippet`
    is a part of the page on one line, `highlights` are the places of words in it as `[start, end)`,
    counted in code points. `score` is higher for a better match.
    """

    file_id: str
    file: str
    page: int
    title: str = ""
    snippet: str
    highlights: Sequence[tuple[int, int]]
    score: float


class FileSearchResults(msgspec.Struct, frozen=True, kw_only=True):
    """Pages that a search found, the best first.

    `searched` is the number of files that were searched, None if those are all of the owner's.
    `pending` is the number of these whose text is still being read.
    """

    data: Sequence[PageHit]
    searched: int | None = None
    pending: int = 0


class SearchFiles(Operation[FileSearchResults], frozen=True):
    """Search the text of files; the best pages come first.

    `q` is words, as in a search of messages: `deploy` also finds "deployment", text in quotation
    marks is found as it stands. Pages that have all words come before pages that have some.

    With `file_ids`, `thread_id` or `assistant_id` only files are searched that are named, attached
    to a message of the thread, or files of its folder or of the assistant. Without any, all files
    of the owner are.
    """

    route: ClassVar[str] = "POST /v1/files/search"
    answer: ClassVar[Any] = FileSearchResults
    scope: ClassVar[str | None] = "read"

    q: Name
    file_ids: FileIds = ()
    thread_id: Id | None = None
    assistant_id: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=50)] = 10

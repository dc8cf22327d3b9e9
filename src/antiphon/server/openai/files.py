"""`/openai/v1/files`: an owner's uploads as files of OpenAI's API.

Ids begin with `file-`, by which some clients know them; those of the native API are accepted too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from antiphon.api.operations import DeleteFile, GetFile, ListFiles
from antiphon.engine import sanitize
from antiphon.server.caller_api import PAGE
from antiphon.server.files import read_form
from antiphon.server.gateway import Gateway
from antiphon.server.openai.queries import Query
from antiphon.server.requests import RequestContext, idempotency_key, path_parameters
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Upload
from antiphon.types.runs import DAY
from antiphon.wires.openai.object_ids import parse_file_id, public_file_id

PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
USUAL_PURPOSE = "user_data"
"""Purpose of a file that was uploaded without one, by the native API."""

MAX_LIMIT = 10_000
MAX_FIELDS = 8
SECONDS_TO_LIVE = range(3_600, 30 * DAY + 1)


class FileObject(msgspec.Struct, frozen=True, kw_only=True):
    """A file; `bytes` is its size, times are in seconds since 1970."""

    id: str
    object: str = "file"
    bytes: int
    created_at: int
    expires_at: int | None = None
    filename: str
    purpose: str
    status: str = "processed"


class DeletedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was deleted."""

    id: str
    object: str = "file"
    deleted: bool = True


class FileList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of files."""

    object: str = "list"
    data: Sequence[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Files:
    """Answers requests for files."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def create(self, context: RequestContext) -> None:
        """Answer `POST /files`."""
        key = idempotency_key(context.scope)
        body = await self._gateway.read_body(context, self._gateway.settings.max_upload)
        sent = await read_form(context, body, MAX_FIELDS)
        sanitize.validate_text(dict(sent.fields))
        response = await self._gateway.dispatcher.files.upload(
            context.caller.owner,
            sanitize.validate_file_name(sent.name),
            sanitize.parse_media_type(sent.media_type),
            sent.content,
            key,
            purpose=_purpose(sent.fields),
            expires_in=_seconds_to_live(sent.fields),
        )
        value = response.value
        if isinstance(value, msgspec.Raw):
            value = msgspec.json.decode(value, type=Upload)
        await context.respond_json(200, _file_object(value))

    async def list_files(self, context: RequestContext) -> None:
        """Answer `GET /files`."""
        query = Query(context.scope)
        limit = query.limit(MAX_LIMIT, MAX_LIMIT)
        api = self._gateway.api(context)
        after = None if query.after is None else parse_file_id(query.after)
        listing = ListFiles(
            limit=PAGE,
            after=after,
            purpose=query.text("purpose"),
            order="newest" if query.descending else "oldest",
        )

        async def work() -> FileList:
            found, has_more = await api.list_some(listing, limit)
            data = [_file_object(upload) for upload in found]
            return FileList(
                data=data,
                first_id=data[0].id if data else None,
                last_id=data[-1].id if data else None,
                has_more=has_more,
            )

        found = await self._gateway.connections.run_in_slot(context, work())
        await context.respond_json(200, found)

    async def retrieve(self, context: RequestContext) -> None:
        """Answer `GET /files/{file_id}`."""
        upload = await self._find(context)
        await context.respond_json(200, _file_object(upload))

    async def delete(self, context: RequestContext) -> None:
        """Answer `DELETE /files/{file_id}`."""
        upload = await self._find(context)
        await self._gateway.api(context).ask(DeleteFile(upload.id))
        await context.respond_json(200, DeletedFile(id=public_file_id(upload.id)))

    async def send_content(self, context: RequestContext) -> None:
        """Answer `GET /files/{file_id}/content`."""
        upload = await self._find(context)
        await self._gateway.connections.send_file(context, upload.id)

    async def _find(self, context: RequestContext) -> Upload:
        given = path_parameters(context.scope)["file_id"]
        api = self._gateway.api(context)
        try:
            return await api.ask(GetFile(parse_file_id(given)))
        except NotFound as error:
            raise NotFound(f"No such File object: {given[:100]}", where="$.file_id") from error


def _file_object(upload: Upload) -> FileObject:
    return FileObject(
        id=public_file_id(upload.id),
        bytes=upload.size,
        created_at=upload.created_at // 1000,
        expires_at=None if upload.expires_at is None else upload.expires_at // 1000,
        filename=upload.name,
        purpose=upload.purpose or USUAL_PURPOSE,
    )


def _purpose(fields: Mapping[str, str]) -> str:
    purpose = fields.get("purpose", "")
    if purpose not in PURPOSES:
        raise InvalidRequest(
            "A file has a purpose.",
            expected=", ".join(PURPOSES),
            received=purpose[:64] or "none",
            where="$.purpose",
        )
    return purpose


def _seconds_to_live(fields: Mapping[str, str]) -> int | None:
    """Return the seconds after which the file expires; None if it never does."""
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    text = seconds or ""
    is_number = text.isascii() and text.isdecimal() and len(text) < len(str(10**9))
    if anchor != "created_at" or not is_number or int(text) not in SECONDS_TO_LIVE:
        raise InvalidRequest(
            "This is no time after which a file can expire.",
            expected=f"anchor created_at, {SECONDS_TO_LIVE[0]} to {SECONDS_TO_LIVE[-1]} seconds",
            received=f"anchor {anchor}, seconds {seconds}"[:100],
            where="$.expires_after",
        )
    return int(text)

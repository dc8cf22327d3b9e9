"""Messages, their attachments, and streams of runs.

The view of `POST /api/messages/process` does steps 2 to 6 of the flow (docs/flows/web.md). The
relay's `generate_chunks` does 7 to 24, and outlives the request.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from flask import Blueprint, Response, request
from msgspec import Meta

from antiphon.api.operation import convert
from antiphon.api.operations import ListMessages
from antiphon.client.async_client import AsyncClient
from antiphon.client.async_transport import AsyncPieces
from antiphon.client.run_timeline import load_timeline
from antiphon.client.thread_families import find_newest_run, list_family
from antiphon.tools.questions import ConsentAnswer
from antiphon.types.documents import Document
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Message, Rating, Upload
from antiphon.types.runs import Run
from antiphon.web import other_clients, streamed_responses
from antiphon.web.http import (
    BYTES,
    decode_json,
    file_media_type,
    image_type,
    json_response,
    plain_name,
    read_form_file,
    read_json,
    read_query,
)
from antiphon.web.other_clients import handle_ag_ui, handle_use_chat
from antiphon.web.relay import Relay
from antiphon.web.runs import FrameSource, PostedMessage, check_cursor, resume_stream, submit
from antiphon.web.session import current_client, current_site, current_user, respond_with
from antiphon.web.streamed_responses import prepend, send_file, stream_response
from antiphon.wires import framing
from antiphon.wires.ai_sdk.history import GivenFeedback
from antiphon.wires.ai_sdk.parts import Sdk
from antiphon.wires.framing import Cursor

routes = Blueprint("messages", __name__)

PAGE = 100
MAX_COMPARED_BRANCHES = 10
"""Branches of a conversation whose runs are offered for comparison, the last changed ones."""


class ApprovalAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of the user about a call; `args_hash` identifies the question that they saw."""

    approved: bool
    args_hash: str
    reason: Annotated[str, Meta(max_length=10_000)] = ""
    arguments: Annotated[str, Meta(max_length=1_000_000)] | None = None
    keep: Literal["once", "session", "always"] = "once"
    scope: Literal["tool", "server"] = "tool"


class RunReference(msgspec.Struct, frozen=True):
    """A run that another may be compared with."""

    id: str
    model: str
    created_at: int


class FamilyRuns(msgspec.Struct, frozen=True):
    """Runs of a conversation, the newest first."""

    data: Sequence[RunReference]


class FeedbackChange(msgspec.Struct, frozen=True, kw_only=True):
    """A rating of an answer, None to remove it, and a comment."""

    rating: Rating | None
    comment: Annotated[str, Meta(max_length=4000)] = ""


@routes.post("/api/messages/process")
def process_message() -> Response:
    """Save the message, start its run, and respond with its stream at once."""
    body, sdk = read_json(dict[str, Any]), _sdk_version()
    streamed_responses.count_message(current_site(), current_user())
    if "messages" in body:
        return stream_response(lambda: handle_use_chat(current_site(), current_user(), body, sdk))
    message = convert(body, PostedMessage)
    return stream_response(lambda: submit(current_site(), current_user(), message, sdk))


@routes.post("/api/agui")
def process_ag_ui() -> Response:
    """Process a message in the same way for AG-UI clients."""
    body = read_json(dict[str, Any])
    streamed_responses.count_message(current_site(), current_user())
    return stream_response(
        lambda: handle_ag_ui(current_site(), current_user(), body), framing.HEADERS
    )


@routes.get("/api/messages/process/<thread_id>/stream")
def resume_thread_stream(thread_id: str) -> Response:
    """Stream the thread's active run from its start; 204 if there is none.

    Clients that name their threads themselves use their own name.
    """
    sdk, client = _sdk_version(), current_client()

    async def newest_run() -> Run | None:
        thread = await other_clients.find_thread(client, thread_id)
        return await find_newest_run(client, thread.id) if thread else None

    run = current_site().run(newest_run())
    if run is None or run.status.ended:
        return Response(status=204)
    return stream_response(lambda: _resume_stream(run, sdk))


@routes.get("/api/runs/<run_id>/stream")
def stream_run(run_id: str) -> Response:
    """Stream the run after the cursor in `?after=` or `Last-Event-ID`, else from its start."""
    sdk, run = _sdk_version(), current_site().run(current_client().get_run(run_id))
    cursor = request.args.get("after") or request.headers.get("Last-Event-ID")
    after = framing.parse_cursor(cursor, run.id) if cursor else None
    if after is not None:
        current_site().run(check_cursor(current_site(), current_user(), after))
    return stream_response(lambda: _resume_stream(run, sdk, after))


@routes.get("/api/runs/<run_id>/timeline")
def get_timeline(run_id: str) -> Response:
    """Return a run and its steps."""
    return respond_with(load_timeline(current_client(), run_id))


@routes.get("/api/threads/<thread_id>/runs")
def list_runs(thread_id: str) -> Response:
    """Return the newest runs of a thread and of its branches."""
    return respond_with(_list_family_runs(current_client(), thread_id))


async def _list_family_runs(client: AsyncClient, thread_id: str) -> FamilyRuns:
    family = await list_family(client, await client.get_thread(thread_id))
    found = [
        RunReference(run.id, run.model, run.created_at)
        for thread in family[:MAX_COMPARED_BRANCHES]
        for run in (await client.list_runs(thread.id, limit=PAGE)).data
    ]
    return FamilyRuns(sorted(found, key=lambda run: -run.created_at))


@routes.post("/api/runs/<run_id>/stop")
def stop_run(run_id: str) -> Response:
    """Stop the run; responds when it is certain."""
    run = current_site().run(current_client().cancel_run(run_id))
    return json_response({"id": run.id, "status": run.status})


@routes.put("/api/threads/<thread_id>/feedback/<shown_id>")
def set_feedback(thread_id: str, shown_id: str) -> Response:
    """Rate a shown answer; without a rating, remove it.

    An answer is shown with the id of its run, a copied one with that of its first message.
    """
    given, client = read_json(FeedbackChange), current_client()

    async def save() -> GivenFeedback | None:
        reply = await _find_last_reply(client, thread_id, shown_id)
        if given.rating is None:
            await client.delete_feedback(reply.id)
            return None
        rated = await client.set_feedback(reply.id, given.rating, comment=given.comment)
        return GivenFeedback(given.rating, rated.feedback.comment if rated.feedback else "")

    return respond_with(save())


async def _find_last_reply(client: AsyncClient, thread_id: str, shown_id: str) -> Message:
    """Return the last reply of a shown answer. Raises `NotFound`."""
    if shown_id.startswith("run_"):
        replies = await client.list_messages(
            thread_id, run_id=shown_id, role="assistant", order="newest", limit=1
        )
        if replies.data:
            return replies.data[0]
        raise NotFound("There is no such answer.")
    last = await client.get_message(shown_id)
    following = client.paginate(ListMessages(thread_id, after=shown_id, limit=PAGE))
    async for message in following:  # the rest of a copied answer
        if message.role not in ("assistant", "tool"):
            break
        last = message if message.role == "assistant" else last
    return last


@routes.post("/api/runs/<run_id>/tools/<path:call_id>/stop")
def stop_tool(run_id: str, call_id: str) -> Response:
    """Stop one tool call; its output says so to the model, and the run continues."""
    return json_response({"stopped": _get_relay(run_id).stop_tool(call_id)})


@routes.post("/api/runs/<run_id>/approvals/<path:call_id>")
def answer_approval(run_id: str, call_id: str) -> Response:
    """Answer the question about a call."""
    verdict, relay = read_json(ApprovalAnswer), _get_relay(run_id)
    if verdict.approved and verdict.arguments is not None:
        # Refuse arguments that are not a JSON object.
        decode_json(verdict.arguments.encode(), dict[str, Any])
    answer = ConsentAnswer(
        allowed=verdict.approved,
        keep=verdict.keep,
        scope=verdict.scope,
        word=verdict.reason,
        arguments=verdict.arguments,
    )

    async def give_answer() -> None:
        relay.answer(call_id, verdict.args_hash, answer)

    current_site().run(give_answer())
    return json_response({"state": "approved" if verdict.approved else "refused"})


def _get_relay(run_id: str) -> Relay:
    """Return the relay of a run of this user. Raises `NotFound`."""
    run = current_site().run(current_client().get_run(run_id))
    relay = current_site().relays.find(run.id)
    if relay is None:
        raise NotFound("Nothing of this run happens here now.")
    return relay


def _resume_stream(
    run: Run, sdk: Sdk, after: Cursor | None = None
) -> Coroutine[Any, Any, FrameSource]:
    site, user = current_site(), current_user()

    async def resume() -> FrameSource:
        return resume_stream(site, user, run, sdk, after)

    return resume()


def _sdk_version() -> Sdk:
    """Return the AI SDK version that the client declares, the oldest by default."""
    match request.args.get("sdk", "5"):
        case "5":
            return 5
        case "6":
            return 6
        case "7":
            return 7
        case other:
            raise InvalidRequest(
                "There is no such version of the stream.",
                expected="sdk=5, 6 or 7",
                received=other[:20],
            )


# Attachments: uploaded by a form, downloaded as files.


class UploadedFile(msgspec.Struct, frozen=True):
    """File that was uploaded; `size` in bytes, `document` where its text is read."""

    id: str
    name: str
    media_type: str
    size: int
    document: Document | msgspec.UnsetType = msgspec.UNSET


class FileQuery(msgspec.Struct, frozen=True):
    """Query of a download; `inline=1` shows an image in place."""

    inline: Literal["0", "1"] = "0"


@routes.post("/api/files")
def upload_file() -> Response:
    """Store the one file of the form for the user."""
    file, content = read_form_file(current_site().settings.max_upload)
    name, media_type = plain_name(file.filename or ""), file_media_type(content, file.mimetype)
    upload = current_site().run(current_client().upload_file(content, name, media_type))
    document = upload.document or msgspec.UNSET
    view = UploadedFile(upload.id, upload.name, upload.media_type, upload.size, document)
    return json_response(view, 201)


@routes.get("/api/files/<file_id>")
def get_file(file_id: str) -> Response:
    """Send the file to be saved, or with `?inline=1` an image to be shown."""
    query, site, client = read_query(FileQuery), current_site(), current_client()

    async def open_file() -> tuple[Upload, bytes, AsyncPieces]:
        upload = await client.get_file(file_id)
        pieces = client.transport.read_file(file_id)
        return upload, await anext(pieces, b""), pieces

    upload, first, pieces = site.run(open_file())
    if request.method == "HEAD":
        site.run(pieces.aclose())
    kind = image_type(first) if query.inline == "1" else None
    name, content = plain_name(upload.name), partial(prepend, first, pieces)
    return send_file(name, content, kind or BYTES, is_attachment=kind is None, size=upload.size)

"""Heavy responses, made on the loop in fair order among users, without a waiting thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from io import BytesIO
from typing import Any

import flask
from flask import Response, request

from antiphon.web.context import current_site, fairness_key, is_bridged
from antiphon.web.event_stream import FileStream, Source
from antiphon.web.http import BYTES, NO_STORE, SANDBOX

MakeBody = Callable[[], Coroutine[Any, Any, bytes]]
"""Returns the body of a response."""

JSON = "application/json"


class AwaitedBody:
    """Body that the bridge awaits and sends with its length; it cannot be iterated.

    An error of `make` is sent as the response.
    """

    def __init__(self, make: MakeBody) -> None:
        self.make = make

    def __iter__(self) -> Iterator[bytes]:
        raise TypeError("Only the bridge can send this body.")


class AwaitedResponse(Response):
    """JSON response with an `AwaitedBody`."""

    automatically_set_content_length = False

    def __init__(self, make: MakeBody) -> None:
        body = AwaitedBody(make)
        super().__init__(body, headers=NO_STORE, content_type=JSON, direct_passthrough=True)


def respond_in_turn(make: MakeBody) -> Response:
    """Return JSON that is made when it is this user's turn for a heavy response.

    Behind another server than our own, the view's thread waits for it.
    """
    site, key = current_site(), fairness_key()

    async def make_in_turn() -> bytes:
        async with site.limits.answers.slot(key):
            return await make()

    if not is_bridged() or request.method == "HEAD":
        return Response(site.run(make_in_turn()), headers=NO_STORE, content_type=JSON)
    return AwaitedResponse(make_in_turn)


def send_file(
    name: str,
    content: Source,
    media_type: str = BYTES,
    *,
    is_attachment: bool = True,
    size: int | None = None,
) -> FileStream:
    """Return a file under this name, sent piece by piece (RFC 6266 for the name).

    Browsers save an attachment, and neither show nor run it; `size` in bytes, if known. Each piece
    is made when it is this user's turn.
    """
    site, key = current_site(), fairness_key()
    headers = flask.send_file(
        BytesIO(),
        media_type,
        as_attachment=is_attachment,
        download_name=name,
        conditional=False,
        etag=False,
    ).headers
    headers["Content-Security-Policy"] = SANDBOX
    headers["Cache-Control"] = "private, no-store"
    del headers["Content-Length"]
    if size is not None:
        headers["Content-Length"] = str(size)
    return FileStream(
        lambda: site.limits.answers.make_pieces(key, content()), site.loop, dict(headers)
    )

"""Heavy responses, made on the loop in fair order among users, without a waiting thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from io import BytesIO
from typing import Any

import flask
from flask import Response, request

from antiphon.web.context import current_site, fairness_key
from antiphon.web.event_stream import ROOM, FileStream, Source
from antiphon.web.http import BYTES, NO_STORE, SANDBOX

MakeBody = Callable[[], Coroutine[Any, Any, bytes]]
"""Returns the body of a response."""

JSON = "application/json"


class AwaitedResponse(Response):
    """Response whose body the bridge awaits and sends with its length.

    An error of `make` is sent in its place.
    """

    automatically_set_content_length = False

    def __init__(self, make: MakeBody) -> None:
        super().__init__(headers=NO_STORE, content_type=JSON)
        self.make = make

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Leave it to the bridge."""
        environ[ROOM].append(self)
        start_response(self.status, self.get_wsgi_headers(environ).to_wsgi_list())
        return []


def respond_in_turn(make: MakeBody) -> Response:
    """Return JSON that is made when it is this user's turn for a heavy response.

    On another server than our own, the view's thread waits for it.
    """
    here, who = current_site(), fairness_key()

    async def make_in_turn() -> bytes:
        async with here.limits.answers.slot(who):
            return await make()

    if ROOM not in request.environ or request.method == "HEAD":
        return Response(here.run(make_in_turn()), headers=NO_STORE, content_type=JSON)
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
    here, who = current_site(), fairness_key()
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
        lambda: here.limits.answers.make_pieces(who, content()), here.loop, dict(headers)
    )

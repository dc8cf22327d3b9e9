"""Responses whose body is an async generator of bytes, and heavy responses, which take turns.

The bridge of our own server recognises the body, and awaits the generator on the loop: a stream
costs no thread. Any other WSGI server iterates over it, with one thread for each stream.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, aclosing
from functools import partial
from io import BytesIO
from typing import Any, ClassVar, NamedTuple

import flask
from flask import Response, request

from antiphon.types.errors import TryAgain
from antiphon.web.http import BYTES, NO_STORE, SANDBOX
from antiphon.web.limits import StreamTicket
from antiphon.web.people import LOCAL_USER, User
from antiphon.web.runs import Frames, FrameSource, WriteNow
from antiphon.web.session import current_site, current_user, fairness_key, is_bridged
from antiphon.web.site import Site
from antiphon.wires.ai_sdk.message_stream import HEADERS
from antiphon.wires.framing import HEARTBEAT

SILENCE = 12.0
"""Seconds without a frame after which a heartbeat is sent."""
OLDEST = 600.0
"""Seconds after which a stream in a thread ends, and its reader reconnects.

Some servers do not notice that a client is gone; no thread is held for longer than this.
"""

Source = Callable[[], AsyncGenerator[bytes, None]]
"""Starts the pieces of a file when a server asks for them."""


class StreamedBody:
    """Body of frames: the bridge awaits `source`, any other WSGI server iterates in a thread.

    Without a `heartbeat` it is a file: nothing may be sent between its pieces, and an error before
    the first piece is sent as the response.
    """

    def __init__(
        self, source: FrameSource, loop: asyncio.AbstractEventLoop, heartbeat: bytes = b""
    ) -> None:
        self.source = source
        self.heartbeat = heartbeat
        self._frames = _iterate_in_thread(source, loop, heartbeat)

    def __iter__(self) -> Iterator[bytes]:
        return self._frames

    def close(self) -> None:
        """End the iteration; called by WSGI servers."""
        self._frames.close()


class EventStream(Response):
    """Response whose body is a stream of frames; a disconnect ends the frames and nothing else."""

    heartbeat: ClassVar[bytes] = HEARTBEAT
    """Bytes that may be sent between two frames."""

    def __init__(
        self, source: FrameSource, loop: asyncio.AbstractEventLoop, headers: Mapping[str, str]
    ) -> None:
        body = StreamedBody(source, loop, self.heartbeat)
        super().__init__(body, headers=dict(headers), direct_passthrough=True)


class FileStream(EventStream):
    """Response that is a file in pieces."""

    heartbeat = b""

    def __init__(
        self, source: Source, loop: asyncio.AbstractEventLoop, headers: Mapping[str, str]
    ) -> None:
        super().__init__(lambda _: source(), loop, headers)


async def prepend(first: bytes, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield the piece that was read already, then the others."""
    async with aclosing(pieces):
        yield first
        async for piece in pieces:
            yield piece


def _iterate_in_thread(
    source: FrameSource, loop: asyncio.AbstractEventLoop, heartbeat: bytes
) -> Generator[bytes]:
    """Yield the frames in a thread that may block, with a heartbeat after each silence."""
    frames = source(None)

    async def next_frame() -> bytes:
        return await anext(frames, b"")

    ends = loop.time() + OLDEST if heartbeat else math.inf
    step: Future[bytes] | None = None
    try:
        while loop.time() < ends:
            step = step or asyncio.run_coroutine_threadsafe(next_frame(), loop)
            try:
                frame = step.result(SILENCE)
            except TimeoutError:
                yield heartbeat
                continue
            if not frame:
                return
            step = None
            yield frame
    finally:
        if step is None or not step.done():  # not at their end
            closing = _close_when_idle(frames, step)
            try:
                asyncio.run_coroutine_threadsafe(closing, loop)
            except RuntimeError:  # the loop is closed, and with it all that ran on it
                closing.close()


async def _close_when_idle(frames: AsyncGenerator[bytes, None], step: Future[bytes] | None) -> None:
    """Close the generator as soon as its running step has ended."""
    if step is not None:
        step.cancel()
    while True:
        try:
            await frames.aclose()
        except RuntimeError:  # its step still runs
            await asyncio.sleep(0)
        else:
            return


# Places of streams: taken before any work, released at the end.


LOOK_AGAIN = 2.0  # seconds between two checks that the user is still logged in


def count_message(site: Site, user: User) -> None:
    """Count one message of the user. Raises `TooMany`. Without a login nothing is counted."""
    if user != LOCAL_USER:
        site.limits.messages.take(user.id)


async def stream_while_signed_in(
    site: Site, user: User, source: FrameSource, place: StreamTicket, write_now: WriteNow | None
) -> Frames:
    """Yield the frames as long as the user is signed in; release the place at the end."""
    looked = time.monotonic()

    def write_unless_due(make: Callable[[], bytes]) -> bool:
        due = time.monotonic() - looked > LOOK_AGAIN
        return not due and write_now is not None and write_now(make)

    frames = source(write_now and write_unless_due)
    try:
        async for frame in frames:
            if time.monotonic() - looked > LOOK_AGAIN:
                if not await site.people.is_signed_in(user):
                    return
                looked = time.monotonic()
            yield frame
    except TryAgain:
        return  # the backend is unreachable: the reader reconnects
    finally:
        place.release()
        await frames.aclose()


# Responses.


def stream_response(
    begin: Callable[[], Coroutine[Any, Any, FrameSource]], headers: Mapping[str, str] = HEADERS
) -> Response:
    """Return the frames as a response. Raises `Overloaded`, and then nothing was started."""
    site, user = current_site(), current_user()
    place = site.limits.streams.admit(user.id)
    with ExitStack() as unless_begun:
        unless_begun.callback(place.release)
        source = site.run(begin())
        unless_begun.pop_all()
    return EventStream(
        partial(stream_while_signed_in, site, user, source, place), site.loop, headers
    )


# Heavy responses, made on the loop in fair order among users, without a waiting thread.


class TypedBody(NamedTuple):
    """Body whose media type is known only with its content."""

    content: bytes
    media_type: str


MakeBody = Callable[[], Coroutine[Any, Any, bytes | TypedBody]]
"""Returns the body of a response. It is cancelled when the browser disconnects."""

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
    """Response with an `AwaitedBody`."""

    automatically_set_content_length = False

    def __init__(self, make: MakeBody, content_type: str) -> None:
        body = AwaitedBody(make)
        super().__init__(body, headers=NO_STORE, content_type=content_type, direct_passthrough=True)
        if not content_type:
            del self.headers["Content-Type"]


def respond_in_turn(make: MakeBody) -> Response:
    """Return JSON that is made when it is this user's turn for a heavy response.

    Behind another server than our own, the view's thread waits for it.
    """
    site, key = current_site(), fairness_key()

    async def make_in_turn() -> bytes | TypedBody:
        async with site.limits.answers.slot(key):
            return await make()

    return respond_when_made(make_in_turn, JSON)


def respond_when_made(make: MakeBody, content_type: str = "") -> Response:
    """Return a body that is made on the loop, and no longer when its reader leaves.

    Without a content type it is a `TypedBody`. Behind another server than our own the view's thread
    waits to the end: WSGI does not say that a reader has left.
    """
    if is_bridged() and request.method != "HEAD":
        return AwaitedResponse(make, content_type)
    made = current_site().run(make())
    content, kind = made if isinstance(made, TypedBody) else (made, content_type)
    return Response(content, headers=NO_STORE, content_type=kind)


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

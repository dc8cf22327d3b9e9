"""A stream as the answer to a request, if there is a place for one more."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from flask import Response

from antiphon.web import admission
from antiphon.web.event_stream import EventStream
from antiphon.web.following import Frames
from antiphon.web.here import site
from antiphon.web.session import person
from antiphon.wires.ui_message_stream import HEADERS


def streamed(begun: Coroutine[Any, Any, Frames], headers: Mapping[str, str] = HEADERS) -> Response:
    """The frames as a response. Raises `Overloaded`, and then nothing was begun."""
    here, someone = site(), person()
    try:
        place = admission.place(here, someone)
    except BaseException:
        begun.close()
        raise
    try:
        frames = here.run(begun)
    except BaseException:
        place.release()
        raise
    return EventStream(lambda: admission.seated(here, someone, frames, place), here.loop, headers)

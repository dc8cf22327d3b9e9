"""A stream as the answer to a request, if there is a place for one more."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack
from typing import Any

from flask import Response

from antiphon.web import admission
from antiphon.web.event_stream import EventStream
from antiphon.web.following import Frames
from antiphon.web.here import site
from antiphon.web.session import person
from antiphon.wires.ui_message_stream import HEADERS


def streamed(
    begin: Callable[[], Coroutine[Any, Any, Frames]], headers: Mapping[str, str] = HEADERS
) -> Response:
    """The frames as a response. Raises `Overloaded`, and then nothing was begun."""
    here, someone = site(), person()
    place = admission.place(here, someone)
    with ExitStack() as unless_begun:
        unless_begun.callback(place.release)
        frames = here.run(begin())
        unless_begun.pop_all()
    return EventStream(lambda: admission.seated(here, someone, frames, place), here.loop, headers)

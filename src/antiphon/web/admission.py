"""A stream's place: taken before anything is done for it, given back when it ends."""

from __future__ import annotations

import time

from antiphon.errors import TryAgain
from antiphon.web.following import Frames
from antiphon.web.limits import Ticket
from antiphon.web.session import LOCAL, Person
from antiphon.web.site import Site

LOOK_AGAIN = 2.0  # seconds for which a reader is believed to be still logged in


def may_write(site: Site, someone: Person) -> None:
    """Count one message of theirs. Raises `TooMany`. Who is alone here is not counted."""
    if someone != LOCAL:
        site.limits.messages.take(someone.id)


def place(site: Site, someone: Person) -> Ticket:
    """A place for one more stream. Raises `Overloaded`."""
    return site.limits.streams.admit(someone.id)


async def seated(site: Site, someone: Person, frames: Frames, place: Ticket) -> Frames:
    """The frames, for as long as their reader is let in."""
    looked = time.monotonic()
    try:
        async for frame in frames:
            if time.monotonic() - looked > LOOK_AGAIN:
                if not await site.people.stands(someone):
                    return
                looked = time.monotonic()
            yield frame
    except TryAgain:
        return  # the backend cannot be asked just now: the reader comes back
    finally:
        place.release()
        await frames.aclose()

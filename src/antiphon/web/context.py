"""What a view works with: the site that it belongs to, and a client for who asks."""

from __future__ import annotations

from collections.abc import Hashable
from typing import cast

from flask import current_app, request

from antiphon.client.async_client import AsyncClient
from antiphon.types.errors import Forbidden
from antiphon.web import origin, session
from antiphon.web.people import LOCAL
from antiphon.web.session import person
from antiphon.web.site import Site

KEY = "antiphon"


def site() -> Site:
    """The site of the application that answers now."""
    return cast("Site", current_app.extensions[KEY])


def governing() -> AsyncClient:
    """A client for the whole installation; what it does, the audit log says was this person."""
    return site().client.as_actor(session.person().id)


def party() -> Hashable:
    """Return the party that heavy answers are shared out to.

    It is the person who asks; where nobody logs in, and all are one person, the address.
    """
    someone = person()
    if someone != LOCAL:
        return someone.id
    return origin.who_asks(request, site().policy)


def client() -> AsyncClient:
    """A client whose every call is that of the person who asks now."""
    return site().client_of(session.person())


# Who may see to the whole installation.


def refuse_others() -> None:
    """Raise `Forbidden` for everybody else, whatever is at the address."""
    if not person().is_admin:
        raise Forbidden(
            "This is for those who run the installation.",
            expected="an admin",
            hint="An admin can make you one.",
        )

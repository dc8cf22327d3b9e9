"""What a view works with: the site that it belongs to, and a client for who asks."""

from __future__ import annotations

from typing import cast

from flask import current_app

from antiphon.client.async_client import AsyncClient
from antiphon.types.errors import Forbidden
from antiphon.web import session
from antiphon.web.session import person
from antiphon.web.site import Site

KEY = "antiphon"


def site() -> Site:
    """The site of the application that answers now."""
    return cast("Site", current_app.extensions[KEY])


def governing() -> AsyncClient:
    """A client for the whole installation; what it does, the audit log says was this person."""
    return site().client.acting_as(session.person().id)


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

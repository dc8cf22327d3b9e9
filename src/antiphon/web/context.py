"""What a view works with: the site that it belongs to, and a client for who asks."""

from __future__ import annotations

from collections.abc import Hashable
from typing import cast

from flask import current_app, request

from antiphon.client.async_client import AsyncClient
from antiphon.types.errors import Forbidden
from antiphon.web import origin, session
from antiphon.web.people import LOCAL_USER
from antiphon.web.session import current_user
from antiphon.web.site import Site

KEY = "antiphon"


def current_site() -> Site:
    """The site of the application that answers now."""
    return cast("Site", current_app.extensions[KEY])


def admin_client() -> AsyncClient:
    """A client for the whole installation; what it does, the audit log says was this person."""
    return current_site().client.as_actor(session.current_user().id)


def fairness_key() -> Hashable:
    """Return the party that heavy answers are shared out to.

    It is the person who asks; where nobody logs in, and all are one person, the address.
    """
    someone = current_user()
    if someone != LOCAL_USER:
        return someone.id
    return origin.client_address(request, current_site().policy)


def current_client() -> AsyncClient:
    """A client whose every call is that of the person who asks now."""
    return current_site().client_for_user(session.current_user())


# Who may see to the whole installation.


def require_admin() -> None:
    """Raise `Forbidden` for everybody else, whatever is at the address."""
    if not current_user().is_admin:
        raise Forbidden(
            "This is for those who run the installation.",
            expected="an admin",
            hint="An admin can make you one.",
        )

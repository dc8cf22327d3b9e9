"""The site, the user and the client of the current request, for views."""

from __future__ import annotations

from collections.abc import Hashable
from typing import cast

import msgspec
from flask import current_app, request

from antiphon.client.async_client import AsyncClient
from antiphon.types.errors import Forbidden
from antiphon.web import origin, session
from antiphon.web.people import LOCAL_USER
from antiphon.web.session import current_user
from antiphon.web.site import Site

EXTENSION = "antiphon"
"""Name of the web chat's state among the Flask extensions."""


class WebState(msgspec.Struct, frozen=True, kw_only=True):
    """State of a Flask application: its site, and `is_bridged` if `Bridge` serves it."""

    site: Site
    is_bridged: bool


def _state() -> WebState:
    return cast("WebState", current_app.extensions[EXTENSION])


def current_site() -> Site:
    """Return the site of the current application."""
    return _state().site


def is_bridged() -> bool:
    """Return true if the current application is served by `Bridge`."""
    return _state().is_bridged


def admin_client() -> AsyncClient:
    """Return a client for the whole installation; the audit log names the current user as actor."""
    return current_site().client.as_actor(session.current_user().id)


def fairness_key() -> Hashable:
    """Return the key by which heavy responses are shared out fairly.

    It is the id of the user. Where nobody logs in, all requests have the same user, and the key is
    the address.
    """
    user = current_user()
    if user != LOCAL_USER:
        return user.id
    return origin.client_address(request, current_site().policy)


def current_client() -> AsyncClient:
    """Return a client that makes every call on behalf of the current user."""
    return current_site().client_for_user(session.current_user())


def require_admin() -> None:
    """Raise `Forbidden` unless the current user is an administrator."""
    if not current_user().is_admin:
        raise Forbidden(
            "This is for those who run the installation.",
            expected="an admin",
            hint="An admin can make you one.",
        )

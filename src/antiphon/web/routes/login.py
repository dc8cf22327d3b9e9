"""Login by name and password, and logout here or everywhere."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

import msgspec
from flask import Blueprint, Response, request
from msgspec import Meta

from antiphon.api.problems import SignedOut
from antiphon.types.errors import NotFound, SignInRefused
from antiphon.web import origin, session
from antiphon.web.context import current_site
from antiphon.web.http import json_response, read_json
from antiphon.web.people import User
from antiphon.web.policy import Login

routes = Blueprint("login", __name__)

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]


class Credentials(msgspec.Struct, frozen=True):
    """Name and password of a login."""

    name: Name
    password: Password


class PasswordChange(msgspec.Struct, frozen=True):
    """Old and new password."""

    old: Password
    new: Password


class SignedIn(msgspec.Struct, frozen=True):
    """Logged-in user, and the CSRF token of the new session."""

    id: str
    name: str
    role: str
    csrf: str


@routes.post("/api/login")
def log_in() -> Response:
    """Log in by password; every failure gives the same error."""
    _require_login_by("password")
    given = read_json(Credentials)
    try:
        with _count_guess(given.name):
            person = current_site().run(current_site().people.log_in(given.name, given.password))
    except SignInRefused as refused:
        raise SignedOut("The name or the password is wrong.") from refused
    return session.remember_browser(_start_session(person), request, current_site(), given.name)


@routes.post("/api/password")
def change_password() -> Response:
    """Change the password, given the old one. All other logins of the user end."""
    _require_login_by("password")
    given = read_json(PasswordChange)
    person = session.current_user()
    try:
        with _count_guess(person.name):
            changed = current_site().run(
                current_site().people.change_password(person, given.old, given.new)
            )
    except SignInRefused as refused:
        raise SignInRefused("The old password is wrong.") from refused
    return _start_session(changed)


@routes.post("/api/logout")
def log_out() -> Response:
    """End this login: the session is dropped, and copies of its cookie stop working."""
    person, said = session.current_user(), session.current_session()
    session.end()
    if said is not None and current_site().policy.login in ("password", "oidc"):
        current_site().run(current_site().people.log_out(person, session.session_name(said)))
    return json_response({})


@routes.post("/api/logout/everywhere")
def log_out_everywhere() -> Response:
    """End all logins of this user."""
    _require_login_by("password", "oidc", "proxy")
    current_site().run(current_site().people.log_out_everywhere(session.current_user()))
    session.end()
    return json_response({})


def _require_login_by(*logins: Login) -> None:
    used = current_site().policy.login
    if used not in logins:
        raise NotFound(
            "People do not log in that way here.",
            expected=f"login = {' or '.join(logins)}",
            received=used,
        )


@contextmanager
def _count_guess(name: str) -> Generator[None]:
    """Count a try of a password before it is checked, and refund it if the password was right."""
    limits, address = current_site().limits, origin.client_address(request, current_site().policy)
    browser = session.known_browser(request, current_site(), name)
    limits.guesses.take(name, address, browser)
    with limits.logins:
        yield
    limits.guesses.refund(name, address, browser)


def _start_session(person: User) -> Response:
    session.begin(person, "password")
    return json_response(SignedIn(person.id, person.name, person.role, session.csrf_token()))

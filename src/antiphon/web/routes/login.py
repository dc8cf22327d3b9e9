"""Login by name and password or through OpenID Connect, and logout here or everywhere."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

import msgspec
from flask import Blueprint, Response, redirect, request
from flask import session as cookie
from msgspec import Meta
from werkzeug import wrappers

from antiphon.api.problems import SignedOut
from antiphon.types.errors import NotFound, Overloaded, SignInRefused
from antiphon.web import session
from antiphon.web.http import json_response, read_json
from antiphon.web.openid import Identity, LoginFailed, OpenIdProvider
from antiphon.web.people import User
from antiphon.web.policy import Login
from antiphon.web.session import current_site

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
    person, data = session.current_user(), session.current_session()
    session.end()
    if data is not None and current_site().policy.login in ("password", "oidc"):
        current_site().run(current_site().people.log_out(person, session.session_name(data)))
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
    limits, address = current_site().limits, session.client_address(request, current_site().policy)
    browser = session.find_known_browser(request, current_site(), name)
    limits.guesses.take(name, address, browser)
    with limits.logins:
        yield
    limits.guesses.refund(name, address, browser)


def _start_session(person: User) -> Response:
    session.begin(person, "password")
    return json_response(SignedIn(person.id, person.name, person.role, session.csrf_token()))


# Login through OpenID Connect: redirect to the provider, and its callback.


CALLBACK = "/login/oidc/callback"


@routes.get("/login/oidc")
def redirect_to_provider() -> wrappers.Response:
    """Redirect to the provider; `next` is our page to return to."""
    provider = _provider()
    callback = session.base_url(request, current_site().policy) + CALLBACK
    try:
        with current_site().limits.logins:
            page = provider.start_login(callback)
    except LoginFailed as failed:
        return _redirect_to_login(failed.why)
    except Overloaded:
        return _redirect_to_login("oidc_unreachable")
    cookie[_NEXT] = _safe_path(request.args.get("next", "/"))
    return redirect(page, 303)


@routes.get(CALLBACK)
def handle_callback() -> wrappers.Response:
    """Log in the user whom the provider has identified."""
    provider = _provider()
    try:
        with current_site().limits.logins:
            identity = provider.finish_login()
        person = _find_or_create_user(identity)
    except Overloaded:
        return _redirect_to_login("oidc_unreachable")
    except LoginFailed as failed:
        return _redirect_to_login(failed.why)
    except SignInRefused:
        return _redirect_to_login("person_disabled")
    page = _safe_path(str(cookie.get(_NEXT, "/")))
    session.begin(person, "oidc")
    return redirect(page, 303)


_NEXT = "next"
_OUR_PAGES = re.compile(r"/(?:(?:t|a|shared)/[A-Za-z0-9_-]{1,128}|assistants|admin)?", re.ASCII)


def _provider() -> OpenIdProvider:
    provider = current_site().openid
    if provider is None:
        raise NotFound("People do not log in by OpenID Connect here.", expected="login = oidc")
    return provider


def _find_or_create_user(who: Identity) -> User:
    """Return the user of this identity, found by subject alone: names can be chosen."""
    admins = {address.casefold() for address in current_site().settings.oidc_admins}
    admin = who.email is not None and who.email.casefold() in admins
    return current_site().run(
        current_site().people.find_or_create(who.subject, who.name, admin=admin)
    )


def _safe_path(path: str) -> str:
    """Return the path if it is a page of ours, else `/`, so that nobody is redirected elsewhere."""
    return path if _OUR_PAGES.fullmatch(path) else "/"


def _redirect_to_login(why: str) -> wrappers.Response:
    return redirect(f"/login?problem={why}", 303)

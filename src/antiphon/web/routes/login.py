"""In by a name and a password, and out again: here, or everywhere."""

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
from antiphon.web.context import site
from antiphon.web.http import answer, read
from antiphon.web.people import Person
from antiphon.web.policy import Login

routes = Blueprint("login", __name__)

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]


class Credentials(msgspec.Struct, frozen=True):
    """What a person types in."""

    name: Name
    password: Password


class Passwords(msgspec.Struct, frozen=True):
    """The one that goes, and the one that comes."""

    old: Password
    new: Password


class SignedIn(msgspec.Struct, frozen=True):
    """Who is logged in now, and the token of their new session."""

    id: str
    name: str
    role: str
    csrf: str


@routes.post("/api/login")
def log_in() -> Response:
    """Let in who knows the password; every no is the same no."""
    _only_with("password")
    given = read(Credentials)
    try:
        with _one_guess(given.name):
            person = site().run(site().people.log_in(given.name, given.password))
    except SignInRefused as refused:
        raise SignedOut("The name or the password is wrong.") from refused
    return session.remember(_let_in(person), request, site(), given.name)


@routes.post("/api/password")
def change_password() -> Response:
    """A new password for who knows the old one. All their other logins end."""
    _only_with("password")
    given = read(Passwords)
    person = session.person()
    try:
        with _one_guess(person.name):
            changed = site().run(site().people.change_password(person, given.old, given.new))
    except SignInRefused as refused:
        raise SignInRefused("The old password is wrong.") from refused
    return _let_in(changed)


@routes.post("/api/logout")
def log_out() -> Response:
    """End this login: the browser forgets it, and a copy of its cookie opens nothing."""
    person, said = session.person(), session.entry()
    session.end()
    if said is not None and site().policy.login in ("password", "oidc"):
        site().run(site().people.log_out(person, session.name_of(said)))
    return answer({})


@routes.post("/api/logout/everywhere")
def log_out_everywhere() -> Response:
    """End all logins of this person, wherever they are."""
    _only_with("password", "oidc", "proxy")
    site().run(site().people.log_out_everywhere(session.person()))
    session.end()
    return answer({})


def _only_with(*logins: Login) -> None:
    used = site().policy.login
    if used not in logins:
        raise NotFound(
            "People do not log in that way here.",
            expected=f"login = {' or '.join(logins)}",
            received=used,
        )


@contextmanager
def _one_guess(name: str) -> Generator[None]:
    """A password is tried: counted before, and let off where it was right."""
    limits, address = site().limits, origin.who_asks(request, site().policy)
    browser = session.known(request, site(), name)
    limits.guesses.take(name, address, browser)
    with limits.logins:
        yield
    limits.guesses.was_right(name, address, browser)


def _let_in(person: Person) -> Response:
    session.begin(person, "password")
    return answer(SignedIn(person.id, person.name, person.role, session.csrf()))

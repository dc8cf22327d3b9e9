"""Who is at this browser: one signed cookie, and the person of the request that is answered now."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

import msgspec
from flask import Flask, Request, Response, g, request, session
from flask.sessions import SecureCookieSessionInterface

from antiphon.api.problems import SignedOut
from antiphon.engine.accounts import normalize_name
from antiphon.web.origin import is_https
from antiphon.web.people import User
from antiphon.web.policy import Login, Policy

if TYPE_CHECKING:
    from antiphon.web.site import Site

COOKIE = "antiphon_session"
LIFETIME = timedelta(days=30)
TOKEN_BYTES = 32


class SessionData(msgspec.Struct, frozen=True, kw_only=True):
    """What the cookie says: who came in, how and when, and the token that their pages send."""

    person: str
    generation: int
    csrf: str
    since: int
    by: Login


def configure(app: Flask, site: Site) -> None:
    """Sign the cookie with the site's secret, and keep it from scripts and other sites."""
    app.secret_key = site.secret
    app.config["SESSION_COOKIE_HTTPONLY"] = True
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    app.config["SESSION_COOKIE_PATH"] = "/"  # `__Host-` wants this, and no Domain
    app.config["SESSION_REFRESH_EACH_REQUEST"] = False  # it ends a month after the login
    app.config["PERMANENT_SESSION_LIFETIME"] = LIFETIME
    app.session_interface = SessionCookie(site.policy)


class SessionCookie(SecureCookieSessionInterface):
    """The cookie, which over https is bound to this very host and never leaves https."""

    digest_method = staticmethod(hashlib.sha256)

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def get_cookie_name(self, app: Flask) -> str:
        """Its name; browsers take one that begins with `__Host-` from nobody but this host."""
        return f"__Host-{COOKIE}" if self.get_cookie_secure(app) else COOKIE

    def get_cookie_secure(self, app: Flask) -> bool:
        """Whether the browser is to send it over https alone."""
        return is_https(request, self._policy)


def current_user() -> User:
    """Who asks. Raises `SignedOut` where nobody was found."""
    found = cast("User | None", g.get("person"))
    if found is None:
        raise SignedOut(
            "Nobody is logged in here.",
            expected="the cookie that a login, or GET / where nobody logs in, has set",
        )
    return found


def current_session() -> SessionData | None:
    """What the cookie of this request says; None if there is none, or one that is not ours."""
    try:
        return msgspec.convert(dict(session), SessionData)
    except msgspec.ValidationError:
        return None


def csrf_token() -> str:
    """The token that pages of this session send along; "" without a session."""
    found = current_session()
    return found.csrf if found else ""


def session_name(said: SessionData) -> str:
    """Return what a login is called where it is ended: nothing by which anybody gets in."""
    return hashlib.blake2b(said.csrf.encode(), digest_size=16).hexdigest()


def begin(who: User, by: Login) -> None:
    """Let them in: whatever the cookie said before is gone, and so is its token."""
    session.clear()
    said = SessionData(
        person=who.id,
        generation=who.generation,
        csrf=secrets.token_urlsafe(TOKEN_BYTES),
        since=int(time.time()),
        by=by,
    )
    session.update(cast("dict[str, Any]", msgspec.to_builtins(said)))
    session.permanent = True
    g.person = who


def end() -> None:
    """Let the browser forget it."""
    session.clear()
    g.person = None


# Browsers in which a person logged in before: known by a cookie that outlives the login.


KNOWN_COOKIE = "antiphon_known"
SECONDS = 365 * 86_400
_SHAPE = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9a-f]{64})", re.ASCII)


def remember_browser(response: Response, request: Request, site: Site, name: str) -> Response:
    """Have the browser say from now on that the person of this name logged in there."""
    nonce = secrets.token_urlsafe(16)
    secure = is_https(request, site.policy)
    response.set_cookie(
        _cookie(secure=secure),
        f"{nonce}.{_seal(site, nonce, name)}",
        max_age=SECONDS,
        path="/",
        secure=secure,
        httponly=True,
        samesite="Lax",
    )
    return response


def known_browser(request: Request, site: Site, name: str) -> str | None:
    """Return the browser's own word, if the person of this name logged in there; else None."""
    given = request.cookies.get(_cookie(secure=is_https(request, site.policy)), "")
    found = _SHAPE.fullmatch(given)
    if found is None or not hmac.compare_digest(found[2], _seal(site, found[1], name)):
        return None
    return found[1]


def _cookie(*, secure: bool) -> str:
    return f"__Host-{KNOWN_COOKIE}" if secure else KNOWN_COOKIE


def _seal(site: Site, nonce: str, name: str) -> str:
    about = f"known browser\n{nonce}\n{normalize_name(' '.join(name.split()))}"
    return hmac.new(site.secret, about.encode("utf-8", "surrogatepass"), sha256).hexdigest()

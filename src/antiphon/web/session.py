"""The current request: where it came from, its site, its user and their session cookie."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Coroutine, Hashable
from datetime import timedelta
from hashlib import sha256
from typing import Any, cast

import msgspec
from flask import Flask, Request, Response, current_app, g, request, session
from flask.sessions import SecureCookieSessionInterface

from antiphon.api.problems import SignedOut
from antiphon.client.async_client import AsyncClient
from antiphon.engine.accounts import normalize_name
from antiphon.types.errors import Forbidden
from antiphon.web.http import json_response
from antiphon.web.people import LOCAL_USER, User
from antiphon.web.policy import Login, Policy, host_name
from antiphon.web.site import Site

# The origin of a request behind trusted proxies.


def peer(request: Request) -> str:
    """Return the address of the connection, empty on a Unix socket."""
    return request.remote_addr or ""


def client_address(request: Request, policy: Policy) -> str:
    """Return the browser's address as far as it is known."""
    return policy.client_address(peer(request), request.headers.get("X-Forwarded-For", ""))


def is_https(request: Request, policy: Policy) -> bool:
    """Return true if the browser came over https, as a trusted proxy or the public URL says."""
    claimed = request.headers.get("X-Forwarded-Proto", "").split(",")[-1].strip().lower()
    if claimed and policy.trusts(peer(request)):
        return claimed == "https"
    name = host_name(request.headers.get("Host", ""))  # never the server's own name
    return request.is_secure or policy.is_public(name, "https")


def base_url(request: Request, policy: Policy) -> str:
    """Return the address of the web chat as the browser knows it, without a path."""
    if policy.origin:
        return policy.origin
    scheme = "https" if is_https(request, policy) else "http"
    return f"{scheme}://{request.headers.get('Host', '')}"


# The session cookie.


COOKIE = "antiphon_session"
LIFETIME = timedelta(days=30)
TOKEN_BYTES = 32


class SessionData(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of the session cookie: the user, how and when they logged in, and the CSRF token."""

    person: str
    generation: int
    csrf: str
    since: int
    by: Login


def configure(app: Flask, site: Site) -> None:
    """Sign the cookie with the site's secret, and hide it from scripts and other sites."""
    app.secret_key = site.secret
    app.config["SESSION_COOKIE_HTTPONLY"] = True
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    app.config["SESSION_COOKIE_PATH"] = "/"  # `__Host-` requires this, and no Domain
    app.config["SESSION_REFRESH_EACH_REQUEST"] = False  # the session ends a month after the login
    app.config["PERMANENT_SESSION_LIFETIME"] = LIFETIME
    app.session_interface = SessionCookie(site.policy)


class SessionCookie(SecureCookieSessionInterface):
    """Flask's session interface; over https, the cookie is bound to this host and needs TLS."""

    digest_method = staticmethod(hashlib.sha256)

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def get_cookie_name(self, app: Flask) -> str:
        """Return the cookie's name; `__Host-` stops other hosts from setting it."""
        return f"__Host-{COOKIE}" if self.get_cookie_secure(app) else COOKIE

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return true if the browser must send the cookie over https only."""
        return is_https(request, self._policy)


def current_user() -> User:
    """Return the user of the current request. Raises `SignedOut` if there is none."""
    found = cast("User | None", g.get("person"))
    if found is None:
        raise SignedOut(
            "Nobody is logged in here.",
            expected="the cookie that a login, or GET / where nobody logs in, has set",
        )
    return found


def current_session() -> SessionData | None:
    """Return the session of the current request; None if its cookie is missing or not valid."""
    try:
        return msgspec.convert(dict(session), SessionData)
    except msgspec.ValidationError:
        return None


def csrf_token() -> str:
    """Return the CSRF token of the current session; empty without a session."""
    found = current_session()
    return found.csrf if found else ""


def session_name(data: SessionData) -> str:
    """Return the public name of a session, by which one login is ended; it grants no access."""
    return hashlib.blake2b(data.csrf.encode(), digest_size=16).hexdigest()


def begin(who: User, by: Login) -> None:
    """Start a new session for the user; the old session and its CSRF token are dropped."""
    session.clear()
    data = SessionData(
        person=who.id,
        generation=who.generation,
        csrf=secrets.token_urlsafe(TOKEN_BYTES),
        since=int(time.time()),
        by=by,
    )
    session.update(cast("dict[str, Any]", msgspec.to_builtins(data)))
    session.permanent = True
    g.person = who


def end() -> None:
    """Remove the session from the browser."""
    session.clear()
    g.person = None


# Known browsers: a cookie that outlives the login.


KNOWN_COOKIE = "antiphon_known"
SECONDS = 365 * 86_400
_SHAPE = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9a-f]{64})", re.ASCII)


def remember_browser(response: Response, request: Request, site: Site, name: str) -> Response:
    """Set a cookie that marks the browser as one in which the person of this name logged in."""
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


def find_known_browser(request: Request, site: Site, name: str) -> str | None:
    """Return the browser's nonce if the person of this name logged in there before; else None."""
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


# The site, the user and the client of the current request, for views.


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
    return current_site().client.as_actor(current_user().id)


def fairness_key() -> Hashable:
    """Return the key by which heavy responses are shared out fairly.

    It is the id of the user. Where nobody logs in, all requests have the same user, and the key is
    the address.
    """
    user = current_user()
    if user != LOCAL_USER:
        return user.id
    return client_address(request, current_site().policy)


def current_client() -> AsyncClient:
    """Return a client that makes every call on behalf of the current user."""
    return current_site().client_for_user(current_user())


def respond_with(work: Coroutine[Any, Any, object], status: int = 200) -> Response:
    """Run the work on the loop, and return its result as JSON."""
    return json_response(current_site().run(work), status)


def artifact_origin() -> str | None:
    """Return the second origin for the current page; None if there is none."""
    policy = current_site().policy
    return policy.artifact_origin_for(base_url(request, policy))


def require_admin() -> None:
    """Raise `Forbidden` unless the current user is an administrator."""
    if not current_user().is_admin:
        raise Forbidden(
            "This is for administrators of the installation.",
            expected="an admin",
            hint="An admin can make you one.",
        )

"""Login through OpenID Connect: redirect to the provider, and its callback."""

from __future__ import annotations

import re

from flask import Blueprint, redirect, request
from flask import session as cookie
from werkzeug.wrappers import Response

from antiphon.types.errors import NotFound, Overloaded, SignInRefused
from antiphon.web import origin, session
from antiphon.web.context import current_site
from antiphon.web.openid import Identity, LoginFailed, OpenIdProvider
from antiphon.web.people import User

routes = Blueprint("login_openid", __name__)

CALLBACK = "/login/oidc/callback"


@routes.get("/login/oidc")
def begin() -> Response:
    """Redirect to the provider; `next` is our page to return to."""
    provider = _provider()
    callback = origin.base_url(request, current_site().policy) + CALLBACK
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
def handle_callback() -> Response:
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
_OUR_PAGES = re.compile(r"/(?:(?:t|a)/[A-Za-z0-9_-]{1,128}|assistants|admin)?", re.ASCII)


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


def _redirect_to_login(why: str) -> Response:
    return redirect(f"/login?problem={why}", 303)

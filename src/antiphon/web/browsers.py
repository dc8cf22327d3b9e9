"""Browsers in which a person logged in before: known by a cookie that outlives the login.

It lets nobody in. It only says that guesses from here are counted apart, so that strangers who try
passwords do not shut out the person themselves.
"""

from __future__ import annotations

import hmac
import re
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING

from flask import Request, Response

from antiphon.engine.accounts import folded
from antiphon.web.origin import over_https

if TYPE_CHECKING:
    from antiphon.web.site import Site

COOKIE = "antiphon_known"
SECONDS = 365 * 86_400
_SHAPE = re.compile(r"([A-Za-z0-9_-]{22})\.([0-9a-f]{64})", re.ASCII)


def remember(response: Response, request: Request, site: Site, name: str) -> Response:
    """Have the browser say from now on that the person of this name logged in there."""
    nonce = secrets.token_urlsafe(16)
    secure = over_https(request, site.policy)
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


def known(request: Request, site: Site, name: str) -> str | None:
    """Return the browser's own word, if the person of this name logged in there; else None."""
    given = request.cookies.get(_cookie(secure=over_https(request, site.policy)), "")
    found = _SHAPE.fullmatch(given)
    if found is None or not hmac.compare_digest(found[2], _seal(site, found[1], name)):
        return None
    return found[1]


def _cookie(*, secure: bool) -> str:
    return f"__Host-{COOKIE}" if secure else COOKIE


def _seal(site: Site, nonce: str, name: str) -> str:
    about = f"known browser\n{nonce}\n{folded(' '.join(name.split()))}"
    return hmac.new(site.secret, about.encode("utf-8", "surrogatepass"), sha256).hexdigest()

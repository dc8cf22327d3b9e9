"""Cross-origin requests of pages in browsers: which origins may read responses.

By the CORS protocol of https://fetch.spec.whatwg.org. Origins match exactly, and cookies are never
allowed: a page proves itself by a token or a key.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from starlette.datastructures import Headers
from starlette.types import Scope

from antiphon.types.addresses import normal_origin

MAX_AGE = 600
"""Seconds for which a browser remembers the answer to a preflight."""

_EXPOSED = (
    b"antiphon-ignored, antiphon-run, antiphon-thread, etag, idempotency-replayed, retry-after,"
    b" x-request-id, x-should-retry, x-vercel-ai-ui-message-stream"
)
_METHODS = b"GET, HEAD, POST, PATCH, DELETE"
_NAMES = re.compile(r"[A-Za-z0-9-]{1,64}(\s*,\s*[A-Za-z0-9-]{1,64}){0,63}")

Field = tuple[bytes, bytes]


class CrossOrigin:
    """Rules for the pages of these origins, each as `https://host:port` in lower case."""

    def __init__(self, allowed: Collection[str]) -> None:
        self.allowed = frozenset(map(normal_origin, allowed))

    def allows(self, origin: str) -> bool:
        """Return whether pages of this origin may use the API."""
        return origin.lower() in self.allowed

    def response_headers(self, scope: Scope) -> Sequence[Field]:
        """Return the header fields of a response to this request, or to its preflight."""
        if not self.allowed:
            return ()
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        if len(origins) != 1 or not self.allows(origins[0]):
            return [(b"vary", b"Origin")]
        fields = [
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", origins[0].encode("latin-1")),
        ]
        if scope["method"] != "OPTIONS" or "access-control-request-method" not in headers:
            return [*fields, (b"access-control-expose-headers", _EXPOSED)]
        fields += [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", b"%d" % MAX_AGE),
        ]
        wanted = headers.get("access-control-request-headers", "")
        if _NAMES.fullmatch(wanted):
            fields.append((b"access-control-allow-headers", wanted.encode("ascii")))
        return fields


def is_cross_origin(scope: Scope) -> bool:
    """Return whether a page of another origin than this server's sends the request."""
    headers = Headers(scope=scope)
    own = own_origins(scope)
    return any(origin.lower() not in own for origin in headers.getlist("origin"))


def own_origins(scope: Scope) -> Collection[str]:
    """Return the origins of pages that this server, or a proxy under its name, has sent."""
    hosts = Headers(scope=scope).getlist("host")
    host = hosts[0].lower() if hosts else ""
    return (f"http://{host}", f"https://{host}") if host else ()

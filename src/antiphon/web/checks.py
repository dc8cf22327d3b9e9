"""Checks of a request by its headers alone, before any view runs.

A page of another site can make a browser send many requests, but not with our host name, from our
origin, with a JSON content type, or with a token that only our own pages can read.
"""

from __future__ import annotations

import hmac

import msgspec

from antiphon.api.problems import Misdirected, UnsupportedMedia
from antiphon.types.addresses import is_loopback
from antiphon.types.errors import Forbidden
from antiphon.web.policy import Policy

CSRF_HEADER = "X-Antiphon-CSRF"
API = "/api/"

JSON = "application/json"
MULTIPART = "multipart/form-data"


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Properties of a request that the checks read.

    `rule` is the pattern of its route, or its path if no route matches. `peer` is the address of
    the connection, empty on a Unix socket. `secure` is true if the browser came over https.
    """

    method: str
    rule: str
    host: str
    peer: str = ""
    forwarded_for: str = ""
    secure: bool = False
    origin: str | None = None
    fetch_site: str | None = None
    media_type: str = ""
    has_body: bool = False
    csrf: str | None = None
    named_user: bool = False


class RouteRequirements(msgspec.Struct, frozen=True, kw_only=True):
    """Requirements of a route. `body` is the media type of its body, None if it takes none."""

    person: bool = True
    own_origin: bool = True
    csrf: bool = False
    body: str | None = None


def route_requirements(method: str, rule: str) -> RouteRequirements:
    """Return the requirements of a route: all of them, except on the few routes that cannot meet
    them.
    """
    if not rule.startswith(API):
        return RouteRequirements(
            person=False, own_origin=False, body=None if method in _READING else JSON
        )
    if method in _READING:
        return RouteRequirements()
    return RouteRequirements(
        person=(method, rule) not in _BEFORE_A_LOGIN,
        csrf=not rule.startswith(_FOR_OTHER_CLIENTS) and (method, rule) not in _BEFORE_A_LOGIN,
        body=MULTIPART if (method, rule) == _UPLOAD else JSON,
    )


def check_request(facts: RequestFacts, policy: Policy) -> None:
    """Refuse requests that no user can have meant.

    Raises `Misdirected`, `Forbidden`, `UnsupportedMedia`.
    """
    wanted = route_requirements(facts.method, facts.rule)
    if facts.rule not in _FOR_PROBES:
        _check_host(facts, policy)
        _check_nearness(facts, policy)
    _check_named_user(facts, policy)
    if wanted.own_origin or facts.method not in _READING:
        _check_origin(facts, policy)
    if wanted.body:
        _check_body(facts, wanted.body)


def check_csrf(facts: RequestFacts, token: str) -> None:
    """Refuse a request without the CSRF token of its session. Raises `Forbidden`."""
    given = (facts.csrf or "").encode()
    if not (token and hmac.compare_digest(given, token.encode())):
        raise Forbidden(
            "The request does not carry the token of this session.",
            expected=f"{CSRF_HEADER}: the `csrf` that GET /api/me answers",
            received="another one" if given else "none",
        )


_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_FOR_PROBES = frozenset({"/healthz"})  # orchestrators probe by address, and learn "ok" only
_BEFORE_A_LOGIN = frozenset({("POST", "/api/login")})
_UPLOAD = ("POST", "/api/files")
_FOR_OTHER_CLIENTS = ("/api/messages/process", "/api/agui", "/api/runs/")
"""Paths that chat clients of other programs and curl use, which know no CSRF token."""
_OWN_SITES = (None, "same-origin", "none")  # `none`: a typed address or a bookmark


def _check_host(facts: RequestFacts, policy: Policy) -> None:
    """Check the `Host` header: after DNS rebinding it names the attacker's site."""
    if not policy.answers_to(facts.host):
        raise Misdirected(
            "The web chat does not go by that name.",
            expected="localhost, a loopback address, or a name in `allowed_hosts`",
            hint="`allowed_hosts` in antiphon.toml, or --allowed-hosts, names what it answers to.",
        )


def _check_nearness(facts: RequestFacts, policy: Policy) -> None:
    """Without a login, accept requests from this machine only, also behind a proxy."""
    if policy.login != "none":
        return
    steps = [step.strip() for step in facts.forwarded_for.split(",") if step.strip()]
    if not all(map(is_loopback, [facts.peer, *steps])):
        raise Forbidden(
            "Without a login the web chat answers its own machine only.",
            expected="a request from a loopback address",
            hint="--login password, oidc or proxy lets others in.",
        )


def _check_named_user(facts: RequestFacts, policy: Policy) -> None:
    if policy.login == "proxy" and facts.named_user and not policy.trusts(facts.peer):
        raise Forbidden(
            f"The header {policy.user_header} comes from an address that is not trusted.",
            expected="a request from one of `trusted_proxies`",
        )


def _check_origin(facts: RequestFacts, policy: Policy) -> None:
    site = facts.fetch_site.lower() if facts.fetch_site is not None else None
    host = facts.host.lower()
    # A proxy may turn http into https, never the reverse.
    plain = None if facts.secure else f"http://{host}"
    own_origins = (f"https://{host}", policy.origin, plain)
    own = facts.origin is None or facts.origin.lower() in own_origins
    if site not in _OWN_SITES or not own:
        raise Forbidden(
            "The request comes from a page of another origin.",
            expected="no Origin, or that of the web chat itself",
            hint="Behind a proxy, `public_url` says which origin that is.",
        )


def _check_body(facts: RequestFacts, wanted: str) -> None:
    """Check the media type: forms can send three types across origins, and none of them is
    accepted.
    """
    if facts.method == "DELETE" and not facts.has_body:
        return
    if facts.media_type != wanted:
        raise UnsupportedMedia(
            "The body is in a format that this call does not take.",
            expected=f"Content-Type: {wanted}",
            received=facts.media_type[:64] or "none",
        )

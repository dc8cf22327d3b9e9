"""Which requests are let in: judged by what they say of themselves, before anybody answers them.

A page elsewhere can make a browser send much, but not under our name, not from our origin, not with
a JSON type and not with a token that only our own pages can read.
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
    """What a request says of itself. `rule` is its route's pattern, or its path where it has none.

    `peer` is the address that is connected, "" on a Unix socket. `secure` says that the browser
    came over https.
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
    """What a route asks of a request. `body` is the type of what is sent there, if any is."""

    person: bool = True
    own_origin: bool = True
    csrf: bool = False
    body: str | None = None


def route_requirements(method: str, rule: str) -> RouteRequirements:
    """What this route asks: everything, unless it is one of the few that cannot."""
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
    """Refuse what no person could have meant.

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
    """Refuse what was not sent by a page that read its token first. Raises `Forbidden`."""
    given = (facts.csrf or "").encode()
    if not (token and hmac.compare_digest(given, token.encode())):
        raise Forbidden(
            "The request does not carry the token of this session.",
            expected=f"{CSRF_HEADER}: the `csrf` that GET /api/me answers",
            received="another one" if given else "none",
        )


_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_FOR_PROBES = frozenset({"/healthz"})  # those of an orchestrator come by address; they learn "ok"
_BEFORE_A_LOGIN = frozenset({("POST", "/api/login")})
_UPLOAD = ("POST", "/api/files")
_FOR_OTHER_CLIENTS = ("/api/messages/process", "/api/agui", "/api/runs/")
"""What other programs' chat clients and curl must be able to use: they know of no token."""
_OWN_SITES = (None, "same-origin", "none")  # `none`: typed in, or a bookmark


def _check_host(facts: RequestFacts, policy: Policy) -> None:
    """The Host of a request that DNS rebinding sends is the other site's."""
    if not policy.answers_to(facts.host):
        raise Misdirected(
            "The web chat does not go by that name.",
            expected="localhost, a loopback address, or a name in `allowed_hosts`",
            hint="`allowed_hosts` in antiphon.toml, or --allowed-hosts, names what it answers to.",
        )


def _check_nearness(facts: RequestFacts, policy: Policy) -> None:
    """Without a login whoever asks is on this machine, also behind a proxy that says who asks."""
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
    own = facts.origin is None or facts.origin.lower() in _origins(facts, policy)
    if site not in _OWN_SITES or not own:
        raise Forbidden(
            "The request comes from a page of another origin.",
            expected="no Origin, or that of the web chat itself",
            hint="Behind a proxy, `public_url` says which origin that is.",
        )


def _origins(facts: RequestFacts, policy: Policy) -> set[str | None]:
    """What our own pages come from. A proxy may have made https of http, never the other way."""
    host = facts.host.lower()
    plain = None if facts.secure else f"http://{host}"
    return {f"https://{host}", policy.origin, plain}


def _check_body(facts: RequestFacts, wanted: str) -> None:
    """A form can send three types across origins without asking; this is none of them."""
    if facts.method == "DELETE" and not facts.has_body:
        return
    if facts.media_type != wanted:
        raise UnsupportedMedia(
            "The body is in a format that this call does not take.",
            expected=f"Content-Type: {wanted}",
            received=facts.media_type[:64] or "none",
        )

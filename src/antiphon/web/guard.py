"""Checks of every request before its view runs, and security headers on every response.

A page of another site can make a browser send many requests, but not with our host name, from our
origin, with a JSON content type, or with a token that only our own pages can read.
"""

from __future__ import annotations

import hmac
from contextlib import suppress

import msgspec
from flask import Flask, Request, Response, g, request

from antiphon.api.problems import Misdirected, SignedOut, UnsupportedMedia
from antiphon.engine.accounts import MAX_NAME
from antiphon.types.addresses import is_loopback
from antiphon.types.errors import Forbidden, SignInRefused
from antiphon.web import artifacts, session
from antiphon.web.people import LOCAL_USER, User
from antiphon.web.policy import Policy
from antiphon.web.session import current_site

# Checks of the headers alone.


CSRF_HEADER = "X-Antiphon-CSRF"
API = "/api/"
ARTIFACT_ROUTES = "/artifact/"
"""Paths of the second origin, which has no others; the web chat's own has none of them."""

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
    destination: str | None = None


class RouteRequirements(msgspec.Struct, frozen=True, kw_only=True):
    """Requirements of a route. `body` is the media type of its body, None if it takes none."""

    person: bool = True
    own_origin: bool = True
    csrf: bool = False
    body: str | None = None


def route_requirements(method: str, rule: str) -> RouteRequirements:
    """Return the requirements of a route; a few routes cannot meet all of them."""
    if not rule.startswith(API):
        return RouteRequirements(
            person=False, own_origin=False, body=None if method in _READING else JSON
        )
    if method in _READING:
        return RouteRequirements()
    return RouteRequirements(
        person=(method, rule) not in _BEFORE_A_LOGIN,
        csrf=not rule.startswith(_FOR_OTHER_CLIENTS) and (method, rule) not in _BEFORE_A_LOGIN,
        body=MULTIPART if (method, rule) in _UPLOADS else JSON,
    )


def check_request(facts: RequestFacts, policy: Policy) -> None:
    """Refuse requests that no user can have meant.

    Raises `Misdirected`, `Forbidden`, `UnsupportedMedia`.
    """
    wanted = route_requirements(facts.method, facts.rule)
    if facts.rule not in _FOR_PROBES:
        if facts.rule.startswith(ARTIFACT_ROUTES) or policy.is_for_artifacts(facts.host):
            _check_frame(facts, policy)
        else:
            _check_host(facts, policy)
        _check_nearness(facts, policy)
    if policy.login == "proxy" and facts.named_user and not policy.trusts(facts.peer):
        raise Forbidden(
            f"The header {policy.user_header} comes from an address that is not trusted.",
            expected="a request from one of `trusted_proxies`",
        )
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
_SHARED = ("GET", "/api/links/<token>")
_UPLOADS = frozenset({("POST", "/api/files"), ("POST", "/api/transcriptions")})
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


def _check_frame(facts: RequestFacts, policy: Policy) -> None:
    """Check that a request of the second origin is for a preview, and comes from a frame.

    In a window of its own, a document could navigate to any address.
    """
    if not facts.rule.startswith(ARTIFACT_ROUTES):
        raise Misdirected(
            "This name serves previews of artifacts only.",
            expected="an address that the web chat has given out",
        )
    if not policy.is_for_artifacts(facts.host):
        raise Misdirected(
            "Previews of artifacts have an origin of their own.",
            expected="the host of `artifact_origin`",
        )
    wanted = "script" if facts.rule == artifacts.DIAGRAM_SCRIPT else "iframe"
    if facts.destination != wanted:
        raise Forbidden(
            "A preview is shown only inside of the web chat.",
            expected=f"Sec-Fetch-Dest: {wanted}",
            hint="Open the artifact in the web chat.",
        )


def _check_nearness(facts: RequestFacts, policy: Policy) -> None:
    """Accept only requests from this machine if there is no login, also behind a proxy."""
    if policy.login != "none":
        return
    steps = [step.strip() for step in facts.forwarded_for.split(",") if step.strip()]
    if not all(map(is_loopback, [facts.peer, *steps])):
        raise Forbidden(
            "Without a login the web chat answers its own machine only.",
            expected="a request from a loopback address",
            hint="--login password, oidc or proxy lets others in.",
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
    """Check the media type, which is none of the three that forms can send across origins."""
    if facts.method == "DELETE" and not facts.has_body:
        return
    if facts.media_type != wanted:
        raise UnsupportedMedia(
            "The body is in a format that this call does not take.",
            expected=f"Content-Type: {wanted}",
            received=facts.media_type[:64] or "none",
        )


# The user of a request, and the headers of its response.


ME = "/api/me"

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
    " font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script';"
    " trusted-types dompurify antiphon-worker"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
FEATURES = ("camera", "geolocation", "microphone", "payment", "usb", "display-capture")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Origin-Agent-Cluster": "?1",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in FEATURES),
}

WITH_DICTATION = HEADERS["Permissions-Policy"].replace("microphone=()", "microphone=(self)")

_WITHOUT_A_FORM = ("none", "proxy")
_NO_PAGES = (
    API,
    "/static/",
    "/login/",
    "/healthz",
    "/favicon.ico",
    "/manifest.webmanifest",
    "/service-worker.js",
)


def protect(app: Flask) -> None:
    """Register the checks before every view and the headers on every response."""
    app.before_request(_check_request)
    app.after_request(_add_headers)


def request_facts(request: Request, policy: Policy) -> RequestFacts:
    """Return what the request's headers and connection say, as input of the checks."""
    return RequestFacts(
        method=request.method,
        rule=request.url_rule.rule if request.url_rule else request.path,
        host=request.headers.get("Host", ""),
        peer=session.peer(request),
        forwarded_for=request.headers.get("X-Forwarded-For", ""),
        secure=session.is_https(request, policy),
        origin=request.headers.get("Origin"),
        fetch_site=request.headers.get("Sec-Fetch-Site"),
        media_type=request.mimetype,
        has_body=bool(request.content_length) or "Transfer-Encoding" in request.headers,
        csrf=request.headers.get(CSRF_HEADER),
        named_user=policy.user_header in request.headers,
        destination=request.headers.get("Sec-Fetch-Dest"),
    )


def _check_request() -> None:
    policy = current_site().policy
    facts = request_facts(request, policy)
    check_request(facts, policy)
    if facts.rule.startswith(ARTIFACT_ROUTES):
        return  # the address is signed, which replaces a session
    required = route_requirements(facts.method, facts.rule)
    # Pages and `/api/me` may start a session where no login is needed.
    begins = (
        facts.method == "GET"
        and policy.login in _WITHOUT_A_FORM
        and (facts.rule == ME or not facts.rule.startswith(_NO_PAGES))
    )
    if required.person:
        g.person = _authenticate(policy, begins=begins)
    elif begins:
        with suppress(SignInRefused):  # the page then shows a login
            g.person = _authenticate(policy, begins=begins)
    # Anyone may read what is shared by a link to a conversation, if the site allows it.
    is_open = (facts.method, facts.rule) == _SHARED and current_site().settings.sharing == "anyone"
    if required.person and g.person is None and not is_open:
        raise SignedOut(
            "Nobody is logged in here.",
            expected="the cookie that a login, or GET / where nobody logs in, has set",
            login=policy.login,
            site=current_site().settings.web_title,
        )
    # Other clients need no token, but a token that is sent must be the session's.
    if required.csrf or (required.person and facts.csrf and facts.method not in _READING):
        check_csrf(facts, session.csrf_token())


def _add_headers(response: Response) -> Response:
    policy = current_site().policy
    if policy.is_for_artifacts(request.headers.get("Host", "")):
        for name, value in artifacts.FRAME_HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["Permissions-Policy"] = artifacts.PERMISSIONS
        response.headers.setdefault("Content-Security-Policy", artifacts.NOTHING)
        return response
    for name, value in HEADERS.items():
        response.headers[name] = value
    page = response.mimetype == "text/html"
    settings = current_site().settings
    if page and (settings.web_dictation == "browser" or settings.transcription_model):
        response.headers["Permissions-Policy"] = WITH_DICTATION
    content_policy = _page_policy() if page else DATA_POLICY
    response.headers.setdefault("Content-Security-Policy", content_policy)
    if request.path.startswith(API):
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _page_policy() -> str:
    """Return the content policy of the page.

    It has a source for frames if previews are shown, and one for audio if a provider speaks.
    """
    policy = PAGE_POLICY
    if origin := session.artifact_origin():
        policy += f"; frame-src {origin}"
    if current_site().settings.speech_model:
        policy += "; media-src blob:"
    return policy


def _authenticate(policy: Policy, *, begins: bool) -> User | None:
    """Return the user of the request; `begins` lets a session start where no login is needed."""
    match policy.login:
        case "none":
            return _continue_or_start_session(LOCAL_USER, policy, begins=begins)
        case "proxy":
            named = _proxy_user(policy)
            return _continue_or_start_session(named, policy, begins=begins) if named else None
        case _:
            return _session_user(policy)


def _continue_or_start_session(person: User, policy: Policy, *, begins: bool) -> User | None:
    data = session.current_session()
    if data and (data.person, data.generation, data.by) == (
        person.id,
        person.generation,
        policy.login,
    ):
        return person
    if not begins:
        return None
    session.begin(person, policy.login)
    return person


def _session_user(policy: Policy) -> User | None:
    data = session.current_session()
    if data is None or data.by != policy.login:
        return None
    return current_site().run(
        current_site().people.find(data.person, data.generation, session.session_name(data))
    )


def _proxy_user(policy: Policy) -> User | None:
    """Return the user that the trusted proxy in front names; None if it names none."""
    if not policy.trusts(session.peer(request)):
        return None
    given = request.headers.get(policy.user_header, "").strip()
    if not given:
        return None
    name = _one_name(given)
    if name is None:
        raise Forbidden(
            f"The header {policy.user_header} does not name one person.",
            expected=f"one name of at most {MAX_NAME} characters, without a comma",
            hint="The proxy must set the header itself, and pass on none that was sent to it.",
        )
    return current_site().run(current_site().people.find_or_create_by_proxy_name(name))


def _one_name(given: str) -> str | None:
    """Return the one name in the header; None if it is not exactly one.

    Servers decode headers as Latin-1; the name is UTF-8.
    """
    try:
        name = given.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None
    fits = "," not in name and name.isprintable() and len(name) <= MAX_NAME
    return name if fits else None

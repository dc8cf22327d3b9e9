"""Checks before every view, and security headers on every response."""

from __future__ import annotations

from contextlib import suppress

from flask import Flask, Request, Response, g, request

from antiphon.api.problems import SignedOut
from antiphon.engine.accounts import MAX_NAME
from antiphon.types.errors import Forbidden, SignInRefused
from antiphon.web import checks, origin, session
from antiphon.web.checks import RequestFacts
from antiphon.web.context import current_site
from antiphon.web.people import LOCAL_USER, User
from antiphon.web.policy import Policy

ME = "/api/me"

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
    " font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types dompurify"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
FEATURES = ("camera", "geolocation", "microphone", "payment", "usb", "display-capture")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in FEATURES),
}

_WITHOUT_A_FORM = ("none", "proxy")
_NO_PAGES = (checks.API, "/static/", "/login/", "/healthz", "/favicon.ico")


def protect(app: Flask) -> None:
    """Register the checks before every view and the headers on every response."""
    app.before_request(_check_request)
    app.after_request(_add_headers)


def request_facts(request: Request, policy: Policy) -> RequestFacts:
    """Return what the request's headers and connection say, as input of the checks."""
    return RequestFacts(
        method=request.method,
        rule=request.url_rule.rule if request.url_rule else request.path,
        host=origin.host(request),
        peer=origin.peer(request),
        forwarded_for=origin.x_forwarded_for(request),
        secure=origin.is_https(request, policy),
        origin=request.headers.get("Origin"),
        fetch_site=request.headers.get("Sec-Fetch-Site"),
        media_type=request.mimetype,
        has_body=bool(request.content_length) or "Transfer-Encoding" in request.headers,
        csrf=request.headers.get(checks.CSRF_HEADER),
        named_user=policy.user_header in request.headers,
    )


def _check_request() -> None:
    policy = current_site().policy
    facts = request_facts(request, policy)
    checks.check_request(facts, policy)
    required = checks.route_requirements(facts.method, facts.rule)
    begins = (
        facts.method == "GET" and policy.login in _WITHOUT_A_FORM and _starts_session(facts.rule)
    )
    if required.person:
        g.person = _authenticate(policy, begins=begins)
    elif begins:
        with suppress(SignInRefused):  # the page then shows a login
            g.person = _authenticate(policy, begins=begins)
    if required.person and g.person is None:
        raise SignedOut(
            "Nobody is logged in here.",
            expected="the cookie that a login, or GET / where nobody logs in, has set",
            login=policy.login,
            site=current_site().settings.web_title,
        )
    if required.csrf:
        checks.check_csrf(facts, session.csrf_token())


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers[name] = value
    page = response.mimetype == "text/html"
    response.headers.setdefault("Content-Security-Policy", PAGE_POLICY if page else DATA_POLICY)
    if request.path.startswith(checks.API):
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _starts_session(rule: str) -> bool:
    """Return true for routes that may start a session without a login: pages, and `/api/me`."""
    return rule == ME or not rule.startswith(_NO_PAGES)


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
    if not policy.trusts(origin.peer(request)):
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
    """Return the UTF-8 name in a header that servers pass on as latin-1; None if it is not exactly
    one.
    """
    try:
        name = given.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return None
    fits = "," not in name and name.isprintable() and len(name) <= MAX_NAME
    return name if fits else None

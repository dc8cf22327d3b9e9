"""How a request came here: over https or not, and from where, past proxies that are believed."""

from __future__ import annotations

from flask import Request

from antiphon.web.policy import Policy, host_name


def peer(request: Request) -> str:
    """The address that is connected, "" on a Unix socket."""
    return request.remote_addr or ""


def host(request: Request) -> str:
    """The `Host` that is asked, "" where there is none; never what the server calls itself."""
    return request.headers.get("Host", "")


def x_forwarded_for(request: Request) -> str:
    """What `X-Forwarded-For` claims."""
    return request.headers.get("X-Forwarded-For", "")


def client_address(request: Request, policy: Policy) -> str:
    """The address of the browser, as far as it can be known."""
    return policy.client_address(peer(request), x_forwarded_for(request))


def is_https(request: Request, policy: Policy) -> bool:
    """Whether the browser came over https: a trusted proxy says so, or the address people open."""
    claimed = request.headers.get("X-Forwarded-Proto", "").split(",")[-1].strip().lower()
    if claimed and policy.trusts(peer(request)):
        return claimed == "https"
    return request.is_secure or policy.is_public(host_name(host(request)), "https")


def base_url(request: Request, policy: Policy) -> str:
    """The address of the web chat as the browser knows it, without a path."""
    if policy.origin:
        return policy.origin
    return f"{'https' if is_https(request, policy) else 'http'}://{host(request)}"

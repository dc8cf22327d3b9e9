"""Where a request came from: https or not, and the client's address behind trusted proxies."""

from __future__ import annotations

from flask import Request

from antiphon.web.policy import Policy, host_name


def peer(request: Request) -> str:
    """Return the address of the connection, empty on a Unix socket."""
    return request.remote_addr or ""


def host(request: Request) -> str:
    """Return the `Host` header, or an empty string; never the server's own name."""
    return request.headers.get("Host", "")


def x_forwarded_for(request: Request) -> str:
    """Return the `X-Forwarded-For` header, or an empty string."""
    return request.headers.get("X-Forwarded-For", "")


def client_address(request: Request, policy: Policy) -> str:
    """Return the browser's address as far as it is known."""
    return policy.client_address(peer(request), x_forwarded_for(request))


def is_https(request: Request, policy: Policy) -> bool:
    """Return true if the browser came over https, as a trusted proxy or the public URL says."""
    claimed = request.headers.get("X-Forwarded-Proto", "").split(",")[-1].strip().lower()
    if claimed and policy.trusts(peer(request)):
        return claimed == "https"
    return request.is_secure or policy.is_public(host_name(host(request)), "https")


def base_url(request: Request, policy: Policy) -> str:
    """Return the address of the web chat as the browser knows it, without a path."""
    if policy.origin:
        return policy.origin
    return f"{'https' if is_https(request, policy) else 'http'}://{host(request)}"

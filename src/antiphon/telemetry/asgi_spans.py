"""A span around each request of an ASGI application, below the caller's span."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from antiphon.telemetry.tracing import (
    Tracer,
    TraceSpan,
    current_span,
    parse_trace_context,
    redact_path,
    route_template,
)

ROUTE = "antiphon.route"
"""Key of an ASGI scope under which an application puts the template of the path."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


async def trace_request(
    tracer: Tracer, application: Application, scope: Scope, receive: Receive, send: Send
) -> None:
    """Pass the request on; everything it causes is traced below its span."""
    method, status = scope["method"], 0

    def send_and_observe(message: Message) -> Awaitable[None]:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        return send(message)

    facts = {
        "http.request.method": method,
        "url.path": redact_path(scope["path"]),
        "url.scheme": scope.get("scheme", "http"),
    }
    with current_span(tracer, method, "server", parent=_read_parent(scope), facts=facts) as span:
        try:
            await application(scope, receive, send_and_observe)
        finally:
            _describe(span, scope, method, status)


def _describe(span: TraceSpan, scope: Scope, method: str, status: int) -> None:
    template = scope.get(ROUTE) or (route_template(scope["path"]) if 0 < status < 400 else None)
    if template:  # a path that leads nowhere would be a name of its own
        span.update_name(f"{method} {template}")
        span.set_attributes({"http.route": template})
    if status:
        span.set_attributes({"http.response.status_code": status})
    if status >= 500 or not status:
        span.set_error(str(status or "cancelled"))


def _read_parent(scope: Scope) -> str:
    given: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        given.setdefault(name, []).append(value)
    parent, states = given.get(b"traceparent", []), given.get(b"tracestate", [])
    if len(parent) != 1:
        return ""
    return (
        parse_trace_context(parent[0].decode("latin-1"), b",".join(states).decode("latin-1")) or ""
    )

"""The web chat as a Flask application, and as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from secrets import token_hex

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge
from werkzeug.routing import Rule

from antiphon.api import problems
from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.types import errors
from antiphon.types.errors import AntiphonError
from antiphon.web import guard, session
from antiphon.web.bridge import Bridge, BridgeTimeouts, Scope, peer
from antiphon.web.http import problem_response
from antiphon.web.routes import (
    admin,
    artifacts,
    assistants,
    chat_imports,
    documents,
    folders,
    login,
    me,
    messages,
    page,
    personal,
    prompts,
    schedules,
    server_changes,
    servers,
    shares,
    threads,
    voice,
    webhooks,
)
from antiphon.web.session import EXTENSION, WebState
from antiphon.web.site import Site, open_site

MAX_REQUEST_BYTES = 64 * 2**20
"""Largest request in bytes: an upload and the form around it."""

BLUEPRINTS = [
    module.routes
    for module in (
        page,
        me,
        messages,
        threads,
        artifacts,
        folders,
        shares,
        assistants,
        chat_imports,
        personal,
        documents,
        prompts,
        admin,
        webhooks,
        schedules,
        servers,
        server_changes,
        voice,
        login,
    )
]


class _Route(Rule):
    """Rule of an address that is matched and never built.

    Compiling the functions that build addresses takes nine tenths of `create_app`.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        return _refuse_to_build


def _refuse_to_build(rule: Rule, **_: object) -> tuple[str, str]:
    raise RuntimeError(f"the address {rule.rule} is written where it is used, and not built")


class _Application(Flask):
    url_rule_class = _Route


def create_app(site: Site, *, is_bridged: bool = False) -> Flask:
    """Return the Flask application that serves this site; `is_bridged` if `Bridge` runs it."""
    app = _Application("antiphon.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = 64 * 2**10
    app.extensions[EXTENSION] = WebState(site=site, is_bridged=is_bridged)
    session.configure(app, site)
    guard.protect(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    app.register_error_handler(AntiphonError, problem_response)
    app.register_error_handler(HTTPException, _handle_http_error)
    app.register_error_handler(Exception, _handle_exception)
    return app


def _handle_http_error(error: HTTPException) -> Response:
    """Return the problem document for a request that Flask refuses."""
    match error:
        case NotFound():
            return page.not_found_page() or problem_response(
                errors.NotFound("There is nothing at this address.")
            )
        case MethodNotAllowed():
            allow = ", ".join(sorted(error.valid_methods or ()))
            return problem_response(
                problems.MethodNotAllowed("The address exists, and does not do this.", allow=allow)
            )
        case RequestEntityTooLarge():
            return problem_response(
                errors.TooLarge("The body is too large.", expected=f"{MAX_REQUEST_BYTES} bytes")
            )
        case _:
            return problem_response(problems.Malformed("The request cannot be read."))


def _handle_exception(fault: Exception) -> Response:
    route = request.url_rule.rule if request.url_rule else "an unknown address"
    return problem_response(
        problems.internal_error(fault, token_hex(8), f"{request.method} {route}")
    )


# The web chat as an ASGI application, beside the backend or alone in front of one.


@asynccontextmanager
async def open_asgi_app(
    settings: Settings,
    client: AsyncClient,
    closing: Callable[[], bool],
    tools: Sequence[str | Function] = (),
    *,
    servers: bool = True,
) -> AsyncGenerator[Bridge]:
    """Open the web chat over this client on the running loop, as an ASGI application."""
    async with open_site(settings, client, tools, servers=servers) as site:

        def caller(scope: Scope) -> str:
            claimed = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            return site.policy.client_address(peer(scope), b",".join(claimed).decode("latin-1"))

        timeouts = BridgeTimeouts(patience=settings.send_timeout)
        tracer = client.transport.tracer
        bridge = Bridge(
            create_app(site, is_bridged=True), MAX_REQUEST_BYTES, closing, timeouts, tracer, caller
        )
        try:
            yield bridge
        finally:
            bridge.close()

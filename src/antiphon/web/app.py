"""The web chat as a Flask application and as an ASGI application, and its page.

The page is a shell without data, and its files under versioned addresses.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import posixpath
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files as resource_files
from pathlib import Path
from secrets import token_hex

from flask import Blueprint, Flask, Response, abort, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from antiphon.api import problems
from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.types import errors
from antiphon.types.errors import AntiphonError
from antiphon.web import guard, session
from antiphon.web.bridge import Bridge, BridgeTimeouts, Scope, peer
from antiphon.web.http import json_response, problem_response
from antiphon.web.routes import admin, assistants, login, me, messages, threads
from antiphon.web.session import EXTENSION, WebState
from antiphon.web.site import Site, open_site

MAX_REQUEST_BYTES = 32 * 2**20
"""Largest request in bytes: an upload and the form around it."""

STATIC = Path(str(resource_files("antiphon.web"))) / "static"
SHELL = Path(str(resource_files("antiphon.web"))) / "templates" / "shell.html"
ENTRY_POINT = "chat/main.mjs"
IMPORTED = re.compile(r'(?:^|;)(?:import|export)\b[^;"(]*"(\.{1,2}/[^"]+)"', re.MULTILINE)
"""An import or re-export of another module; those that are loaded later have parentheses."""
FOREVER = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
COMPRESSED = (".css", ".js", ".json", ".mjs", ".svg")
"""Files that are sent compressed: half a megabyte of modules becomes a third."""
NO_PAGES = ("/api/", "/static/")
NO_CACHE = {"cache-control": "no-cache"}
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".json": "application/json"}

page = Blueprint("page", __name__)

BLUEPRINTS = [
    page,
    *(module.routes for module in (me, messages, threads, assistants, admin, login)),
]


def create_app(site: Site, *, is_bridged: bool = False) -> Flask:
    """Return the Flask application that serves this site; `is_bridged` if `Bridge` runs it."""
    app = Flask("antiphon.web", static_folder=None)
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
            return not_found_page() or problem_response(
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


# The page.


@page.get("/")
@page.get("/t/<thread_id>")
@page.get("/assistants")
@page.get("/assistants/<assistant_id>")
@page.get("/a/<token>")
@page.get("/admin")
@page.get("/admin/<section>")
@page.get("/login")
def get_page(**_: str) -> Response:
    """Return the shell, the same for every address; the page loads its data itself."""
    return Response(_shell(), headers=NO_CACHE, content_type="text/html; charset=utf-8")


def not_found_page() -> Response | None:
    """Return the page with status 404; None if the client is not a browser that opens a page."""
    on_its_way = request.method == "GET" and request.accept_mimetypes.accept_html
    if not on_its_way or request.path.startswith(NO_PAGES) or not request.headers.get("accept"):
        return None
    shell = get_page()
    shell.status_code = 404
    return shell


@page.get("/static/<asked>/<path:name>")
def get_asset(asked: str, name: str) -> Response:
    """Return a file of the page; 404 for another version, whose page must reload."""
    if asked != version() or name not in _assets():
        abort(404)
    suffix = Path(name).suffix
    kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    response = Response(headers=FOREVER, content_type=f"{kind}; charset=utf-8")
    if suffix in COMPRESSED and request.accept_encodings.quality("gzip"):
        response.data = _compress(name)
        response.content_encoding = "gzip"
    else:
        response.data = (STATIC / name).read_bytes()
    return response


@page.get("/healthz")
def get_health() -> Response:
    """Return that this process is alive, for probes of an orchestrator."""
    return json_response({"status": "ok"})


@page.get("/favicon.ico")
def get_icon() -> Response:
    """Return no content: browsers ask for this icon, and the shell names another."""
    return Response(status=204)


@cache
def _compress(name: str) -> bytes:
    return gzip.compress((STATIC / name).read_bytes(), mtime=0)


@cache
def _shell() -> str:
    modules = (f'<link rel="modulepreload" href="{{{{ assets }}}}/{name}">' for name in _modules())
    shell = SHELL.read_text(encoding="utf-8").replace("{{ modules }}", "\n    ".join(modules))
    return shell.replace("{{ assets }}", f"/static/{version()}")


def _modules() -> list[str]:
    """Return all modules that the page loads before it starts.

    Without this list a browser learns of a module from the one that imports it: that would take
    nine round trips.
    """
    modules = [ENTRY_POINT]
    for name in modules:  # grows meanwhile
        for imported in IMPORTED.findall((STATIC / name).read_text(encoding="utf-8")):
            module = posixpath.normpath(posixpath.join(posixpath.dirname(name), imported))
            if module not in modules:
                modules.append(module)
    return modules


@cache
def version() -> str:
    """Return a digest over all files, used as the version of all: modules import each other without
    it.
    """
    digest = hashlib.sha256()
    for name in sorted(_assets()):
        digest.update(name.encode() + b"\0" + (STATIC / name).read_bytes())
    return digest.hexdigest()[:16]


@cache
def _assets() -> frozenset[str]:
    return frozenset(
        file.relative_to(STATIC).as_posix() for file in STATIC.rglob("*") if file.is_file()
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

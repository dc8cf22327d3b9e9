"""The page: a shell without data, and its files under versioned addresses."""

from __future__ import annotations

import hashlib
import mimetypes
from functools import cache
from importlib.resources import files
from pathlib import Path

from flask import Blueprint, Response, abort, request

from antiphon.web.http import json_response

routes = Blueprint("page", __name__)

STATIC = Path(str(files("antiphon.web"))) / "static"
SHELL = Path(str(files("antiphon.web"))) / "templates" / "shell.html"
FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
NO_PAGES = ("/api/", "/static/")
NO_CACHE = {"cache-control": "no-cache"}
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".json": "application/json"}


@routes.get("/")
@routes.get("/t/<thread_id>")
@routes.get("/assistants")
@routes.get("/assistants/<assistant_id>")
@routes.get("/a/<token>")
@routes.get("/admin")
@routes.get("/admin/<section>")
@routes.get("/login")
def get_page(**_: str) -> Response:
    """Return the shell, the same for every address; the page loads its data itself."""
    page = SHELL.read_text(encoding="utf-8").replace("{{ assets }}", f"/static/{version()}")
    return Response(page, headers=NO_CACHE, content_type="text/html; charset=utf-8")


def not_found_page() -> Response | None:
    """Return the page with status 404; None if the client is not a browser that opens a page."""
    on_its_way = request.method == "GET" and request.accept_mimetypes.accept_html
    if not on_its_way or request.path.startswith(NO_PAGES) or not request.headers.get("accept"):
        return None
    page = get_page()
    page.status_code = 404
    return page


@routes.get("/static/<asked>/<path:name>")
def get_asset(asked: str, name: str) -> Response:
    """Return a file of the page; 404 for another version, whose page must reload."""
    if asked != version() or name not in _assets():
        abort(404)
    content = (STATIC / name).read_bytes()
    suffix = Path(name).suffix
    kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(content, headers=FOREVER, content_type=f"{kind}; charset=utf-8")


@routes.get("/healthz")
def get_health() -> Response:
    """Return that this process is alive, for probes of an orchestrator."""
    return json_response({"status": "ok"})


@routes.get("/favicon.ico")
def get_icon() -> Response:
    """Return no content: browsers ask for this icon, and the shell names another."""
    return Response(status=204)


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

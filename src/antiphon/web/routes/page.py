"""The page: a shell without data, and its files at addresses that change with what is in them."""

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
    """The same for every address: what is shown there, the page asks for itself."""
    page = SHELL.read_text(encoding="utf-8").replace("{{ assets }}", f"/static/{version()}")
    return Response(page, headers=NO_CACHE, content_type="text/html; charset=utf-8")


def not_found_page() -> Response | None:
    """The page, which says that there is nothing; None for what is no browser that opens a page."""
    on_its_way = request.method == "GET" and request.accept_mimetypes.accept_html
    if not on_its_way or request.path.startswith(NO_PAGES) or not request.headers.get("accept"):
        return None
    page = get_page()
    page.status_code = 404
    return page


@routes.get("/static/<asked>/<path:name>")
def get_asset(asked: str, name: str) -> Response:
    """A file of the page. One of another version is not there: its page has to be loaded anew."""
    if asked != version() or name not in _assets():
        abort(404)
    content = (STATIC / name).read_bytes()
    suffix = Path(name).suffix
    kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(content, headers=FOREVER, content_type=f"{kind}; charset=utf-8")


@routes.get("/healthz")
def get_health() -> Response:
    """That this process answers: for whoever starts it anew when it does not."""
    return json_response({"status": "ok"})


@routes.get("/favicon.ico")
def get_icon() -> Response:
    """Browsers ask for one; the shell names the page's own."""
    return Response(status=204)


@cache
def version() -> str:
    """A name for what is in all the files together: modules name each other without it."""
    digest = hashlib.sha256()
    for name in sorted(_assets()):
        digest.update(name.encode() + b"\0" + (STATIC / name).read_bytes())
    return digest.hexdigest()[:16]


@cache
def _assets() -> frozenset[str]:
    return frozenset(
        file.relative_to(STATIC).as_posix() for file in STATIC.rglob("*") if file.is_file()
    )

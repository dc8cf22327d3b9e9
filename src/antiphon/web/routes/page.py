"""The page: a shell without data, and its files under versioned addresses.

The page's own modules are joined to bundles, so that a browser loads them with a few requests and
not with a hundred: two are loaded with the page, the others when their view is opened. Libraries
stay files of their own.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec
from flask import Blueprint, Response, abort, request

from antiphon.web.bundle import Bundle, join_modules
from antiphon.web.http import json_response
from antiphon.web.session import current_site

routes = Blueprint("page", __name__)

STATIC = Path(str(files("antiphon.web"))) / "static"
SHELL = Path(str(files("antiphon.web"))) / "templates" / "shell.html"
FOREVER = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
COMPRESSED = (".css", ".js", ".json", ".mjs", ".svg")
"""Files that are sent compressed: they become a third."""
ENTRY_POINTS = ("chat/main.mjs", "chat/ui/message.mjs")
BUNDLE = "chat/bundle.mjs"
MESSAGES = "chat/bundle-ui-message.mjs"
"""The bundle that draws messages, which every page loads beside the first."""
LIBRARIES = "chat/vendor/"
OTHER_ORIGIN = ("mermaid.js",)
"""Libraries of the second origin, which the page must not be able to run."""
SHELL_FILES = ("chat/icon.svg", "chat/theme-first.js")
WORKER = "chat/service_worker.js"
WORKER_POLICY = "default-src 'none'; connect-src 'self'"
NO_PAGES = ("/api/", "/static/")
NO_CACHE = {"cache-control": "no-cache"}
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".json": "application/json"}


@routes.get("/")
@routes.get("/t/<thread_id>")
@routes.get("/c/<thread_id>/<other_id>")
@routes.get("/assistants")
@routes.get("/assistants/<assistant_id>")
@routes.get("/you")
@routes.get("/a/<token>")
@routes.get("/shared/<token>")
@routes.get("/r/<run_id>")
@routes.get("/r/<run_id>/<other_id>")
@routes.get("/admin")
@routes.get("/admin/<section>")
@routes.get("/login")
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


@routes.get("/static/<asked>/<path:name>")
def get_asset(asked: str, name: str) -> Response:
    """Return a file of the page; 404 for another version, whose page must reload."""
    if asked != version():
        abort(404)
    try:
        content = _read_asset(name)
    except KeyError:
        abort(404)
    suffix = Path(name).suffix
    kind = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    response = Response(headers=FOREVER, content_type=f"{kind}; charset=utf-8")
    if suffix in COMPRESSED and request.accept_encodings.quality("gzip"):
        response.data = _compress(name)
        response.content_encoding = "gzip"
    else:
        response.data = content
    return response


@routes.get("/healthz")
def get_health() -> Response:
    """Return that this process is alive, for probes of an orchestrator."""
    return json_response({"status": "ok"})


@routes.get("/manifest.webmanifest")
def get_manifest() -> Response:
    """Return the manifest with which a browser installs the page as an app."""
    icons = f"/static/{version()}/chat/icons"
    manifest = {
        "id": "/",
        "name": current_site().settings.web_title,
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": "#ffffff",
        "theme_color": "#f7f7f4",
        "icons": [
            {"src": f"{icons}/icon-192.png", "sizes": "192x192", "type": "image/png"},
            {"src": f"{icons}/icon-512.png", "sizes": "512x512", "type": "image/png"},
            {
                "src": f"{icons}/maskable-512.png",
                "sizes": "512x512",
                "type": "image/png",
                "purpose": "maskable",
            },
        ],
    }
    body = msgspec.json.encode(manifest)
    return Response(body, headers=NO_CACHE, content_type="application/manifest+json")


@routes.get("/service-worker.js")
def get_service_worker() -> Response:
    """Return the service worker, which caches the files of this version and nothing else."""
    # What any view needs, without libraries that few answers need.
    shown = [name for name in sorted(_files()) if name.startswith(("chat/css/", "chat/i18n/"))]
    libraries = [name for bundle in _bundles().values() for name in bundle.imports]
    names = dict.fromkeys([*SHELL_FILES, *shown, *_bundles(), *libraries])
    cached = [f"/static/{version()}/{name}" for name in names]
    facts = f"const VERSION = {_json(version())};\nconst FILES = {_json(cached)};\n"
    headers = {**NO_CACHE, "content-security-policy": WORKER_POLICY}
    script = facts + _read_asset(WORKER).decode()
    return Response(script, headers=headers, content_type="text/javascript; charset=utf-8")


@routes.get("/favicon.ico")
def get_icon() -> Response:
    """Return no content: browsers ask for this icon, and the shell names another."""
    return Response(status=204)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


@cache
def _shell() -> str:
    first, messages = _bundles()[BUNDLE], _bundles()[MESSAGES]
    soon = (name for name in (*messages.imports, MESSAGES) if name not in (*first.imports, BUNDLE))
    modules = (
        *(f'<link rel="modulepreload" href="{{{{ assets }}}}/{name}">' for name in first.imports),
        *(
            f'<link rel="modulepreload" href="{{{{ assets }}}}/{name}" fetchpriority="low">'
            for name in soon
        ),
    )
    shell = SHELL.read_text(encoding="utf-8").replace("{{ libraries }}", "\n    ".join(modules))
    return shell.replace("{{ assets }}", f"/static/{version()}")


@cache
def version() -> str:
    """Return one version for all files, a digest of them: modules import each other without it."""
    digest = hashlib.sha256()
    for name in (*sorted(_files()), *_bundles()):
        digest.update(name.encode() + b"\0" + _read_asset(name))
    return digest.hexdigest()[:16]


@cache
def _files() -> frozenset[str]:
    return frozenset(
        file.relative_to(STATIC).as_posix()
        for file in STATIC.rglob("*")
        if file.is_file() and file.name not in OTHER_ORIGIN
    )


def _read_asset(name: str) -> bytes:
    """Return the content of a file of the page. Raises `KeyError` for another name."""
    if name in _bundles():
        return _bundles()[name].text.encode()
    if name not in _files():
        raise KeyError(name)
    return (STATIC / name).read_bytes()


@cache
def _bundles() -> dict[str, Bundle]:
    return join_modules(STATIC, ENTRY_POINTS, LIBRARIES)


@cache
def _compress(name: str) -> bytes:
    return gzip.compress(_read_asset(name), mtime=0)

"""A request of ASGI as WSGI has it, and an answer of WSGI as ASGI sends it (PEP 3333)."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import quote

Scope = MutableMapping[str, Any]


def environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """The request in WSGI's words; `body` is the whole of it."""
    host, port = scope.get("server") or ("localhost", 0)
    client = scope.get("client") or ("", 0)
    return {
        **_headers(scope),
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "RAW_URI": quote(scope["path"]),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "REMOTE_ADDR": client[0],
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


class Answer:
    """What the application answers: the beginning by WSGI's call, the body whole."""

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.body = b""

    def begin(
        self, status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], None]:
        """WSGI's `start_response`."""
        self.start = {
            "type": "http.response.start",
            "status": int(status[:3]),
            "headers": [
                (name.lower().encode("latin-1"), v.encode("latin-1")) for name, v in headers
            ],
        }
        return self._write

    def _write(self, data: bytes) -> None:
        self.body += data


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        match name:
            case "content-length" | "transfer-encoding":
                continue  # the body is whole by now
            case "content-type":
                found["CONTENT_TYPE"] = value
            case _ if "_" in name:
                continue  # it would be taken for the one with hyphens
            case _:
                key = "HTTP_" + name.upper().replace("-", "_")
                joined = "; " if name == "cookie" else ","
                found[key] = found[key] + joined + value if key in found else value
    return found

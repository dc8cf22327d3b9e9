"""An MCP server that requires a login, and its authorization server, on one port."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

TOOL = {"name": "secret_word", "description": "Tells it.", "inputSchema": {"type": "object"}}


class Locked:
    """MCP server with a login, which tests may change while it runs; `paths` are the requests'."""

    def __init__(self) -> None:
        self.base = ""
        self.paths: list[str] = []
        self.bearers: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.valid: set[str] = set()
        self.challenges: dict[str, str] = {}
        self.metadata: dict[str, Any] = {}
        self.refused: tuple[int, str] | None = None
        self.denies = False
        self.expires_in = 3600
        self.redirects_to = ""
        self.together = threading.Barrier(1)
        self._number = 0

    @property
    def url(self) -> str:
        return f"{self.base}/mcp"

    def fresh(self, what: str) -> str:
        self._number += 1
        return f"{what}-CANARY-{id(self)}-{self._number}"

    def describe(self) -> dict[str, Any]:
        return {
            "issuer": self.base,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "registration_endpoint": f"{self.base}/register",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            **self.metadata,
        }

    def tokens(self, form: dict[str, str]) -> tuple[int, Any]:
        """Return the answer of the token endpoint."""
        self.forms.append(form)
        if self.refused is not None:
            status, text = self.refused
            return status, text
        if form["grant_type"] == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            assert self.challenges.pop(form["code"]) == challenge
        token = self.fresh("access")
        self.valid = {token}
        return 200, {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "refresh_token": self.fresh("refresh"),
        }

    def back(self, query: dict[str, str]) -> str:
        """Return the URL that the login page redirects a browser to."""
        code = self.fresh("code")
        self.challenges[code] = query["code_challenge"]
        parameters = {"error": "access_denied"} if self.denies else {"code": code}
        return f"{query['redirect_uri']}?{urlencode({**parameters, 'state': query['state']})}"

    def answer(self, message: dict[str, Any]) -> Any:
        """Return the answer to a message of the protocol version 2025-11-25."""
        match message.get("method"):
            case "initialize":
                result: dict[str, Any] = {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "locked", "version": "1"},
                }
            case "tools/list":
                result = {"tools": [TOOL]}
            case _:
                error = {"code": -32601, "message": "no such method"}
                return {"jsonrpc": "2.0", "id": message.get("id"), "error": error}
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}


@contextmanager
def run_locked_server() -> Iterator[Locked]:
    """Run the server during the block."""
    state = Locked()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.base = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


def _handler(state: Locked) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("content-length", 0))))

        def do_DELETE(self) -> None:
            self._answer(b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self, body: bytes) -> None:
            address = urlsplit(self.path)
            state.paths.append(address.path)
            match address.path:
                case "/.well-known/oauth-protected-resource/mcp":
                    metadata = {"resource": state.url, "authorization_servers": [state.base]}
                    self._say(200, metadata)
                case "/.well-known/oauth-authorization-server":
                    self._say(200, state.describe())
                case "/register":
                    self._say(201, json.loads(body) | {"client_id": state.fresh("client")})
                case "/authorize":
                    self._say(302, "", location=state.back(dict(parse_qsl(address.query))))
                case "/token":
                    self._say(*state.tokens(dict(parse_qsl(body.decode()))))
                case "/mcp":
                    self._serve(body)
                case _:
                    self._say(404, "")

        def _serve(self, body: bytes) -> None:
            bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
            state.bearers.append(bearer)
            if state.redirects_to:
                self._say(307, "", location=state.redirects_to)
            elif bearer not in state.valid:
                metadata_url = f"{state.base}/.well-known/oauth-protected-resource/mcp"
                self._say(
                    401, "", **{"www-authenticate": f'Bearer resource_metadata="{metadata_url}"'}
                )
            elif self.command != "POST":
                self._say(405, "")
            else:
                state.together.wait(10)
                message = json.loads(body or b"{}")
                is_request = "id" in message
                self._say(200 if is_request else 202, state.answer(message) if is_request else "")

        def _say(self, status: int, content: Any, **headers: str) -> None:
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler

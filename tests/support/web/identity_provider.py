"""An OpenID Connect provider on loopback: a test sets the user, and faults of the answers."""

from __future__ import annotations

import hashlib
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import Flask, Response, jsonify, request
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from joserfc.jws import JWSRegistry
from werkzeug.serving import make_server

CLIENT, SECRET = "antiphon", "hush-hush"
SECONDS = 60  # how long it stays silent
Claims = dict[str, Any]


@cache
def own_key() -> RSAKey:
    """Return the key that it signs with; it is cached because creating one is slow."""
    return RSAKey.generate_key(2048, {"kid": "a"})


@cache
def foreign_key() -> RSAKey:
    """Return another key with the same id."""
    return RSAKey.generate_key(2048, {"kid": "a"})


@dataclass
class Provider:
    """OpenID provider: `claims` are of the user that logs in; the rest changes its answers."""

    issuer: str = ""
    claims: Claims = field(default_factory=lambda: {"sub": "1", "preferred_username": "ann"})
    about: Claims = field(default_factory=dict)
    change: Callable[[Claims], Claims] = lambda claims: claims
    algorithm: str = "RS256"
    token: Claims = field(default_factory=dict)
    key: RSAKey | OctKey = field(default_factory=own_key)
    shown: RSAKey | None = None
    asked: list[Claims] = field(default_factory=list)
    codes: dict[str, Claims] = field(default_factory=dict)
    awake: threading.Event = field(default_factory=threading.Event)
    silent: bool = False

    def agree(self, page: str, **answer: str) -> str:
        """Log in as the user at this page; return the path that the browser is redirected to."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(page).query).items()}
        self.asked.append(query)
        code = f"code-{len(self.asked)}"
        self.codes[code] = query
        parameters = {"code": code, "state": query["state"], **answer}
        return urlsplit(query["redirect_uri"]).path + "?" + urlencode(parameters)

    def app(self) -> Flask:
        app = Flask("provider")
        app.get("/.well-known/openid-configuration")(self._about)
        app.get("/keys")(self._keys)
        app.post("/token")(self._token)
        return app

    def _about(self) -> Response:
        defaults = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "none", "HS256"],
        }
        if self.silent:
            self.awake.wait(SECONDS)
        return jsonify({**defaults, **self.about})

    def _keys(self) -> Response:
        return jsonify({"keys": [(self.shown or self.key).as_dict(private=False)]})

    def _token(self) -> tuple[Response, int]:
        form = request.form
        query = self.codes.pop(form.get("code", ""), None)
        if (
            query is None
            or not self._is_verified(query, form["code_verifier"])
            or not _is_registered_client()
        ):
            return jsonify({"error": "invalid_grant"}), 400
        now = int(time.time())
        claims = self.change(
            {
                "iss": self.issuer,
                "aud": CLIENT,
                "iat": now,
                "exp": now + 300,
                "nonce": query["nonce"],
                **self.claims,
            }
        )
        tokens = {"id_token": self._sign(claims), "access_token": "a", "token_type": "Bearer"}
        return jsonify({**tokens, **self.token}), 200

    def _is_verified(self, query: Claims, verifier: str) -> bool:
        digest = hashlib.sha256(verifier.encode()).digest()
        return query["code_challenge"] == urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _sign(self, claims: Claims) -> str:
        registry = JWSRegistry(algorithms=[self.algorithm])
        header = {"alg": self.algorithm, "kid": "a"}
        return jwt.encode(header, claims, self.key, registry=registry)


def _is_registered_client() -> bool:
    """Return True if the request is from the registered client."""
    credentials = request.authorization
    if credentials is None:
        return (request.form.get("client_id"), request.form.get("client_secret")) == (
            CLIENT,
            SECRET,
        )
    return (credentials.username, credentials.password) == (CLIENT, SECRET)


@contextmanager
def running() -> Iterator[Provider]:
    """Run a provider on a free port."""
    provider = Provider()
    server = make_server("127.0.0.1", 0, provider.app(), threaded=True)
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
